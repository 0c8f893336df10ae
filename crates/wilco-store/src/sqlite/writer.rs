//! The one thread that writes: it takes all that waits, commits once, then answers all.
//!
//! There is no timer: a lone request is committed at once, and while its sync is under way the next
//! batch gathers. The more there is to do, the less each commit costs.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::ErrorCode;
use tokio::{sync::oneshot, time::Instant};

use super::{
    Batch, Job, Kind, LOCK_WAIT, Ledger, Opening, Queue, Space, StoreFiles, Wal, Window, from_io,
};
use crate::{Bells, CommitObserver, OpenError, Rejection, StoreError, Usage, WAL_BYTES_MAX};

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
    /// Set when the store has been opened.
    pub(super) files: OnceLock<StoreFiles>,
    /// Bytes of the frames in the write-ahead log.
    pub(super) wal_bytes: AtomicU64,
    /// Commits that damage in the log had taken when the store was opened.
    pub(super) lost_commits: AtomicU64,
    /// Why the store is not open yet.
    opening: Mutex<Option<String>>,
    latched: OnceLock<String>,
    /// Another program had the write lock when it was last tried.
    is_locked: AtomicBool,
}

impl Shared {
    pub(super) fn new(space: Space) -> Self {
        Self {
            bells: Bells::default(),
            space,
            window: Window::new(),
            files: OnceLock::new(),
            wal_bytes: AtomicU64::new(0),
            lost_commits: AtomicU64::new(0),
            opening: Mutex::default(),
            latched: OnceLock::new(),
            is_locked: AtomicBool::new(false),
        }
    }

    /// Stops the store for good: nothing is acknowledged any more.
    pub(super) fn latch(&self, cause: &str) -> StoreError {
        let cause = self.latched.get_or_init(|| cause.to_owned());
        tracing::error!(%cause, "the store stops: nothing is acknowledged any more");
        self.bells.failed.notify_one();
        StoreError::Latched(cause.clone())
    }

    pub(super) fn demand_sound(&self) -> Result<(), StoreError> {
        match self.latched.get() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Latched(cause.clone())),
        }
    }

    pub(super) fn demand_opened(&self) -> Result<(), StoreError> {
        match self.opening.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Opening(cause.clone())),
        }
    }

    /// Lack of space heals by itself. Any other I/O error leaves it open what the disk holds, and
    /// SQLite would go on as if nothing had happened; so the store stops for good.
    pub(super) fn judge(&self, error: &rusqlite::Error) -> StoreError {
        if self.space.ran_out(error) {
            return StoreError::Full { reserve: None };
        }
        match error.sqlite_error_code() {
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen,
            ) => self.latch(&error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked,
            _ => StoreError::Internal(error.to_string()),
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            free_bytes: self.space.free_bytes(),
            wal_bytes: self.wal_bytes.load(Ordering::Relaxed),
            lost_commits: self.lost_commits.load(Ordering::Relaxed),
        }
    }

    pub(super) fn is_wal_full(&self) -> bool {
        self.wal_bytes.load(Ordering::Relaxed) > WAL_BYTES_MAX
    }

    fn set_opening(&self, cause: Option<String>) {
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }
}

impl Writer {
    /// Opens the store and starts the thread. Where it cannot be opened yet, the thread goes on
    /// trying.
    pub(super) fn start(
        opening: Opening,
        shared: Arc<Shared>,
        observer: CommitObserver,
    ) -> Result<(Self, JoinHandle<()>), OpenError> {
        let ledger = match opening.try_open() {
            Ok(ledger) => Some(ledger),
            Err(error) if error.is_temporary() => {
                tracing::warn!(%error, "the store cannot be opened yet; it is tried again");
                shared.set_opening(Some(error.to_string()));
                None
            }
            Err(error) => return Err(error),
        };
        let writer = Self { queue: Arc::clone(&opening.queue), shared: Arc::clone(&shared) };
        let (queue, path) = (Arc::clone(&writer.queue), opening.path.clone());
        let body = move || {
            let _guard = AbortOnPanic;
            if let Some(ledger) = ledger.or_else(|| open_later(&opening, &queue)) {
                Thread { wal: Wal::of(&ledger), ledger, queue, shared, observer }.run();
            }
        };
        let handle = std::thread::Builder::new().name("wilco-store".into()).spawn(body);
        Ok((writer, handle.map_err(|cause| from_io(&path, &cause))?))
    }

    /// No writing thread: nothing is ever taken.
    pub(super) fn none(shared: Arc<Shared>) -> Self {
        let queue = Arc::new(Queue::default());
        // It cannot be closed already.
        let _ = queue.close(None);
        Self { queue, shared }
    }

