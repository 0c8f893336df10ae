//! The files of a store and their siblings: how they are made, and what their errors mean.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{is_no_room, ran_out, users};
use crate::{OpenError, StoreError};

pub(crate) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode;
    let ran_out = ran_out(path, error);
    let path = path.to_path_buf();
    if ran_out {
        return OpenError::Full { path };
    }
    if let Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) = error.sqlite_error_code() {
        let program = users(&path).unwrap_or_else(|| "another program".into());
        return OpenError::Transaction { path, program };
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, what: error.to_string() },
        _ => OpenError::Io { path, cause: error.to_string() },
    }
}

pub(crate) fn from_io(path: &Path, cause: &std::io::Error) -> OpenError {
    let path = path.to_path_buf();
    match is_no_room(cause) {
        true => OpenError::Full { path },
        false => OpenError::Io { path, cause: cause.to_string() },
    }
}

/// Creates or empties a file that nobody but the user of the process may read.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes the names in the folder of the store durable.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The path with `ending` put behind it: `wilco.db` and `.lock` give `wilco.db.lock`.
pub(crate) fn sibling_path(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Internal(error.to_string())
    }
}
