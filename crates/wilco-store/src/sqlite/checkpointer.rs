//! Copies the write-ahead log into the database while the writing thread goes on committing.
//!
//! A checkpoint reads and writes every page that has changed, and syncs the database. That took about
//! a sixth of the time in which events are recorded as fast as possible, and nobody got an answer
//! meanwhile. SQLite lets another connection do it. But the log begins again only when all of it has
//! been copied, so the writing thread copies the rest, which is little.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, config::DbConfig};

use super::{AbortOnPanic, Checkpoint, Shared};

/// The thread that copies. It ends when this is dropped.
pub(crate) struct Checkpointer {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Resting,
    Copying,
    /// Most of the log is copied, or that failed. The writing thread has to do the rest.
    Copied,
    Ending,
}

impl Checkpointer {
    pub(super) fn start(connection: Connection, shared: Arc<Shared>) -> io::Result<Self> {
        let progress = Arc::<Progress>::default();
        let its_progress = Arc::clone(&progress);
        let body = move || {
            let _guard = AbortOnPanic;
            let is_next = |phase| matches!(phase, Phase::Copying | Phase::Ending);
            while its_progress.wait_for(is_next) == Phase::Copying {
                copy(&connection, &shared);
                its_progress.step(Phase::Copying, Phase::Copied);
            }
        };
        let thread = thread::Builder::new().name("wilco-wal".into()).spawn(body)?;
        Ok(Self { progress, thread: Some(thread) })
    }

    /// Begins to copy the log, unless that is under way.
    pub(super) fn begin(&self) {
        self.progress.step(Phase::Resting, Phase::Copying);
    }

    /// Whether it has copied what it can.
    pub(super) fn has_copied(&self) -> bool {
        *self.progress.lock() == Phase::Copied
    }

    /// Waits until it no longer copies, so that another connection can.
    pub(super) fn rest(&self) {
        self.progress.wait_for(|phase| phase != Phase::Copying);
        self.progress.step(Phase::Copied, Phase::Resting);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        *self.progress.lock() = Phase::Ending;
        self.progress.changed.notify_all();
        // A panic there has ended the process.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, from: Phase, to: Phase) {
        let mut phase = self.lock();
        if *phase == from {
            *phase = to;
            self.changed.notify_all();
        }
    }

    fn wait_for(&self, is_reached: impl Fn(Phase) -> bool) -> Phase {
        let phase = self.changed.wait_while(self.lock(), |phase| !is_reached(*phase));
        *phase.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies what is there, then what came meanwhile, until little is left for the writing thread.
fn copy(connection: &Connection, shared: &Shared) {
    for _ in 0..ROUNDS_MAX {
        let copied = Checkpoint::passive(connection).and_then(|_| Checkpoint::look(connection));
        match copied {
            Ok(found) if found.pending() > REST_FRAMES_MAX => {}
            Ok(_) => return,
            Err(error) => {
                // The store has latched, or the writing thread meets the same error and reports it.
                let _ = shared.judge(&error);
                return;
            }
        }
    }
}

/// Prevents that SQLite copies and removes the log when this connection is closed. It would remove it
/// by its name, which may be another store's by now.
pub(crate) fn leave_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// How often the log is copied up to its end, which moves on.
const ROUNDS_MAX: usize = 4;
/// Frames that may be left for the writing thread: 2 MiB.
const REST_FRAMES_MAX: u64 = 512;
