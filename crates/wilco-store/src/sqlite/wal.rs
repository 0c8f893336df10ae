//! The write-ahead log: how long it is, and when it is copied into the database.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use rusqlite::Connection;
use tokio::time::Instant;

use super::{Checkpointer, Shared, StoreFiles, leave_log, users};
use crate::StoreError;

/// What `PRAGMA wal_checkpoint` answers. A checkpoint that does less than
/// requested does not fail, so all of this has to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// A reader or another writer kept it from being completed.
    pub(super) is_busy: bool,
    /// Frames in the log.
    pub(super) frames: u64,
    /// How many of them have been copied into the database.
    pub(super) copied: u64,
}

impl Checkpoint {
    /// Copies the log into the database and empties it. Waits for readers, but not longer than this.
    pub(super) fn truncate(connection: &Connection, wait: Duration) -> rusqlite::Result<Self> {
        connection.busy_timeout(wait)?;
        let truncated = Self::run(connection, "TRUNCATE");
        connection.busy_timeout(LOCK_WAIT)?;
        truncated
    }

    /// Copies what it can without waiting, and leaves the log as long as it is.
    pub(super) fn passive(connection: &Connection) -> rusqlite::Result<Self> {
        Self::run(connection, "PASSIVE")
    }

    /// Changes nothing.
    pub(super) fn look(connection: &Connection) -> rusqlite::Result<Self> {
        Self::run(connection, "NOOP")
    }

    fn run(connection: &Connection, mode: &str) -> rusqlite::Result<Self> {
        connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?.query_row([], |row| {
            // SQLite returns -1 if the log does not exist.
            let count = |column| row.get(column).map(|count: i64| count.max(0).unsigned_abs());
            Ok(Self { is_busy: row.get::<_, i64>(0)? != 0, frames: count(1)?, copied: count(2)? })
        })
    }

    /// Frames that are in the log only.
    pub(super) fn pending(self) -> u64 {
        self.frames.saturating_sub(self.copied)
    }
}

/// What the writing thread knows of the log.
pub(crate) struct Wal {
    checkpointer: Checkpointer,
    frame_bytes: u64,
    /// As it was looked at last.
    frames: u64,
    /// Its frames when a checkpoint was tried last.
    tried_frames: u64,
    /// When one was tried last because space had run short.
    tried_at: Option<Instant>,
    warned_at: Option<Instant>,
}

impl Wal {
    pub(super) fn of(connection: &Connection, checkpointer: Checkpointer) -> Self {
        let page_bytes = connection.query_row("PRAGMA page_size", [], |row| row.get(0));
        Self {
            checkpointer,
            frame_bytes: page_bytes.unwrap_or(0) + FRAME_HEADER_BYTES,
            frames: 0,
            tried_frames: 0,
            tried_at: None,
            warned_at: None,
        }
    }

    pub(super) fn look(
        &mut self,
        connection: &Connection,
        shared: &Shared,
    ) -> Result<Checkpoint, StoreError> {
        let found = Checkpoint::look(connection).map_err(|error| shared.judge(&error))?;
        self.frames = found.frames;
        shared.wal_bytes.store(self.bytes(), Ordering::Relaxed);
        Ok(found)
    }

    /// Latches the store where its files are not those any more that their names lead to, or the log
    /// is shorter than what was written to it.
    pub(super) fn require_in_place(
        &mut self,
        connection: &Connection,
        shared: &Shared,
    ) -> Result<(), StoreError> {
        let Some(files) = shared.files.get() else { return Ok(()) };
        let file_bytes = files.in_place().map_err(|cause| shared.latch(&cause))?;
        if file_bytes < self.bytes() {
            // Another program may have emptied it in due form.
            self.look(connection, shared)?;
        }
        if file_bytes < self.bytes() {
            return Err(shared.latch("the write-ahead log was cut short by another program"));
        }
        Ok(())
    }

