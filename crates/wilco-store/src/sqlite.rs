//! The store that users run: SQLite with one writing thread and group commit.

mod accept;
mod admin;
mod audit;
mod backfill;
mod backup;
mod cancel;
mod check;
mod checkpointer;
mod checksum;
mod chunks;
mod claim;
mod claimed;
mod damage;
mod deliveries;
mod due_again;
mod erase;
mod fan_out;
mod files;
mod ids;
mod inbound;
mod latest_events;
mod leases;
mod mark_damaged;
mod match_counts;
mod open;
mod opening;
mod options;
mod outbound;
mod overwrite;
mod paths;
mod pause;
mod prune;
mod queue;
mod readers;
mod reads;
mod recent;
mod record;
mod record_alert;
mod record_large;
mod reject;
mod release_keys;
mod replay;
mod retry_now;
mod scrub;
mod select_erased;
mod settle;
mod shared;
mod slicing;
mod space;
mod status;
mod unfinished;
mod wal;
mod writer;
mod writer_state;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{Clock, OpenError, Store, StoreError, rules::whole_millis};
pub(super) use accept::{Acceptance, Search};
pub(super) use audit::audit_entries;
pub(super) use backfill::{backfills, gaps};
pub use backup::BackupError;
pub(super) use check::{
    Due, Running as RunningCheck, Unchecked, is_damage, require_whole, stop_at_damage,
};
pub(super) use checkpointer::{Checkpointer, leave_log};
pub(super) use checksum::{Checksums, Head, Unsealed};
pub(super) use chunks::{CHUNKS_PER_COMMIT, ChunkReader, chunk_count, each_chunk, partial_bodies};
pub(super) use claim::Taken;
pub(super) use damage::{Damage, is_damaged, mend};
pub(super) use deliveries::{Ended, ended};
pub(super) use files::{StoreFiles, users};
pub(super) use ids::{
    TAIL_BITS, bad_column, digest_of, id_at, id_of, instant, origin_of, seq_at, seq_of, time_of,
};
pub(super) use inbound::unread;
pub(super) use latest_events::{Keys, LatestEvents, earlier};
pub(super) use leases::{AttemptId, Lease, LeaseChanges, Leases};
pub(super) use mark_damaged::{DamagedEvent, RECORD_DAMAGED, log_damaged};
pub(super) use match_counts::{BatchMatches, secret_matches};
pub(super) use open::open as open_file;
pub(super) use opening::Opening;
pub use options::{Limits, Options};
pub(super) use paths::{from_io, from_sqlite, private_file, sibling_path, sync_folder};
pub(super) use queue::{Batch, Job, Kind, Queue, REPAIR_PAUSE};
pub(super) use readers::Readers;
pub(super) use reads::{
    Budget, EVENT, Part, changes, checked, contents, counts, damaged_events, destination_status,
    earliest_due, event_summary, events, failed_events, failure_groups, intact, is_intact,
    last_of_sources, last_received, newest_position, next_due, position_before, rejection,
    rejections, show, show_summary, state_of, unfinished, unrouted,
};
pub(super) use recent::RecentEvents;
pub(super) use record::{Prepared, id_bits};
pub(super) use record_large::{RecordLarge, RemovePartial};
pub(super) use reject::{KeptRejections, rejection_seq};
pub(super) use scrub::Scrub;
pub(super) use shared::Shared;
pub(super) use slicing::{SliceBudget, row_limit, slices};
pub(super) use space::{Space, is_no_room, ran_out};
use unfinished::UnfinishedCount;
pub(super) use wal::{Checkpoint, LOCK_WAIT, Wal};
use writer::Writer;
pub(super) use writer::{AbortOnPanic, submit};
pub(super) use writer_state::{Changes, WriterState};

/// A store in one SQLite file.
///
/// One thread owns the connection that writes; whatever waits for it is committed together, with
/// `synchronous=FULL`. One process uses the file at a time, which holds a lock on it.
pub struct SqliteStore {
    writer: Writer,
    /// For routing and deliveries.
    readers: Arc<Readers>,
    /// For people and metrics, whose questions may take long.
    query_readers: Arc<Readers>,
    chunk_reader: Arc<ChunkReader>,
    thread: Mutex<Option<JoinHandle<()>>>,
    check: Arc<Mutex<Option<RunningCheck>>>,
    unfinished: UnfinishedCount,
    clock: Arc<dyn Clock>,
    limits: Limits,
    is_read_only: bool,
}

