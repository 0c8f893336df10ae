//! The store: what the two halves of wilco share.
//!
//! The inbound half writes one thing here, a verified event, and gets a [`Receipt`]: proof that the
//! event is durable, without which nothing is acknowledged. The outbound half asks which events are
//! not routed yet and which deliveries are due, and writes the outcomes. The halves share nothing
//! else, and each sees only its own part of the store:
//!
//! ```text
//!   inbound ──▶ InboundStore     record ──▶ Receipt, reject, set_secrets
//!   outbound ─▶ OutboundStore    unrouted ──▶ fan_out, claim ──▶ Claim ──▶ settle
//!   admin ────▶ AdminStore       events, event, changes, replay, cancel, pause,
//!                              rejections, accept, secret_matches
//!   backfill ─▶ BackfillStore    covered_through, missing, ask_again, record_proven,
//!                              end_round
//!   retention ▶ RetentionStore   prune
//! ```
//!
//! [`Store`] is all of them, and what the service does with a whole store: latch it, close it.
//!
//! **What is durable when.** [`InboundStore::record`], [`OutboundStore::fan_out`],
//! [`OutboundStore::claim`] and [`OutboundStore::settle`] answer `Ok` only after their transaction
//! has been synced to the disk. An `Err` of `record` means that the outcome may be unknown: the
//! sender must be told to try again, and the duplicate rule absorbs the resend.
//! [`InboundStore::reject`] promises nothing.
//!
//! [`SqliteStore`] is the store that users run. [`MemoryStore`] is the model that it is compared
//! with: both pass the same suite.

mod admin;
mod audit;
mod backfill;
mod batch;
mod changes;
mod clock;
mod delivery;
mod erasure;
mod error;
mod failure;
mod inbound;
mod memory;
mod outbound;
mod query;
mod rejection;
mod retention;
mod rules;
mod search;
mod spool;
mod sqlite;
mod status;
#[cfg(test)]
#[path = "../tests/conformance/support.rs"]
mod support;
mod wakers;

// The tests' support names this crate as a test outside does.
#[cfg(test)]
extern crate self as wilco_store;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use wilco::EventId;

pub use admin::AdminStore;
pub use audit::{AUDIT_ENTRIES_MAX, AuditEntry};
pub use backfill::{
    AWAITED_MAX, BackfillStatus, BackfillStore, GAPS_MAX, Gap, GapQuery, REDELIVERIES_MAX,
    Redelivery,
};
pub(crate) use batch::Routed;
pub use batch::{Batch, RoutedBatch};
pub use changes::{Change, ChangeKind, ChangeQuery, Changes, DeliveryChange, Position};
pub use clock::Clock;
pub use delivery::{
    Attempt, Breaker, Burst, Claim, Delivery, DestinationStatus, Outcome, Replay, Settled, State,
    Target,
};
pub use erasure::{Erasure, ErasureQuery, Overwritten, Selection};
pub use error::{OpenError, StoreError};
pub use failure::{
    FAILURES_SCANNED_MAX, FailedEvents, FailureGroup, FailureGroupQuery, FailureGroups,
    FailureQuery, kind_of_error,
};
pub use inbound::InboundStore;
pub use memory::MemoryStore;
pub use outbound::OutboundStore;
pub use query::{
    COUNTED_EVENTS_MAX, EventCount, EventCounts, EventDetail, EventList, EventQuery, EventSummary,
    LISTING_BYTES_MAX, PayloadState, SCANNED_BYTES_MAX, SCANNED_EVENTS_MAX, SecretMatches, title,
};
pub use rejection::{
    Accepted, Rejection, RejectionDetail, RejectionQuery, RejectionReason, RejectionSummary,
};
pub(crate) use retention::PruneStage;
pub use retention::{Contents, PrunePlace, Pruned, Retention, RetentionStore};
pub use rules::Duplicates;
pub use spool::Spool;
pub use sqlite::{BackupError, Limits, Options, SqliteStore};
pub use status::StoreStatus;
pub use wakers::Wakers;

