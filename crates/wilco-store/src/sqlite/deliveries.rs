//! What becomes of deliveries, statement by statement. Each runs inside the transaction of a batch.
//!
//! Of those with one order key only the head can be due; the others are held, without a time, and the
//! first of them becomes the head when the head has come to its end. So a key that waits costs a claim
//! nothing.

mod attempts;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use wilco::EventId;

use super::{WriterState, instant, seq_of};
use crate::{
    Breaker, Burst, Replay, Routed, State, Target,
    rules::{self, Joined, KeyRole, later, whole_millis},
};
pub(crate) use attempts::Taken;

/// A delivery that has come to its end, and the key that it was the head of.
struct Ended {
    destination: String,
    head_of: Option<String>,
}

impl WriterState {
    pub(super) fn fan_out(&mut self, routed: &[Routed], now: Timestamp) -> rusqlite::Result<()> {
        let before = self.routed_through;
        for Routed { event_id, targets } in routed {
            let seq = seq_of(*event_id);
            for target in targets.iter().filter(|_| seq > before) {
                self.deliver(seq, target, None, now)?;
            }
        }
        let through = routed.iter().map(|routed| seq_of(routed.event_id)).max().unwrap_or(0);
        self.connection
            .prepare_cached("UPDATE progress SET routed_through = max(routed_through, ?1)")?
            .execute([through])?;
        self.routed_through = self.routed_through.max(through);
        Ok(())
    }

    pub(super) fn replay(&mut self, replays: &[Replay], now: Timestamp) -> rusqlite::Result<()> {
        for Replay { event_id, targets, reason } in replays {
            let seq = seq_of(*event_id);
            let is_there = self
                .connection
                .prepare_cached("SELECT 1 FROM event WHERE seq = ?1 AND id = ?2")?
                .exists(params![seq, event_id.to_string()])?;
            for target in targets.iter().filter(|_| is_there) {
                let target = Target { burst: None, ..target.clone() };
                self.replace_dead(seq, &target, now)?;
                self.deliver(seq, &target, Some(reason), now)?;
            }
        }
        Ok(())
    }

    /// Marks the dead deliveries that a new one follows. Where one of them held the key of the new
    /// one, that takes its place, for nobody else of the key is due.
    fn replace_dead(&mut self, seq: i64, target: &Target, now: Timestamp) -> rusqlite::Result<()> {
        let dead = self
            .connection
            .prepare_cached(
                "SELECT id, destination, iif(key_role = 'head', order_key, NULL) FROM delivery \
                 WHERE event = ?1 AND destination = ?2 AND state = 'dead' AND replaced_by IS NULL",
            )?
            .query_map(params![seq, target.destination], |row| {
                Ok((row.get(0)?, Ended { destination: row.get(1)?, head_of: row.get(2)? }))
            })?
            .collect::<rusqlite::Result<Vec<(i64, Ended)>>>()?;
        for (id, mut ended) in dead {
            self.connection
                .prepare_cached("UPDATE delivery SET replaced_by = event WHERE id = ?1")?
                .execute([id])?;
            ended.head_of = ended.head_of.filter(|key| Some(key) != target.order_key.as_ref());
            self.leave_key(id, ended, now)?;
        }
        Ok(())
    }

