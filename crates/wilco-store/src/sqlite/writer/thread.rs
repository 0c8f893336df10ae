//! The thread's loop: a batch, its transaction, and what follows when that was committed or was not.

use std::sync::{Arc, atomic::Ordering};

use rusqlite::Connection;
use tokio::time::Instant;

use super::{
    super::{
        Batch, Changes, Job, LOCK_WAIT, Queue, REPAIR_PAUSE, RemovePartial, Shared, Wal,
        WriterState, log_damaged,
    },
    Unseen, answer_all,
};
use crate::{CommitObserver, Rejection, StoreError};

pub(super) struct Thread {
    pub(super) state: WriterState,
    pub(super) wal: Wal,
    pub(super) queue: Arc<Queue>,
    pub(super) shared: Arc<Shared>,
    pub(super) observer: CommitObserver,
}

/// Why a batch was not committed.
struct Failure {
    error: StoreError,
    /// The place of the job whose own statement failed; `None` where the transaction itself did.
    culprit: Option<usize>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, culprit: None }
    }
}

impl Thread {
    pub(super) fn run(mut self) {
        loop {
            // While another program has the lock, it is tried again even if nobody writes.
            let is_locked = self.shared.is_locked.load(Ordering::Relaxed);
            let Some(batch) = self.queue.take(is_locked.then_some(LOCK_WAIT)) else { break };
            match batch {
                Batch::Jobs(jobs) => self.write(jobs),
                Batch::Repairs(repairs) => self.repair(repairs),
                Batch::Rejections(rejections) => self.reject(rejections),
                Batch::Nothing => self.try_lock(),
            }
            if std::mem::take(&mut self.state.log_is_to_be_copied) {
                self.wal.copy();
            }
            if std::mem::take(&mut self.state.log_is_to_be_emptied) {
                self.state.log_was_emptied = self.wal.empty(&self.state.connection, &self.shared);
            }
            self.wal.tend(&self.state.connection, &self.shared);
        }
        self.flush_latest_events();
        self.wal.close(&self.state.connection, &self.shared);
        let last = self.shared.require_sound();
        for stop in self.queue.stops() {
            let _ = stop.send(last.clone());
        }
    }

    /// Commits these jobs together. A job whose own statement fails is answered and left out, and
    /// the others are tried again, so that one odd request costs nobody else an answer. What fails
    /// the transaction itself, such as a lock, concerns them all, and all are answered at once.
    fn write(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        while !jobs.is_empty() {
            let Err(Failure { error, culprit }) = self.commit(&mut jobs) else {
                answer_all(jobs, &Ok(()));
                break;
            };
            let Some(place) = culprit else {
                answer_all(jobs, &Err(error));
                break;
            };
            jobs.remove(place).answer(Err(error));
        }
        if let Err(error) = self.shared.space.measure() {
            self.shared.latch(&format!("the file system of the store does not answer: {error}"));
        }
    }

    /// Makes the writes that nobody waits for, each in a transaction of its own, and tries again
    /// later what failed.
    fn repair(&mut self, repairs: Vec<Box<dyn Job>>) {
        let mut failed = Vec::new();
        for repair in repairs {
            let mut job = [repair];
            match self.commit(&mut job) {
                Ok(()) => answer_all(job.into(), &Ok(())),
                // The next start repairs all of it.
                Err(Failure { error: StoreError::Latched(_), .. }) => {}
                Err(Failure { error, .. }) => {
                    tracing::warn!(%error, "a write failed, and is repeated until it succeeds");
                    failed.extend(job);
                }
            }
        }
        if !failed.is_empty() && !self.queue.is_closed() {
            self.queue.push_repairs(failed, Some(Instant::now() + REPAIR_PAUSE));
        }
    }

    fn reject(&mut self, rejections: Vec<Rejection>) {
        let count = rejections.len();
        let mut job: [Box<dyn Job>; 1] =
            [Box::new(Unseen(move |state: &mut WriterState| state.reject(&rejections)))];
        if let Err(Failure { error, .. }) = self.commit(&mut job) {
            tracing::warn!(count, %error, "rejections were dropped");
        }
    }

