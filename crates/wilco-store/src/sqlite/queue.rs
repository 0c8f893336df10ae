//! What waits for the writing thread: three bounded queues, and repairs.
//!
//! Events and deliveries have a queue each, and every batch takes from both, so that a flood of one
//! never holds up the other. Rejections are written only while nothing else waits, in batches of
//! their own and not more often than once in [`REJECTION_INTERVAL`]: whoever sends them has proved
//! nothing, so they must cost a signed event no more than one short commit now and then.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::WriterState;
use crate::{
    QUEUE_MAX, QUEUE_WAIT_MAX, REJECTION_INTERVAL, REJECTION_QUEUE_BYTES_MAX, REJECTION_QUEUE_MAX,
    Rejection, StoreError,
};

/// A piece of a transaction, and whom to tell when it is durable.
pub(crate) trait Job: Send {
    fn run(&mut self, state: &mut WriterState) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Told when the writing thread has ended.
pub(crate) type Stopped = oneshot::Sender<Result<(), StoreError>>;

/// Which queue a job waits in.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Event,
    Delivery,
}

/// What the writing thread does next.
pub(crate) enum Batch {
    Jobs(Vec<Box<dyn Job>>),
    Repairs(Vec<Box<dyn Job>>),
    Rejections(Vec<Rejection>),
    /// Nothing came in the time that the thread wanted to wait.
    Nothing,
}

/// The queues, shared by the writing thread and its callers.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Box<dyn Job>>,
    deliveries: VecDeque<Box<dyn Job>>,
    rejections: Vec<Rejection>,
    rejection_bytes: usize,
    rejections_not_before: Option<Instant>,
    repairs: Vec<Box<dyn Job>>,
    repairs_not_before: Option<Instant>,
    stops: Vec<Stopped>,
    is_closed: bool,
    is_thread_asleep: bool,
    /// How long a batch takes, as a mean in which each counts half as much as the next.
    batch_time: Duration,
    /// Since when the thread has been writing a batch.
    writing_since: Option<Instant>,
}