    /// Copies the log into the database when it has grown, and gives its space back when that is
    /// needed. A reader can keep it from being emptied: our own never do so for long, another
    /// program's is warned of.
    pub(super) fn tend(&mut self, connection: &Connection, shared: &Shared) {
        if shared.require_sound().is_err() {
            return;
        }
        let Ok(found) = self.look(connection, shared) else { return };
        if found.frames < self.tried_frames {
            self.tried_frames = 0;
        }
        let is_long = self.bytes() >= WAL_LONG_BYTES;
        let grown_bytes = (found.frames - self.tried_frames) * self.frame_bytes;
        let is_grown = grown_bytes >= CHECKPOINT_BYTES;
        let is_wanted = self.is_wanted(shared);
        let done = if is_wanted || (is_grown && is_long) {
            if is_wanted {
                self.tried_at = Some(Instant::now());
            }
            self.checkpointer.rest();
            Checkpoint::truncate(connection, CHECKPOINT_WAIT)
        } else if self.checkpointer.has_copied() || grown_bytes >= CHECKPOINT_BYTES_MAX {
            self.checkpointer.rest();
            Checkpoint::passive(connection)
        } else {
            if is_grown && found.pending() > 0 {
                self.checkpointer.begin();
            }
            return;
        };
        self.tried_frames = found.frames;
        match done {
            Ok(done) if done.is_busy && is_long => self.warn(|wal_bytes| {
                let path = shared.files.get().map_or(Path::new(""), StoreFiles::path);
                tracing::warn!(
                    wal_bytes,
                    reader = users(path),
                    "the write-ahead log cannot be emptied while another program reads the store"
                );
            }),
            Ok(_) => {}
            Err(error) => {
                let error = shared.judge(&error);
                self.warn(|_| tracing::warn!(%error, "the write-ahead log could not be emptied"));
            }
        }
        // Where it fails, the store has latched or the next batch meets the same error.
        let _ = self.look(connection, shared);
    }

    /// Begins to copy the log into the database, by another thread.
    pub(super) fn copy(&self) {
        self.checkpointer.begin();
    }

    /// Empties the log now, and says whether that was possible.
    pub(super) fn empty(&mut self, connection: &Connection, shared: &Shared) -> bool {
        if shared.require_sound().is_err() {
            return false;
        }
        self.checkpointer.rest();
        let done = Checkpoint::truncate(connection, CHECKPOINT_WAIT);
        let done = done.map_err(|error| shared.judge(&error));
        // Where it fails, the store has latched or the next batch meets the same error.
        let _ = self.look(connection, shared);
        done.is_ok_and(|done| !done.is_busy)
    }

    /// Empties the log for the last time.
    pub(super) fn close(self, connection: &Connection, shared: &Shared) {
        self.checkpointer.rest();
        if shared.require_sound().is_ok() {
            match Checkpoint::truncate(connection, CLOSE_WAIT) {
                Ok(Checkpoint { is_busy: false, .. }) => return,
                Ok(Checkpoint { is_busy: true, .. }) => {
                    tracing::warn!(
                        "the write-ahead log could not be emptied while another program reads the \
                         store; the next start does it"
                    );
                    return;
                }
                Err(error) => {
                    let error = shared.judge(&error);
                    tracing::warn!(%error, "the write-ahead log could not be emptied");
                }
            }
        }
        if let Err(error) = leave_log(connection) {
            tracing::warn!(%error, "closing the store may touch its log");
        }
    }

    fn bytes(&self) -> u64 {
        self.frames * self.frame_bytes
    }

    /// Whether the space that the log takes is needed for something else.
    fn is_wanted(&self, shared: &Shared) -> bool {
        let space = &shared.space;
        let is_short = space.is_low() || space.is_full() || shared.is_wal_full();
        let is_due = self.tried_at.is_none_or(|tried_at| tried_at.elapsed() > SHORT_RETRY);
        let file_bytes = || {
            let files = shared.files.get();
            files.and_then(|files| files.in_place().ok()).unwrap_or(self.bytes())
        };
        is_short && is_due && file_bytes() > WAL_SHORT_BYTES
    }

    /// Says something that may stay so for a long time, once in a while.
    fn warn(&mut self, say: impl FnOnce(u64)) {
        if self.warned_at.is_none_or(|warned_at| warned_at.elapsed() > WARN_EVERY) {
            self.warned_at = Some(Instant::now());
            say(self.bytes());
        }
    }
}

/// How long a write waits while another program has the write lock.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Bytes by which the log grows before it is copied into the database.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// Bytes by which it grows at most while it is being copied; then commits wait.
pub(crate) const CHECKPOINT_BYTES_MAX: u64 = 32 << 20;
/// A log of this many bytes is kept from shrinking by a reader: above it, checkpoints wait for readers.
const WAL_LONG_BYTES: u64 = 64 << 20;
/// Bytes of the log that are not checkpointed even when space has run short.
const WAL_SHORT_BYTES: u64 = 1 << 20;
/// Between two tries to empty the log while space is short.
const SHORT_RETRY: Duration = Duration::from_secs(1);
/// How long the writing thread waits for readers when it empties the log.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(100);
/// The same, when the store is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
const WARN_EVERY: Duration = Duration::from_secs(60);
/// SQLite's header of each page in the log.
const FRAME_HEADER_BYTES: u64 = 24;
