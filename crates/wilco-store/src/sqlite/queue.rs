//! What waits for the writing thread: bounded queues, and repairs.
//!
//! Events and deliveries have a queue each, and every batch takes from both, so that a flood of one
//! never holds up the other. Rejections are written only while nothing else waits, in batches of
//! their own and not more often than once in [`REJECTION_INTERVAL`], unless a person asks for them:
//! whoever sends them has proved nothing, so they must cost a signed event no more than one short
//! commit now and then.

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
    /// A part of an event with a large body.
    Large,
    /// A slice of work that can wait, such as pruning: alone in its commit, and at most every other one.
    Maintenance,
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
    large: VecDeque<Box<dyn Job>>,
    maintenance: VecDeque<Box<dyn Job>>,
    /// The last batch was a slice of maintenance.
    was_maintenance: bool,
    rejections: Vec<Rejection>,
    rejection_bytes: usize,
    rejections_not_before: Option<Instant>,
    /// Somebody waits for those that are queued.
    are_rejections_wanted: bool,
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
            Kind::Large => &mut waiting.large,
            Kind::Maintenance => &mut waiting.maintenance,
        };
        if queue.len() >= QUEUE_MAX {
            return Err(StoreError::Busy);
        }
        queue.push_back(job);
        self.wake(waiting);
        Ok(())
    }

    /// Queues the next part of an event with a large body, of which one is completed before the next one
    /// begins. It is written even if the queue has been closed.
    pub(super) fn resume(&self, job: Box<dyn Job>) {
        let mut waiting = self.lock();
        waiting.large.push_front(job);
        self.wake(waiting);
    }

    /// Queues a job behind the events with large bodies. It is executed even if the queue has been closed.
    pub(super) fn push_last(&self, job: Box<dyn Job>) {
        let mut waiting = self.lock();
        waiting.large.push_back(job);
        self.wake(waiting);
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

    /// Has the rejections written that are queued, before any job that is queued after this.
    pub(super) fn want_rejections(&self) {
        let mut waiting = self.lock();
        waiting.are_rejections_wanted = true;
        self.wake(waiting);
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
        if std::mem::take(&mut self.are_rejections_wanted) && !self.rejections.is_empty() {
            return Some(self.rejections(now));
        }
        // An event that comes now waits for one slice at most.
        if !self.was_maintenance
            && let Some(job) = self.maintenance.pop_front()
        {
            self.was_maintenance = true;
            return Some(Batch::Jobs(vec![job]));
        }
        self.was_maintenance = false;
        let jobs = self.jobs();
        if !jobs.is_empty() {
            return Some(Batch::Jobs(jobs));
        }
        if let Some(job) = self.maintenance.pop_front() {
            self.was_maintenance = true;
            return Some(Batch::Jobs(vec![job]));
        }
        if !self.rejections.is_empty() && (self.is_closed || is_time(self.rejections_not_before)) {
            return Some(self.rejections(now));
        }
        None
    }

    fn rejections(&mut self, now: Instant) -> Batch {
        self.rejections_not_before = Some(now + REJECTION_INTERVAL);
        self.rejection_bytes = 0;
        Batch::Rejections(std::mem::take(&mut self.rejections))
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

    /// Half a batch of each kind, and more where the other has less; and one part of a large event, so that
    /// the others wait for no more than that.
    fn jobs(&mut self) -> Vec<Box<dyn Job>> {
        let (events, deliveries) = (self.events.len(), self.deliveries.len());
        let events = events.min(BATCH_MAX.saturating_sub(deliveries).max(BATCH_MAX / 2));
        let deliveries = deliveries.min(BATCH_MAX - events);
        let mut jobs = Vec::with_capacity(events + deliveries);
        jobs.extend(self.events.drain(..events));
        jobs.extend(self.deliveries.drain(..deliveries));
        jobs.extend(self.large.pop_front());
        jobs
    }

    /// When something that waits for its time may be done.
    fn wake_at(&self) -> Option<Instant> {
        let repairs = self.repairs_not_before.filter(|_| !self.repairs.is_empty());
        let rejections = self.rejections_not_before.filter(|_| !self.rejections.is_empty());
        [repairs, rejections].into_iter().flatten().min()
    }
}

/// Between two tries of a repair.
pub(crate) const REPAIR_PAUSE: Duration = Duration::from_secs(1);
/// Jobs in one transaction: enough that the sync costs each next to nothing.
pub(super) const BATCH_MAX: usize = 512;

#[cfg(test)]
mod tests;
