//! The check after a stop that was not a clean one. It reads every page of the file.
//!
//! A small store is checked before anything else. A large one would keep the endpoint away for many
//! seconds, after a crash of all times; so it is checked while it is in use, on a connection of
//! its own, and the store latches if something is found. What is likely to have suffered is read
//! at the start all the same: the log, and the newest events.
//!
//! A file next to the store says that a check is due, until a check is complete: neither a stop nor
//! a further crash forgets it.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, InterruptHandle};

use super::{Scrub, Shared, from_sqlite, private_file, sibling_path, sync_folder};
use crate::OpenError;

/// When a store is to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It was closed, whole.
    Never,
    /// Before anything else.
    First,
    /// While it is in use.
    Beside,
}

impl Due {
    /// Looks at what the last process left behind, before this one touches it.
    pub(super) fn of(path: &Path, first_bytes_max: u64) -> Self {
        let bytes = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        // A log that was left behind means that the last stop was not a clean one.
        let log_bytes = bytes(&sibling_path(path, "-wal"));
        match fs::read(mark(path)) {
            // Something was found: nobody writes to it again before it has been read to the end.
            Ok(found) if !found.is_empty() => Self::First,
            Err(_) if log_bytes == 0 => Self::Never,
            Ok(_) | Err(_) if bytes(path) + log_bytes > first_bytes_max => Self::Beside,
            Ok(_) | Err(_) => Self::First,
        }
    }
}

/// Checks the store before anything else.
pub(crate) fn require_whole(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    tracing::warn!(store = %path.display(), "checking the store after an unclean stop");
    match look(connection) {
        Ok(None) => {
            unmark(path);
            Ok(())
        }
        Ok(Some(what)) => Err(OpenError::Damaged { path: path.into(), what }),
        Err(error) => Err(from_sqlite(path, &error)),
    }
}

/// A store that is to be checked while it is in use.
pub(crate) struct Unchecked {
    connection: Connection,
    path: PathBuf,
}

impl Unchecked {
    /// Writes down that a check is due.
    pub(super) fn new(connection: Connection, path: &Path) -> io::Result<Self> {
        write_mark(path, "")?;
        Ok(Self { connection, path: path.into() })
    }

    fn check(self, shared: &Shared, is_stopped: &AtomicBool) {
        let store = self.path.display().to_string();
        tracing::warn!(store, "checking the store in the background after an unclean stop");
        let what = match look(&self.connection) {
            Ok(None) => {
                unmark(&self.path);
                tracing::info!(store, "the store is intact");
                return;
            }
            Ok(Some(what)) => what,
            Err(error) if is_damage(&error) => error.to_string(),
            Err(error) => {
                if !is_stopped.load(Ordering::Relaxed) {
                    tracing::warn!(store, %error, "check incomplete; the next start repeats it");
                }
                return;
            }
        };
        stop_at_damage(&self.path, &what, shared);
    }
}

/// Latches the store, and makes sure that the next start checks the file before it uses it.
pub(crate) fn stop_at_damage(path: &Path, what: &str, shared: &Shared) {
    if let Err(error) = write_mark(path, what) {
        let store = path.display();
        tracing::error!(%store, %error, "cannot record the damage for the next start");
    }
    shared.latch(&format!("the check found damage: {what}"));
}

/// The thread that checks: once after an unclean stop, if that is due, and then bit by bit for as
/// long as the store is open. It ends at once when this is dropped; the check after an unclean stop
/// is then due at the next start.
pub(crate) struct Running {
    is_stopped: Arc<AtomicBool>,
    interrupts: Vec<InterruptHandle>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn start(
        unchecked: Option<Unchecked>,
        scrub: Scrub,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let connections = unchecked.iter().map(|unchecked| &unchecked.connection);
        let interrupts = connections.chain([&scrub.connection]);
        let interrupts = interrupts.map(Connection::get_interrupt_handle).collect();
        let stopped = Arc::clone(&is_stopped);
        let thread = thread::Builder::new().name("wilco-check".into()).spawn(move || {
            if let Some(unchecked) = unchecked.filter(|_| !stopped.load(Ordering::Relaxed)) {
                unchecked.check(&shared, &stopped);
            }
            scrub.run(&shared, &stopped);
        })?;
        Ok(Self { is_stopped, interrupts, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() {
            // Both are lost on a check that is between two steps, so they are said again.
            self.interrupts.iter().for_each(InterruptHandle::interrupt);
            thread.thread().unpark();
            thread::sleep(SAY_AGAIN);
        }
        // If it panicked, the check is due at the next start.
        let _ = thread.join();
    }
}

/// The first thing that is wrong, if anything is.
fn look(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let what: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((what != "ok").then_some(what))
}

pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
    )
}

fn mark(path: &Path) -> PathBuf {
    sibling_path(path, "-check")
}

/// Durable when it returns: the file, and its name in the folder.
fn write_mark(path: &Path, what: &str) -> io::Result<()> {
    let mut file = private_file(&mark(path))?;
    file.write_all(what.as_bytes())?;
    file.sync_all()?;
    sync_folder(path)
}

fn unmark(path: &Path) {
    match fs::remove_file(mark(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot remove the mark; the next start checks the store again");
        }
        Ok(()) | Err(_) => {}
    }
}

const SAY_AGAIN: Duration = Duration::from_millis(1);
