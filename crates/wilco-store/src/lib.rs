//! The record: what stands between the two halves of wilco.
//!
//! The inbound half writes one thing here, a verified event, and gets a [`Receipt`]: proof that the
//! event is durable, without which nothing is acknowledged. The outbound half asks what has no route
//! yet and what is due, and writes what became of it. The halves share nothing else.
//!
//! ```text
//!             record ──▶ Receipt                unrouted ──▶ fan_out        replay
//!   inbound ───────────────────────▶ Store ◀──────────────────────── outbound
//!                                               claim ──▶ Claim ──▶ settle
//! ```
//!
//! **What is durable when.** [`Store::record`], [`Store::fan_out`], [`Store::claim`] and
//! [`Store::settle`] answer `Ok` only after their transaction has been synced to the disk. An `Err`
//! of `record` means that the outcome may be unknown: the sender must be told to try again, and the
//! duplicate rule absorbs the second copy. [`Store::reject`] promises nothing.
//!
//! [`SqliteStore`] is the store that users run. [`MemoryStore`] is the model that it is held
//! against: both pass one suite.

mod bells;
#[cfg(test)]
mod conformance;
mod delivery;
mod duplicates;
mod error;
mod memory;
mod query;
mod sqlite;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use wilco::{Envelope, Event, EventId, Headers, SourceName, Verified};

pub use bells::Bells;
pub use delivery::{
    Attempt, Breaker, Burst, Claim, Delivery, Leg, Outcome, Replay, Routed, Standing, State,
};
pub use duplicates::Duplicates;
pub use error::{OpenError, StoreError};
pub use memory::MemoryStore;
pub use query::{EventQuery, Listed, Shown, title};
pub use sqlite::{Options, SqliteStore};

