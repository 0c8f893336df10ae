//! Listening sockets, and the connections that they accept.

mod passed;

use std::{
    fs::{self, Metadata, Permissions},
    io,
    net::{IpAddr, SocketAddr},
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::Address;

pub use passed::{PassedSocketError, PassedSockets};

/// A listening socket. What accepts connections has a [`Listener`] of it.
pub(crate) struct Socket {
    fd: OwnedFd,
    address: Address,
    /// The address of the configuration that it was opened for; `None` if systemd opened it.
    configured: Option<Address>,
    file: Option<SocketFile>,
}

/// Accepts connections of a socket.
pub(crate) enum Listener {
    /// Over IP.
    Tcp(TcpListener),
    /// On this machine.
    Unix(UnixListener),
}

/// A connection.
pub(crate) enum Stream {
    /// Over IP.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

/// The file of a Unix socket that was bound here; it is removed at the end.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Why an address cannot be listened on, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{cause}; {hint}")]
pub struct BindError {
    cause: io::Error,
    hint: &'static str,
}

impl Socket {
    /// The socket for an address: the one that was passed, or else a new one. `all` are the addresses of
    /// `[listen]`; the file of a new socket gets this mode.
    pub(crate) async fn open(
        address: &Address,
        passed: &mut PassedSockets,
        all: &[Address],
        mode: u32,
    ) -> Result<Self, BindError> {
        if let Some(socket) = passed.take(address) {
            return Ok(socket);
        }
        let mut socket = match address {
            Address::Tcp(address) => bind_tcp(*address, all)?,
            Address::Unix(path) => {
                remove_stale_socket(path).await?;
                bind_unix(path, mode).map_err(|cause| BindError::new(cause, false))?
            }
        };
        socket.configured = Some(address.clone());
        Ok(socket)
    }

    /// Whether systemd opened it, and keeps it open.
    pub(crate) fn is_passed(&self) -> bool {
        self.configured.is_none()
    }

    /// The address that was bound, with the port that the system chose for port 0.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A listener, which the runtime that is entered drives.
    pub(crate) fn listener(&self) -> Result<Listener, BindError> {
        let listener = || {
            let fd = self.fd.try_clone()?;
            Ok(match self.address {
                Address::Tcp(_) => Listener::Tcp(TcpListener::from_std(fd.into())?),
                Address::Unix(_) => Listener::Unix(UnixListener::from_std(fd.into())?),
            })
        };
        listener().map_err(|cause| BindError::new(cause, false))
    }
}

impl Listener {
    /// Waits for a connection. One over IP comes with the client's address.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // It fails if the client has gone already, which the first read will find out.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Some(address.ip())))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let identity = identity(&fs::symlink_metadata(path)?);
        Ok(Self { path: path.into(), identity })
    }
}

/// Removes the file, unless it was replaced.
impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| identity(&meta) == self.identity) {
            // It fails if somebody has removed the file already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl BindError {
    /// With the hint for this cause. `is_own` says that the configuration has the port twice.
    fn new(cause: io::Error, is_own: bool) -> Self {
        let hint = match cause.kind() {
            io::ErrorKind::AddrInUse if is_own => {
                "another address of this configuration has the same port; remove one of them"
            }
            io::ErrorKind::AddrInUse => "stop what listens there, or choose another address",
            io::ErrorKind::PermissionDenied => {
                "ports under 1024 need root or CAP_NET_BIND_SERVICE, and a Unix socket a folder that \
                 can be written; or choose another address"
            }
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            io::ErrorKind::NotFound => "create the folder of the socket, or choose another path",
            _ => "choose another address",
        };
        Self { cause, hint }
    }
}

fn bind_tcp(address: SocketAddr, all: &[Address]) -> Result<Socket, BindError> {
    let listen = || -> io::Result<_> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => {
                let socket = TcpSocket::new_v6()?;
                set_ipv6_v6only(&socket, is_v6_only(address, all))?;
                socket
            }
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let address = Address::Tcp(listener.local_addr()?);
        Ok(Socket { fd: listener.into(), address, configured: None, file: None })
    };
    listen().map_err(|cause| BindError::new(cause, has_port_twice(address, all)))
}

/// `[::]` accepts IPv4 as well, unless a separate IPv4 address has the same port.
fn is_v6_only(address: SocketAddr, all: &[Address]) -> bool {
    let is_v4_of_port = |other: &Address| match other {
        Address::Tcp(other) => other.is_ipv4() && other.port() == address.port(),
        Address::Unix(_) => false,
    };
    !address.ip().is_unspecified() || (address.port() != 0 && all.iter().any(is_v4_of_port))
}

/// Whether another address of the configuration has the port of this one.
fn has_port_twice(address: SocketAddr, all: &[Address]) -> bool {
    let has_port = |other: &&Address| match other {
        Address::Tcp(other) => other.port() == address.port(),
        Address::Unix(_) => false,
    };
    let others = all.iter().filter(has_port).count();
    others > usize::from(all.contains(&Address::Tcp(address)))
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Socket> {
    let listener = UnixListener::bind(path)?.into_std()?;
    let file = SocketFile::of(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    let address = Address::Unix(path.into());
    Ok(Socket { fd: listener.into(), address, configured: None, file: Some(file) })
}

/// Removes a socket that nobody listens on, which a killed process has left. Any other file stays.
async fn remove_stale_socket(path: &Path) -> Result<(), BindError> {
    let is_socket = match fs::symlink_metadata(path) {
        Ok(meta) => meta.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::new(error, false)),
    };
    if !is_socket {
        let cause =
            io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket exists");
        return Err(BindError { cause, hint: "move it away, or choose another path" });
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|cause| BindError::new(cause, false))
        }
        Ok(_) | Err(_) => Err(BindError::new(io::ErrorKind::AddrInUse.into(), false)),
    }
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Connections that may wait to be accepted, as they do during a hand-over. More would wait for longer than senders
/// do: in an overload of TLS handshakes, a small machine accepts only some hundred in a second.
const BACKLOG: u32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> Vec<Address> {
        let address = |text: &&str| match text.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Tcp(text.parse().unwrap()),
        };
        all.iter().map(address).collect()
    }

    #[test]
    fn the_unspecified_ipv6_address_accepts_ipv4_unless_another_address_does() {
        for (address, all, expected) in [
            ("[::]:443", &["[::]:443"][..], false),
            ("[::]:443", &["0.0.0.0:443", "[::]:443"], true),
            ("[::]:443", &["[::]:443", "127.0.0.1:443"], true),
            ("[::]:443", &["[::]:443", "0.0.0.0:80", "unix:/run/x"], false),
            ("[::]:0", &["[::]:0", "0.0.0.0:0"], false),
            ("[::1]:443", &["[::1]:443"], true),
            ("[::]:9440", &["127.0.0.1:443"], false),
            ("[::]:9440", &["127.0.0.1:9440"], true),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(is_v6_only(address, &addresses(all)), expected, "{address} {all:?}");
        }
    }

    #[test]
    fn an_address_that_is_configured_twice_is_recognised() {
        for (address, all, expected) in [
            ("0.0.0.0:443", &["0.0.0.0:443"][..], false),
            ("127.0.0.1:443", &["0.0.0.0:443", "127.0.0.1:443"], true),
            ("127.0.0.1:9440", &["0.0.0.0:9440"], true),
            ("127.0.0.1:9440", &["0.0.0.0:443", "unix:/run/x"], false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(has_port_twice(address, &addresses(all)), expected, "{address} {all:?}");
        }
    }
}
