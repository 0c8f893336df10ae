//! Free space: how much of it is left, and whether a failed write failed for lack of it.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use rusqlite::{ErrorCode, ffi};

use super::{private_file, sibling_path};
use crate::StoreError;

/// Free space of the file system and the reserve that is kept of it, in bytes.
pub(crate) struct Space {
    store: PathBuf,
    folder: PathBuf,
    reserve: u64,
    free: AtomicU64,
    is_low: AtomicBool,
    /// The last commit failed for lack of space.
    is_full: AtomicBool,
}

impl Space {
    /// Takes the first measurement.
    ///
    /// # Errors
    ///
    /// Where the file system cannot be asked.
    pub(super) fn of(store: &Path, reserve: u64) -> io::Result<Self> {
        // A link to the file may lead to another file system than that of its folder.
        let store = store.canonicalize().unwrap_or_else(|_| store.into());
        let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty());
        let space = Self {
            folder: folder.unwrap_or(Path::new(".")).into(),
            store,
            reserve,
            free: AtomicU64::new(u64::MAX),
            is_low: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        };
        space.measure()?;
        Ok(space)
    }

    /// Asks the file system. The writing thread does so after each batch.
    ///
    /// # Errors
    ///
    /// Where it does not answer: the folder is gone, or the disk.
    pub(super) fn measure(&self) -> io::Result<()> {
        let stat = rustix::fs::statvfs(&self.folder)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        self.free.store(free, Ordering::Relaxed);
        self.is_low.store(free < self.reserve, Ordering::Relaxed);
        Ok(())
    }

    /// Once it was low, every request asks again, so that the first one after space has returned
    /// is taken.
    pub(super) fn require(&self) -> Result<(), StoreError> {
        if self.is_low() {
            self.measure().map_err(|error| StoreError::Internal(error.to_string()))?;
        }
        if self.is_low() {
            return Err(StoreError::Full { reserve: Some(self.reserve) });
        }
        Ok(())
    }

    /// Whether there is space for a body that nobody has verified: it must not be what makes verified
    /// events be refused.
    pub(super) fn require_for_spool(&self) -> Result<(), StoreError> {
        self.measure().map_err(|error| StoreError::Internal(error.to_string()))?;
        let reserve = self.reserve.saturating_mul(SPOOL_RESERVES);
        match self.free.load(Ordering::Relaxed) < reserve {
            true => Err(StoreError::Full { reserve: Some(reserve) }),
            false => Ok(()),
        }
    }

    /// The folder of the store.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Notes whether the last commit failed for lack of space.
    pub(super) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    pub(super) fn free_bytes(&self) -> u64 {
        // If the system cannot say, the last answer is kept; a commit reports the error.
        let _ = self.measure();
        self.free.load(Ordering::Relaxed)
    }

    pub(super) fn reserve_bytes(&self) -> u64 {
        self.reserve
    }

    /// Size of the store without its write-ahead log; 0 if the system cannot say.
    pub(super) fn store_bytes(&self) -> u64 {
        fs::metadata(&self.store).map_or(0, |metadata| metadata.len())
    }

    /// Whether a statement failed for lack of space, which is temporary.
    pub(super) fn ran_out(&self, error: &rusqlite::Error) -> bool {
        ran_out(&self.store, error)
    }
}

/// Whether an operation on the store failed for lack of space. SQLite reports `ENOSPC` on the log
/// or the database as such, but an exceeded quota as any failed write, and no room for the shared
/// memory as an error of its own kind; a test write tells a full disk from a failing one.
pub(crate) fn ran_out(store: &Path, error: &rusqlite::Error) -> bool {
    let Some(error) = error.sqlite_error() else { return false };
    match (error.code, error.extended_code) {
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => true,
        (_, ffi::SQLITE_IOERR_WRITE) | (ErrorCode::CannotOpen, _) => has_no_room(store),
        // A failed sync leaves it open what the disk holds, even if the cause was lack of space.
        _ => false,
    }
}

/// Writes a small file next to the store to learn whether there is room for one.
fn has_no_room(store: &Path) -> bool {
    let path = sibling_path(store, "-probe");
    let written = private_file(&path).and_then(|mut file| file.write_all(&[0x5a; PROBE_BYTES]));
    // It is overwritten by the next try where it could not be removed.
    let _ = fs::remove_file(&path);
    written.is_err_and(|error| is_no_room(&error))
}

pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Large bodies that are not verified yet leave this multiple of the reserve free.
const SPOOL_RESERVES: u64 = 2;
/// Bytes of the file that is written to learn whether there is room.
const PROBE_BYTES: usize = 64 << 10;
