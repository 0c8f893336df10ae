//! Takes the right to make attempts.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::{Row, params};
use wilco::{BODY_CHUNK_BYTES, Event, Item, STORED_CHUNK_BYTES};

use super::{Lease, WriterState, row_limit};
use crate::{
    CLAIM_BYTES_MAX, Claim,
    rules::{latest_due, within_bytes},
};

/// A delivery that was taken; its event is read by a reader.
pub(crate) struct Taken {
    pub(crate) delivery: i64,
    pub(crate) event_seq: i64,
    pub(crate) attempt: u32,
    pub(crate) waited: Duration,
    pub(crate) needs_reevaluation: bool,
    /// `None` for the whole event.
    pub(crate) item: Option<Item>,
}

impl Taken {
    pub(crate) fn with(self, destination: &str, lease: Duration, event: Arc<Event>) -> Claim {
        Claim {
            delivery: self.delivery,
            destination: destination.into(),
            attempt: self.attempt,
            waited: self.waited,
            needs_reevaluation: self.needs_reevaluation,
            lease,
            event,
        }
    }
}

impl WriterState {
    /// Shortens waits that were written by a clock which has been set back since: at most `limit` of
    /// them, and says how many.
    pub(super) fn limit_waits(
        &mut self,
        destination: &str,
        now: Timestamp,
        longest_wait: Duration,
        limit: usize,
    ) -> rusqlite::Result<usize> {
        let latest = latest_due(now, longest_wait);
        self.connection
            .prepare_cached(
                "UPDATE delivery SET due_at_ms = ?2 WHERE id IN (SELECT id FROM delivery \
                 WHERE destination = ?1 AND due_at_ms > ?2 LIMIT ?3)",
            )?
            .execute(params![destination, latest.as_millisecond(), row_limit(limit)])
    }

    pub(super) fn claim(
        &mut self,
        destination: &str,
        limit: usize,
        now: Timestamp,
        lease_ends: Duration,
    ) -> rusqlite::Result<Vec<Taken>> {
        let is_paused = self
            .connection
            .prepare_cached("SELECT 1 FROM destination WHERE name = ?1 AND paused = 1")?
            .exists([destination])?;
        if is_paused {
            return Ok(Vec::new());
        }
        // RETURNING gives rows in no order of its own, so the order is taken from the SELECT.
        let due = self
            .connection
            .prepare_cached(
                // Of a large body one chunk is in memory. The size of a damaged event may be anything, and it
                // may have none.
                "SELECT delivery.id, max(coalesce(item_end - item_start, iif(bytes > ?4, ?5, bytes), 0), 0) FROM delivery \
                 LEFT JOIN event ON event.seq = delivery.event \
                 WHERE destination = ?1 AND due_at_ms <= ?2 \
                 ORDER BY due_at_ms, delivery.id LIMIT ?3",
            )?
            .query_map(params![destination, now.as_millisecond(), row_limit(limit), BODY_CHUNK_BYTES, STORED_CHUNK_BYTES], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, usize)>>>()?;
        let count = within_bytes(due.iter().map(|(_, bytes)| *bytes), CLAIM_BYTES_MAX);
        let mut take = self.connection.prepare_cached(
            "UPDATE delivery SET state = 'running', due_at_ms = NULL, attempts = attempts + 1 \
             WHERE id = ?1 RETURNING id, event, attempts, waited_ms, needs_reevaluation, \
             item, item_start, item_end",
        )?;
        let mut taken = |id: i64| {
            take.query_row([id], |row| {
                Ok(Taken {
                    delivery: row.get(0)?,
                    event_seq: row.get(1)?,
                    attempt: row.get(2)?,
                    waited: Duration::from_millis(row.get(3)?),
                    needs_reevaluation: row.get(4)?,
                    item: item_of(row)?,
                })
            })
        };
        let due = due.into_iter().take(count);
        let taken = due.map(|(id, _)| taken(id)).collect::<rusqlite::Result<Vec<_>>>()?;
        for taken in &taken {
            let lease = Lease { destination: destination.to_owned(), ends: lease_ends };
            self.changes.leases.begun.push(((taken.delivery, taken.attempt), lease));
        }
        Ok(taken)
    }
}

fn item_of(row: &Row<'_>) -> rusqlite::Result<Option<Item>> {
    let number: Option<u32> = row.get("item")?;
    let item =
        |number| Ok(Item { number, start: row.get("item_start")?, end: row.get("item_end")? });
    number.map(item).transpose()
}
