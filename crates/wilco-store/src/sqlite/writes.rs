//! What is written, statement by statement. Each runs inside the transaction of a batch.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use wilco::{Arrival, Digest, Envelope, Event, EventId, Headers, SourceName, Verified};

use super::{Keys, TAIL_BITS, Unsealed, WriterState, instant, is_intact, seq_of};
use crate::{
    ALERTS, Alert, Duplicates, REJECTION_BYTES_MAX, REJECTIONS_MAX, Receipt, Rejection, Target,
    rules::{DuplicateDecision, Earlier, is_alert_due, whole_millis},
};

/// An event that is about to be recorded, with all that can be computed without the store: the
/// thread that all others wait for has less to do.
pub(crate) struct Prepared {
    keys: Keys,
    /// Its id and conflict are set when it is recorded.
    event: Arc<Event>,
    delivery_id: Option<String>,
    checksums: Unsealed,
}

impl Prepared {
    pub(super) fn of(verified: Verified, envelope: Envelope) -> Self {
        let Envelope { provider, name, subject, delivery_id } = envelope;
        let (source, digest) = (verified.source().clone(), verified.digest());
        let secret_name = verified.secret_name().to_owned();
        let Arrival { received_at, head, body } = verified.into_arrival();
        let keys = Keys::of(source.as_str(), subject.as_deref(), delivery_id.as_deref(), digest);
        Self::with(
            keys,
            delivery_id,
            Event {
                id: EventId::from_bits(0),
                source,
                provider,
                name,
                subject,
                received_at,
                secret_name,
                digest,
                conflict: false,
                headers: head.headers,
                body,
            },
        )
    }

    fn with(keys: Keys, delivery_id: Option<String>, event: Event) -> Self {
        let checksums = Unsealed::of(&event, delivery_id.as_deref());
        Self { keys, event: Arc::new(event), delivery_id, checksums }
    }
}

impl WriterState {
    pub(super) fn record(
        &mut self,
        prepared: &mut Prepared,
        duplicates: Duplicates,
    ) -> rusqlite::Result<Receipt> {
        let keys = prepared.keys;
        let Event { received_at, digest, .. } = *prepared.event;
        let earlier = self.latest_events.find(&self.connection, keys)?;
        let has_id = prepared.delivery_id.is_some();
        let mut verdict = duplicates.decide(has_id, digest, received_at, earlier.as_ref());
        if let DuplicateDecision::DuplicateOf(event_id) = verdict {
            if is_intact(&self.connection, event_id)? {
                return Ok(Receipt { event_id, is_first: false });
            }
            // The good bytes are here now, and they may never come again.
            tracing::error!(event = %event_id, "a damaged event was sent again, and is recorded again");
            self.mark_damaged(&[seq_of(event_id)])?;
            verdict = DuplicateDecision::New;
        }
        let event_id = self.insert(prepared, verdict == DuplicateDecision::Conflict)?;
        self.latest_events.insert(keys, Earlier { event_id, received_at, digest });
        Ok(Receipt { event_id, is_first: true })
    }

    /// Records an alert and its delivery, unless one of the same key came shortly before.
    pub(super) fn record_alert(&mut self, alert: &Alert, now: Timestamp) -> rusqlite::Result<bool> {
        let last = self
            .connection
            .prepare_cached("SELECT at_ms FROM alert WHERE key = ?1")?
            .query_row([&alert.key], |row| instant(row.get(0)?))
            .optional()?;
        if !is_alert_due(last, alert.every, whole_millis(now)) {
            return Ok(false);
        }
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO alert (key, at_ms) VALUES (?1, ?2)")?
            .execute(params![alert.key, now.as_millisecond()])?;
        let digest = Digest::of(&alert.body);
        let event = Event {
            id: EventId::from_bits(0),
            source: SourceName::new(ALERTS).map_err(super::bad_column)?,
            provider: ALERTS.into(),
            name: alert.name.clone(),
            subject: None,
            received_at: now,
            secret_name: String::new(),
            digest,
            conflict: false,
            headers: Headers::from_pairs([("content-type", "application/json")]),
            body: alert.body.clone().into(),
        };
        let keys = Keys::of(ALERTS, None, None, digest);
        let event_id = self.insert(&mut Prepared::with(keys, None, event), false)?;
        self.deliver(seq_of(event_id), &Target::to(alert.to.as_str()), None, now)?;
        Ok(true)
    }

    /// Commits something that changes nothing.
    pub(super) fn touch(&mut self) -> rusqlite::Result<()> {
        self.connection.execute("UPDATE progress SET routed_through = routed_through", [])?;
        Ok(())
    }

    /// Ids never go back, even if the clock does.
    fn next_seq(&mut self, received_at: Timestamp) -> i64 {
        self.last_seq = super::seq_at(received_at).max(self.last_seq + 1);
        self.last_seq
    }

