//! The one thread that writes: it takes all that waits, commits once, then answers all.
//!
//! There is no timer: a lone request is committed at once, and while its sync is under way the next
//! batch gathers. The more there is to do, the less each commit costs.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::ErrorCode;
use tokio::{sync::oneshot, time::Instant};

use super::{Batch, Job, Kind, Ledger, Queue, Space, Window};
use crate::{Bells, CommitObserver, Rejection, StoreError};

/// The way to the writing thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

/// What the writing thread and its callers both see.
pub(crate) struct Shared {
    pub(super) bells: Bells,
    pub(super) space: Space,
    pub(super) window: Window,
    latched: OnceLock<String>,
    /// Another program had the write lock when it was last tried.
    is_locked: AtomicBool,
}

impl Shared {
    /// Stops the store for good: nothing is acknowledged any more.
    pub(super) fn latch(&self, cause: &str) -> StoreError {
        let cause = self.latched.get_or_init(|| cause.to_owned());
        tracing::error!(%cause, "the store stops: nothing is acknowledged any more");
        self.bells.failed.notify_one();
        StoreError::Latched(cause.clone())
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        ledger: Ledger,
        space: Space,
        observer: CommitObserver,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            bells: Bells::default(),
            space,
            window: Window::new(ledger.last_seq, ledger.routed_through),
            latched: OnceLock::new(),
            is_locked: AtomicBool::new(false),
        });
        ledger.connection.busy_timeout(LOCK_WAIT).map_err(std::io::Error::other)?;
        let queue = Arc::new(Queue::default());
        let mut thread =
            Thread { ledger, queue: Arc::clone(&queue), shared: Arc::clone(&shared), observer };
        let handle = std::thread::Builder::new().name("wilco-store".into()).spawn(move || {
            let _guard = AbortOnPanic;
            thread.run();
        })?;
        Ok((Self { queue, shared }, handle))
    }

    /// Runs `work` inside the next transaction and answers when that is durable. `work` may run
    /// more than once, if the batch that it was in could not be committed because of another.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnMut(&mut Ledger) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(kind, Box::new(Pending { work, value: None, reply }))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Queues a rejection, if there is room for it.
    pub(super) fn reject(&self, rejection: Rejection) -> bool {
        self.queue.push_rejection(rejection)
    }

    /// Runs `work` as soon as the store can take it, and again until it succeeds.
    pub(super) fn repair(
        &self,
        work: impl FnMut(&mut Ledger) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.queue.push_repairs(vec![Box::new(Unseen(work))], None);
    }

    /// Has the thread finish what is queued, empty the WAL and end.
    pub(super) async fn stop(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.close(Some(reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Whether the thread could commit now.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        if let Some(cause) = self.shared.latched.get() {
            return Err(StoreError::Latched(cause.clone()));
        }
        self.demand_open()?;
        if self.shared.is_locked.load(Ordering::Relaxed) {
            return Err(StoreError::Locked);
        }
        // Nobody may have written since the disk filled up.
        self.shared.space.measure();
        self.shared.space.demand()
    }

    pub(super) fn demand_open(&self) -> Result<(), StoreError> {
        if self.queue.is_closed() { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It was closed before, or else nobody waits for what the thread says at its end.
        let _ = self.queue.close(None);
    }
}

struct Pending<W, T> {
    work: W,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, T> Job for Pending<W, T>
where
    W: FnMut(&mut Ledger) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.value = Some((self.work)(ledger)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        // Nobody waits any more when the sender hung up; what was written stays.
        let _ = reply.send(committed.and_then(|()| value.ok_or(StoreError::Closed)));
    }
}

/// A job that nobody waits for.
struct Unseen<W>(W);

impl<W> Job for Unseen<W>
where
    W: FnMut(&mut Ledger) -> rusqlite::Result<()> + Send,
{
    fn run(&mut self, ledger: &mut Ledger) -> rusqlite::Result<()> {
        (self.0)(ledger)
    }

    fn answer(self: Box<Self>, _: Result<(), StoreError>) {}
}

struct Thread {
    ledger: Ledger,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    observer: CommitObserver,
}

/// Why a batch was not committed.
struct Failure {
    error: StoreError,
    /// The place of the job whose own statement failed; `None` where the transaction itself did.
    culprit: Option<usize>,
}

impl Thread {
    fn run(&mut self) {
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
            if self.ledger.unsynced_bytes >= CHECKPOINT_BYTES {
                self.checkpoint("PASSIVE");
            }
        }
        self.checkpoint("TRUNCATE");
        let last = self.latched();
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
        self.shared.space.measure();
    }

    /// Makes the writes that nobody waits for, each in a transaction of its own, and tries again
    /// later what failed.
    fn repair(&mut self, repairs: Vec<Box<dyn Job>>) {
        let mut failed = Vec::new();
        for repair in repairs {
            let mut job = [repair];
            match self.commit(&mut job) {
                // After a latch the next start repairs all of it.
                Ok(()) | Err(Failure { error: StoreError::Latched(_), .. }) => {}
                Err(Failure { error, .. }) => {
                    tracing::warn!(%error, "a delivery stays claimed until this can be written");
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
            [Box::new(Unseen(move |ledger: &mut Ledger| ledger.reject(&rejections)))];
        if let Err(Failure { error, .. }) = self.commit(&mut job) {
            tracing::warn!(count, %error, "rejections were dropped");
        }
    }

    /// Finds out whether the write lock can be had again.
    fn try_lock(&mut self) {
        let tried = self.ledger.connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
        self.shared.is_locked.store(tried.is_err(), Ordering::Relaxed);
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        self.latched().map_err(|error| Failure { error, culprit: None })?;
        let began = Instant::now();
        let routed_before = self.ledger.routed_through;
        let committed = self.transact(jobs).map_err(|(error, place)| {
            let error = self.judge(&error);
            let is_its_own = matches!(error, StoreError::Internal(_));
            Failure { error, culprit: place.filter(|_| is_its_own) }
        });
        let is_locked = matches!(&committed, Err(Failure { error: StoreError::Locked, .. }));
        self.shared.is_locked.store(is_locked, Ordering::Relaxed);
        if committed.is_ok() {
            let recorded = std::mem::take(&mut self.ledger.recorded);
            (self.observer)(recorded.len(), began.elapsed());
            self.ledger.known.committed();
            self.shared.window.routed(self.ledger.routed_through);
            if !recorded.is_empty() {
                self.shared.window.extend(recorded);
                self.shared.bells.recorded.notify_one();
            }
            for destination in std::mem::take(&mut self.ledger.awaited) {
                self.shared.bells.due(&destination).notify_one();
            }
        } else {
            self.ledger.recorded.clear();
            self.ledger.known.rolled_back();
            self.ledger.routed_through = routed_before;
            self.ledger.awaited.clear();
            self.ledger.rejected_bytes = None;
        }
        committed
    }

    /// Runs the jobs in one transaction. An error comes with the place of the job that met it.
    fn transact(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<(), (rusqlite::Error, Option<usize>)> {
        self.ledger.connection.execute_batch(BEGIN).map_err(|error| (error, None))?;
        let done = self.run_all(jobs).and_then(|()| {
            let Ledger { connection, known, recorded, .. } = &mut self.ledger;
            let carried = known.carry(connection, recorded.len());
            carried.and_then(|()| connection.execute_batch("COMMIT")).map_err(|error| (error, None))
        });
        done.inspect_err(|_| {
            // SQLite has rolled back by itself after some errors, and then this fails.
            let _ = self.ledger.connection.execute_batch("ROLLBACK");
        })
    }

    fn run_all(
        &mut self,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<(), (rusqlite::Error, Option<usize>)> {
        for (place, job) in jobs.iter_mut().enumerate() {
            job.run(&mut self.ledger).map_err(|error| (error, Some(place)))?;
        }
        Ok(())
    }

    fn checkpoint(&mut self, mode: &str) {
        if self.latched().is_err() {
            return;
        }
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        match self.ledger.connection.query_row(&sql, [], |row| row.get::<_, i64>(0)) {
            Ok(_) => self.ledger.unsynced_bytes = 0,
            Err(error) => {
                let error = self.judge(&error);
                tracing::warn!(%error, "the write-ahead log could not be carried over");
            }
        }
    }

    /// A full disk heals by itself. Any other I/O error leaves it open what the disk holds, and
    /// SQLite would go on as if nothing had happened; so the store stops for good.
    fn judge(&self, error: &rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { reserve: None },
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen,
            ) => self.shared.latch(&error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
            _ => StoreError::Internal(error.to_string()),
        }
    }

    fn latched(&self) -> Result<(), StoreError> {
        match self.shared.latched.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Latched(cause.clone())),
        }
    }
}

fn answer_all(jobs: Vec<Box<dyn Job>>, committed: &Result<(), StoreError>) {
    for job in jobs {
        job.answer(committed.clone());
    }
}

/// Without its writing thread the process could only refuse; a supervisor starts it anew instead.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// IMMEDIATE: the lock is taken before anything is read, so that a batch never has to begin again.
const BEGIN: &str = "BEGIN IMMEDIATE";
/// How long a write waits while another program has the write lock.
const LOCK_WAIT: Duration = Duration::from_secs(1);
/// Between two tries of a repair.
const REPAIR_PAUSE: Duration = Duration::from_secs(1);
/// Bytes written before the WAL is carried over into the database file.
const CHECKPOINT_BYTES: usize = 16 << 20;
