//! The one thread that writes: it takes all that waits, commits once, then answers all.
//!
//! It uses no timer: a lone request is committed at once, and while its sync is under way the next
//! batch gathers. The more there is to do, the less each commit costs.

mod thread;

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    Batch, Job, Kind, Opening, Prepared, Queue, RecordLarge, Shared, StoreFiles, Wal, WriterState,
    from_io,
};
use crate::{CommitObserver, Duplicates, OpenError, Receipt, Rejection, StoreError};
use thread::Thread;

/// The way to the writing thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Writer {
    /// Opens the store and starts the thread. If it cannot be opened yet, the thread keeps
    /// trying.
    pub(super) fn start(
        opening: Opening,
        shared: Arc<Shared>,
        observer: CommitObserver,
    ) -> Result<(Self, JoinHandle<()>), OpenError> {
        let opened = match opening.try_open() {
            Ok(opened) => Some(opened),
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
            if let Some((state, wal)) = opened.or_else(|| open_later(&opening, &queue)) {
                Thread { wal, state, queue, shared, observer }.run();
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
        work: impl FnMut(&mut WriterState) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = submit(&self.queue, kind, work)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Records an event with a large body in several transactions, and answers when it is durable.
    pub(super) async fn record_large(
        &self,
        prepared: Prepared,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError> {
        let (job, answer) = RecordLarge::new(&self.queue, prepared, duplicates);
        self.queue.push(Kind::Large, Box::new(job))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Queues a rejection, if there is room for it.
    pub(super) fn reject(&self, rejection: Rejection) -> bool {
        self.queue.push_rejection(rejection)
    }

    /// Has the rejections written that are queued, and waits for it.
    pub(super) async fn write_rejections(&self) -> Result<(), StoreError> {
        if self.queue.is_closed() {
            // A store that is only read has none.
            return Ok(());
        }
        self.queue.want_rejections();
        self.write(Kind::Maintenance, |_| Ok(())).await
    }

    /// Runs `work` as soon as the store can take it, and again until it succeeds.
    pub(super) fn repair(
        &self,
        work: impl FnMut(&mut WriterState) -> rusqlite::Result<()> + Send + 'static,
    ) {
        self.queue.push_repairs(vec![Box::new(Unseen(work))], None);
    }

    /// Makes the thread finish what is queued, empty the WAL and end.
    pub(super) async fn stop(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.close(Some(reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Whether the thread could commit now.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        self.shared.require_sound()?;
        self.shared.require_opened()?;
        self.require_open()?;
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
        self.require_space()
    }

    /// Whether there is space for a new event.
    pub(super) fn require_space(&self) -> Result<(), StoreError> {
        self.shared.require_sound()?;
        self.shared.require_opened()?;
        self.shared.space.require()?;
        if self.shared.is_wal_full() {
            self.nudge();
            return Err(StoreError::WalFull);
        }
        Ok(())
    }

    /// Makes the thread commit something, to learn whether that is possible again.
    fn nudge(&self) {
        // Where the queue is full the thread is about to commit anyway.
        let _ = self.queue.push(Kind::Event, Box::new(Unseen(WriterState::touch)));
    }

    pub(super) fn require_open(&self) -> Result<(), StoreError> {
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
    work: impl FnMut(&mut WriterState) -> rusqlite::Result<T> + Send + 'static,
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
    W: FnMut(&mut WriterState) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, state: &mut WriterState) -> rusqlite::Result<()> {
        self.value = Some((self.work)(state)?);
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
    W: FnMut(&mut WriterState) -> rusqlite::Result<()> + Send,
{
    fn run(&mut self, state: &mut WriterState) -> rusqlite::Result<()> {
        (self.0)(state)
    }

    fn answer(self: Box<Self>, _: Result<(), StoreError>) {}
}

/// Tries to open the store until that works. `None` where the store was closed before.
fn open_later(opening: &Opening, queue: &Queue) -> Option<(WriterState, Wal)> {
    let shared = &opening.shared;
    let mut next_try = Instant::now() + opening.limits.open_retry;
    loop {
        let patience = next_try.saturating_duration_since(Instant::now());
        match queue.take(Some(patience)) {
            Some(Batch::Jobs(jobs)) => {
                answer_all(jobs, &shared.require_sound().and_then(|()| shared.require_opened()));
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
        next_try = Instant::now() + opening.limits.open_retry;
        if shared.require_sound().is_err() {
            continue;
        }
        match opening.try_open() {
            Ok(opened) => {
                tracing::info!(store = %opening.path.display(), "the store is open");
                shared.set_opening(None);
                return Some(opened);
            }
            Err(error) if error.is_temporary() => shared.set_opening(Some(error.to_string())),
            Err(error) => {
                shared.latch(&error.to_string());
            }
        }
    }
}

fn answer_all(jobs: Vec<Box<dyn Job>>, committed: &Result<(), StoreError>) {
    for job in jobs {
        job.answer(committed.clone());
    }
}

/// Without its writing thread the process could only refuse events; so it ends, and
/// a supervisor restarts it.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
