//! Where a secret stands: not in the file itself, but where a reference in it leads.

use std::{fs, path::Path};

/// What is not there, and the way out.
type NotFound = (String, String);

/// What a reference of this kind leads to; `None` where there is no such kind.
pub(crate) fn look_up(kind: &str, target: &str) -> Option<Result<Vec<u8>, NotFound>> {
    match kind {
        "env" => Some(from_env(target)),
        "file" => Some(from_file(Path::new(target))),
        "credential" => Some(from_credential(target)),
        _ => None,
    }
}

fn from_env(name: &str) -> Result<Vec<u8>, NotFound> {
    std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes).ok_or_else(|| {
        (format!("the environment has no {name}"), format!("set it: export {name}=…"))
    })
}

fn from_file(path: &Path) -> Result<Vec<u8>, NotFound> {
    fs::read(path).map_err(|cause| {
        let way_out = "write the secret there, readable by the user that runs wilco";
        (format!("cannot read {}: {cause}", path.display()), way_out.into())
    })
}

/// What systemd's `LoadCredential=` passes (systemd.exec(5)).
fn from_credential(name: &str) -> Result<Vec<u8>, NotFound> {
    let way_out = format!("add LoadCredential={name}:/path to the unit, or use env or file");
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(("systemd passed no credentials".into(), way_out));
    };
    if name.contains('/') || name.starts_with('.') {
        return Err((format!("{name:?} is no name of a credential"), way_out));
    }
    fs::read(Path::new(&folder).join(name))
        .map_err(|cause| (format!("cannot read credential {name}: {cause}"), way_out))
}
