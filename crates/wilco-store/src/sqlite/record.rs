//! Records an event.

use std::{io, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::params;
use wilco::{Arrival, BODY_CHUNK_BYTES, Digest, Envelope, Event, EventId, Origin, Proof};

use super::{
    DamagedEvent, Keys, TAIL_BITS, Unsealed, WriterState, bad_column, chunk_count, is_intact,
    seq_of,
};
use crate::{
    Duplicates, Receipt,
    rules::{Content, DuplicateDecision, Earlier, Request},
};

/// An event that is about to be recorded, with all that can be computed without the store: the
/// thread that all others wait for has less to do.
pub(crate) struct Prepared {
    keys: Keys,
    /// Its id and conflict are set when it is recorded.
    event: Arc<Event>,
    delivery_id: Option<String>,
    checksums: Unsealed,
    /// The number of its chunks, if they are written already.
    pub(super) chunks: Option<i64>,
}

impl Prepared {
    pub(super) fn of(proof: Proof, envelope: Envelope) -> io::Result<Self> {
        let Envelope { provider, name, subject, delivery_id } = envelope;
        let (source, digest) = (proof.source().clone(), proof.digest());
        let (secret_name, origin) = (proof.secret_name().to_owned(), proof.origin());
        let Arrival { received_at, head, body } = proof.into_arrival();
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
                origin,
                item: None,
                headers: head.headers,
                body,
            },
        )
    }

    pub(super) fn with(keys: Keys, delivery_id: Option<String>, event: Event) -> io::Result<Self> {
        let checksums = Unsealed::of(&event, delivery_id.as_deref())?;
        Ok(Self { keys, event: Arc::new(event), delivery_id, checksums, chunks: None })
    }

    /// Whether its body is written in chunks.
    pub(super) fn is_large(&self) -> bool {
        chunk_count(self.event.body.len()) > 0
    }

    /// The provider sent it because it was asked to.
    fn mark_redelivered(&mut self) -> io::Result<()> {
        let event = Arc::make_mut(&mut self.event);
        if event.origin == Origin::Webhook {
            event.origin = Origin::Redelivered;
            self.checksums = Unsealed::of(event, self.delivery_id.as_deref())?;
        }
        Ok(())
    }

    pub(super) fn keys(&self) -> Keys {
        self.keys
    }

    pub(super) fn event(&self) -> &Event {
        &self.event
    }

    pub(super) fn has_delivery_id(&self) -> bool {
        self.delivery_id.is_some()
    }

    /// What later requests are compared with, once it is recorded with this id.
    pub(super) fn as_earlier(&self, event_id: EventId) -> Earlier {
        let Event { received_at, origin, .. } = *self.event;
        Earlier { event_id, received_at, content: self.content(), origin }
    }

    /// What it says, as far as it is compared with other events.
    pub(super) fn content(&self) -> Content {
        Content::of(self.event.digest, &self.event.name)
    }
}

impl WriterState {
    pub(super) fn record(
        &mut self,
        prepared: &mut Prepared,
        duplicates: Duplicates,
    ) -> rusqlite::Result<Receipt> {
        let decision = self.decide(prepared, duplicates)?;
        let receipt = self.record_as(prepared, decision)?;
        if receipt.is_first {
            let of = prepared.as_earlier(receipt.event_id);
            self.latest_events.insert(prepared.keys, &of);
        }
        Ok(receipt)
    }

    /// Compares a request with the latest event that it could be a copy of.
    pub(super) fn decide(
        &self,
        prepared: &Prepared,
        duplicates: Duplicates,
    ) -> rusqlite::Result<DuplicateDecision> {
        let Event { received_at, origin, .. } = *prepared.event;
        let (has_delivery_id, content) = (prepared.has_delivery_id(), prepared.content());
        let request = Request { has_delivery_id, content, received_at, origin };
        let earlier = self.latest_events.find(&self.connection, prepared.keys)?;
        Ok(duplicates.decide(request, earlier.as_ref()))
    }

    /// Records a request, unless it is a duplicate.
    pub(super) fn record_as(
        &mut self,
        prepared: &mut Prepared,
        mut decision: DuplicateDecision,
    ) -> rusqlite::Result<Receipt> {
        self.changes.matches.add(&prepared.event);
        if let Some(delivery_id) = &prepared.delivery_id
            && self.was_asked_for(prepared.event.source.as_str(), delivery_id)?
        {
            prepared.mark_redelivered().map_err(bad_column)?;
        }
        if let DuplicateDecision::DuplicateOf(event_id) = decision {
            if is_intact(&self.connection, event_id)? {
                return Ok(Receipt { event_id, is_first: false });
            }
            // The good bytes are here now, and they may never come again.
            let what = "a damaged event was sent again, and is recorded again";
            self.mark_damaged(&[DamagedEvent { seq: seq_of(event_id), what, by: "a duplicate" }])?;
            decision = DuplicateDecision::New;
        }
        let event_id = self.insert(prepared, decision == DuplicateDecision::Conflict)?;
        Ok(Receipt { event_id, is_first: true })
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

    pub(super) fn insert(
        &mut self,
        prepared: &mut Prepared,
        conflict: bool,
    ) -> rusqlite::Result<EventId> {
        let chunks = self.chunks_of(prepared)?;
        let Prepared { event, delivery_id, checksums, .. } = prepared;
        let seq = self.next_seq(event.received_at);
        let id = EventId::from_bits(id_bits(seq, event.digest));
        let checksums = checksums.seal(id, conflict);
        // Not cloned, unless a batch that was rolled back is still seen by somebody.
        let mutable = Arc::make_mut(event);
        (mutable.id, mutable.conflict) = (id, conflict);
        self.connection
            .prepare_cached(
                "INSERT INTO event (seq, id, source, provider, name, subject, delivery_id, conflict, \
                 received_at_ms, secret_name, origin, bytes, digest, head_checksum, checksum) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
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
                event.origin.as_str(),
                event.body.len(),
                &event.digest.0[..],
                checksums.head,
                checksums.whole,
            ])?;
        // The row of a large body has none of it.
        let body = if chunks.is_none() {
            event.body.contiguous(BODY_CHUNK_BYTES)
        } else {
            Ok(Bytes::new())
        };
        self.connection
            .prepare_cached(
                "INSERT INTO payload (event, headers, body, chunks) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                seq,
                event.headers.as_bytes(),
                &body.map_err(bad_column)?[..],
                chunks,
            ])?;
        self.changes.recorded.push(Arc::clone(event));
        Ok(id)
    }

    /// The number of the chunks of a large body, which are written now unless they are there.
    fn chunks_of(&mut self, prepared: &Prepared) -> rusqlite::Result<Option<i64>> {
        if let Some(chunks) = prepared.chunks {
            self.finish_partial(chunks)?;
            return Ok(Some(chunks));
        }
        if !prepared.is_large() {
            return Ok(None);
        }
        let (body, chunks) = (&prepared.event.body, self.next_chunks());
        self.write_chunks(chunks, body, 0..chunk_count(body.len()))?;
        Ok(Some(chunks))
    }
}

/// The time and the order come first, followed by bits of the digest, which make the id hard to guess and need no
/// source of randomness.
pub(crate) fn id_bits(seq: i64, digest: Digest) -> u128 {
    let bits = digest.0.iter().take(16).fold(0, |bits, &byte| (bits << 8) | u128::from(byte));
    let tail = bits & ((1 << TAIL_BITS) - 1);
    (u128::from(seq.unsigned_abs()) << TAIL_BITS) | tail
}
