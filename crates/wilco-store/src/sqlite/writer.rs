//! The one thread that writes: it takes all that waits, commits once, then answers all.
//!
//! There is no timer: a lone request is committed at once, and while its sync is under way the next
//! batch gathers. The more there is to do, the less each commit costs.

use std::{
    sync::{Arc, OnceLock},
    thread::JoinHandle,
};

use rusqlite::ErrorCode;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Ledger, Space, Window};
use crate::{Bells, CommitObserver, QUEUE_MAX, StoreError};

/// The way to the writing thread.
pub(super) struct Writer {
    inbox: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// What the writing thread and its callers both see.
pub(crate) struct Shared {
    pub(super) bells: Bells,
    pub(super) space: Space,
    pub(super) window: Window,
    latched: OnceLock<String>,
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
        });
        let (inbox, waiting) = mpsc::channel(QUEUE_MAX);
        let mut thread = Thread { ledger, shared: Arc::clone(&shared), observer };
        let handle = std::thread::Builder::new().name("wilco-store".into()).spawn(move || {
            let _guard = AbortOnPanic;
            thread.run(waiting);
        })?;
        Ok((Self { inbox, shared }, handle))
    }

    /// Runs `work` inside the next transaction and answers when that is durable. `work` may run
    /// twice, if the batch that it was in could not be committed because of another.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Ledger) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending { work, value: None, reply });
        self.send(Message::Job(job))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Like [`write`](Self::write), for what nobody waits for.
    pub(super) fn write_unseen(
        &self,
        work: impl FnMut(&mut Ledger) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (reply, _) = oneshot::channel();
        self.send(Message::Job(Box::new(Pending { work, value: None, reply })))
    }

    /// Has the thread finish what is queued, empty the WAL and end.
    pub(super) async fn stop(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Stop(reply);
        self.inbox.send(message).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Whether the thread could commit now.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        if let Some(cause) = self.shared.latched.get() {
            return Err(StoreError::Latched(cause.clone()));
        }
        self.demand_open()?;
        // Nobody may have written since the disk filled up.
        self.shared.space.measure();
        self.shared.space.demand()
    }

    pub(super) fn demand_open(&self) -> Result<(), StoreError> {
        if self.inbox.is_closed() { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How many more jobs the queue has room for.
    pub(super) fn room(&self) -> usize {
        self.inbox.capacity()
    }

    fn send(&self, message: Message) -> Result<(), StoreError> {
        self.inbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::Closed,
        })
    }
}

enum Message {
    Job(Box<dyn Job>),
    Stop(oneshot::Sender<Result<(), StoreError>>),
}

/// A piece of a transaction, and whom to tell when it is durable.
trait Job: Send {
    fn run(&mut self, ledger: &mut Ledger) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
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

struct Thread {
    ledger: Ledger,
    shared: Arc<Shared>,
    observer: CommitObserver,
}

impl Thread {
    fn run(&mut self, mut waiting: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH_MAX);
        let mut stops = Vec::new();
        while waiting.blocking_recv_many(&mut messages, BATCH_MAX) > 0 {
            let mut jobs = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Job(job) => jobs.push(job),
                    Message::Stop(reply) => {
                        waiting.close();
                        stops.push(reply);
                    }
                }
            }
            self.write(jobs);
            if self.ledger.unsynced_bytes >= CHECKPOINT_BYTES {
                self.checkpoint("PASSIVE");
            }
        }
        self.checkpoint("TRUNCATE");
        let last = self.latched();
        for stop in stops {
            let _ = stop.send(last.clone());
        }
    }

    /// Commits these jobs together. If one of them fails by itself, each gets a transaction of its
    /// own, so that one odd request costs nobody else an answer.
    fn write(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        let committed = self.commit(&mut jobs);
        if matches!(committed, Err(StoreError::Internal(_))) && jobs.len() > 1 {
            for job in jobs {
                let mut alone = vec![job];
                let committed = self.commit(&mut alone);
                answer_all(alone, &committed);
            }
        } else {
            answer_all(jobs, &committed);
        }
        self.shared.space.measure();
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        self.latched()?;
        let began = Instant::now();
        let routed_before = self.ledger.routed_through;
        let committed = self.transact(jobs).map_err(|error| self.judge(&error));
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

    fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        self.ledger.connection.execute_batch(BEGIN)?;
        for job in jobs {
            if let Err(error) = job.run(&mut self.ledger) {
                // SQLite has rolled back by itself after some errors, and then this fails.
                let _ = self.ledger.connection.execute_batch("ROLLBACK");
                return Err(error);
            }
        }
        let Ledger { connection, known, recorded, .. } = &mut self.ledger;
        let carried = known.carry(connection, recorded.len());
        carried.and_then(|()| connection.execute_batch("COMMIT")).inspect_err(|_| {
            let _ = connection.execute_batch("ROLLBACK");
        })
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
/// Jobs in one transaction: enough that the sync costs each next to nothing.
const BATCH_MAX: usize = 512;
/// Bytes written before the WAL is carried over into the database file.
const CHECKPOINT_BYTES: usize = 16 << 20;
