//! What is written, statement by statement. Each runs inside the transaction of a batch.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use wilco::{Envelope, Event, EventId, Verified};

use super::{Keys, Ledger, TAIL_BITS, moment};
use crate::{
    Attempt, Claim, Duplicates, Outcome, REJECTION_BYTES_MAX, REJECTIONS_MAX, Receipt, Rejection,
    Routed, State, checksum,
    duplicates::{Earlier, Verdict},
};

/// A delivery that was taken; its event is read by a reader.
pub(super) struct Taken {
    pub(super) delivery: i64,
    pub(super) event_seq: i64,
    pub(super) attempt: u32,
    pub(super) created_at: Timestamp,
}

impl Ledger {
    pub(super) fn record(
        &mut self,
        verified: &Verified,
        envelope: &Envelope,
        duplicates: Duplicates,
    ) -> rusqlite::Result<Receipt> {
        let source = verified.source().as_str();
        let (subject, delivery_id) = (envelope.subject.as_deref(), envelope.delivery_id.as_deref());
        let keys = Keys::of(source, subject, delivery_id, verified.digest());
        let earlier = self.known.find(&self.connection, keys)?;
        let arrival = verified.arrival();
        let has_id = envelope.delivery_id.is_some();
        let verdict =
            duplicates.judge(has_id, verified.digest(), arrival.received_at, earlier.as_ref());
        if let Verdict::DuplicateOf(event_id) = verdict {
            return Ok(Receipt { event_id, is_first: false });
        }

        let seq = self.next_seq(arrival.received_at);
        let event = Event {
            id: event_id(seq, verified),
            source: verified.source().clone(),
            name: envelope.name.clone(),
            subject: envelope.subject.clone(),
            received_at: arrival.received_at,
            secret: verified.secret().into(),
            digest: verified.digest(),
            conflict: verdict == Verdict::Conflict,
            headers: arrival.headers.clone(),
            body: arrival.body.clone(),
        };
        self.insert(seq, &event, delivery_id)?;
        let Event { id: event_id, received_at, digest, .. } = event;
        self.known.insert(keys, Earlier { event_id, received_at, digest });
        self.unsynced_bytes += event.body.len() + event.headers.as_bytes().len() + ROW_BYTES;
        self.recorded.push(Arc::new(event));
        Ok(Receipt { event_id, is_first: true })
    }

    /// Ids never go back, even if the clock does.
    fn next_seq(&mut self, received_at: Timestamp) -> i64 {
        let from_clock = received_at.as_millisecond().clamp(0, MILLIS_MAX) << SEQ_BITS_PER_MS;
        self.last_seq = from_clock.max(self.last_seq + 1);
        self.last_seq
    }

