//! Where a listener left off, in a file.

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use wilco::Digest;

use crate::Failure;

/// Where a listener left off.
pub(super) struct Place {
    path: PathBuf,
    position: Option<String>,
    /// Locked for as long as it is open.
    _lock: File,
}

impl Place {
    /// The place in this file, which need not exist.
    pub(super) fn at(path: PathBuf) -> Result<Self, Failure> {
        let lock = lock(&path)?;
        let position = match fs::read_to_string(&path) {
            Ok(text) if !is_position(text.trim()) => {
                let path = path.display();
                return Err(Failure::failed(format!(
                    "{path} is not a place of wilco listen; name another file with --place"
                )));
            }
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(Failure::failed(format!("cannot read {}: {error}", path.display())));
            }
        };
        let position = position.filter(|position| !position.is_empty());
        Ok(Self { path, position, _lock: lock })
    }

    /// The place of this listener, in a file of the user.
    pub(super) fn of(listener: &str) -> Result<Self, Failure> {
        let is_absolute = |path: &PathBuf| path.is_absolute();
        let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(is_absolute);
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
        let state = state.or_else(home).ok_or_else(|| {
            Failure::failed("the user has no home folder; name a file with --place FILE")
        })?;
        let folder = state.join("wilco/listen");
        fs::create_dir_all(&folder).map_err(|error| {
            Failure::failed(format!("cannot make {}: {error}", folder.display()))
        })?;
        let mut name = Digest::of(listener.as_bytes()).to_string();
        name.truncate(NAME_CHARS);
        Self::at(folder.join(name))
    }

    /// The id of the last message that was handled.
    pub(super) fn get(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Keeps the id of the last message that was handled. A crash leaves this one or the one before.
    pub(super) fn set(&mut self, position: &str) -> Result<(), Failure> {
        if self.position.as_deref() == Some(position) {
            return Ok(());
        }
        let unfinished = with_ending(&self.path, ".new");
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(format!("{position}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &self.path)
        };
        write().map_err(|error| cannot_write(&self.path, &error))?;
        self.position = Some(position.to_owned());
        Ok(())
    }
}

/// Keeps a second listener from this place: each would lose what only the other has handled.
fn lock(path: &Path) -> Result<File, Failure> {
    let lock = File::create(with_ending(path, ".lock"));
    let lock = lock.map_err(|error| cannot_write(path, &error))?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let path = path.display();
            Err(Failure::failed(format!(
                "another wilco listen has its place in {path}; end it, or name another file with --place"
            )))
        }
        // Where the file system has no locks, listeners are told apart by whoever starts them.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(lock),
    }
}

/// Whether this may be a position, which only a server can tell for sure.
fn is_position(text: &str) -> bool {
    text.len() <= POSITION_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

const NAME_CHARS: usize = 16;
const POSITION_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_there_again_and_an_empty_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("place");
        let open = || Place::at(path.clone()).ok().unwrap();
        assert_eq!(open().get(), None);
        assert!(open().set("abc").is_ok());
        assert_eq!(open().get(), Some("abc"));
        fs::write(&path, "\n").unwrap();
        assert_eq!(open().get(), None);
        fs::write(&path, "[source.freispace]\n").unwrap();
        assert!(Place::at(path).is_err_and(|failure| failure.to_string().contains("not a place")));
    }
}
