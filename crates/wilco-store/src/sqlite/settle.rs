//! Writes how an attempt ended.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::{AttemptId, WriterState, ended};
use crate::{
    Attempt, Breaker, Outcome, Settled,
    rules::{self, Settlement, later, whole_millis},
};

impl WriterState {
    pub(super) fn settle(
        &mut self,
        (delivery, number): AttemptId,
        waited: Duration,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
        now: Timestamp,
    ) -> rusqlite::Result<Settled> {
        let Settlement { state, due_at, waited, error, leaves_key } =
            rules::settle(outcome, attempt, waited, now);
        let due_at_ms = due_at.map(Timestamp::as_millisecond);
        let waited_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let changed = self.next_change();
        let settled = self
            .connection
            .prepare_cached(
                "UPDATE delivery SET state = ?2, due_at_ms = ?3, last_error = ?4, waited_ms = ?6, \
                 changed = ?7 WHERE id = ?1 AND state = 'running' AND attempts = ?5 \
                 RETURNING destination, iif(key_role = 'head', order_key, NULL)",
            )?
            .query_row(
                params![delivery, state.as_str(), due_at_ms, error, number, waited_ms, changed],
                ended,
            )
            .optional()?;
        let Some(settled) = settled else { return Ok(Settled::Stale) };
        self.changes.leases.ended.push((delivery, number));
        self.write_attempt(delivery, number, attempt)?;
        if let Some(breaker) = breaker {
            self.set_breaker(&settled.destination, breaker, now)?;
        }
        if due_at.is_some() {
            self.changes.to_wake.insert(settled.destination);
        } else if leaves_key && settled.head_of.is_some() {
            self.leave_key(delivery, settled, now)?;
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
                 request, output) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                delivery,
                number,
                attempt.started_at.as_millisecond(),
                took_us,
                attempt.result,
                attempt.request,
                attempt.output,
            ])?;
        Ok(())
    }

    fn set_breaker(
        &mut self,
        destination: &str,
        breaker: Breaker,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let open_until = breaker.open_for.map(|wait| whole_millis(later(now, wait)));
        self.connection
            .prepare_cached(
                "INSERT INTO destination (name, paused, failures, open_until_ms, revision) \
                 VALUES (?1, 0, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE \
                 SET failures = ?2, open_until_ms = ?3, revision = ?4 WHERE revision <= ?4",
            )?
            .execute(params![
                destination,
                breaker.failures,
                open_until.map(Timestamp::as_millisecond),
                breaker.revision,
            ])?;
        Ok(())
    }
}
