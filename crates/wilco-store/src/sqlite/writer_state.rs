//! What the writing thread keeps from one write to the next. Each verb is a method of it.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::Connection;
use wilco::Event;

use super::{BatchMatches, DamagedEvent, KeptRejections, LatestEvents, LeaseChanges};

/// What the writing thread keeps from one write to the next.
pub(crate) struct WriterState {
    pub(super) connection: Connection,
    /// The place of the newest event, or the number of the newest change of a delivery.
    pub(super) last_seq: i64,
    /// The largest number of a large body.
    pub(super) last_chunks: i64,
    /// The number of the large body that was begun last. Its event may still come; that of an earlier one has come,
    /// or never will.
    pub(super) recorded_chunks: Option<i64>,
    /// Every event up to this place is routed.
    pub(super) routed_through: i64,
    /// How duplicates are detected.
    pub(super) latest_events: LatestEvents,
    /// How many rejections are kept; counted again after a batch that failed.
    pub(super) rejections_kept: Option<KeptRejections>,
    pub(super) changes: Changes,
    /// The log is to be copied into the database after the current batch, while events are recorded.
    pub(super) log_is_to_be_copied: bool,
    /// The log is to be emptied after the current batch.
    pub(super) log_is_to_be_emptied: bool,
    /// Whether that was possible when it was tried last.
    pub(super) log_was_emptied: bool,
}

/// What a batch changes besides its rows, published once it is committed.
#[derive(Default)]
pub(crate) struct Changes {
    /// Events that were recorded.
    pub(super) recorded: Vec<Arc<Event>>,
    /// Secrets that matched; written at the end of the transaction.
    pub(super) matches: BatchMatches,
    /// Places of events whose payload was removed.
    pub(super) removed: Vec<i64>,
    /// Numbers of large bodies that no event has any more.
    pub(super) unused_chunks: Vec<i64>,
    /// Events that were not known to be damaged.
    pub(super) found_damaged: Vec<DamagedEvent>,
    /// Destinations for which something is due.
    pub(super) to_wake: BTreeSet<String>,
    /// Claims that were made or have ended.
    pub(super) leases: LeaseChanges,
}