impl Queue {
    /// # Errors
    ///
    /// [`StoreError::Busy`] where the queue is full or an event would wait too long,
    /// [`StoreError::Closed`].
    pub(super) fn push(&self, kind: Kind, job: Box<dyn Job>) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        if matches!(kind, Kind::Event) && waiting.is_behind(Instant::now) {
            return Err(StoreError::Busy);
        }
        let queue = match kind {
            Kind::Event => &mut waiting.events,
            Kind::Delivery => &mut waiting.deliveries,
        };
        if queue.len() >= QUEUE_MAX {
            return Err(StoreError::Busy);
        }
        queue.push_back(job);
        self.wake(waiting);
        Ok(())
    }

    /// Whether there was room for it.
    pub(super) fn push_rejection(&self, rejection: Rejection) -> bool {
        let bytes = rejection.stored_bytes();
        let mut waiting = self.lock();
        if waiting.is_closed
            || waiting.rejections.len() >= REJECTION_QUEUE_MAX
            // One that is larger alone than all may be together has the queue for itself.
            || (waiting.rejection_bytes > 0
                && waiting.rejection_bytes + bytes > REJECTION_QUEUE_BYTES_MAX)
        {
            return false;
        }
        waiting.rejection_bytes += bytes;
        waiting.rejections.push(rejection);
        self.wake(waiting);
        true
    }

    /// Queues repairs, in their order, to be made not before `not_before`. They have no bound of
    /// their own: each belongs to a delivery that was claimed.
    pub(super) fn push_repairs(&self, repairs: Vec<Box<dyn Job>>, not_before: Option<Instant>) {
        let mut waiting = self.lock();
        waiting.repairs.splice(0..0, repairs);
        waiting.repairs_not_before = not_before;
        self.wake(waiting);
    }

    /// Accepts nothing more; what is queued is still written.
    pub(super) fn close(&self, stop: Option<Stopped>) -> Result<(), StoreError> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        waiting.is_closed = true;
        waiting.stops.extend(stop);
        self.wake(waiting);
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Whom to tell at the end.
    pub(super) fn stops(&self) -> Vec<Stopped> {
        std::mem::take(&mut self.lock().stops)
    }

    /// Waits for something to do, at most for `patience`. `None` at the end.
    pub(super) fn take(&self, patience: Option<Duration>) -> Option<Batch> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut waiting = self.lock();
        waiting.written(Instant::now());
        loop {
            let now = Instant::now();
            if let Some(batch) = waiting.next(now) {
                waiting.writing_since = Some(now);
                return Some(batch);
            }
            if waiting.is_closed {
                return None;
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Some(Batch::Nothing);
            }
            let until = [deadline, waiting.wake_at()].into_iter().flatten().min();
            waiting.is_thread_asleep = true;
            waiting = match until {
                None => self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let wait = until.saturating_duration_since(now);
                    self.filled
                        .wait_timeout(waiting, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
            waiting.is_thread_asleep = false;
        }
    }

    /// A wake-up is a system call, so only a thread that sleeps gets one.
    fn wake(&self, waiting: MutexGuard<'_, Waiting>) {
        let is_asleep = waiting.is_thread_asleep;
        drop(waiting);
        if is_asleep {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn next(&mut self, now: Instant) -> Option<Batch> {
        let is_time = |not_before: Option<Instant>| not_before.is_none_or(|time| time <= now);
        if !self.repairs.is_empty() && (self.is_closed || is_time(self.repairs_not_before)) {
            self.repairs_not_before = None;
            return Some(Batch::Repairs(std::mem::take(&mut self.repairs)));
        }
        let jobs = self.jobs();
        if !jobs.is_empty() {
            return Some(Batch::Jobs(jobs));
        }
        if !self.rejections.is_empty() && (self.is_closed || is_time(self.rejections_not_before)) {
            self.rejections_not_before = Some(now + REJECTION_INTERVAL);
            self.rejection_bytes = 0;
            return Some(Batch::Rejections(std::mem::take(&mut self.rejections)));
        }
        None
    }

    /// Whether an event would wait longer than [`QUEUE_WAIT_MAX`] for the batches before its own, as
    /// far as the last ones and the current one show. Senders give up after a few seconds: what they
    /// no longer wait for would be written at the expense of what they still do. An event of the
    /// next batch is never refused, however slow the disk is.
    fn is_behind(&self, now: impl Fn() -> Instant) -> bool {
        let of_batch = BATCH_MAX - self.deliveries.len().min(BATCH_MAX / 2);
        let Ok(batches @ 1..) = u32::try_from(self.events.len() / of_batch) else { return false };
        let current = self.writing_since.map(|since| now().saturating_duration_since(since));
        current.unwrap_or_default().max(self.batch_time) * batches > QUEUE_WAIT_MAX
    }

    /// Notes that the batch that the thread took last was written.
    fn written(&mut self, now: Instant) {
        if let Some(since) = self.writing_since.take() {
            self.batch_time = (self.batch_time + now.saturating_duration_since(since)) / 2;
        }
    }

    /// Half a batch of each kind, and more where the other has less.
    fn jobs(&mut self) -> Vec<Box<dyn Job>> {
        let (events, deliveries) = (self.events.len(), self.deliveries.len());
        let events = events.min(BATCH_MAX.saturating_sub(deliveries).max(BATCH_MAX / 2));
        let deliveries = deliveries.min(BATCH_MAX - events);
        let mut jobs = Vec::with_capacity(events + deliveries);
        jobs.extend(self.events.drain(..events));
        jobs.extend(self.deliveries.drain(..deliveries));
        jobs
    }

    /// When something that waits for its time may be done.
    fn wake_at(&self) -> Option<Instant> {
        let repairs = self.repairs_not_before.filter(|_| !self.repairs.is_empty());
        let rejections = self.rejections_not_before.filter(|_| !self.rejections.is_empty());
        [repairs, rejections].into_iter().flatten().min()
    }
}

/// Jobs in one transaction: enough that the sync costs each next to nothing.
pub(super) const BATCH_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::rejection;

    struct Named(&'static str);

    impl Job for Named {
        fn run(&mut self, _: &mut WriterState) -> rusqlite::Result<()> {
            Err(rusqlite::Error::InvalidParameterName(self.0.into()))
        }

        fn answer(self: Box<Self>, _: Result<(), StoreError>) {}
    }

    fn fill(queue: &Queue, kind: Kind, count: usize) {
        for _ in 0..count {
            queue.push(kind, Box::new(Named("job"))).unwrap();
        }
    }

    fn kinds(queue: &Queue) -> Vec<(&'static str, usize)> {
        let mut kinds = Vec::new();
        while let Some(batch) = queue.take(Some(Duration::ZERO)) {
            kinds.push(match batch {
                Batch::Jobs(jobs) => ("jobs", jobs.len()),
                Batch::Repairs(repairs) => ("repairs", repairs.len()),
                Batch::Rejections(rejections) => ("rejections", rejections.len()),
                Batch::Nothing => return kinds,
            });
        }
        kinds
    }

    #[test]
    fn a_batch_takes_from_both_queues_even_if_one_is_flooded() {
        for (events, deliveries, taken) in [
            (3, 0, (3, 0)),
            (0, 3, (0, 3)),
            (8_000, 3, (509, 3)),
            (3, 8_000, (3, 509)),
            (8_000, 8_000, (256, 256)),
            (0, 0, (0, 0)),
        ] {
            let queue = Queue::default();
            fill(&queue, Kind::Event, events);
            fill(&queue, Kind::Delivery, deliveries);
            let mut waiting = queue.lock();
            let count = waiting.jobs().len();
            let left = (waiting.events.len(), waiting.deliveries.len());
            assert_eq!(count, taken.0 + taken.1);
            assert_eq!(left, (events - taken.0, deliveries - taken.1), "{events} {deliveries}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_refused_that_would_wait_too_long_for_a_slow_disk() {
        let push = |queue: &Queue, kind| queue.push(kind, Box::new(Named("job"))).is_ok();
        // The time of each batch in milliseconds, and deliveries that wait: how many events may.
        for (millis, deliveries, events) in [
            (0, 0, QUEUE_MAX),
            (10, 0, QUEUE_MAX),
            (200, 0, 6 * BATCH_MAX),
            (200, 100, 6 * (BATCH_MAX - 100)),
            (200, 8_000, 6 * BATCH_MAX / 2),
            (501, 0, 2 * BATCH_MAX),
            (10_000, 0, BATCH_MAX),
            (10_000, 8_000, BATCH_MAX / 2),
        ] {
            let queue = Queue::default();
            for _ in 0..40 {
                fill(&queue, Kind::Event, 1);
                assert!(matches!(queue.take(None), Some(Batch::Jobs(_))));
                tokio::time::advance(Duration::from_millis(millis)).await;
            }
            assert!(matches!(queue.take(Some(Duration::ZERO)), Some(Batch::Nothing)));
            fill(&queue, Kind::Delivery, deliveries);
            let accepted = (0..QUEUE_MAX).take_while(|_| push(&queue, Kind::Event)).count();
            assert_eq!(accepted, events, "{millis} ms, {deliveries} deliveries");
            assert!(push(&queue, Kind::Delivery), "only events are refused for that");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_hangs_keeps_events_from_queueing_behind_the_next_one() {
        let queue = Queue::default();
        fill(&queue, Kind::Event, 1);
        assert!(matches!(queue.take(None), Some(Batch::Jobs(_))));
        fill(&queue, Kind::Event, 2 * BATCH_MAX);
        tokio::time::advance(QUEUE_WAIT_MAX).await;
        assert!(matches!(queue.push(Kind::Event, Box::new(Named("late"))), Err(StoreError::Busy)));
        // It was a single hiccup: a few quick commits later nothing is left of it.
        assert_eq!(kinds(&queue), [("jobs", BATCH_MAX), ("jobs", BATCH_MAX)]);
        for _ in 0..5 {
            fill(&queue, Kind::Event, 1);
            assert_eq!(kinds(&queue), [("jobs", 1)]);
        }
        fill(&queue, Kind::Event, QUEUE_MAX);
    }

    #[test]
    fn a_full_queue_refuses_only_writes_of_its_own_kind() {
        let queue = Queue::default();
        fill(&queue, Kind::Event, QUEUE_MAX);
        let push = |kind| queue.push(kind, Box::new(Named("job")));
        assert!(matches!(push(Kind::Event), Err(StoreError::Busy)));
        assert!(push(Kind::Delivery).is_ok());
        assert!(queue.push_rejection(rejection(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn rejections_are_written_after_everything_else_and_at_intervals() {
        let queue = Queue::default();
        assert!(queue.push_rejection(rejection(0)));
        fill(&queue, Kind::Event, 1);
        assert_eq!(kinds(&queue), [("jobs", 1), ("rejections", 1)]);
        assert!(queue.push_rejection(rejection(1)));
        assert_eq!(kinds(&queue), []);
        fill(&queue, Kind::Delivery, 1);
        assert_eq!(kinds(&queue), [("jobs", 1)]);
        tokio::time::advance(REJECTION_INTERVAL).await;
        assert_eq!(kinds(&queue), [("rejections", 1)]);
    }

    #[test]
    fn rejections_are_bounded_by_number_and_by_bytes() {
        let of_bytes = |number, bytes| {
            let body = vec![b'x'; bytes].into();
            Rejection { body, ..rejection(number) }
        };
        let large = |number| of_bytes(number, crate::REJECTION_BODY_BYTES_MAX);
        let huge = |number| of_bytes(number, REJECTION_QUEUE_BYTES_MAX + 1);
        let taken = |rejection: &dyn Fn(u64) -> Rejection| {
            let queue = Queue::default();
            (0..1_000).filter(|&number| queue.push_rejection(rejection(number))).count()
        };
        assert_eq!(taken(&rejection), REJECTION_QUEUE_MAX);
        let in_bytes = REJECTION_QUEUE_BYTES_MAX / crate::REJECTION_BODY_BYTES_MAX;
        assert_eq!(taken(&large), in_bytes - 1);
        assert_eq!(taken(&huge), 1, "one of any length is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn writes_queued_before_the_close_are_executed_and_later_ones_are_not() {
        let queue = Queue::default();
        assert!(queue.push_rejection(rejection(0)));
        assert_eq!(kinds(&queue), [("rejections", 1)]);
        // Neither of these two has its time yet.
        assert!(queue.push_rejection(rejection(0)));
        queue.push_repairs(
            vec![Box::new(Named("repair"))],
            Some(Instant::now() + REJECTION_INTERVAL),
        );
        fill(&queue, Kind::Event, 1);
        queue.close(None).unwrap();
        assert!(queue.push(Kind::Event, Box::new(Named("late"))).is_err());
        assert!(!queue.push_rejection(rejection(1)));
        assert_eq!(kinds(&queue), [("repairs", 1), ("jobs", 1), ("rejections", 1)]);
        assert!(queue.take(None).is_none());
    }
}
