//! What the verbs about deliveries share: making one, ending one, and the order of those with one key.
//! Each runs inside the transaction of a batch.
//!
//! Of those with one order key only the head can be due; the others are held, without a time, and the
//! first of them becomes the head when the head has come to its end. So a key that waits costs a claim
//! nothing.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{WriterState, instant};
use crate::{
    Burst, State, Target,
    rules::{self, Joined, KeyRole},
};

/// A delivery that has come to its end, and the key that it was the head of.
pub(crate) struct Ended {
    pub(super) destination: String,
    pub(super) head_of: Option<String>,
}

impl WriterState {
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
        let changed = self.next_change();
        self.connection
            .prepare_cached(
                "INSERT INTO delivery (id, event, destination, state, due_at_ms, attempts, waited_ms, \
                 needs_reevaluation, order_key, key_role, burst_key, burst_began_ms, not_before_ms, reason, \
                 item, item_start, item_end, changed) \
                 VALUES (max((SELECT coalesce(max(id), 0) FROM delivery), \
                 (SELECT last_delivery FROM progress)) + 1, ?1, ?2, 'pending', ?3, 0, 0, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
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
                target.item.map(|item| item.number),
                target.item.map(|item| item.start),
                target.item.map(|item| item.end),
                changed,
            ])?;
        if !self.changes.to_wake.contains(&target.destination) {
            self.changes.to_wake.insert(target.destination.clone());
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
                 AND state = 'pending'",
            )?
            .query_row(params![target.destination, burst.key], |row| {
                Ok((row.get(0)?, instant(row.get(1)?)?))
            })
            .optional()?;
        let Some((id, began)) = last else { return Ok(None) };
        self.end(id, State::Superseded, Some(seq), now)?;
        Ok(Some(began))
    }

    /// The number of the change of a delivery that is made now. That an attempt begins is not one.
    pub(super) fn next_change(&mut self) -> i64 {
        self.last_seq += 1;
        self.last_seq
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
    pub(super) fn end(
        &mut self,
        id: i64,
        state: State,
        replaced_by: Option<i64>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let changed = self.next_change();
        let ended = self
            .connection
            .prepare_cached(
                "UPDATE delivery SET state = ?2, due_at_ms = NULL, replaced_by = ?3, changed = ?4 \
                 WHERE id = ?1 RETURNING destination, iif(key_role = 'head', order_key, NULL)",
            )?
            .query_row(params![id, state.as_str(), replaced_by, changed], ended)?;
        self.leave_key(id, ended, now)
    }

    /// Takes a delivery that has come to its end out of its key, and has the next one begin.
    pub(super) fn leave_key(
        &mut self,
        id: i64,
        ended: Ended,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
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
            self.changes.to_wake.insert(destination);
        }
        Ok(())
    }
}

pub(crate) fn ended(row: &Row<'_>) -> rusqlite::Result<Ended> {
    Ok(Ended { destination: row.get(0)?, head_of: row.get(1)? })
}