impl SqliteStore {
    /// Opens the store at `url`, which is `sqlite:` and a path, and makes it where there is none.
    /// Whatever the last process left half done is brought in order before this returns: the WAL is
    /// checkpointed and emptied, and deliveries that were running are made due. After an unclean stop
    /// the file is checked: a small one before that, a large one while it is in use; if damage is
    /// found then, the store latches.
    ///
    /// Where the disk is full, or another program's read transaction keeps the WAL from being
    /// emptied, this returns a store that answers every call with [`StoreError::Opening`] until that
    /// has passed; it retries automatically.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what to do.
    pub fn open(url: &str, options: Options, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let path = Self::path(url)?;
        let at = |cause: std::io::Error| from_io(&path, &cause);
        let space = Space::of(&path, options.reserve).map_err(at)?;
        if let Err(error) = space.require() {
            tracing::warn!(%error, free_bytes = space.free_bytes(), "not accepting events");
        }
        let limits = options.limits.at_least_one();
        let shared = Arc::new(Shared::new(space));
        let readers = Arc::new(Readers::of(&shared));
        let query_readers = Arc::new(Readers::of(&shared));
        let chunk_reader = Arc::<ChunkReader>::default();
        let check = Arc::default();
        let opening = Opening {
            path: path.clone(),
            clock: Arc::clone(&clock),
            shared: Arc::clone(&shared),
            queue: Arc::default(),
            scrub_after: options.scrub_after,
            limits,
            readers: Arc::clone(&readers),
            query_readers: Arc::clone(&query_readers),
            chunk_reader: Arc::clone(&chunk_reader),
            check: Arc::clone(&check),
        };
        let (writer, thread) = Writer::start(opening, shared, options.observer)?;
        Ok(Self {
            check,
            writer,
            readers,
            query_readers,
            chunk_reader,
            thread: Mutex::new(Some(thread)),
            unfinished: UnfinishedCount::default(),
            clock,
            limits,
            is_read_only: false,
        })
    }

    /// Opens the store at `url` read-only, while others may have it open. It takes no lock that
    /// could keep a server from starting, and every method that writes fails.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what to do.
    pub fn open_read_only(url: &str, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let path = Self::path(url)?;
        let space = Space::of(&path, 0).map_err(|cause| from_io(&path, &cause))?;
        let shared = Arc::new(Shared::new(space));
        let readers = Arc::new(Readers::of(&shared));
        readers.add(vec![open::open_to_read(&path)?]);
        let chunk_reader = Arc::<ChunkReader>::default();
        chunk_reader.open(open::open_to_read(&path)?);
        Ok(Self {
            writer: Writer::none(shared),
            query_readers: Arc::clone(&readers),
            readers,
            chunk_reader,
            thread: Mutex::default(),
            check: Arc::default(),
            unfinished: UnfinishedCount::default(),
            clock,
            limits: Limits::default(),
            is_read_only: true,
        })
    }

    /// Writes a consistent copy of the store at `url` to the new file `to`, with mode 0600, and returns
    /// its size in bytes. The store may be in use: events are recorded meanwhile, and those committed
    /// before this began are in the copy. When this returns `Ok`, the copy is checked and synced.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; then no file `to` is left, unless it existed before.
    pub fn back_up(url: &str, to: &Path) -> Result<u64, BackupError> {
        backup::copy(&open::open_to_read(&Self::path(url)?)?, to)
    }

    /// Repeats a write that changes at most as many rows as it is given, until it has changed fewer.
    /// Returns how many it has changed, all together.
    async fn write_in_slices(
        &self,
        work: impl FnMut(&mut WriterState, usize) -> rusqlite::Result<usize> + Clone + Send + 'static,
    ) -> Result<usize, StoreError> {
        let rows_max = self.limits.write_rows;
        let mut changed = 0;
        loop {
            let mut work = work.clone();
            let slice = move |state: &mut WriterState| work(state, rows_max);
            let rows = self.writer.write(Kind::Delivery, slice).await?;
            changed += rows;
            if rows < rows_max {
                return Ok(changed);
            }
        }
    }

    /// The time of its clock, as it is kept.
    fn now(&self) -> Timestamp {
        whole_millis(self.clock.now())
    }

    /// The file that a store's URL names.
    ///
    /// # Errors
    ///
    /// [`OpenError::Url`] where it is not `sqlite:` and a path.
    pub fn path(url: &str) -> Result<PathBuf, OpenError> {
        match url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() && !path.starts_with(':') && !path.contains('?') => {
                Ok(path.into())
            }
            _ => Err(OpenError::Url(url.into())),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn latch(&self, cause: &str) {
        // It is logged there; the error is for writes that find the store so.
        let _ = self.writer.shared().latch(cause);
    }

    async fn close(&self) -> Result<(), StoreError> {
        // While it reads, the WAL could not be emptied.
        drop(self.check.lock().unwrap_or_else(PoisonError::into_inner).take());
        let stopped = match self.is_read_only {
            true => Ok(()),
            false => self.writer.stop().await,
        };
        self.readers.close();
        self.query_readers.close();
        self.chunk_reader.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has answered, so it is at its end.
        let _ = thread.map(JoinHandle::join);
        if let Some(files) = self.writer.shared().files.get() {
            files.unlock();
        }
        stopped
    }
}

/// Of the connections that read, those for routing and deliveries.
const DELIVERY_READERS: usize = 2;

#[cfg(test)]
pub(crate) mod tests;