    fn insert(&mut self, prepared: &mut Prepared, conflict: bool) -> rusqlite::Result<EventId> {
        let Prepared { event, delivery_id, checksums, .. } = prepared;
        let seq = self.next_seq(event.received_at);
        let id = event_id(seq, event.digest);
        let checksums = checksums.seal(id, conflict);
        // Not cloned, unless a batch that was rolled back is still seen by somebody.
        let mutable = Arc::make_mut(event);
        (mutable.id, mutable.conflict) = (id, conflict);
        self.connection
            .prepare_cached(
                "INSERT INTO event (seq, id, source, provider, name, subject, delivery_id, conflict, \
                 received_at_ms, secret_name, bytes, digest, head_checksum, checksum) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(params![
                seq,
                id.to_string(),
                event.source.as_str(),
                event.provider,
                event.name,
                event.subject,
                delivery_id.as_deref(),
                event.conflict,
                event.received_at.as_millisecond(),
                event.secret_name,
                event.body.len(),
                &event.digest.0[..],
                checksums.head,
                checksums.whole,
            ])?;
        insert_payload(&self.connection, seq, event)?;
        self.recorded.push(Arc::clone(event));
        Ok(id)
    }

    /// Remembers that the records of these events are not what was written, and gives those of which
    /// that was not known.
    pub(super) fn mark_damaged(&mut self, places: &[i64]) -> rusqlite::Result<Vec<i64>> {
        let mut mark =
            self.connection.prepare_cached("INSERT OR IGNORE INTO damaged (event) VALUES (?1)")?;
        let mut marked = Vec::new();
        for seq in places {
            if mark.execute([seq])? > 0 {
                marked.push(*seq);
            }
        }
        Ok(marked)
    }

    /// Stores rejections, and removes the oldest past the bounds: a limited number at a time, so
    /// that a store which has too many catches up bit by bit.
    pub(super) fn reject(&mut self, rejections: &[Rejection]) -> rusqlite::Result<()> {
        let mut bytes = match self.rejected_bytes {
            Some(bytes) => bytes,
            None => self.connection.query_row(
                "SELECT coalesce(sum(length(headers) + length(body)), 0) FROM rejection",
                [],
                |row| row.get(0),
            )?,
        };
        for rejection in rejections {
            self.insert_rejection(rejection)?;
            bytes += (rejection.headers.as_bytes().len() + rejection.body.len()) as u64;
        }
        let newest = self.connection.last_insert_rowid();
        let mut oldest = self.connection.prepare_cached(
            "DELETE FROM rejection WHERE id = (SELECT min(id) FROM rejection) \
             AND (id <= ?1 - ?2 OR ?3 > ?4) RETURNING length(headers) + length(body)",
        )?;
        for _ in 0..REJECTIONS_REMOVED_MAX {
            let limits = params![newest, REJECTIONS_MAX, bytes, REJECTION_BYTES_MAX];
            let removed = oldest.query_row(limits, |row| row.get::<_, u64>(0)).optional()?;
            let Some(removed) = removed else { break };
            bytes -= removed;
        }
        self.rejected_bytes = Some(bytes);
        Ok(())
    }

    fn insert_rejection(&mut self, rejection: &Rejection) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO rejection (at_ms, source, reason, client, method, url, bytes, headers, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                rejection.at.as_millisecond(),
                rejection.source.as_str(),
                rejection.reason,
                rejection.client.map(|client| client.to_string()),
                rejection.method,
                rejection.url,
                rejection.bytes,
                rejection.headers.as_bytes(),
                &rejection.body[..],
            ])?;
        Ok(())
    }
}

fn insert_payload(connection: &Connection, seq: i64, event: &Event) -> rusqlite::Result<()> {
    let body = event.body.contiguous();
    let (first, rest) = body.split_at(body.len().min(PAYLOAD_CHUNK_BYTES));
    connection
        .prepare_cached("INSERT INTO payload (event, headers, body) VALUES (?1, ?2, ?3)")?
        .execute(params![seq, event.headers.as_bytes(), first])?;
    for (number, chunk) in (1..).zip(rest.chunks(PAYLOAD_CHUNK_BYTES)) {
        let number: i64 = number;
        connection
            .prepare_cached("INSERT INTO payload_chunk (event, number, body) VALUES (?1, ?2, ?3)")?
            .execute(params![seq, number, chunk])?;
    }
    Ok(())
}

/// The time and the order of an event stand in front; behind them bits of its digest, which make
/// the id hard to guess and need no source of randomness.
fn event_id(seq: i64, digest: Digest) -> EventId {
    let bits = digest.0.iter().take(16).fold(0, |bits, &byte| (bits << 8) | u128::from(byte));
    let tail = bits & ((1 << TAIL_BITS) - 1);
    EventId::from_bits((u128::from(seq.unsigned_abs()) << TAIL_BITS) | tail)
}

/// Old rejections that one write removes.
const REJECTIONS_REMOVED_MAX: usize = 256;
/// Bytes of a body in one row.
const PAYLOAD_CHUNK_BYTES: usize = 256 << 10;
