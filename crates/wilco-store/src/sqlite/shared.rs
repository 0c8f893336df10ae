//! What the writing thread and its callers both see: whether the store is open, full, or latched.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rusqlite::ErrorCode;

use super::{Leases, RecentEvents, Space, StoreFiles};
use crate::{StoreError, Usage, WAL_BYTES_MAX, Wakers};

/// What the writing thread and its callers both see.
pub(crate) struct Shared {
    pub(super) wakers: Wakers,
    pub(super) space: Space,
    pub(super) recent_events: RecentEvents,
    pub(super) leases: Leases,
    /// Set when the store has been opened.
    pub(super) files: OnceLock<StoreFiles>,
    /// Bytes of the frames in the write-ahead log.
    pub(super) wal_bytes: AtomicU64,
    /// Commits that damage in the log had taken when the store was opened.
    pub(super) lost_commits: AtomicU64,
    /// Why the store is not open yet.
    opening: Mutex<Option<String>>,
    latched: OnceLock<String>,
    /// Another program had the write lock when it was last tried.
    pub(super) is_locked: AtomicBool,
}

impl Shared {
    pub(super) fn new(space: Space) -> Self {
        Self {
            wakers: Wakers::default(),
            space,
            recent_events: RecentEvents::new(),
            leases: Leases::default(),
            files: OnceLock::new(),
            wal_bytes: AtomicU64::new(0),
            lost_commits: AtomicU64::new(0),
            opening: Mutex::default(),
            latched: OnceLock::new(),
            is_locked: AtomicBool::new(false),
        }
    }

    /// Stops the store for good: nothing is acknowledged any more.
    pub(super) fn latch(&self, cause: &str) -> StoreError {
        let cause = self.latched.get_or_init(|| cause.to_owned());
        tracing::error!(%cause, "the store stops: nothing is acknowledged any more");
        self.wakers.failed.notify_one();
        StoreError::Latched(cause.clone())
    }

    pub(super) fn require_sound(&self) -> Result<(), StoreError> {
        match self.latched.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Latched(cause.clone())),
        }
    }

    pub(super) fn require_opened(&self) -> Result<(), StoreError> {
        match self.opening.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Opening(cause.clone())),
        }
    }

    /// Lack of space is temporary. After any other I/O error it is unknown what the disk holds, and
    /// SQLite would continue as if nothing had happened; so the store stops for good.
    pub(super) fn judge(&self, error: &rusqlite::Error) -> StoreError {
        if self.space.ran_out(error) {
            return StoreError::Full { reserve: None };
        }
        match error.sqlite_error_code() {
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen,
            ) => self.latch(&error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
            _ => StoreError::Internal(error.to_string()),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            free_bytes: self.space.free_bytes(),
            reserve_bytes: self.space.reserve_bytes(),
            store_bytes: self.space.store_bytes(),
            wal_bytes: self.wal_bytes.load(Ordering::Relaxed),
            lost_commits: self.lost_commits.load(Ordering::Relaxed),
        }
    }

    pub(super) fn is_wal_full(&self) -> bool {
        self.wal_bytes.load(Ordering::Relaxed) > WAL_BYTES_MAX
    }

    pub(super) fn set_opening(&self, cause: Option<String>) {
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}
