//! Attempts: the right to make one, how it ended, and what an earlier process has left.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use wilco::Event;

use super::{
    super::{AttemptId, Lease, row_limit},
    WriterState, ended,
};
use crate::{
    Attempt, Breaker, Claim, Outcome, Settled, State,
    rules::{self, LEASE_ENDED, Settlement},
};

/// A delivery that was taken; its event is read by a reader.
pub(crate) struct Taken {
    pub(crate) delivery: i64,
    pub(crate) event_seq: i64,
    pub(crate) attempt: u32,
    pub(crate) waited: Duration,
    pub(crate) needs_reevaluation: bool,
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
    pub(crate) fn limit_waits(
        &mut self,
        destination: &str,
        now: Timestamp,
        longest_wait: Duration,
        limit: usize,
    ) -> rusqlite::Result<usize> {
        let latest = now.checked_add(longest_wait).unwrap_or(Timestamp::MAX);
        self.connection
            .prepare_cached(
                "UPDATE delivery SET due_at_ms = ?2 WHERE id IN (SELECT id FROM delivery \
                 WHERE destination = ?1 AND due_at_ms > ?2 LIMIT ?3)",
            )?
            .execute(params![destination, latest.as_millisecond(), row_limit(limit)])
    }

    pub(crate) fn claim(
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
                "SELECT id FROM delivery WHERE destination = ?1 AND due_at_ms <= ?2 \
                 ORDER BY due_at_ms, id LIMIT ?3",
            )?
            .query_map(params![destination, now.as_millisecond(), row_limit(limit)], |row| {
                row.get(0)
            })?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        let mut take = self.connection.prepare_cached(
            "UPDATE delivery SET state = 'running', due_at_ms = NULL, attempts = attempts + 1 \
             WHERE id = ?1 RETURNING id, event, attempts, waited_ms, needs_reevaluation",
        )?;
        let mut taken = |id: i64| {
            take.query_row([id], |row| {
                Ok(Taken {
                    delivery: row.get(0)?,
                    event_seq: row.get(1)?,
                    attempt: row.get(2)?,
                    waited: Duration::from_millis(row.get(3)?),
                    needs_reevaluation: row.get(4)?,
                })
            })
        };
        let taken = due.into_iter().map(&mut taken).collect::<rusqlite::Result<Vec<_>>>()?;
        for taken in &taken {
            let lease = Lease { destination: destination.to_owned(), ends: lease_ends };
            self.leases.begun.push(((taken.delivery, taken.attempt), lease));
        }
        Ok(taken)
    }

    /// Gives back what was claimed and could not be read just now: deliveries and the numbers of
    /// their attempts, so that a later claim of the same delivery is left alone.
    pub(crate) fn release(
        &mut self,
        taken: &[AttemptId],
        due_at: Timestamp,
    ) -> rusqlite::Result<()> {
        self.make_due(taken, due_at, None)
    }

    /// Makes deliveries due whose leases have ended.
    pub(crate) fn end_leases(
        &mut self,
        over: &[AttemptId],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.make_due(over, now, Some(LEASE_ENDED))
    }

    fn make_due(
        &mut self,
        attempts: &[AttemptId],
        due_at: Timestamp,
        error: Option<&str>,
    ) -> rusqlite::Result<()> {
        let mut release = self.connection.prepare_cached(
            "UPDATE delivery SET state = 'retrying', due_at_ms = ?2, \
             last_error = coalesce(?4, last_error) \
             WHERE id = ?1 AND state = 'running' AND attempts = ?3",
        )?;
        for (id, attempt) in attempts {
            release.execute(params![id, due_at.as_millisecond(), attempt, error])?;
        }
        self.leases.ended.extend_from_slice(attempts);
        Ok(())
    }

    pub(crate) fn settle(
        &mut self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
        now: Timestamp,
    ) -> rusqlite::Result<Settled> {
        let Settlement { state, due_at, waited, error, leaves_key } =
            rules::settle(outcome, attempt, claim.waited, now);
        let due_at_ms = due_at.map(Timestamp::as_millisecond);
        let waited_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let settled = self
            .connection
            .prepare_cached(
                "UPDATE delivery SET state = ?2, due_at_ms = ?3, last_error = ?4, waited_ms = ?6 \
                 WHERE id = ?1 AND state = 'running' AND attempts = ?5 \
                 RETURNING destination, iif(key_role = 'head', order_key, NULL)",
            )?
            .query_row(
                params![claim.delivery, state.as_str(), due_at_ms, error, claim.attempt, waited_ms],
                ended,
            )
            .optional()?;
        let Some(settled) = settled else { return Ok(Settled::Stale) };
        self.leases.ended.push((claim.delivery, claim.attempt));
        self.write_attempt(claim.delivery, claim.attempt, attempt)?;
        if let Some(breaker) = breaker {
            self.set_breaker(&claim.destination, breaker, now)?;
        }
        if due_at.is_some() {
            self.to_wake.insert(claim.destination.clone());
        } else if leaves_key && settled.head_of.is_some() {
            self.leave_key(claim.delivery, settled, now)?;
        }
        Ok(Settled::Written)
    }

    fn write_attempt(
        &mut self,
        delivery: i64,
        number: u32,
        attempt: &Attempt,
    ) -> rusqlite::Result<()> {
        let took_us = i64::try_from(attempt.took.as_micros()).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO attempt (delivery, number, started_at_ms, took_us, result, \
                 output) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                delivery,
                number,
                attempt.started_at.as_millisecond(),
                took_us,
                attempt.result,
                attempt.output,
            ])?;
        Ok(())
    }

    /// Settles a delivery whose event cannot be read.
    pub(crate) fn settle_unreadable(
        &mut self,
        delivery: i64,
        number: u32,
        why: &str,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let is_claimed = self.connection.execute(
            "UPDATE delivery SET last_error = ?3 \
             WHERE id = ?1 AND state = 'running' AND attempts = ?2",
            params![delivery, number, why],
        )?;
        if is_claimed == 0 {
            return Ok(());
        }
        self.leases.ended.push((delivery, number));
        self.end(delivery, State::Dead, None, now)?;
        let attempt = Attempt {
            started_at: now,
            took: Duration::ZERO,
            result: why.to_owned(),
            output: Vec::new(),
        };
        self.write_attempt(delivery, number, &attempt)
    }

    /// What was running when the last process ended is tried again: at least once, not at most. It
    /// recovers at most `limit` deliveries, and says how many.
    pub(crate) fn recover(&self, now: Timestamp, limit: usize) -> rusqlite::Result<usize> {
        // The condition repeats that of the index, which is then all that is read.
        self.connection.execute(
            "UPDATE delivery SET state = 'retrying', \
             due_at_ms = ?1, last_error = 'wilco stopped during the attempt' WHERE id IN (\
             SELECT id FROM delivery INDEXED BY delivery_unfinished WHERE state = 'running' \
             AND state IN ('running', 'dead') AND replaced_by IS NULL LIMIT ?2)",
            params![now.as_millisecond(), row_limit(limit)],
        )
    }
}
