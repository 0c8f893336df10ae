//! What the writing thread keeps from one write to the next. Each verb is a method of it.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::Connection;
use wilco::Event;

use super::{DamagedEvent, LatestEvents, LeaseChanges};

/// What the writing thread keeps from one write to the next.
pub(crate) struct WriterState {
    pub(super) connection: Connection,
    /// The place of the newest event.
    pub(super) last_seq: i64,
    /// Every event up to this place is routed.
    pub(super) routed_through: i64,
    /// Events that this batch records.
    pub(super) recorded: Vec<Arc<Event>>,
    /// How duplicates are detected.
    pub(super) latest_events: LatestEvents,
    /// Events that this batch is the first to note as damaged.
    pub(super) found_damaged: Vec<DamagedEvent>,
    /// Destinations for which this batch made something due.
    pub(super) to_wake: BTreeSet<String>,
    /// Claims that this batch makes and ends.
    pub(super) leases: LeaseChanges,
    /// Bytes of the rejections that are kept; counted again after a batch that failed.
    pub(super) rejected_bytes: Option<u64>,
}
