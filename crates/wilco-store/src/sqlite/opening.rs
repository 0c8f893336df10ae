//! Opening the store for the writing thread, now or as soon as that is possible.
//!
//! On a full disk, or while another program's read transaction keeps the log from being emptied,
//! a store cannot be opened. That passes, so the endpoint answers 503 meanwhile instead of being
//! down, and the writing thread tries again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use super::{
    Changes, Checkpointer, ChunkReader, DELIVERY_READERS, LatestEvents, Limits, Queue, Readers,
    RemovePartial, RunningCheck, Scrub, Shared, Wal, WriterState, from_io, from_sqlite, open_file,
    partial_bodies,
};
use crate::{Clock, OpenError};

/// What it takes to open a store.
pub(crate) struct Opening {
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    pub(super) scrub_after: Duration,
    pub(super) limits: Limits,
    pub(super) readers: Arc<Readers>,
    pub(super) query_readers: Arc<Readers>,
    pub(super) chunk_reader: Arc<ChunkReader>,
    pub(super) check: Arc<Mutex<Option<RunningCheck>>>,
}

impl Opening {
    pub(super) fn try_open(&self) -> Result<(WriterState, Wal), OpenError> {
        let path = &self.path;
        let at = |error: rusqlite::Error| from_sqlite(path, &error);
        let mut opened = open_file(path, &self.limits)?;
        let query_readers = opened.reading.split_off(DELIVERY_READERS);
        let (last_event, last_change, routed_through): (i64, i64, i64) = opened
            .writing
            .query_row(
                // An id never goes back behind what was routed, not even if events were removed.
                "SELECT max((SELECT coalesce(max(seq), 0) FROM event), routed_through, \
                 indexed_through, pruned_through, last_change), (SELECT coalesce(max(changed), 0) FROM delivery), \
                 routed_through FROM progress",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .map_err(at)?;
        let checkpointer = Checkpointer::start(opened.copying, Arc::clone(&self.shared));
        let checkpointer = checkpointer.map_err(|cause| from_io(path, &cause))?;
        let wal = Wal::of(&opened.writing, checkpointer);
        let (partial, last_chunks) = partial_bodies(&opened.writing).map_err(at)?;
        partial.into_iter().for_each(|chunks| RemovePartial::begin(&self.queue, chunks));
        self.chunk_reader.open(opened.reading_chunks);
        let mut state = WriterState {
            last_chunks,
            recorded_chunks: None,
            latest_events: LatestEvents::load(&opened.writing, self.limits).map_err(at)?,
            connection: opened.writing,
            last_seq: last_event.max(last_change),
            routed_through,
            rejections_kept: None,
            changes: Changes::default(),
            log_is_to_be_copied: false,
            log_is_to_be_emptied: false,
            log_was_emptied: false,
        };
        let recovered = state.recover(self.clock.now()).map_err(at)?;
        if recovered > 0 {
            tracing::info!(recovered, "interrupted deliveries are retried");
        }
        let scrub = Scrub {
            connection: opened.scrubbing,
            path: opened.files.path().to_path_buf(),
            queue: Arc::clone(&self.queue),
            after: self.scrub_after,
            limits: self.limits,
        };
        let check = RunningCheck::start(opened.unchecked, scrub, Arc::clone(&self.shared));
        let check = check.map_err(|cause| from_io(path, &cause))?;
        *self.check.lock().unwrap_or_else(PoisonError::into_inner) = Some(check);
        self.shared.recent_events.begin(last_event, routed_through);
        self.shared.lost_commits.store(opened.lost_commits as u64, Ordering::Relaxed);
        self.readers.add(opened.reading);
        self.query_readers.add(query_readers);
        // Opening succeeds once, so the place is free.
        let _ = self.shared.files.set(opened.files);
        Ok((state, wal))
    }
}
