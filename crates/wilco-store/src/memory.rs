//! The model that [`SqliteStore`](crate::SqliteStore) is compared with: a store as simple as possible.

mod backfill;
mod changes;
mod erase;
mod failures;
mod match_counts;
mod pending;
mod prune;
mod record;
mod traits;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use wilco::{Event, EventId};

use crate::{
    AuditEntry, BackfillStatus, Clock, Delivery, Gap, PayloadState, RejectionDetail, SecretMatches,
    State, StoreError, Wakers,
    rules::{BurstTimes, INTERRUPTED, whole_millis},
};

/// A store in memory, for tests.
///
/// One line matters in it, the line between pending and durable. A write changes a copy of the
/// record, which is pending; the commit puts the copy in the record's place, where it is durable.
/// A test can have a commit fail on either side of that line, and end the process at any time with
/// [`reopen`](Self::reopen). A clone is the store of a second process that uses the same record at the
/// same time. Every write copies the whole record: it is as slow as it is plain.
#[derive(Clone)]
pub struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
    wakers: Arc<Wakers>,
    clock: Arc<dyn Clock>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { disk: Arc::default(), wakers: Arc::default(), clock }
    }

    /// The next write fails before the line: it answers [`StoreError::Internal`] and leaves no
    /// trace.
    pub fn fail_next_commit(&self) {
        self.disk().fault = Some(Fault::Commit);
    }

    /// The next write fails behind the line: it is durable, and answers [`StoreError::Internal`]
    /// all the same. Whoever asked cannot know which of the two it was.
    pub fn lose_next_answer(&self) {
        self.disk().fault = Some(Fault::Answer);
    }

    /// Ends this store without a warning and gives what a new process finds: what is durable, and
    /// every delivery that was running due once more.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut disk = self.disk();
        disk.is_closed = true;
        let mut durable = disk.durable.clone();
        for DeliveryRow { delivery, changed, .. } in &mut durable.rows {
            if delivery.state == State::Running {
                delivery.state = State::Retrying;
                delivery.due_at = Some(self.now());
                delivery.last_error = Some(INTERRUPTED.into());
                durable.last_change += 1;
                *changed = durable.last_change;
            }
        }
        let disk = Disk { durable, ..Disk::default() };
        Self {
            disk: Arc::new(Mutex::new(disk)),
            wakers: Arc::default(),
            clock: Arc::clone(&self.clock),
        }
    }

    fn now(&self) -> Timestamp {
        whole_millis(self.clock.now())
    }

    /// Runs a write and makes it durable: all of it, or nothing.
    fn commit<T>(&self, write: impl FnOnce(&mut Pending) -> T) -> Result<T, StoreError> {
        let mut disk = self.open_disk()?;
        let fault = disk.fault.take();
        let mut pending = Pending { record: disk.durable.clone(), ..Pending::default() };
        let value = write(&mut pending);
        if fault == Some(Fault::Commit) {
            return Err(StoreError::Internal("the commit was made to fail".into()));
        }

        // The line. Above it nothing has happened, below it everything has.
        disk.durable = pending.record;

        self.wakers.changed.send_modify(|commits| *commits += 1);
        if pending.has_recorded {
            self.wakers.recorded.notify_one();
        }
        for destination in pending.to_wake {
            self.wakers.due(&destination).notify_one();
        }
        match fault {
            Some(_) => Err(StoreError::Internal("the answer was made to be lost".into())),
            None => Ok(value),
        }
    }

    /// Looks at what is durable.
    fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> Result<T, StoreError> {
        Ok(look(&self.open_disk()?.durable))
    }

    fn open_disk(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.disk();
        match &disk.latched {
            Some(cause) => Err(StoreError::Latched(cause.clone())),
            None if disk.is_closed => Err(StoreError::Closed),
            None => Ok(disk),
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Disk {
    durable: Record,
    fault: Option<Fault>,
    latched: Option<String>,
    is_closed: bool,
}

#[derive(PartialEq)]
enum Fault {
    Commit,
    Answer,
}

/// All that is promised to last.
#[derive(Clone, Default)]
struct Record {
    /// The number of the last change: an event that was recorded, or a delivery that changed.
    last_change: i64,
    /// Oldest first, so in the order of their ids.
    events: Vec<Kept>,
    /// No event gets this id or one before it, whatever was removed.
    last_id: Option<EventId>,
    /// The same for the number of a delivery.
    last_delivery: i64,
    routed_through: Option<EventId>,
    /// In the order in which they were made.
    rows: Vec<DeliveryRow>,
    destinations: BTreeMap<String, Destination>,
    /// Oldest first.
    audit: Vec<AuditEntry>,
    /// When an alert of each key was last recorded.
    alerts: BTreeMap<String, Timestamp>,
    /// Oldest first, so in the order of their ids. They come without a commit, because nothing is promised
    /// of them.
    rejections: VecDeque<Arc<RejectionDetail>>,
    /// By source and name.
    secret_matches: BTreeMap<(String, String), SecretMatches>,
    /// When the service last said that it runs.
    seen_at: Option<Timestamp>,
    backfills: BTreeMap<String, BackfillStatus>,
    /// Oldest first.
    awaited: Vec<Awaited>,
    /// Oldest first, each with its source.
    gaps: Vec<Gap>,
}

/// A delivery that a provider was asked to send again, and that has not come.
#[derive(Clone)]
struct Awaited {
    source: String,
    delivery_id: String,
    asked: u32,
    asked_at: Timestamp,
    is_given_up: bool,
}

#[derive(Clone, Default)]
struct Destination {
    is_paused: bool,
    failures: u32,
    open_until: Option<Timestamp>,
    revision: u64,
}

#[derive(Clone)]
struct Kept {
    /// Without headers and body, if its payload was removed.
    event: Arc<Event>,
    number: i64,
    payload: PayloadState,
    /// The length of the body, whether or not it is there.
    bytes: u64,
    /// What duplicates are recognised by, also of an event that was erased.
    subject: Option<String>,
    delivery_id: Option<String>,
    /// It was rejected first, and so received before others that were recorded before it.
    is_accepted: bool,
}

/// One event on its way to one destination.
#[derive(Clone)]
struct DeliveryRow {
    /// What it delivers: the event, or one of its items.
    event: Arc<Event>,
    delivery: Delivery,
    /// The number of its last change.
    changed: i64,
    waited: Duration,
    needs_reevaluation: bool,
    /// When it may be claimed again although it is running, by the time that only grows.
    lease_ends: Duration,
    burst: Option<InBurst>,
    /// It is dead, and those behind it with its key wait.
    holds_key: bool,
}

/// The burst that a delivery is the last of.
#[derive(Clone)]
struct InBurst {
    key: String,
    times: BurstTimes,
}

impl Delivery {
    /// What is counted: it waits or runs, or is dead and was not replayed.
    fn is_unfinished(&self) -> bool {
        match self.state {
            State::Pending | State::Running | State::Retrying => true,
            State::Dead => self.replaced_by.is_none(),
            State::Delivered | State::Skipped | State::Cancelled | State::Superseded => false,
        }
    }
}

/// A changed copy of the record, and whom it wakes when it has become durable.
#[derive(Default)]
struct Pending {
    record: Record,
    has_recorded: bool,
    to_wake: BTreeSet<String>,
}

/// How long an attempt took is kept to the microsecond.
fn in_micros(took: Duration) -> Duration {
    Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}