/// A whole store: what each of its readers needs, and its end.
///
/// A store has a [`Clock`] of its own, which alone decides what is due. Times are kept to the
/// millisecond, and how long an attempt took to the microsecond.
#[async_trait]
pub trait Store:
    InboundStore + OutboundStore + AdminStore + BackfillStore + RetentionStore
{
    /// Stops the store for good, as an I/O error does: nothing more is acknowledged, and the process
    /// should end. For whoever finds that wilco cannot keep its promises any more.
    fn latch(&self, cause: &str);

    /// Finishes what is queued and closes the store. Every later call fails.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the last writes did not become durable.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Proof that an event is durable. Only a [`Store`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    event_id: EventId,
    is_first: bool,
}

impl Receipt {
    /// The event's id; of a duplicate, the id of the event that was recorded first.
    pub fn event_id(&self) -> EventId {
        self.event_id
    }

    /// False for a duplicate: the event had been recorded before, and nothing happens twice.
    pub fn is_first(&self) -> bool {
        self.is_first
    }
}

/// What wilco itself reports, through a destination.
#[derive(Clone, Debug)]
pub struct Alert {
    /// What it is about: alerts of one key are at least `every` apart.
    pub key: String,
    /// How long after an alert no other of its key is recorded.
    pub every: Duration,
    /// The name of its event, such as `alert.dead`.
    pub name: String,
    /// The destination that it goes to.
    pub to: String,
    /// The body of its event, JSON.
    pub body: bytes::Bytes,
}

/// What a store takes and leaves of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Free space of the file system, in bytes.
    pub free_bytes: u64,
    /// Free space below which nothing is recorded, in bytes.
    pub reserve_bytes: u64,
    /// Size of the store without its write-ahead log, in bytes.
    pub store_bytes: u64,
    /// What the write-ahead log holds, in bytes.
    pub wal_bytes: u64,
    /// Commits that damage in the write-ahead log had taken when the store was opened, at the least.
    pub lost_commits: u64,
}

/// Called after every commit: how many events it recorded, and how long it took.
pub type CommitObserver = Arc<dyn Fn(usize, Duration) + Send + Sync>;

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The source of wilco's own events. No endpoint has it.
pub const ALERTS: &str = "wilco";

/// Events that may wait to be recorded, and other writes that may wait in a queue of their own; beyond it
/// [`StoreError::Busy`].
pub const QUEUE_MAX: usize = 8_192;

/// How long an event may have to wait for those queued before it; beyond it [`StoreError::Busy`]. What
/// the next commit takes is never refused for that.
pub const QUEUE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Bytes of the write-ahead log, which only another program's read transaction can bring about, past which no
/// event is recorded.
pub(crate) const WAL_BYTES_MAX: u64 = 1 << 30;

/// Rejections that may wait to be written; a further one is dropped.
pub const REJECTION_QUEUE_MAX: usize = 256;

/// Bytes of rejections that may wait to be written; a further one is dropped, unless nothing else waits.
pub const REJECTION_QUEUE_BYTES_MAX: usize = 4 << 20;

/// Bytes of a rejected body that are stored, unless it may be accepted later: then it is stored whole, if it
/// has at most [`REJECTION_QUEUE_BYTES_MAX`].
pub const REJECTION_BODY_BYTES_MAX: usize = 64 << 10;

/// Between two writes of rejections.
pub const REJECTION_INTERVAL: Duration = Duration::from_secs(1);

/// Rejections that are kept; a newer one takes the place of the oldest.
pub const REJECTIONS_MAX: u64 = 10_000;

/// Bytes of rejections that are kept; a newer one takes the place of the oldest.
pub const REJECTION_BYTES_MAX: u64 = 64 << 20;

/// Bytes of bodies that [`OutboundStore::claim`] gives at once, and that the attempts at a destination hold
/// when more is claimed for it.
pub const CLAIM_BYTES_MAX: usize = 16 << 20;

/// Bytes of bodies that [`OutboundStore::unrouted`] gives at once.
pub const ROUTING_BYTES_MAX: usize = 8 << 20;
