//! An address to listen on, which two tables have.

use std::{net::SocketAddr, path::PathBuf};

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can connect to it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[::]:443`, `0.0.0.0:443`, `unix:/run/wilco/wilco.sock`.
///
/// # Errors
///
/// It is none, and how one is written.
pub fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Address::Unix(path.into()));
    }
    text.parse::<SocketAddr>().map(Address::Tcp).map_err(|_| {
        format!(
            "invalid address {text:?}: expected IP:PORT, such as \"[::]:443\", or \"unix:PATH\""
        )
    })
}
