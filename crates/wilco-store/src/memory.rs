//! The model that [`SqliteStore`](crate::SqliteStore) is held against: a store as plain as can be.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use wilco::{Envelope, Event, EventId, Verified};

use crate::{
    Attempt, Bells, Claim, Delivery, Duplicates, EventQuery, Listed, Outcome, REJECTIONS_MAX,
    ROUTING_BYTES_MAX, Receipt, Rejection, Routed, Shown, State, Store, StoreError,
    duplicates::{Earlier, Verdict},
};

/// A store in memory, for tests.
///
/// One line matters in it, the line between pending and durable. A write changes a copy of the
/// record, which is pending; the commit puts the copy in the record's place, where it is durable.
/// A test can have a commit fail on either side of that line, and end the process at any time with
/// [`reopen`](Self::reopen). Every write copies the whole record: it is as slow as it is plain.
#[derive(Default)]
pub struct MemoryStore {
    disk: Mutex<Disk>,
    bells: Bells,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
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

    /// Ends this store without a warning and gives what a new process finds, started `now`: what
    /// is durable, and every delivery that was running due once more.
    #[must_use]
    pub fn reopen(&self, now: Timestamp) -> Self {
        let mut disk = self.disk();
        disk.is_closed = true;
        let mut durable = disk.durable.clone();
        for Way { delivery, .. } in &mut durable.ways {
            if delivery.state == State::Running {
                delivery.state = State::Retrying;
                delivery.due_at = Some(in_millis(now));
                delivery.last_error = Some("wilco stopped during the attempt".into());
            }
        }
        let disk = Disk { durable, rejections: disk.rejections.clone(), ..Disk::default() };
        Self { disk: Mutex::new(disk), bells: Bells::default() }
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
            self.bells.recorded.notify_one();
        }
        for destination in pending.awaited {
            self.bells.due(&destination).notify_one();
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
        if disk.is_closed { Err(StoreError::Closed) } else { Ok(disk) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn record(
        &self,
        verified: Verified,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError> {
        self.commit(|pending| pending.record(&verified, envelope, duplicates))
    }

    fn reject(&self, rejection: Rejection) {
        let mut disk = self.disk();
        disk.rejections.push_back(rejection);
        if disk.rejections.len() as u64 > REJECTIONS_MAX {
            disk.rejections.pop_front();
        }
    }

    async fn unrouted(&self, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        self.read(|record| record.unrouted(limit))
    }

    async fn fan_out(&self, routed: Vec<Routed>, now: Timestamp) -> Result<(), StoreError> {
        self.commit(|pending| pending.fan_out(&routed, in_millis(now)))
    }

    async fn claim(
        &self,
        destination: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        self.commit(|pending| pending.claim(destination, limit, in_millis(now)))
    }

    async fn settle(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
    ) -> Result<(), StoreError> {
        self.commit(|pending| pending.settle(claim, attempt, outcome))
    }

    async fn next_due(&self, destination: &str) -> Result<Option<Timestamp>, StoreError> {
        self.read(|record| {
            let deliveries = record.ways.iter().map(|way| &way.delivery);
            deliveries
                .filter(|delivery| delivery.destination == destination)
                .filter_map(|delivery| delivery.due_at)
                .min()
        })
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Listed>, StoreError> {
        self.read(|record| record.list(&query))
    }

    async fn event(&self, id: EventId) -> Result<Option<Shown>, StoreError> {
        self.read(|record| {
            let event =
                record.events.iter().map(|kept| &kept.event).find(|event| event.id == id)?;
            Some(Shown {
                event: Event::clone(event),
                is_routed: record.is_routed(id),
                deliveries: record.deliveries(id).cloned().collect(),
            })
        })
    }

    async fn unfinished(&self) -> Result<Vec<(String, State, u64)>, StoreError> {
        self.read(|record| {
            let mut counts = BTreeMap::new();
            for Way { delivery, .. } in &record.ways {
                if delivery.state != State::Delivered {
                    *counts.entry((delivery.destination.clone(), delivery.state)).or_default() += 1;
                }
            }
            counts.into_iter().map(|((name, state), count)| (name, state, count)).collect()
        })
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.open_disk().map(drop)
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn bells(&self) -> &Bells {
        &self.bells
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.open_disk()?.is_closed = true;
        Ok(())
    }
}

#[derive(Default)]
struct Disk {
    durable: Record,
    /// Beside the record, because nothing is promised of them.
    rejections: VecDeque<Rejection>,
    fault: Option<Fault>,
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
    ways: Vec<Way>,
}

#[derive(Clone)]
struct Kept {
    event: Arc<Event>,
    delivery_id: Option<String>,
}

/// One event on its way to one destination.
#[derive(Clone)]
struct Way {
    event: Arc<Event>,
    created_at: Timestamp,
    delivery: Delivery,
}

/// A changed copy of the record, and what is rung for when it has become durable.
#[derive(Default)]
struct Pending {
    record: Record,
    has_recorded: bool,
    awaited: BTreeSet<String>,
}

impl Pending {
    fn record(
        &mut self,
        verified: &Verified,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Receipt {
        let arrival = verified.arrival();
        let digest = verified.digest();
        let earlier = self.record.earlier(verified, &envelope);
        let has_id = envelope.delivery_id.is_some();
        let verdict = duplicates.judge(has_id, digest, arrival.received_at, earlier.as_ref());
        if let Verdict::DuplicateOf(event_id) = verdict {
            return Receipt { event_id, is_first: false };
        }
        let event = Event {
            id: self.record.next_id(arrival.received_at),
            source: verified.source().clone(),
            name: envelope.name,
            subject: envelope.subject,
            received_at: in_millis(arrival.received_at),
            secret: verified.secret().into(),
            digest,
            conflict: verdict == Verdict::Conflict,
            headers: arrival.headers.clone(),
            body: arrival.body.clone(),
        };
        let receipt = Receipt { event_id: event.id, is_first: true };
        let kept = Kept { event: Arc::new(event), delivery_id: envelope.delivery_id };
        self.record.events.push(kept);
        self.has_recorded = true;
        receipt
    }

    fn fan_out(&mut self, routed: &[Routed], now: Timestamp) {
        let record = &mut self.record;
        let before = record.routed_through;
        for Routed { event_id, destinations } in routed {
            if Some(*event_id) <= before {
                continue;
            }
            let Some(kept) = record.events.iter().find(|kept| kept.event.id == *event_id) else {
                continue;
            };
            for destination in destinations {
                let delivery = Delivery {
                    id: record.ways.last().map_or(1, |way| way.delivery.id + 1),
                    destination: destination.clone(),
                    state: State::Waiting,
                    attempts: 0,
                    due_at: Some(now),
                    last_error: None,
                    history: Vec::new(),
                };
                let event = Arc::clone(&kept.event);
                record.ways.push(Way { event, created_at: now, delivery });
                self.awaited.insert(destination.clone());
            }
        }
        let through = routed.iter().map(|routed| routed.event_id).max();
        record.routed_through = record.routed_through.max(through);
    }

    fn claim(&mut self, destination: &str, limit: usize, now: Timestamp) -> Vec<Claim> {
        let mut due: Vec<_> = self
            .record
            .ways
            .iter_mut()
            .filter(|way| way.delivery.destination == destination)
            .filter(|way| way.delivery.due_at.is_some_and(|due_at| due_at <= now))
            .collect();
        due.sort_by_key(|way| (way.delivery.due_at, way.delivery.id));
        due.truncate(limit);
        due.into_iter()
            .map(|Way { event, created_at, delivery }| {
                delivery.state = State::Running;
                delivery.due_at = None;
                delivery.attempts += 1;
                Claim {
                    delivery: delivery.id,
                    destination: destination.into(),
                    attempt: delivery.attempts,
                    created_at: *created_at,
                    event: Arc::clone(event),
                }
            })
            .collect()
    }

    fn settle(&mut self, claim: &Claim, attempt: &Attempt, outcome: &Outcome) {
        let mut deliveries = self.record.ways.iter_mut().map(|way| &mut way.delivery);
        let Some(delivery) = deliveries.find(|delivery| {
            delivery.id == claim.delivery
                && delivery.state == State::Running
                && delivery.attempts == claim.attempt
        }) else {
            return;
        };
        let error = Some(attempt.result.clone());
        (delivery.state, delivery.due_at, delivery.last_error) = match outcome {
            Outcome::Delivered => (State::Delivered, None, None),
            Outcome::Retry(at) => (State::Retrying, Some(in_millis(*at)), error),
            Outcome::Dead => (State::Dead, None, error),
        };
        delivery.history.push(Attempt {
            started_at: in_millis(attempt.started_at),
            took: in_micros(attempt.took),
            ..attempt.clone()
        });
        if delivery.due_at.is_some() {
            self.awaited.insert(delivery.destination.clone());
        }
    }
}

impl Record {
    /// The latest event that a request could be a copy of.
    fn earlier(&self, verified: &Verified, envelope: &Envelope) -> Option<Earlier> {
        let could_be = |kept: &&Kept| {
            kept.event.source == *verified.source()
                && kept.delivery_id == envelope.delivery_id
                && (envelope.delivery_id.is_some() || kept.event.subject == envelope.subject)
        };
        let is_copy = |kept: &&Kept| kept.event.digest == verified.digest();
        let latest = || self.events.iter().rev().filter(could_be);
        let copy = latest().find(is_copy).filter(|_| envelope.delivery_id.is_some());
        let Kept { event, .. } = copy.or_else(|| latest().next())?;
        Some(Earlier { event_id: event.id, received_at: event.received_at, digest: event.digest })
    }

    /// From the clock, and always behind the last.
    fn next_id(&self, received_at: Timestamp) -> EventId {
        let millis = u128::try_from(received_at.as_millisecond()).unwrap_or(0);
        let from_clock = EventId::from_bits(millis << CHOICE_BITS);
        let behind_last =
            self.events.last().map(|kept| EventId::from_bits(kept.event.id.to_bits() + 1));
        behind_last.map_or(from_clock, |behind_last| from_clock.max(behind_last))
    }

    fn unrouted(&self, limit: usize) -> Vec<Arc<Event>> {
        let mut bytes = 0;
        let mut events = Vec::new();
        let waiting = self.events.iter().filter(|kept| !self.is_routed(kept.event.id));
        for Kept { event, .. } in waiting.take(limit) {
            bytes += event.body.len();
            if bytes > ROUTING_BYTES_MAX && !events.is_empty() {
                break;
            }
            events.push(Arc::clone(event));
        }
        events
    }

    fn is_routed(&self, id: EventId) -> bool {
        Some(id) <= self.routed_through
    }

    fn deliveries(&self, id: EventId) -> impl Iterator<Item = &Delivery> {
        self.ways.iter().filter(move |way| way.event.id == id).map(|way| &way.delivery)
    }

    fn list(&self, query: &EventQuery) -> Vec<Listed> {
        let events = self.events.iter().map(|kept| &*kept.event);
        let mut found: Vec<_> = events.filter(|event| is_asked_for(event, query)).collect();
        if query.after.is_none() {
            found.reverse();
        }
        found.truncate(query.limit);
        found.into_iter().map(|event| self.listed(event)).collect()
    }

    fn listed(&self, event: &Event) -> Listed {
        let without_history =
            |delivery: &Delivery| Delivery { history: Vec::new(), ..delivery.clone() };
        Listed {
            id: event.id,
            source: event.source.clone(),
            name: event.name.clone(),
            subject: event.subject.clone(),
            received_at: event.received_at,
            bytes: event.body.len() as u64,
            digest: event.digest,
            secret: event.secret.clone(),
            is_routed: self.is_routed(event.id),
            deliveries: self.deliveries(event.id).map(without_history).collect(),
        }
    }
}

fn is_asked_for(event: &Event, query: &EventQuery) -> bool {
    let EventQuery { source, name, since, until, after, before, limit: _ } = query;
    source.as_ref().is_none_or(|source| event.source.as_str() == source)
        && name.as_ref().is_none_or(|name| match name.strip_suffix('*') {
            Some(front) => event.name.starts_with(front),
            None => event.name == *name,
        })
        && since.is_none_or(|since| event.received_at >= in_millis(since))
        && until.is_none_or(|until| event.received_at < in_millis(until))
        && after.is_none_or(|after| event.id > after)
        && before.is_none_or(|before| event.id < before)
}

/// Times are kept to the millisecond.
fn in_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// How long an attempt took is kept to the microsecond.
fn in_micros(took: Duration) -> Duration {
    Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

/// Bits of an id behind its time.
const CHOICE_BITS: u32 = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, Backend, NOW, SENT, SUPPRESS, event};

    #[derive(Default)]
    struct Memory(Option<Arc<MemoryStore>>);

    impl Backend for Memory {
        fn open(&mut self, now: Timestamp) -> Arc<dyn Store> {
            let store = match &self.0 {
                None => MemoryStore::new(),
                Some(last) => last.reopen(now),
            };
            Arc::<MemoryStore>::clone(self.0.insert(Arc::new(store)))
        }

        fn break_next_write(&self) {
            self.0.as_ref().unwrap().fail_next_commit();
        }

        fn mend(&self) {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn keeps_every_promise_of_a_store() {
        conformance::run(&|| Box::new(Memory::default())).await;
    }

    #[tokio::test]
    async fn an_event_whose_answer_was_lost_is_recognised_when_it_comes_again() {
        let store = MemoryStore::new();
        store.lose_next_answer();
        let (verified, envelope) = event(SENT);
        let lost = store.record(verified.clone(), envelope.clone(), SUPPRESS).await;
        assert!(matches!(lost, Err(StoreError::Internal(_))), "{lost:?}");
        let receipt = store.record(verified, envelope, SUPPRESS).await.unwrap();
        assert!(!receipt.is_first());
        assert_eq!(store.unrouted(9).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_store_that_was_reopened_is_at_its_end() {
        let first = MemoryStore::new();
        let second = first.reopen(NOW);
        assert!(matches!(first.ready(), Err(StoreError::Closed)));
        second.ready().unwrap();
    }

    #[test]
    fn the_newest_rejections_are_kept() {
        let store = MemoryStore::new();
        for number in 0..=REJECTIONS_MAX {
            store.reject(conformance::rejection(number));
        }
        let kept = store.rejections();
        assert_eq!(kept.len() as u64, REJECTIONS_MAX);
        assert_eq!(kept[0].reason, "number 1");
    }
}
