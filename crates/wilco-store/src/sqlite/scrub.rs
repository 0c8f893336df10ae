//! The check that runs while the store is open: a scrub, as file systems call it.
//!
//! After a clean stop nothing is read at the start, and an old event may not be asked for in years. So
//! all of the store is read now and then, a slice at a time: each slice is a short transaction on a
//! connection that only reads, so that it delays no write, and the next one waits. A record that is
//! not what was written is reported as if routing or a listing had met it. A page that the disk
//! replaced by an older version of itself is sound, but what was added to it is missing; that shows
//! where another table or an index still refers to it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::{CachedStatement, Connection};
use tokio::time::Instant;

use super::{
    DamagedEvent, EVENT, Kind, Limits, Queue, RECORD_DAMAGED, Shared, WriterState, checked,
    is_damage, log_damaged, stop_at_damage, submit,
};
use crate::StoreError;

/// Reads the store from beginning to end, and again after [`SCRUB_EVERY`].
pub(crate) struct Scrub {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// For what it finds, which the writing thread writes down.
    pub(super) queue: Arc<Queue>,
    /// How long it leaves the store alone at first.
    pub(super) after: Duration,
    pub(super) limits: Limits,
}

/// The last row of a slice, behind which the next one begins. The second number is 0 but for an index
/// over two columns.
type Place = (i64, i64);

/// What a slice found, and where the next one begins; `None` at the end of the table.
type Slice = (Vec<DamagedEvent>, Option<Place>);

/// Reads as many rows behind a place as the limits allow.
type Reading = fn(&Connection, Place, &Limits) -> rusqlite::Result<Slice>;

/// All that is read, in this order.
const READINGS: [Reading; 4] = [events, deliveries, delivery_index, latest_events];

impl Scrub {
    /// Runs until it is stopped, or the store latches.
    pub(super) fn run(&self, shared: &Shared, is_stopped: &AtomicBool) {
        let mut wait = self.after;
        while sleep(wait, is_stopped) {
            wait = SCRUB_EVERY;
            let began = Instant::now();
            match self.read_all(shared, is_stopped) {
                Ok(true) => {
                    let secs = began.elapsed().as_secs();
                    tracing::debug!(secs, "background check of the store complete");
                }
                Ok(false) => return,
                Err(error) if is_damage(&error) => {
                    return stop_at_damage(&self.path, &error.to_string(), shared);
                }
                Err(_) if is_stopped.load(Ordering::Relaxed) => return,
                Err(error) => {
                    tracing::warn!(%error, "background check failed; it is repeated later");
                }
            }
        }
    }

    /// False where it was stopped on the way.
    fn read_all(&self, shared: &Shared, is_stopped: &AtomicBool) -> rusqlite::Result<bool> {
        for read in READINGS {
            let mut next = Some(FIRST);
            while let Some(place) = next {
                if is_stopped.load(Ordering::Relaxed) || shared.require_sound().is_err() {
                    return Ok(false);
                }
                let wal_bytes = shared.wal_bytes.load(Ordering::Relaxed);
                let (found, rest) = read(&self.connection, place, &self.limits)?;
                self.report(&found);
                next = rest;
                // The log grows with each commit.
                sleep(self.limits.scrub_pause, is_stopped);
                if shared.wal_bytes.load(Ordering::Relaxed) != wal_bytes {
                    sleep(self.limits.scrub_busy_pause, is_stopped);
                }
            }
        }
        Ok(true)
    }

    fn report(&self, found: &[DamagedEvent]) {
        if found.is_empty() {
            return;
        }
        let mark = {
            let found = found.to_owned();
            move |state: &mut WriterState| state.mark_damaged(&found)
        };
        let marked = submit(&self.queue, Kind::Delivery, mark).ok();
        if marked.and_then(|answer| answer.blocking_recv().ok()?.ok()).is_none() {
            // The next round finds it again.
            log_damaged(found);
        }
    }
}