    /// Makes a delivery.
    pub(super) fn deliver(
        &mut self,
        seq: i64,
        target: &Target,
        reason: Option<&str>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let began = match &target.burst {
            None => None,
            Some(burst) => self.supersede(seq, target, burst, now)?,
        };
        let has_head = match &target.order_key {
            None => false,
            Some(key) => self.has_head(&target.destination, key)?,
        };
        let Joined { burst, role, due_at } = rules::join(target, began, has_head, now);
        self.connection
            .prepare_cached(
                "INSERT INTO delivery (event, destination, state, due_at_ms, attempts, waited_ms, \
                 needs_reevaluation, order_key, key_role, burst_key, burst_began_ms, not_before_ms, reason) \
                 VALUES (?1, ?2, 'pending', ?3, 0, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                seq,
                target.destination,
                due_at.map(Timestamp::as_millisecond),
                target.needs_reevaluation,
                target.order_key,
                role.map(KeyRole::as_str),
                target.burst.as_ref().map(|burst| &burst.key),
                burst.map(|burst| burst.began.as_millisecond()),
                burst.map(|burst| burst.over_at.as_millisecond()),
                reason,
            ])?;
        if !self.to_wake.contains(&target.destination) {
            self.to_wake.insert(target.destination.clone());
        }
        Ok(())
    }

    /// Ends the last of a burst in favour of the event at `seq`, and says when the burst began.
    fn supersede(
        &mut self,
        seq: i64,
        target: &Target,
        burst: &Burst,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let last = self
            .connection
            .prepare_cached(
                "SELECT id, burst_began_ms FROM delivery WHERE destination = ?1 AND burst_key = ?2 \
                 AND state = 'pending' AND attempts = 0",
            )?
            .query_row(params![target.destination, burst.key], |row| {
                Ok((row.get(0)?, instant(row.get(1)?)?))
            })
            .optional()?;
        let Some((id, began)) = last else { return Ok(None) };
        self.end(id, State::Superseded, Some(seq), now)?;
        Ok(Some(began))
    }

    fn has_head(&self, destination: &str, key: &str) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT 1 FROM delivery WHERE destination = ?1 AND order_key = ?2 \
                 AND key_role = 'head'",
            )?
            .exists([destination, key])
    }

    /// Ends a delivery without an attempt.
    fn end(
        &mut self,
        id: i64,
        state: State,
        replaced_by: Option<i64>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let ended = self
            .connection
            .prepare_cached(
                "UPDATE delivery SET state = ?2, due_at_ms = NULL, replaced_by = ?3 WHERE id = ?1 \
                 RETURNING destination, iif(key_role = 'head', order_key, NULL)",
            )?
            .query_row(params![id, state.as_str(), replaced_by], ended)?;
        self.leave_key(id, ended, now)
    }

    /// Takes a delivery that has come to its end out of its key, and has the next one begin.
    fn leave_key(&mut self, id: i64, ended: Ended, now: Timestamp) -> rusqlite::Result<()> {
        let Ended { destination, head_of } = ended;
        self.connection
            .prepare_cached(
                "UPDATE delivery SET key_role = NULL WHERE id = ?1 AND key_role IS NOT NULL",
            )?
            .execute([id])?;
        let Some(key) = head_of else { return Ok(()) };
        let promoted = self
            .connection
            .prepare_cached(
                "UPDATE delivery SET key_role = 'head', \
                 due_at_ms = max(?3, coalesce(not_before_ms, 0)) WHERE id = (SELECT min(id) \
                 FROM delivery WHERE destination = ?1 AND order_key = ?2 AND key_role = 'held')",
            )?
            .execute(params![destination, key, now.as_millisecond()])?;
        if promoted > 0 {
            self.to_wake.insert(destination);
        }
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        event_id: EventId,
        destination: Option<&str>,
        now: Timestamp,
        limit: usize,
    ) -> rusqlite::Result<usize> {
        let waiting = self
            .connection
            .prepare_cached(
                "SELECT id FROM delivery WHERE event = (SELECT seq FROM event WHERE seq = ?1 \
                 AND id = ?3) AND (?2 IS NULL OR destination = ?2) \
                 AND (state IN ('pending', 'retrying') OR (state = 'dead' AND key_role = 'head')) \
                 ORDER BY id LIMIT ?4",
            )?
            .query_map(
                params![
                    seq_of(event_id),
                    destination,
                    event_id.to_string(),
                    super::row_limit(limit)
                ],
                |row| row.get(0),
            )?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        for &id in &waiting {
            self.end(id, State::Cancelled, None, now)?;
        }
        Ok(waiting.len())
    }

    /// Releases at most `limit` keys, and says how many.
    pub(super) fn release_keys(
        &mut self,
        destination: &str,
        now: Timestamp,
        limit: usize,
    ) -> rusqlite::Result<usize> {
        let holding = self
            .connection
            .prepare_cached(
                "SELECT id, order_key FROM delivery INDEXED BY delivery_unfinished \
                 WHERE destination = ?1 AND state = 'dead' AND state IN ('running', 'dead') \
                 AND replaced_by IS NULL AND key_role = 'head' ORDER BY id LIMIT ?2",
            )?
            .query_map(params![destination, super::row_limit(limit)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, Option<String>)>>>()?;
        let count = holding.len();
        for (id, head_of) in holding {
            self.leave_key(id, Ended { destination: destination.to_owned(), head_of }, now)?;
        }
        Ok(count)
    }

    pub(super) fn pause(&mut self, destination: &str, is_paused: bool) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO destination (name, paused, failures, revision) VALUES (?1, ?2, 0, 0) \
                 ON CONFLICT (name) DO UPDATE SET paused = ?2",
            )?
            .execute(params![destination, is_paused])?;
        self.to_wake.insert(destination.to_owned());
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

fn ended(row: &Row<'_>) -> rusqlite::Result<Ended> {
    Ok(Ended { destination: row.get(0)?, head_of: row.get(1)? })
}
