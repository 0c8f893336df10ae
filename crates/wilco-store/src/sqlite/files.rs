//! The files of an open store: locked against a second process, and watched for being taken away.
//!
//! The lock is `flock` on the database file itself, so that every name of it leads to the same lock.
//! SQLite uses `fcntl` locks, which `flock` does not touch; but the kernel drops a process's `fcntl`
//! locks on a file when the process closes *any* descriptor of that file. So the descriptor here is
//! kept until the connections are closed, and nothing else opens the database file meanwhile.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{from_io, private_file, sibling_path};
use crate::OpenError;

/// A store's database file, locked for this process.
pub(crate) struct StoreFiles {
    /// The name that was configured, made absolute; symbolic links in it are kept.
    named: PathBuf,
    /// The same file without symbolic links. SQLite names its other files after this one.
    path: PathBuf,
    database: File,
    /// The shared memory and the log, once SQLite has made them.
    others: OnceLock<[(PathBuf, Identity); 2]>,
}

/// What tells one file from another, whatever it is called: device and inode.
type Identity = (u64, u64);

impl StoreFiles {
    /// Creates the file if there is none, and locks it. Waits a short time for a
    /// lock that is held, because the command line holds it for the length of a write.
    pub(super) fn lock(named: &Path, lock_wait: Duration) -> Result<Self, OpenError> {
        let at = |cause: io::Error| from_io(named, &cause);
        let deadline = Instant::now() + lock_wait;
        loop {
            let database = create(named).map_err(at)?;
            let path = named.canonicalize().map_err(at)?;
            match database.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(LOCK_RETRY);
                    continue;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(OpenError::Locked { path: named.into(), holder: holder(&path) });
                }
                Err(TryLockError::Error(cause)) => return Err(at(cause)),
            }
            let metadata = database.metadata().map_err(at)?;
            // The file may have been replaced between opening and locking it.
            if fs::metadata(named).map(|now| identity(&now)).ok() != Some(identity(&metadata)) {
                continue;
            }
            if metadata.nlink() > 1 {
                return Err(OpenError::Linked { path: named.into(), links: metadata.nlink() });
            }
            note_holder(&path);
            return Ok(Self {
                named: std::path::absolute(named).map_err(at)?,
                path,
                database,
                others: OnceLock::new(),
            });
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The first bytes of the database file, fewer than [`HEADER_BYTES`] where it is shorter.
    pub(super) fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = vec![0; HEADER_BYTES];
        let read_bytes = self.database.read_at(&mut header, 0)?;
        header.truncate(read_bytes);
        Ok(header)
    }

    /// Remembers which files SQLite has open in addition to the database.
    pub(super) fn watch(&self) -> io::Result<()> {
        let watched = |ending| {
            let path = sibling_path(&self.path, ending);
            fs::metadata(&path).map(|metadata| (path, identity(&metadata)))
        };
        // Watching begins once, when the store has been opened.
        let _ = self.others.set([watched("-shm")?, watched("-wal")?]);
        Ok(())
    }

    /// Checks that the open files are still those that their names lead to; what was written to
    /// any other would be lost at the next start. Answers the size of the log's file in bytes.
    pub(super) fn in_place(&self) -> Result<u64, String> {
        let database = self.database.metadata().map_err(|error| error.to_string())?;
        is_named(&self.named, identity(&database))?;
        let mut log_bytes = u64::MAX;
        for (path, identity) in self.others.get().into_iter().flatten() {
            // The log comes last.
            log_bytes = is_named(path, *identity)?.len();
        }
        Ok(log_bytes)
    }

    /// The copies of damaged logs that are next to the store.
    pub(super) fn kept_copies(&self) -> Vec<String> {
        let start = sibling_path(&self.path, "-wal.damaged-");
        let start = start.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let mut copies: Vec<_> = names.filter(|name| name.starts_with(&start)).collect();
        copies.sort_unstable();
        copies
    }

    /// Gives up the lock. The descriptor stays open for as long as a connection may be.
    pub(super) fn unlock(&self) {
        // Should it fail, the lock ends with the process.
        let _ = self.database.unlock();
    }
}

