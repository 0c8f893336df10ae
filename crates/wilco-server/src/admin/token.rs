//! The token of the admin API if the configuration names none. It is made at the first start and kept
//! in a file next to the store, which only the user of wilco can read; the command line reads it too.
//!
//! A loopback address alone protects nothing: every user of the machine and every program that wilco
//! starts can connect to it. Whoever can read this file could read the store as well.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use wilco::Secret;

/// Where the token of a store is: `wilco.db.token` next to `wilco.db`.
pub fn path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".token");
    name.into()
}

/// The token of this store. A missing one is created, and one that others could have read is replaced.
///
/// # Errors
///
/// The file cannot be read, or a new one cannot be put in its place.
pub(crate) fn read_or_make(store: &Path) -> io::Result<Secret> {
    match read(store) {
        Ok(Some(token)) => Ok(token),
        Ok(None) => make(store),
        Err(error) => Err(error),
    }
}

/// The token of this store; `None` if it is missing or could have been read by others.
///
/// # Errors
///
/// It exists and cannot be read.
pub fn read(store: &Path) -> io::Result<Option<Secret>> {
    let path = path(store);
    let found = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !found.is_file() || found.permissions().mode() & 0o077 != 0 {
        return Ok(None);
    }
    Ok(Secret::new(format!("file:{}", path.display()), fs::read(&path)?).ok())
}

/// The file has its mode from the start, and gets its name only when it is complete.
fn make(store: &Path) -> io::Result<Secret> {
    let path = path(store);
    let unfinished = path.with_extension("token.new");
    // A start that was cut off may have left this file, with an unknown mode.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut random = [0; TOKEN_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(random);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, &path)?;
    Secret::new(format!("file:{}", path.display()), token.into_bytes()).map_err(io::Error::other)
}

/// The random bytes that a token is made of.
const TOKEN_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_user_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("wilco.db");
        assert!(read(&store).unwrap().is_none());
        let first = read_or_make(&store).unwrap();
        assert_eq!(fs::metadata(path(&store)).unwrap().permissions().mode() & 0o777, 0o600);
        let again = [read_or_make(&store).unwrap(), read(&store).unwrap().unwrap()];
        assert!(again.iter().all(|token| token.expose() == first.expose()));
    }

    #[test]
    fn a_token_file_that_others_could_read_or_that_is_a_link_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("wilco.db");
        let first = read_or_make(&store).unwrap();
        fs::set_permissions(path(&store), fs::Permissions::from_mode(0o644)).unwrap();
        let second = read_or_make(&store).unwrap();
        assert_ne!(first.expose(), second.expose());
        fs::rename(path(&store), folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), path(&store)).unwrap();
        assert_ne!(read_or_make(&store).unwrap().expose(), second.expose());
        assert!(fs::symlink_metadata(path(&store)).unwrap().is_file());
    }
}
