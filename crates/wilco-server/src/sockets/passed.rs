//! Sockets that whoever started this process has opened for it, as systemd does.

use std::{
    io,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixListener},
};

use rustix::{
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    net::{
        AddressFamily, SocketType,
        sockopt::{socket_acceptconn, socket_domain, socket_type},
    },
};

use super::Socket;
use crate::config::Address;

/// Listening sockets that were passed to this process, and that it does not use yet.
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

    /// The socket for this address of the configuration.
    pub(crate) fn take(&mut self, address: &Address) -> Option<Socket> {
        let index = self.0.iter().position(|socket| socket.address == *address)?;
        Some(self.0.swap_remove(index))
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
    Ok(Socket { fd, address, _file: None })
}

/// The number of the first file descriptor that is passed.
const FIRST_NUMBER: usize = 3;
const HINT: &str = "use ListenStream= with a port or a path, and Accept=no";
