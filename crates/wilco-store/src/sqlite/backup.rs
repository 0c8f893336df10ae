//! A consistent copy of a store that may be in use.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use crate::OpenError;

/// Why a backup failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be read.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// There is a file already. A copy replaces nothing.
    #[error("{0:?} exists already; name a new file, or move this one away")]
    Exists(PathBuf),
    /// There is an unfinished copy already.
    #[error("{0:?} exists: another backup is writing it, or was cut off; if none runs, remove it")]
    Unfinished(PathBuf),
    /// The copy cannot be written.
    #[error("cannot write {path:?}: {cause}")]
    Write {
        /// The copy.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The store cannot be copied, or the copy is not whole.
    #[error("cannot copy the store: {0}")]
    Copy(rusqlite::Error),
    /// What was copied is damaged, and so is the store.
    #[error("the store is damaged: {0}; the copy was discarded")]
    Damaged(String),
}

/// Copies what `from` sees into a new file, and returns its size in bytes. The file appears under its
/// name when it is complete, checked and synced.
pub(super) fn copy(from: &Connection, to: &Path) -> Result<u64, BackupError> {
    let at = |cause| BackupError::Write { path: to.into(), cause };
    let folder = match to.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists(to.into()));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    let file = created.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Unfinished(partial.clone()),
        _ => BackupError::Write { path: partial.clone(), cause },
    })?;
    let copied = fill(from, &partial, &file).and_then(|bytes| {
        // A link, because a rename would replace a file that has come to be there meanwhile.
        fs::hard_link(&partial, to).map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(to.into()),
            _ => at(cause),
        })?;
        Ok(bytes)
    });
    fs::remove_file(&partial).map_err(at)?;
    let bytes = copied?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at)?;
    Ok(bytes)
}

fn fill(from: &Connection, to: &Path, file: &File) -> Result<u64, BackupError> {
    let at = |cause| BackupError::Write { path: to.into(), cause };
    file.set_permissions(Permissions::from_mode(0o600)).map_err(at)?;
    let mut copy = Connection::open(to).map_err(BackupError::Copy)?;
    // All pages in one step: it reads one state of the store, and no commit makes it start again.
    let step = Backup::new(from, &mut copy).and_then(|backup| backup.step(-1));
    match step.map_err(BackupError::Copy)? {
        StepResult::Done => {}
        _ => return Err(at(io::ErrorKind::ResourceBusy.into())),
    }
    drop(copy);
    check(to)?;
    file.sync_all().map_err(at)?;
    Ok(file.metadata().map_err(at)?.len())
}

/// Whether the copy is whole. `immutable`, so that it gets no log of its own.
fn check(path: &Path) -> Result<(), BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    let copy = Connection::open_with_flags(format!("{uri}?immutable=1"), flags);
    let found: String = copy
        .and_then(|copy| copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))
        .map_err(BackupError::Copy)?;
    if found == "ok" { Ok(()) } else { Err(BackupError::Damaged(found)) }
}