    /// Writes down what duplicates are recognised by, so that the next start need not read it from the
    /// events.
    fn flush_latest_events(&mut self) {
        self.state.latest_events.close();
        while !self.state.latest_events.is_flushed() {
            if let Err(Failure { error, .. }) = self.commit(&mut []) {
                tracing::warn!(%error, "the next start reads the newest events again");
                return;
            }
        }
    }

    /// Finds out whether the write lock can be had again.
    fn try_lock(&mut self) {
        let tried = self.state.connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
        self.shared.is_locked.store(tried.is_err(), Ordering::Relaxed);
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        self.shared.require_sound()?;
        let began = Instant::now();
        let (routed_before, last_before) = (self.state.routed_through, self.state.last_seq);
        let committed = self.commit_in_place(jobs);
        let is_full = matches!(&committed, Err(Failure { error: StoreError::Full { .. }, .. }));
        self.shared.space.set_full(is_full);
        let is_locked = matches!(&committed, Err(Failure { error: StoreError::Locked, .. }));
        self.shared.is_locked.store(is_locked, Ordering::Relaxed);
        let changes = std::mem::take(&mut self.state.changes);
        let Changes {
            recorded,
            matches: _,
            removed,
            unused_chunks,
            found_damaged,
            to_wake,
            leases,
        } = changes;
        if committed.is_ok() {
            (self.observer)(recorded.len(), began.elapsed());
            self.state.latest_events.committed();
            self.shared.leases.apply(leases);
            self.shared.recent_events.routed(self.state.routed_through);
            if !recorded.is_empty() {
                self.shared.recent_events.extend(recorded);
                self.shared.wakers.recorded.notify_one();
            }
            self.shared.recent_events.remove(&removed);
            unused_chunks.into_iter().for_each(|chunks| RemovePartial::begin(&self.queue, chunks));
            if !found_damaged.is_empty() {
                log_damaged(&found_damaged);
                self.shared.wakers.damaged.notify_one();
            }
            for destination in to_wake {
                self.shared.wakers.due(&destination).notify_one();
            }
            if (self.state.routed_through, self.state.last_seq) != (routed_before, last_before) {
                self.shared.wakers.changed.send_modify(|commits| *commits += 1);
            }
        } else {
            self.state.latest_events.rolled_back();
            self.state.routed_through = routed_before;
            self.state.rejections_kept = None;
        }
        committed
    }

    /// What is written to a file that was removed or replaced is lost at the next start. So the
    /// files are looked at before and after, and the jobs are answered only then.
    fn commit_in_place(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        self.wal.require_in_place(&self.state.connection, &self.shared)?;
        self.transact(jobs).map_err(|(error, place)| {
            let error = self.shared.judge(&error);
            let is_its_own = matches!(error, StoreError::Internal(_));
            Failure { error, culprit: place.filter(|_| is_its_own) }
        })?;
        let Self { wal, state, shared, .. } = self;
        wal.look(&state.connection, shared)?;
        Ok(wal.require_in_place(&state.connection, shared)?)
    }

    /// Runs the jobs in one transaction. An error comes with the place of the job that met it.
    fn transact(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<(), (rusqlite::Error, Option<usize>)> {
        run(&self.state.connection, BEGIN).map_err(|error| (error, None))?;
        let done = self.run_all(jobs).and_then(|()| {
            let WriterState { connection, latest_events, changes, .. } = &mut self.state;
            let flushed = latest_events.flush(connection, changes.recorded.len());
            let counted = flushed.and_then(|()| changes.matches.write(connection));
            counted.and_then(|()| run(connection, "COMMIT")).map_err(|error| (error, None))
        });
        done.inspect_err(|_| {
            // After some errors SQLite has rolled back already, and then this fails.
            let _ = self.state.connection.execute_batch("ROLLBACK");
        })
    }

    fn run_all(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<(), (rusqlite::Error, Option<usize>)> {
        for (place, job) in jobs.iter_mut().enumerate() {
            job.run(&mut self.state).map_err(|error| (error, Some(place)))?;
        }
        Ok(())
    }
}

/// Runs a statement that is prepared once.
fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// IMMEDIATE: the lock is taken before anything is read, so that a batch never has to begin again.
const BEGIN: &str = "BEGIN IMMEDIATE";
