//! Values that name something outside of the file: addresses and files.

use std::{fs, net::SocketAddr, path::PathBuf};

use wilco_config::is_path;

use crate::config::Address;

/// `0.0.0.0:443`, `[::]:443`, `unix:/run/wilco/wilco.sock`.
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
            "invalid address {text:?}: expected IP:PORT, such as \"0.0.0.0:443\", or \"unix:PATH\""
        )
    })
}

/// A file that can be read now.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    // What does not look like a path may be what belongs into the file.
    let shown = if is_path(text) { text } else { "the file that it names" };
    fs::File::open(text).map_err(|cause| format!("cannot read {shown}: {cause}"))?;
    Ok(text.into())
}
