//! Sockets that this process has not opened itself: systemd did, or the wilco whose place it takes.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixListener,
    },
};

use rustix::{
    cmsg_space,
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg,
        sockopt::{socket_acceptconn, socket_domain, socket_type},
    },
};

use super::{Socket, SocketFile};
use crate::config::{self, Address};

/// Listening sockets that were passed to this process, or that it passes on.
#[derive(Default)]
pub struct PassedSockets(Vec<Socket>);

/// Why the sockets that were passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassedSocketError {
    /// The variables that describe them are invalid.
    #[error("LISTEN_FDS or LISTEN_PID is invalid; start wilco by its socket unit, or unset both")]
    Announced,
    /// One of them cannot be listened on.
    #[error("the passed file descriptor {number} is not a listening socket: {cause}; {HINT}")]
    Socket {
        /// Its number.
        number: usize,
        /// What is wrong with it.
        cause: io::Error,
    },
}

impl PassedSockets {
    pub(crate) fn new(sockets: Vec<Socket>) -> Self {
        Self(sockets)
    }

    /// Takes the sockets that [sd_listen_fds(3)] describes. To be called once, before anything else is
    /// opened: it takes the file descriptors that the environment announces.
    ///
    /// # Errors
    ///
    /// What is announced is not there, or no listening socket.
    ///
    /// [sd_listen_fds(3)]: https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
    pub fn from_environment() -> Result<Self, PassedSocketError> {
        let passed = sd_listen_fds::get().map_err(|_| PassedSocketError::Announced)?;
        let sockets = passed.into_iter().zip(FIRST_NUMBER..).map(|((_, fd), number)| {
            adopt(fd.into_std()).map_err(|cause| PassedSocketError::Socket { number, cause })
        });
        Ok(Self(sockets.collect::<Result<_, _>>()?))
    }

    /// Sends them to another process, which [receives](Self::receive) them. They stay open here as well.
    ///
    /// # Errors
    ///
    /// The other process has ended, or there are too many.
    pub fn send(&self, to: impl AsFd) -> io::Result<()> {
        let mut names = String::new();
        for socket in &self.0 {
            let name = socket.configured.as_ref().map_or(SYSTEMD.into(), ToString::to_string);
            names += &format!("{name}\n");
        }
        let fds: Vec<_> = self.0.iter().map(|socket| socket.fd.as_fd()).collect();
        let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(fds.len()))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let bytes = [IoSlice::new(names.as_bytes())];
        match sendmsg(to, &bytes, &mut control, SendFlags::NOSIGNAL)? {
            sent if sent == names.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Receives what another process sent, which waits already. `None` if that has ended.
    ///
    /// # Errors
    ///
    /// What it sent is not what [`send`](Self::send) sends.
    pub fn receive(from: impl AsFd) -> io::Result<Option<Self>> {
        let mut space = vec![MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; NAMES_BYTES_MAX];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        let names = std::str::from_utf8(&bytes[..received.bytes]).ok();
        let names: Vec<_> = names.ok_or(io::ErrorKind::InvalidData)?.lines().collect();
        if names.len() != fds.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let sockets = names.into_iter().zip(fds).map(|(name, fd)| {
            let mut socket = adopt(fd)?;
            if name != SYSTEMD {
                let address = config::address(name).map_err(io::Error::other)?;
                if let Address::Unix(path) = &address {
                    socket.file = SocketFile::of(path).ok();
                }
                socket.configured = Some(address);
            }
            Ok(socket)
        });
        Ok(Some(Self(sockets.collect::<io::Result<_>>()?)))
    }

    /// Leaves the files of Unix sockets to whoever has got the sockets.
    pub fn leave(self) {
        for file in self.0.into_iter().filter_map(|socket| socket.file) {
            // Its drop would remove the file.
            std::mem::forget(file);
        }
    }

    /// The socket for this address of the configuration.
    pub(crate) fn take(&mut self, address: &Address) -> Option<Socket> {
        let is_it = |socket: &Socket| {
            socket.configured.as_ref() == Some(address) || socket.address == *address
        };
        let index = self.0.iter().position(is_it)?;
        // In order, because several may be configured with port 0.
        let mut socket = self.0.remove(index);
        if let Some(configured) = &mut socket.configured {
            *configured = address.clone();
        }
        Some(socket)
    }

    /// All that are left.
    pub(crate) fn take_rest(&mut self) -> Vec<Socket> {
        std::mem::take(&mut self.0)
    }
}

fn adopt(fd: OwnedFd) -> io::Result<Socket> {
    let flags = fcntl_getfd(&fd)?;
    // Otherwise every program that a delivery starts would keep it open.
    fcntl_setfd(&fd, flags | FdFlags::CLOEXEC)?;
    if socket_type(&fd)? != SocketType::STREAM || !socket_acceptconn(&fd)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (fd, address) = match socket_domain(&fd)? {
        AddressFamily::UNIX => {
            let listener = UnixListener::from(fd);
            let address = listener.local_addr()?;
            let path = address.as_pathname().ok_or(io::ErrorKind::Unsupported)?;
            let address = Address::Unix(path.into());
            listener.set_nonblocking(true)?;
            (listener.into(), address)
        }
        _ => {
            let listener = TcpListener::from(fd);
            listener.set_nonblocking(true)?;
            let address = Address::Tcp(listener.local_addr()?);
            (listener.into(), address)
        }
    };
    // Who bound a Unix socket also removes its file.
    Ok(Socket { fd, address, configured: None, file: None })
}

/// The number of the first file descriptor that is passed.
const FIRST_NUMBER: usize = 3;
/// The name of a socket that systemd opened.
const SYSTEMD: &str = "systemd";
/// Sockets that are received; the system sends at most 253 at once.
const SOCKETS_MAX: usize = 253;
const NAMES_BYTES_MAX: usize = 64 << 10;
const HINT: &str = "use ListenStream= with a port or a path, and Accept=no";
