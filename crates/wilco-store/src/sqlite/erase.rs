//! Erases events, in slices: their bytes are gone from the file and from its log.
//!
//! An event loses what its deliveries and attempts say first, in several commits if there is much of it, and what it
//! is selected by last, together with its payload. So an erasure that was interrupted is simply repeated: each event
//! is still found until it is erased completely.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use wilco::{BODY_CHUNK_BYTES, EventId, RejectionId};

use super::{
    Head, Kind, SliceBudget, SqliteStore, WriterState, digest_of, id_of, instant, origin_of,
    rejection_seq, row_limit, seq_of, state_of,
};
use crate::{Erasure, State, StoreError, rules::needs_record};

impl SqliteStore {
    /// Says what would become of events if they were erased now.
    pub(super) async fn preview(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError> {
        let preview = move |connection: &Connection| {
            let outcome = |&id: &EventId| Ok((id, erasure_of(connection, id, cancels)?));
            Ok(ids.iter().map(outcome).collect::<rusqlite::Result<_>>()?)
        };
        self.query_readers.read(preview).await
    }

    /// Erases events. The chunks of large bodies follow before this answers.
    pub(super) async fn erase_events(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError> {
        let (now, limits) = (self.now(), self.limits);
        let mut outcomes = Vec::with_capacity(ids.len());
        for ids in ids.chunks(ERASED_PER_COMMIT) {
            // Of an event that is to be left as it is, nothing is erased.
            let expected = self.preview(ids.to_vec(), cancels).await?;
            let is_erased = |(_, erasure): &(EventId, Erasure)| *erasure == Erasure::Erased;
            outcomes.extend(expected.iter().filter(|expected| !is_erased(expected)));
            let mut left: Vec<EventId> =
                expected.into_iter().filter(is_erased).map(|(id, _)| id).collect();
            let mut through = 0;
            while !left.is_empty() {
                let ids = left.clone();
                let slice = move |state: &mut WriterState| {
                    let mut budget =
                        SliceBudget { rows: limits.write_rows, bytes: limits.prune_bytes };
                    state.erase_some(&ids, through, cancels, now, &mut budget)
                };
                let (done, next) = self.writer.write(Kind::Maintenance, slice).await?;
                left.drain(..done.len());
                outcomes.extend(done);
                through = next;
            }
        }
        self.remove_all_unused_chunks().await?;
        Ok(outcomes)
    }

    /// Removes the chunks of large bodies that no event has any more, also of those that were removed before. All of
    /// them are removed in the background, too, if this is not waited for.
    pub(super) async fn remove_all_unused_chunks(&self) -> Result<(), StoreError> {
        while self.writer.write(Kind::Maintenance, |state| state.remove_unused_chunks()).await? {}
        Ok(())
    }

    pub(super) async fn remove_rejections(&self, ids: Vec<RejectionId>) -> Result<u64, StoreError> {
        let mut removed = 0;
        for slice in ids.chunks(ERASED_PER_COMMIT) {
            let slice = slice.to_vec();
            let remove = move |state: &mut WriterState| {
                let remove = |id: &RejectionId| state.remove_rejection(rejection_seq(*id));
                let removed = slice.iter().map(remove).collect::<rusqlite::Result<Vec<bool>>>()?;
                Ok(removed.into_iter().filter(|is_removed| *is_removed).count() as u64)
            };
            removed += self.writer.write(Kind::Maintenance, remove).await?;
        }
        Ok(removed)
    }
}

/// An event that is not erased, and some of its deliveries.
struct Left {
    is_routed: bool,
    body_bytes: usize,
    deliveries: Vec<Delivery>,
}

struct Delivery {
    id: i64,
    state: State,
    is_head: bool,
}

impl Left {
    /// Reads an event, and its deliveries behind one that is erased. `None` if it is not there, or is erased.
    fn of(
        connection: &Connection,
        id: EventId,
        through: i64,
        limit: usize,
    ) -> rusqlite::Result<Option<Self>> {
        let seq = seq_of(id);
        let event = connection
            .prepare_cached(
                "SELECT seq <= (SELECT routed_through FROM progress), bytes FROM event \
                 WHERE seq = ?1 AND id = ?2 AND NOT EXISTS (SELECT 1 FROM erased WHERE erased.event = seq)",
            )?
            .query_row(params![seq, id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((is_routed, body_bytes)) = event else { return Ok(None) };
        let deliveries = connection
            .prepare_cached(
                "SELECT id, state, key_role IS 'head' FROM delivery \
                 WHERE event = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            )?
            .query_map(params![seq, through, row_limit(limit)], |row| {
                Ok(Delivery { id: row.get(0)?, state: state_of(row, 1)?, is_head: row.get(2)? })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some(Self { is_routed, body_bytes, deliveries }))
    }

    /// What becomes of it if it is erased now.
    fn outcome(&self, cancels: bool) -> Erasure {
        let mut deliveries = self.deliveries.iter();
        if deliveries.any(|delivery| delivery.state == State::Running) {
            return Erasure::Running;
        }
        let is_unfinished = !self.is_routed || self.deliveries.iter().any(Delivery::is_unfinished);
        if is_unfinished && !cancels { Erasure::Unfinished } else { Erasure::Erased }
    }
}

impl Delivery {
    fn is_unfinished(&self) -> bool {
        needs_record(self.state, self.is_head)
    }
}

fn erasure_of(connection: &Connection, id: EventId, cancels: bool) -> rusqlite::Result<Erasure> {
    let left = Left::of(connection, id, 0, usize::MAX)?;
    Ok(left.map_or(Erasure::Gone, |left| left.outcome(cancels)))
}

/// What became of the first events of a slice, and the delivery up to which the next one is erased.
type Slice = (Vec<(EventId, Erasure)>, i64);

impl WriterState {
    fn erase_some(
        &mut self,
        ids: &[EventId],
        mut through: i64,
        cancels: bool,
        now: Timestamp,
        budget: &mut SliceBudget,
    ) -> rusqlite::Result<Slice> {
        let mut outcomes = Vec::new();
        for &id in ids {
            let Some(left) = Left::of(&self.connection, id, through, budget.rows + 1)? else {
                outcomes.push((id, Erasure::Gone));
                continue;
            };
            let outcome = left.outcome(cancels);
            if outcome == Erasure::Erased && !self.erase(id, left, &mut through, now, budget)? {
                break;
            }
            outcomes.push((id, outcome));
            through = 0;
        }
        Ok((outcomes, through))
    }

    /// Erases what is left of an event. False if that is not all done, but only up to the delivery `through`.
    fn erase(
        &mut self,
        id: EventId,
        left: Left,
        through: &mut i64,
        now: Timestamp,
        budget: &mut SliceBudget,
    ) -> rusqlite::Result<bool> {
        for delivery in left.deliveries {
            if delivery.is_unfinished() {
                self.end(delivery.id, State::Cancelled, None, now)?;
            }
            if !self.erase_delivery(delivery.id, budget)? {
                return Ok(false);
            }
            *through = delivery.id;
        }
        // The chunks of a larger body are removed in slices of their own.
        if !budget.take(left.body_bytes.min(BODY_CHUNK_BYTES)) {
            return Ok(false);
        }
        let seq = seq_of(id);
        // Of a record that cannot be read no copy is recognised.
        let (key, body_key) = self.keys_of(seq)?.map_or((UNKNOWN_KEY, None), |keys| keys.columns());
        self.connection
            .prepare_cached("INSERT INTO erased (event, key, body_key) VALUES (?1, ?2, ?3)")?
            .execute(params![seq, key, body_key])?;
        self.remove_payload(seq)?;
        self.changes.removed.push(seq);
        self.erase_head(seq)?;
        // If what follows an erasure is interrupted, the daily pass does it.
        self.want_overwriting()?;
        Ok(true)
    }

    /// Removes what a delivery and its attempts say about an event. False if some of the attempts are left.
    fn erase_delivery(&mut self, id: i64, budget: &mut SliceBudget) -> rusqlite::Result<bool> {
        let attempts = self
            .connection
            .prepare_cached(
                "SELECT number, octet_length(request) + length(output) AS bytes FROM attempt \
                 WHERE delivery = ?1 AND (bytes > 0 OR result <> ?2) ORDER BY number LIMIT ?3",
            )?
            .query_map(params![id, ERASED, row_limit(budget.rows + 1)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, usize)>>>()?;
        for (number, bytes) in attempts {
            if !budget.take(bytes) {
                return Ok(false);
            }
            self.connection
                .prepare_cached(
                    "UPDATE attempt SET request = '', output = x'', result = ?3 \
                     WHERE delivery = ?1 AND number = ?2",
                )?
                .execute(params![id, number, ERASED])?;
        }
        if !budget.take(0) {
            return Ok(false);
        }
        let changed = self.next_change();
        self.connection
            .prepare_cached(
                "UPDATE delivery SET order_key = NULL, burst_key = NULL, \
                 last_error = iif(last_error IS NULL, NULL, ?3), \
                 reason = iif(reason IS NULL, NULL, ?3), \
                 state = iif(state = 'dead' AND replaced_by IS NULL, 'cancelled', state), \
                 changed = ?2 WHERE id = ?1",
            )?
            .execute(params![id, changed, ERASED])?;
        Ok(true)
    }

    /// Removes what an event is about, and the id that its provider gave.
    fn erase_head(&mut self, seq: i64) -> rusqlite::Result<()> {
        let checksum = self
            .connection
            .prepare_cached(
                "UPDATE event SET subject = NULL, delivery_id = NULL WHERE seq = ?1 RETURNING id, source, \
                 provider, name, received_at_ms, secret_name, origin, digest, bytes, conflict",
            )?
            .query_row([seq], |row| {
                let (source, provider, name): (String, String, String) =
                    (row.get("source")?, row.get("provider")?, row.get("name")?);
                let secret_name: String = row.get("secret_name")?;
                let head = Head {
                    source: &source,
                    provider: &provider,
                    name: &name,
                    subject: None,
                    delivery_id: None,
                    received_at: instant(row.get("received_at_ms")?)?,
                    secret_name: &secret_name,
                    origin: origin_of(row, "origin")?,
                    digest: digest_of(row, "digest")?,
                    body_bytes: row.get("bytes")?,
                };
                Ok(head.checksum(id_of(&row.get::<_, String>("id")?)?, row.get("conflict")?))
            })?;
        self.connection
            .prepare_cached("UPDATE event SET head_checksum = ?2, checksum = ?2 WHERE seq = ?1")?
            .execute(params![seq, checksum])
            .map(drop)
    }
}

/// Replaces a text that was erased.
const ERASED: &str = "erased";
/// No request has this key.
const UNKNOWN_KEY: i64 = -1;
/// Events, or rejections, that one commit erases at most.
const ERASED_PER_COMMIT: usize = 16;
