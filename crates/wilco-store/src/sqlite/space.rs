//! The room that is left on the disk.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::StoreError;

/// Free space of the file system and the reserve that is kept of it, in bytes.
pub(crate) struct Space {
    folder: PathBuf,
    reserve: u64,
    free: AtomicU64,
    is_low: AtomicBool,
}

impl Space {
    pub(super) fn of(store: &Path, reserve: u64) -> Self {
        let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty());
        let space = Self {
            folder: folder.unwrap_or(Path::new(".")).into(),
            reserve,
            free: AtomicU64::new(u64::MAX),
            is_low: AtomicBool::new(false),
        };
        space.measure();
        space
    }

    /// Asks the file system. The writing thread does so after each batch.
    pub(super) fn measure(&self) {
        if let Ok(stat) = rustix::fs::statvfs(&self.folder) {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            self.free.store(free, Ordering::Relaxed);
            self.is_low.store(free < self.reserve, Ordering::Relaxed);
        }
    }

    /// Once it was low, every request asks again, so that the first one after space has returned
    /// is taken.
    pub(super) fn demand(&self) -> Result<(), StoreError> {
        if self.is_low.load(Ordering::Relaxed) {
            self.measure();
        }
        if self.is_low.load(Ordering::Relaxed) {
            return Err(StoreError::Full { reserve: Some(self.reserve) });
        }
        Ok(())
    }

    pub(super) fn free(&self) -> u64 {
        self.measure();
        self.free.load(Ordering::Relaxed)
    }
}