    /// Runs `work` inside the next transaction and answers when that is durable. `work` may run
    /// more than once, if the batch that it was in could not be committed because of another.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnMut(&mut Ledger) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = submit(&self.queue, kind, work)?;
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
        self.shared.demand_sound()?;
        self.shared.demand_opened()?;
        self.demand_open()?;
        if self.shared.is_locked.load(Ordering::Relaxed) {
            return Err(StoreError::Locked);
        }
        // Nobody may have written since the store was removed, or the disk filled up.
        if let Some(Err(cause)) = self.shared.files.get().map(StoreFiles::in_place) {
            return Err(self.shared.latch(&cause));
        }
        let measured = self.shared.space.measure();
        measured.map_err(|error| StoreError::Internal(format!("cannot ask for space: {error}")))?;
        if self.shared.space.is_full() {
            self.nudge();
            return Err(StoreError::Full { reserve: None });
        }
        self.demand_space()
    }

    /// Whether there is space for a new event.
    pub(super) fn demand_space(&self) -> Result<(), StoreError> {
        self.shared.demand_sound()?;
        self.shared.demand_opened()?;
        self.shared.space.demand()?;
        if self.shared.is_wal_full() {
            self.nudge();
            return Err(StoreError::WalFull);
        }
        Ok(())
    }

    /// Has the thread commit something, to learn whether that is possible again.
    fn nudge(&self) {
        // Where the queue is full the thread is about to commit anyway.
        let _ = self.queue.push(Kind::Event, Box::new(Unseen(Ledger::touch)));
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

/// Queues `work` for the next transaction. The answer comes when that is durable.
pub(crate) fn submit<T: Send + 'static>(
    queue: &Queue,
    kind: Kind,
    work: impl FnMut(&mut Ledger) -> rusqlite::Result<T> + Send + 'static,
) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError> {
    let (reply, answer) = oneshot::channel();
    queue.push(kind, Box::new(Pending { work, value: None, reply }))?;
    Ok(answer)
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

/// Tries to open the store until that works. `None` where the store was closed before.
fn open_later(opening: &Opening, queue: &Queue) -> Option<Ledger> {
    let shared = &opening.shared;
    let mut next_try = Instant::now() + OPEN_RETRY;
    loop {
        let patience = next_try.saturating_duration_since(Instant::now());
        match queue.take(Some(patience)) {
            Some(Batch::Jobs(jobs)) => {
                answer_all(jobs, &shared.demand_sound().and_then(|()| shared.demand_opened()));
            }
            // A store that was never open has nothing to repair and keeps no rejections.
            Some(Batch::Repairs(_) | Batch::Rejections(_) | Batch::Nothing) => {}
            None => {
                for stop in queue.stops() {
                    // Nobody waits for it any more where this fails.
                    let _ = stop.send(Ok(()));
                }
                return None;
            }
        }
        if Instant::now() < next_try {
            continue;
        }
        next_try = Instant::now() + OPEN_RETRY;
        if shared.demand_sound().is_err() {
            continue;
        }
        match opening.try_open() {
            Ok(ledger) => {
                tracing::info!(store = %opening.path.display(), "the store is open");
                shared.set_opening(None);
                return Some(ledger);
            }
            Err(error) if error.is_temporary() => shared.set_opening(Some(error.to_string())),
            Err(error) => {
                shared.latch(&error.to_string());
            }
        }
    }
}

struct Thread {
    ledger: Ledger,
    wal: Wal,
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

impl Failure {
    fn of_all(error: StoreError) -> Self {
        Self { error, culprit: None }
    }
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
            self.wal.tend(&self.ledger.connection, &self.shared);
        }
        self.flush_known();
        self.wal.close(&self.ledger.connection, &self.shared);
        let last = self.shared.demand_sound();
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

    /// Writes down what duplicates are recognised by, so that the next start need not read it from the
    /// events.
    fn flush_known(&mut self) {
        self.ledger.known.close();
        while !self.ledger.known.is_carried() {
            if let Err(Failure { error, .. }) = self.commit(&mut []) {
                tracing::warn!(%error, "the next start reads the newest events again");
                return;
            }
        }
    }

    /// Finds out whether the write lock can be had again.
    fn try_lock(&mut self) {
        let tried = self.ledger.connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
        self.shared.is_locked.store(tried.is_err(), Ordering::Relaxed);
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        self.shared.demand_sound().map_err(Failure::of_all)?;
        let began = Instant::now();
        let routed_before = self.ledger.routed_through;
        let committed = self.commit_in_place(jobs);
        let is_full = matches!(&committed, Err(Failure { error: StoreError::Full { .. }, .. }));
        self.shared.space.set_full(is_full);
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

    /// What is written to a file that was removed or replaced is lost at the next start. So the
    /// files are looked at before and after, and the jobs are answered only then.
    fn commit_in_place(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let in_place = self.wal.demand_in_place(&self.ledger.connection, &self.shared);
        in_place.map_err(Failure::of_all)?;
        self.transact(jobs).map_err(|(error, place)| {
            let error = self.shared.judge(&error);
            let is_its_own = matches!(error, StoreError::Internal(_));
            Failure { error, culprit: place.filter(|_| is_its_own) }
        })?;
        let Self { wal, ledger, shared, .. } = self;
        let looked = wal.look(&ledger.connection, shared);
        looked
            .and_then(|_| wal.demand_in_place(&ledger.connection, shared))
            .map_err(Failure::of_all)
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
/// Between two tries of a repair.
const REPAIR_PAUSE: Duration = Duration::from_secs(1);
/// Between two tries to open the store.
const OPEN_RETRY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 500 });