/// Compares events and their payloads with their checksums.
fn events(connection: &Connection, (after, _): Place, limits: &Limits) -> rusqlite::Result<Slice> {
    let events_max = limits.scrub_events;
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {EVENT} WHERE seq > ?1 ORDER BY seq LIMIT {events_max}"
    ))?;
    let mut rows = statement.query([after])?;
    let (mut found, mut read, mut body_bytes, mut last) = (Vec::new(), 0, 0, after);
    while body_bytes < SLICE_BODY_BYTES
        && let Some(row) = rows.next()?
    {
        last = row.get("seq")?;
        match checked(connection, row) {
            Ok(intact) => body_bytes += intact.body_bytes(),
            Err(StoreError::Pruned(_)) => {}
            Err(_) => found.push(damaged(last, RECORD_DAMAGED)),
        }
        read += 1;
    }
    let is_end = read < events_max && body_bytes < SLICE_BODY_BYTES;
    Ok((found, (!is_end).then_some((last, 0))))
}

/// Looks for the event of each delivery, and for the delivery in the indexes that deliveries are found
/// by: without its place in one of them it would never be tried.
fn deliveries(connection: &Connection, after: Place, limits: &Limits) -> rusqlite::Result<Slice> {
    let rows_max = limits.scrub_rows;
    let statement = connection.prepare_cached(&format!(
        "SELECT id, 0, event, CASE \
         WHEN NOT EXISTS (SELECT 1 FROM event WHERE seq = one.event) THEN 1 \
         WHEN NOT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_by_event \
             WHERE event = one.event AND id = one.id) \
           OR due_at_ms IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_due \
               WHERE destination = one.destination AND due_at_ms = one.due_at_ms \
               AND id = one.id) THEN 2 \
         END FROM delivery AS one NOT INDEXED \
         WHERE id > ?1 AND ?2 = 0 ORDER BY id LIMIT {rows_max}"
    ))?;
    references(statement, after, rows_max)
}

/// Looks for each delivery that the index over events has.
fn delivery_index(
    connection: &Connection,
    after: Place,
    limits: &Limits,
) -> rusqlite::Result<Slice> {
    let rows_max = limits.scrub_rows;
    let statement = connection.prepare_cached(&format!(
        "SELECT event, id, event, CASE WHEN NOT EXISTS (SELECT 1 FROM delivery AS other NOT INDEXED \
         WHERE other.id = one.id AND other.event = one.event) THEN 3 END \
         FROM delivery AS one INDEXED BY delivery_by_event \
         WHERE (event, id) > (?1, ?2) ORDER BY event, id LIMIT {rows_max}"
    ))?;
    references(statement, after, rows_max)
}

/// Looks for the events that duplicates are recognised by: some have no delivery.
fn latest_events(
    connection: &Connection,
    after: Place,
    limits: &Limits,
) -> rusqlite::Result<Slice> {
    let rows_max = limits.scrub_rows;
    let statement = connection.prepare_cached(&format!(
        "SELECT key, 0, event, CASE WHEN NOT EXISTS (SELECT 1 FROM event WHERE seq = latest_event.event) \
         THEN 1 END FROM latest_event WHERE key > ?1 AND ?2 = 0 ORDER BY key LIMIT {rows_max}"
    ))?;
    references(statement, after, rows_max)
}

/// Rows of a place, an event, and what is wrong with it, if anything is.
fn references(
    mut statement: CachedStatement<'_>,
    (first, second): Place,
    rows_max: usize,
) -> rusqlite::Result<Slice> {
    let mut rows = statement.query([first, second])?;
    let (mut found, mut read, mut last) = (Vec::new(), 0, FIRST);
    while let Some(row) = rows.next()? {
        last = (row.get(0)?, row.get(1)?);
        read += 1;
        let what = match row.get::<_, Option<i64>>(3)? {
            None => continue,
            Some(1) => "the record of an event is missing",
            Some(2) => "a delivery of an event is missing in an index",
            Some(_) => "the record of a delivery of an event is missing",
        };
        found.push(damaged(row.get(2)?, what));
    }
    Ok((found, (read == rows_max).then_some(last)))
}

fn damaged(seq: i64, what: &'static str) -> DamagedEvent {
    DamagedEvent { seq, what, by: "the check in the background" }
}

/// False where it was stopped meanwhile.
fn sleep(time: Duration, is_stopped: &AtomicBool) -> bool {
    let until = Instant::now() + time;
    loop {
        if is_stopped.load(Ordering::Relaxed) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        // Whoever stops it wakes it.
        thread::park_timeout(left);
    }
}

const FIRST: Place = (i64::MIN, 0);
/// From the end of one scrub to the beginning of the next.
const SCRUB_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of bodies behind which a slice of events ends early.
const SLICE_BODY_BYTES: usize = 1 << 20;
