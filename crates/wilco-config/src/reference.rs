//! References to secrets: a secret is never in the file itself, which only names where it is.

use std::{fs, path::Path};

use crate::excerpt::shown_target;

/// A message and a hint. Neither shows a name that may be the secret itself.
type NotFound = (String, String);

/// Reads the value that a reference names; `None` if there is no such kind of reference.
///
/// # Errors
///
/// A message and a hint, neither of which shows a name that may be the secret itself.
pub fn look_up(kind: &str, name: &str) -> Option<Result<Vec<u8>, NotFound>> {
    let is_shown = shown_target(kind, name).is_some();
    match kind {
        "env" if !is_variable_name(name) => Some(Err((
            "this is not the name of an environment variable".into(),
            "such as { env = \"FREISPACE_SECRET\" }: the name, not the secret".into(),
        ))),
        "env" => Some(from_env(name, is_shown)),
        "file" => Some(from_file(Path::new(name), is_shown)),
        "credential" => Some(from_credential(name)),
        _ => None,
    }
}

/// A name that shells can set (POSIX.1-2024, XBD 3.216).
pub fn is_variable_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(is_part)
}

fn from_env(name: &str, is_shown: bool) -> Result<Vec<u8>, NotFound> {
    let found = std::env::var_os(name).map(std::ffi::OsString::into_encoded_bytes);
    found.ok_or_else(|| match is_shown {
        true => {
            (format!("environment variable {name} is not set"), format!("set it: export {name}=…"))
        }
        false => (
            "the environment has no variable of this name".into(),
            "the name of a variable belongs here, such as FREISPACE_SECRET, and not the secret"
                .into(),
        ),
    })
}

fn from_file(path: &Path, is_shown: bool) -> Result<Vec<u8>, NotFound> {
    fs::read(path).map_err(|cause| {
        let hint = "write the secret there, readable for wilco's user";
        match is_shown {
            true => (format!("cannot read {}: {cause}", path.display()), hint.into()),
            false => (format!("cannot read the file that this names: {cause}"), hint.into()),
        }
    })
}

/// What systemd's `LoadCredential=` passes (systemd.exec(5)).
fn from_credential(name: &str) -> Result<Vec<u8>, NotFound> {
    let hint = || "add LoadCredential=NAME:/path to the unit, or use env or file".to_owned();
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(("systemd passed no credentials".into(), hint()));
    };
    if name.contains('/') || name.starts_with('.') {
        return Err(("this is not the name of a credential".into(), hint()));
    }
    fs::read(Path::new(&folder).join(name))
        .map_err(|cause| (format!("cannot read this credential: {cause}"), hint()))
}