fn is_named(path: &Path, expected: Identity) -> Result<fs::Metadata, String> {
    match fs::metadata(path) {
        Ok(metadata) if identity(&metadata) == expected => Ok(metadata),
        Ok(_) => Err(format!("{path:?} was replaced while the store was open")),
        Err(error) => Err(format!("{path:?} was removed while the store was open: {error}")),
    }
}

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Opens the file, or creates it for the user of the process only: it holds customers' data. SQLite
/// gives its other files the same permissions.
fn create(path: &Path) -> io::Result<File> {
    File::options().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Writes the process id into a file next to the store, so that a second process can name the first.
fn note_holder(path: &Path) {
    let note = private_file(&sibling_path(path, ".lock"));
    // It is a courtesy only, and fails on a full disk.
    let _ = note.and_then(|mut file| writeln!(file, "{}", std::process::id()));
}

fn holder(path: &Path) -> String {
    let pid = fs::read_to_string(sibling_path(path, ".lock")).unwrap_or_default();
    match pid.trim() {
        "" => "another process".into(),
        pid => format!("process {pid}"),
    }
}

/// The processes, other than this one, that have the store's database or log open, as far as the
/// system tells: `process 4711 (sqlite3)`.
pub(crate) fn users(path: &Path) -> Option<String> {
    let files = [path.to_path_buf(), sibling_path(path, "-wal")];
    let own = std::process::id().to_string();
    let mut users = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let open = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        if open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| files.contains(&path)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            users.push(format!("process {pid} ({})", name.trim()));
        }
    }
    (!users.is_empty()).then(|| users.join(", "))
}

/// SQLite's header, at the start of the database file.
const HEADER_BYTES: usize = 100;
const LOCK_RETRY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done to the files, and what is reported.
    type Case = (fn(&Path), &'static str);

    #[test]
    fn removed_files_are_noticed() {
        let cases: &[Case] = &[
            (|_| {}, ""),
            (|folder| fs::write(folder.join("other"), "x").unwrap(), ""),
            (|folder| fs::remove_file(folder.join("wilco.db")).unwrap(), "wilco.db\" was removed"),
            (|folder| fs::remove_file(folder.join("wilco.db-wal")).unwrap(), "-wal\" was removed"),
            (|folder| fs::remove_file(folder.join("wilco.db-shm")).unwrap(), "-shm\" was removed"),
            (|folder| fs::remove_dir_all(folder).unwrap(), "wilco.db\" was removed"),
            (|folder| fs::rename(folder, folder.with_extension("old")).unwrap(), "was removed"),
            (
                |folder| {
                    fs::copy(folder.join("wilco.db"), folder.join("backup")).unwrap();
                    fs::rename(folder.join("backup"), folder.join("wilco.db")).unwrap();
                },
                "wilco.db\" was replaced",
            ),
            (
                |folder| {
                    fs::rename(folder, folder.with_extension("old")).unwrap();
                    fs::create_dir(folder).unwrap();
                    fs::write(folder.join("wilco.db"), "").unwrap();
                },
                "wilco.db\" was replaced",
            ),
        ];
        for (number, (change, expected)) in cases.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join("store");
            fs::create_dir(&folder).unwrap();
            let files = StoreFiles::lock(&folder.join("wilco.db"), Duration::ZERO).unwrap();
            for other in ["wilco.db-wal", "wilco.db-shm"] {
                fs::write(folder.join(other), "").unwrap();
            }
            files.watch().unwrap();
            change(&folder);
            match (expected.is_empty(), files.in_place()) {
                (true, Ok(_)) => {}
                (false, Err(said)) => assert!(said.contains(expected), "case {number}: {said}"),
                (_, other) => panic!("case {number}: {other:?}"),
            }
        }
    }
}
