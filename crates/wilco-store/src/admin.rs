//! What a person may do, through the admin API or the command line: look, replay, cancel, pause, accept.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use wilco::{EventId, RejectionId};

use crate::{
    Accepted, AuditEntry, BackfillStatus, ChangeQuery, Changes, Contents, Erasure, ErasureQuery,
    EventCounts, EventDetail, EventList, EventQuery, EventSummary, FailedEvents, FailureGroupQuery,
    FailureGroups, FailureQuery, Gap, GapQuery, Overwritten, Position, Receipt, RejectionDetail,
    RejectionQuery, RejectionSummary, Replay, SecretMatches, State, StoreError, StoreStatus,
};

/// The store as the admin listener and the command line see it.
#[async_trait]
pub trait AdminStore: StoreStatus {
    /// Recorded events with the state of their deliveries, newest first unless the query follows on.
    /// An event whose record is damaged is listed as far as it can be read, and marked. A listing may end early:
    /// the next one follows on behind its [`rest`](EventList::rest).
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn events(&self, query: EventQuery) -> Result<EventList, StoreError>;

    /// How many events match a query, whatever its state, place and limit.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn count_events(&self, query: EventQuery) -> Result<EventCounts, StoreError>;

    /// What was recorded and changed behind a position, in order. An event is read once it is routed, and
    /// nothing behind it before that.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn changes(&self, query: ChangeQuery) -> Result<Changes, StoreError>;

    /// The position behind which all events are that were received at this time or later; without a time
    /// the newest position.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn position(&self, since: Option<Timestamp>) -> Result<Position, StoreError>;

    /// Changes with each commit after which there may be more to read with [`changes`](Self::changes).
    fn commits(&self) -> watch::Receiver<u64>;

    /// One event, whole, with all its deliveries and attempts. `None` where there is none of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read, the record is damaged, or its payload was removed.
    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError>;

    /// One event without its payload, which may have been removed, with all its deliveries and attempts. `None`
    /// where there is none of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn summary(&self, id: EventId) -> Result<Option<EventSummary>, StoreError>;

    /// How much there is, and since when.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn contents(&self) -> Result<Contents, StoreError>;

    /// Of the events behind `query.after`, a part of those that a selection is about, oldest first, and where to go
    /// on. Alerts about such an event are among them, also about one that was erased before.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn selected(
        &self,
        query: ErasureQuery,
    ) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError>;

    /// Says what [`erase`](Self::erase) would answer now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn preview_erasure(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError>;

    /// Removes headers and body of these events, what their attempts said, what they are about, and the ids that
    /// their providers gave, so that the bytes are gone from the store. Duplicates of them are still recognised.
    /// Pending deliveries are cancelled if `cancels`, and otherwise keep their event from being erased. Dead ones
    /// are cancelled in any case, because they cannot be replayed any more. Answers what became of each event.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some may be erased. The others are still selected, but one of them may have lost what some of
    /// its deliveries say.
    async fn erase(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError>;

    /// Has the rejections written that wait for it, so that [`rejections`](Self::rejections) has all that were refused
    /// before.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing can be written.
    async fn write_rejections(&self) -> Result<(), StoreError>;

    /// Removes rejections, and answers how many there were.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some may be removed.
    async fn erase_rejections(&self, ids: Vec<RejectionId>) -> Result<u64, StoreError>;

    /// Overwrites copies of what was erased in unused parts of the file, empties the write-ahead log, and answers
    /// which of both is done. Another program that reads the store can delay the latter; the log is emptied later then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing can be written.
    async fn overwrite_erased(&self) -> Result<Overwritten, StoreError>;

    /// Copies of the store's own files that were kept after damage, which may have bytes of what was erased.
    fn kept_copies(&self) -> Vec<String>;

    /// How many deliveries there are by destination and state: those that wait or run, and the dead
    /// that were not replayed. If there are many, it may be what was counted a while ago: see
    /// [`Limits::counted_each_time`](crate::Limits::counted_each_time).
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn unfinished(&self) -> Result<Vec<(String, State, u64)>, StoreError>;

    /// Deliveries that are dead and were not replayed, or are tried again, by destination and kind of error.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn failure_groups(&self, query: FailureGroupQuery) -> Result<FailureGroups, StoreError>;

    /// Events with a delivery that is dead and was not replayed, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn failed_events(&self, query: FailureQuery) -> Result<FailedEvents, StoreError>;

    /// Adds an entry to the audit list, of which the newest [`AUDIT_ENTRIES_MAX`](crate::AUDIT_ENTRIES_MAX) are
    /// kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it was not added.
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// The newest entries of the audit list before this number.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn audit_entries(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// When the earliest delivery that waits for a destination is due, or was. `None` if none waits.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn earliest_due(&self, destination: &str) -> Result<Option<Timestamp>, StoreError>;

    /// When the last request of each source came that was recorded or recognised as a duplicate, by name. A
    /// source is missing if none of its current secrets signed anything, and it has none of the newest events.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn last_of_sources(&self) -> Result<BTreeMap<String, Timestamp>, StoreError>;

    /// Makes new deliveries for events that were routed before: for each event all of it or nothing,
    /// and in their order. A dead delivery
    /// of the same event and destination, and of the same item where both are of one, is marked as
    /// replaced; where it held its key, the new one takes its place. An event that is not there, or
    /// has lost its payload, is passed over.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: those of some of the first events may have been made.
    async fn replay(&self, replays: Vec<Replay>) -> Result<(), StoreError>;

    /// The backfill of each source, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn backfills(&self) -> Result<Vec<BackfillStatus>, StoreError>;

    /// When the service did not run, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn gaps(&self, query: GapQuery) -> Result<Vec<Gap>, StoreError>;

    /// Cancels the pending deliveries of an event, or only the one to `destination`. An attempt that
    /// runs continues. Answers how many deliveries it ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some may have been ended.
    async fn cancel(
        &self,
        event_id: EventId,
        destination: Option<String>,
    ) -> Result<usize, StoreError>;

    /// Pauses a destination, or resumes it. That is kept across restarts.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it is as it was.
    async fn pause(&self, destination: &str, is_paused: bool) -> Result<(), StoreError>;

    /// Makes the deliveries to a destination due that wait for their next attempt. Its circuit breaker stays as it
    /// is. Answers how many became due.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some may have become due.
    async fn retry_now(&self, destination: &str) -> Result<usize, StoreError>;

    /// Rejections that are kept, newest first unless the query follows on. Their ids are in the order of
    /// their receipt.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn rejections(&self, query: RejectionQuery) -> Result<Vec<RejectionSummary>, StoreError>;

    /// One rejection, whole. `None` where there is none of that id.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn rejection(&self, id: RejectionId) -> Result<Option<RejectionDetail>, StoreError>;

    /// Records a rejection as the event that it is, and removes it from the rejections, both or neither:
    /// on `Ok` that is durable. `None`, and nothing is recorded, if there is no such rejection any more.
    ///
    /// The event is recorded behind all others, but was received when the rejection was. So it is compared
    /// with the events about its subject as they were then: with the latest one before it, as always, and
    /// with all that came after it, because the provider may have sent it again. It becomes the latest
    /// event about its subject only if none was received after it: the next request is compared with
    /// what the provider sent last.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: whether it was recorded may be unknown, and it can be accepted again.
    async fn accept(&self, accepted: Accepted) -> Result<Option<Receipt>, StoreError>;

    /// How often and when each secret matched, by source and name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn secret_matches(&self) -> Result<Vec<SecretMatches>, StoreError>;
}
