//! The model that [`SqliteStore`](crate::SqliteStore) is held against: a store as plain as can be.

mod pending;
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
    Clock, Delivery, Rejection, State, StoreError, Wakers,
    rules::{BurstTimes, whole_millis},
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
        for DeliveryRow { delivery, .. } in &mut durable.rows {
            if delivery.state == State::Running {
                delivery.state = State::Retrying;
                delivery.due_at = Some(self.now());
                delivery.last_error = Some("wilco stopped during the attempt".into());
            }
        }
        let disk = Disk { durable, rejections: disk.rejections.clone(), ..Disk::default() };
        Self {
            disk: Arc::new(Mutex::new(disk)),
            wakers: Arc::default(),
            clock: Arc::clone(&self.clock),
        }
    }

    fn now(&self) -> Timestamp {
        whole_millis(self.clock.now())
    }

    /// The rejections that are kept, oldest first.
    pub fn rejections(&self) -> Vec<Rejection> {
        self.disk().rejections.iter().cloned().collect()
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
    /// Beside the record, because nothing is promised of them.
    rejections: VecDeque<Rejection>,
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
    /// Oldest first, so in the order of their ids.
    events: Vec<Kept>,
    routed_through: Option<EventId>,
    /// In the order in which they were made.
    rows: Vec<DeliveryRow>,
    destinations: BTreeMap<String, Destination>,
    /// When an alert of each key was last recorded.
    alerts: BTreeMap<String, Timestamp>,
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
    event: Arc<Event>,
    delivery_id: Option<String>,
}

/// One event on its way to one destination.
#[derive(Clone)]
struct DeliveryRow {
    event: Arc<Event>,
    delivery: Delivery,
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        AdminStore as _, InboundStore as _, OutboundStore as _, Outcome, REJECTIONS_MAX, Settled,
        Store, StoreStatus as _, Target,
        conformance::{self, Backend, LEASE, LONGEST, SENT, SUPPRESS, Sent, TestClock, event},
    };

    #[derive(Default)]
    struct Memory(Option<Arc<MemoryStore>>);

    impl Backend for Memory {
        fn open(&mut self, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
            let store = match &self.0 {
                None => MemoryStore::new(clock),
                Some(last) => last.reopen(),
            };
            Arc::<MemoryStore>::clone(self.0.insert(Arc::new(store)))
        }

        fn break_next_write(&self) {
            self.0.as_ref().unwrap().fail_next_commit();
        }

        fn mend(&self) {}
    }

    pub(crate) fn backend() -> Box<dyn Backend> {
        Box::new(Memory::default())
    }

    #[tokio::test]
    async fn an_event_whose_answer_was_lost_is_recognised_when_it_comes_again() {
        let store = MemoryStore::new(TestClock::new());
        store.lose_next_answer();
        let (verified, envelope) = event(SENT);
        let lost = store.record(verified.clone(), envelope.clone(), SUPPRESS).await;
        assert!(matches!(lost, Err(StoreError::Internal(_))), "{lost:?}");
        let receipt = store.record(verified, envelope, SUPPRESS).await.unwrap();
        assert!(!receipt.is_first());
        assert_eq!(store.unrouted(9).await.unwrap().events().len(), 1);
    }

    #[tokio::test]
    async fn the_store_that_was_reopened_is_at_its_end() {
        let first = MemoryStore::new(TestClock::new());
        let second = first.reopen();
        assert!(matches!(first.ready(), Err(StoreError::Closed)));
        second.ready().unwrap();
    }

    #[tokio::test]
    async fn two_processes_share_what_is_due_and_each_notices_what_the_other_took() {
        let clock = TestClock::new();
        let one = MemoryStore::new(clock.clone());
        let other = one.clone();
        for sent in [SENT, Sent { body: b"[]", ..SENT }] {
            let (verified, envelope) = event(sent);
            one.record(verified, envelope, SUPPRESS).await.unwrap();
        }
        // Both route the same events.
        for store in [&one, &other] {
            assert_eq!(store.unrouted(9).await.unwrap().events().len(), 2);
        }
        let to_crm = async |store: &MemoryStore| {
            store.unrouted(9).await.unwrap().route(|_| vec![Target::to("crm")])
        };
        let (first, second) = (to_crm(&one).await, to_crm(&other).await);
        one.fan_out(first).await.unwrap();
        other.fan_out(second).await.unwrap();
        let claim =
            async |store: &MemoryStore| store.claim("crm", 1, LEASE, LONGEST).await.unwrap();
        let (lost, kept) = (claim(&one).await, claim(&other).await);
        assert_eq!((lost.len(), kept.len()), (1, 1));
        assert!(claim(&one).await.is_empty());

        // The first one hangs, and the second one goes on.
        clock.pass(LEASE / 2);
        assert!(other.renew(&kept).await.unwrap().is_empty());
        clock.pass(LEASE / 2);
        let taken_over = claim(&other).await;
        assert_eq!(taken_over[0].delivery(), lost[0].delivery());
        assert!(claim(&other).await.is_empty());
        assert_eq!(one.renew(&lost).await.unwrap(), [lost[0].delivery()]);
        let ended = conformance::attempt("exit 0");
        for (store, claims, expected) in [
            (&one, &lost, Settled::Stale),
            (&other, &kept, Settled::Written),
            (&other, &taken_over, Settled::Written),
        ] {
            let settled = store.settle(&claims[0], &ended, &Outcome::Delivered, None).await;
            assert_eq!(settled.unwrap(), expected);
        }
        assert_eq!(one.unfinished().await.unwrap(), []);
    }

    #[test]
    fn the_newest_rejections_are_kept() {
        let store = MemoryStore::new(TestClock::new());
        for number in 0..=REJECTIONS_MAX {
            store.reject(conformance::rejection(number));
        }
        let kept = store.rejections();
        assert_eq!(kept.len() as u64, REJECTIONS_MAX);
        assert_eq!(kept[0].reason, "number 1");
    }
}