    fn insert(&self, seq: i64, event: &Event, delivery_id: Option<&str>) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO event (seq, id, source, name, subject, delivery_id, conflict, \
                 received_at_ms, secret, bytes, digest, checksum, headers, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                seq,
                event.id.to_string(),
                event.source.as_str(),
                event.name,
                event.subject,
                delivery_id,
                event.conflict,
                event.received_at.as_millisecond(),
                event.secret,
                event.body.len(),
                &event.digest.0[..],
                checksum(event),
                event.headers.as_bytes(),
                &event.body[..],
            ])?;
        Ok(())
    }

    pub(super) fn fan_out(&mut self, routed: &[Routed], now: Timestamp) -> rusqlite::Result<()> {
        let now_ms = now.as_millisecond();
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO delivery (event, destination, state, created_at_ms, due_at_ms, attempts) \
             VALUES (?1, ?2, 'waiting', ?3, ?3, 0)",
        )?;
        let before: i64 = self
            .connection
            .prepare_cached("SELECT routed_through FROM progress")?
            .query_row([], |row| row.get(0))?;
        for Routed { event_id, destinations } in routed {
            let seq = super::seq_of(*event_id);
            for destination in destinations.iter().filter(|_| seq > before) {
                insert.execute(params![seq, destination, now_ms])?;
                self.awaited.insert(destination.clone());
                self.unsynced_bytes += ROW_BYTES;
            }
        }
        let through = routed.iter().map(|routed| super::seq_of(routed.event_id)).max();
        self.connection
            .prepare_cached("UPDATE progress SET routed_through = max(routed_through, ?1)")?
            .execute([through.unwrap_or(0)])?;
        self.routed_through = through.unwrap_or(0);
        Ok(())
    }

    pub(super) fn claim(
        &mut self,
        destination: &str,
        limit: usize,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<Taken>> {
        // RETURNING gives rows in no order of its own, so the order is taken from the SELECT.
        let due = self
            .connection
            .prepare_cached(
                "SELECT id FROM delivery WHERE destination = ?1 AND due_at_ms <= ?2 \
                 ORDER BY due_at_ms, id LIMIT ?3",
            )?
            .query_map(
                params![destination, now.as_millisecond(), super::row_limit(limit)],
                |row| row.get(0),
            )?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        let mut take = self.connection.prepare_cached(
            "UPDATE delivery SET state = 'running', due_at_ms = NULL, attempts = attempts + 1 \
             WHERE id = ?1 RETURNING id, event, attempts, created_at_ms",
        )?;
        let mut taken = |id: i64| {
            take.query_row([id], |row| {
                Ok(Taken {
                    delivery: row.get(0)?,
                    event_seq: row.get(1)?,
                    attempt: row.get(2)?,
                    created_at: moment(row.get(3)?)?,
                })
            })
        };
        due.into_iter().map(&mut taken).collect()
    }

    /// Gives back what was claimed and could not be read just now.
    pub(super) fn release(&mut self, taken: &[i64], due_at: Timestamp) -> rusqlite::Result<()> {
        let mut release = self.connection.prepare_cached(
            "UPDATE delivery SET state = 'retrying', due_at_ms = ?2 \
             WHERE id = ?1 AND state = 'running'",
        )?;
        for id in taken {
            release.execute(params![id, due_at.as_millisecond()])?;
        }
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
    ) -> rusqlite::Result<()> {
        let (state, due_at) = match outcome {
            Outcome::Delivered => (State::Delivered, None),
            Outcome::Retry(at) => (State::Retrying, Some(at.as_millisecond())),
            Outcome::Dead => (State::Dead, None),
        };
        let error = (state != State::Delivered).then_some(&attempt.result);
        let settled = self
            .connection
            .prepare_cached(
                "UPDATE delivery SET state = ?2, due_at_ms = ?3, last_error = ?4 \
                 WHERE id = ?1 AND state = 'running' AND attempts = ?5",
            )?
            .execute(params![claim.delivery, state.as_str(), due_at, error, claim.attempt])?;
        if settled == 0 {
            // It was settled before, or the store was opened since: the claim is an old one.
            return Ok(());
        }
        let took_us = i64::try_from(attempt.took.as_micros()).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "INSERT INTO attempt (delivery, number, started_at_ms, took_us, result, output) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                claim.delivery,
                claim.attempt,
                attempt.started_at.as_millisecond(),
                took_us,
                attempt.result,
                attempt.output,
            ])?;
        if due_at.is_some() {
            self.awaited.insert(claim.destination.clone());
        }
        self.unsynced_bytes += ROW_BYTES + attempt.output.len();
        Ok(())
    }

    /// Settles a delivery whose event cannot be read.
    pub(super) fn bury(
        &mut self,
        delivery: i64,
        number: u32,
        why: &str,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.connection.execute(
            "UPDATE delivery SET state = 'dead', due_at_ms = NULL, last_error = ?2 WHERE id = ?1",
            params![delivery, why],
        )?;
        self.connection.execute(
            "INSERT OR REPLACE INTO attempt (delivery, number, started_at_ms, took_us, result, \
             output) VALUES (?1, ?2, ?3, 0, ?4, x'')",
            params![delivery, number, now.as_millisecond(), why],
        )?;
        Ok(())
    }

    pub(super) fn reject(&mut self, rejection: &Rejection) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO rejection (at_ms, source, reason, remote, headers, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                rejection.at.as_millisecond(),
                rejection.source.as_str(),
                rejection.reason,
                rejection.remote,
                rejection.headers.as_bytes(),
                &rejection.body[..],
            ])?;
        let newest = self.connection.last_insert_rowid();
        let bytes = (rejection.headers.as_bytes().len() + rejection.body.len()) as u64;
        let mut kept = match self.rejected_bytes {
            Some(kept) => kept + bytes,
            None => self.connection.query_row(
                "SELECT coalesce(sum(length(headers) + length(body)), 0) FROM rejection",
                [],
                |row| row.get(0),
            )?,
        };
        let mut oldest = self.connection.prepare_cached(
            "DELETE FROM rejection WHERE id = (SELECT min(id) FROM rejection) \
             AND (id <= ?1 - ?2 OR ?3 > ?4) RETURNING length(headers) + length(body)",
        )?;
        loop {
            let limits = params![newest, REJECTIONS_MAX, kept, REJECTION_BYTES_MAX];
            let gone = oldest.query_row(limits, |row| row.get::<_, u64>(0)).optional()?;
            let Some(gone) = gone else { break };
            kept -= gone;
        }
        self.rejected_bytes = Some(kept);
        self.unsynced_bytes += rejection.body.len() + ROW_BYTES;
        Ok(())
    }

    /// What was running when the last process ended is tried again: at least once, not at most.
    pub(super) fn recover(&self, now: Timestamp) -> rusqlite::Result<usize> {
        self.connection.execute(
            "UPDATE delivery SET state = 'retrying', due_at_ms = ?1, \
             last_error = 'wilco stopped during the attempt' WHERE state = 'running'",
            [now.as_millisecond()],
        )
    }
}

/// The time and the order of an event stand in front; behind them bits of its digest, which make
/// the id hard to guess and need no source of randomness.
fn event_id(seq: i64, verified: &Verified) -> EventId {
    let digest = verified.digest().0;
    let bits = digest.iter().take(16).fold(0, |bits, &byte| (bits << 8) | u128::from(byte));
    let tail = bits & ((1 << TAIL_BITS) - 1);
    EventId::from_bits((u128::from(seq.unsigned_abs()) << TAIL_BITS) | tail)
}

/// Events a millisecond that keep their place in it; past that they borrow from the next.
const SEQ_BITS_PER_MS: u32 = 15;
const MILLIS_MAX: i64 = (1 << 48) - 1;
/// About what a row weighs besides its body.
const ROW_BYTES: usize = 512;