/// Where events are kept, and what became of them.
///
/// Times are kept to the millisecond, and how long an attempt took to the microsecond.
#[async_trait]
pub trait Store: Send + Sync {
    /// Records an event, or recognises it as one that is already there, by the rule of
    /// [`Duplicates`]. One whose record is damaged is not there: it is recorded again. On `Ok` it is durable. Goes on to its end if the caller stops waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing may be acknowledged.
    async fn record(
        &self,
        verified: Verified,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError>;

    /// Stores a rejected request for a limited time, so that a person can find out why. Never
    /// waits, and promises nothing: rejections are written while no event and no delivery waits, at
    /// most once in [`REJECTION_INTERVAL`]. Of a body the first [`REJECTION_BODY_BYTES_MAX`] are
    /// stored, and of all rejections the newest [`REJECTIONS_MAX`] with at most
    /// [`REJECTION_BYTES_MAX`].
    ///
    /// False where it is dropped: [`REJECTION_QUEUE_MAX`] or [`REJECTION_QUEUE_BYTES_MAX`] wait
    /// already, or the store is full or closed.
    fn reject(&self, rejection: Rejection) -> bool;

    /// The oldest events that no [`fan_out`](Store::fan_out) has covered: at most `limit`, and no
    /// more than [`ROUTING_BYTES_MAX`] of bodies unless a single one is larger.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn unrouted(&self, limit: usize) -> Result<Vec<Arc<Event>>, StoreError>;

    /// Marks these events, which are the oldest that [`unrouted`](Store::unrouted) gave, as routed,
    /// and makes a waiting delivery for each of their legs: for each event all of it or nothing, and
    /// in their order. One that was routed before is passed over. Many legs take several commits, so
    /// that others get their turn in between.
    ///
    /// A leg with an order key is not due while an earlier one of its destination and key is not at
    /// its end. A leg with a burst supersedes the last of its destination and burst key that was not
    /// tried yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some of the first may be routed, and the others are still unrouted.
    async fn fan_out(&self, routed: Vec<Routed>, now: Timestamp) -> Result<(), StoreError>;

    /// Takes the right to try up to `limit` deliveries that are due, the longest due first, and none
    /// of a destination that is paused. They are running until they are settled, or until the store
    /// is opened again: run the call to its end, for what one that was dropped had claimed is not
    /// due again before that.
    ///
    /// No wait is longer than `longest_wait`: what is due later than that from `now` was written by
    /// a clock that has been set back since, and is made due then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was claimed, or what was claimed is due again in a moment.
    async fn claim(
        &self,
        destination: &str,
        limit: usize,
        now: Timestamp,
        longest_wait: Duration,
    ) -> Result<Vec<Claim>, StoreError>;

    /// Writes down how an attempt ended and what follows from it, for the delivery and, where
    /// `breaker` is given, for the circuit breaker of its destination: all of it or nothing. At the
    /// end of a delivery with an order key the next one of that key falls due.
    ///
    /// A breaker with a lower [`revision`](Breaker::revision) than the stored one is not written,
    /// and nothing is where the claim is stale: settled before, or made before the store was opened.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the delivery is still running, and the same call may be made again.
    async fn settle(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
    ) -> Result<(), StoreError>;

    /// When the next delivery of a destination falls due. `None` while none is waiting, or it is
    /// paused.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn next_due(&self, destination: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Makes new deliveries for events that were routed before: for each event all of it or nothing,
    /// and in their order. A dead delivery
    /// of the same event and destination is marked as replaced; where it held its key, the new one
    /// takes its place. An event that is not there is passed over.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: those of some of the first events may have been made.
    async fn replay(&self, replays: Vec<Replay>, now: Timestamp) -> Result<(), StoreError>;

    /// Ends what waits of an event, or only its way to `destination`, without another attempt. An
    /// attempt that is under way goes on. Answers how many deliveries it ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some may have been ended.
    async fn cancel(
        &self,
        event_id: EventId,
        destination: Option<String>,
        now: Timestamp,
    ) -> Result<usize, StoreError>;

    /// Lets go of the keys that dead deliveries of a destination hold.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some may still be held.
    async fn release_keys(&self, destination: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Stops a destination, or lets it go on. It stays so over restarts.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it is as it was.
    async fn pause(&self, destination: &str, is_paused: bool) -> Result<(), StoreError>;

    /// How a destination stands; one that was never heard of is not paused, and its breaker closed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn standing(&self, destination: &str) -> Result<Standing, StoreError>;

    /// Records an alert as an event of the source [`ALERTS`], with a delivery to `alert.to`, unless
    /// one of the same key was recorded within `alert.every`. Answers whether it did.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it was not recorded.
    async fn announce(&self, alert: Alert, now: Timestamp) -> Result<bool, StoreError>;

    /// When the last event of a source came, of those that came at `since` or later and not after
    /// `until`: one that is stamped later was received while the clock was wrong.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn last_received(
        &self,
        source: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Recorded events with the state of their deliveries, newest first unless the query follows on.
    /// An event whose record is damaged is listed as far as it can be read, and marked.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn events(&self, query: EventQuery) -> Result<Vec<Listed>, StoreError>;

    /// One event, whole, with all its deliveries and attempts. `None` where there is none of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read, or the record is damaged.
    async fn event(&self, id: EventId) -> Result<Option<Shown>, StoreError>;

    /// How many deliveries there are by destination and state: those that wait or run, and the dead
    /// that were not replayed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn unfinished(&self) -> Result<Vec<(String, State, u64)>, StoreError>;

    /// How many events were found damaged: by routing, by a delivery, by a listing, by a sender who
    /// sent one again, or by a person who looked at one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn damaged_events(&self) -> Result<u64, StoreError>;

    /// Whether an event could be committed now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the reason why it could not.
    fn ready(&self) -> Result<(), StoreError>;

    /// What the store takes and leaves of its disk, where that means anything.
    fn usage(&self) -> Option<Usage>;

    /// What rings when there is something to do.
    fn bells(&self) -> &Bells;

    /// Stops the store for good, as an I/O error does: nothing more is acknowledged, and the process
    /// should end. For whoever finds that wilco cannot keep its promises any more.
    fn latch(&self, cause: &str);

    /// Finishes what is queued and puts the store to rest. Every later call fails.
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

/// A refused request, as far as it is kept. Its `Debug` shows nothing of the body.
#[derive(Clone)]
pub struct Rejection {
    /// When it was refused.
    pub at: Timestamp,
    /// The source whose path it came to.
    pub source: SourceName,
    /// Why, in words.
    pub reason: String,
    /// The address that it came from.
    pub remote: String,
    /// Its headers; credentials among them are blanked by the caller.
    pub headers: Headers,
    /// The length of its body as it came, in bytes.
    pub bytes: u64,
    /// Its body, or as much of it as the caller kept. The store keeps at most
    /// [`REJECTION_BODY_BYTES_MAX`] of it.
    pub body: bytes::Bytes,
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, source, reason, remote, headers, bytes, body: _ } = self;
        f.debug_struct("Rejection")
            .field("at", at)
            .field("source", source)
            .field("reason", reason)
            .field("remote", remote)
            .field("headers", headers)
            .field("bytes", bytes)
            .finish()
    }
}

impl Rejection {
    /// With no more of its body than is stored, in memory of its own: a part of a larger buffer
    /// would keep all of it.
    pub(crate) fn clamped(mut self) -> Self {
        if self.body.len() > REJECTION_BODY_BYTES_MAX {
            self.body = bytes::Bytes::copy_from_slice(&self.body[..REJECTION_BODY_BYTES_MAX]);
        }
        self
    }
}

/// What wilco itself has to tell, for a destination to pass on.
#[derive(Clone, Debug)]
pub struct Alert {
    /// What it is about: one key is heard of once in `every`.
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
    /// What the write-ahead log holds, in bytes.
    pub wal_bytes: u64,
    /// Commits that damage in the write-ahead log had taken when the store was opened, at the least.
    pub lost_commits: u64,
}

/// Hears of every commit: how many events it recorded, and how long it took.
pub type CommitObserver = Arc<dyn Fn(usize, Duration) + Send + Sync>;

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The source of wilco's own events. No endpoint has it.
pub const ALERTS: &str = "wilco";

/// Events that may wait to be recorded, and as many other writes that may wait beside them; past it
/// [`StoreError::Busy`].
pub const QUEUE_MAX: usize = 8_192;

/// Bytes of the write-ahead log, which only another program's read transaction can bring about, past which no
/// event is recorded.
pub(crate) const WAL_BYTES_MAX: u64 = 1 << 30;

/// Rejections that may wait to be written; a further one is dropped.
pub const REJECTION_QUEUE_MAX: usize = 64;

/// Bytes of rejections that may wait to be written; a further one is dropped.
pub const REJECTION_QUEUE_BYTES_MAX: usize = 1 << 20;

/// Bytes of a rejected body that are stored.
pub const REJECTION_BODY_BYTES_MAX: usize = 64 << 10;

/// Between two writes of rejections.
pub const REJECTION_INTERVAL: Duration = Duration::from_secs(1);

/// Rejections that are kept; a newer one takes the place of the oldest.
pub const REJECTIONS_MAX: u64 = 10_000;

/// Bytes of rejections that are kept; a newer one takes the place of the oldest.
pub const REJECTION_BYTES_MAX: u64 = 64 << 20;

/// Bytes of bodies that [`Store::unrouted`] gives at once.
pub const ROUTING_BYTES_MAX: usize = 8 << 20;
