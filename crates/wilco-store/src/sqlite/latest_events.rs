//! How duplicates are detected: the latest event for each key.
//!
//! An index over subjects would work, but costs too much. Its keys are random, so that every event
//! dirties a page of its own, which is written to the log, checksummed, synced, and written again at
//! the checkpoint: more than all the rest of recording it. So the newest keys are held in memory, and
//! flushed into the table in the table's own order, a few with each batch; then many of them
//! share a page. The rest is flushed when the store is closed; after a crash it is read again from the
//! events.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use rusqlite::{Connection, OptionalExtension as _};
use wilco::Digest;

use super::{Limits, WriterState, digest_of, id_of, instant, origin_of, seq_of};
use crate::rules::{Content, Earlier};

/// Keys are digests already, which no sender can choose: hashing them again is not needed.
type ByKey = HashMap<i64, Earlier, BuildHasherDefault<AsItIs>>;

#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_i64(&mut self, key: i64) {
        // The table takes its groups from the upper bits, of which the first is never set.
        self.0 = key.unsigned_abs().rotate_left(1);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is one number");
    }
}

/// The latest events by key, the newest in memory and the others in the table `latest_event`.
#[derive(Default)]
pub(crate) struct LatestEvents {
    recent: ByKey,
    /// How often a key came into `recent`: many events about few subjects are to be read at the next
    /// start too.
    inserted: usize,
    /// What the batch under way put into `recent`, and what was there before.
    undo: Vec<(i64, Option<Earlier>)>,
    /// What the batch under way removed: the key, what was there, and whether it was on its way into the table.
    forgotten: Vec<(i64, Earlier, bool)>,
    /// The generation that is on its way into the table.
    flushing: ByKey,
    /// Its keys and the places of their events, in the order of the table.
    order: Vec<(i64, i64)>,
    flushed: usize,
    flushed_in_batch: usize,
    /// The store is being closed.
    is_closing: bool,
    limits: Limits,
}

impl LatestEvents {
    /// Reads what the last process had in memory only.
    pub(super) fn load(connection: &Connection, limits: Limits) -> rusqlite::Result<Self> {
        let mut latest = Self { limits, ..Self::default() };
        let mut statement = connection.prepare(
            "SELECT id, received_at_ms, digest, name, origin, source, subject, delivery_id, \
             erased.key AS erased_key, erased.body_key AS erased_body_key, \
             EXISTS (SELECT 1 FROM accepted WHERE accepted.event = seq) AS is_accepted \
             FROM event LEFT JOIN erased ON erased.event = seq WHERE seq > (SELECT indexed_through FROM progress) ORDER BY seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // Duplicates cannot be recognised by a damaged row.
            let Ok(earlier) = earlier(row) else { continue };
            let keys = Keys::of_row(row)?;
            match row.get("is_accepted")? {
                true => latest.insert_unless_later(connection, keys, &earlier)?,
                false => latest.insert(keys, &earlier),
            }
        }
        latest.committed();
        Ok(latest)
    }

    /// The event that a request with these keys could be a copy of.
    pub(super) fn find(
        &self,
        connection: &Connection,
        keys: Keys,
    ) -> rusqlite::Result<Option<Earlier>> {
        match keys {
            Keys::Subject(key) => self.latest(connection, key),
            // Of one delivery id, a body that came before is a copy, whatever came in between.
            Keys::DeliveryId { id, id_and_body } => match self.latest(connection, id_and_body)? {
                Some(copy) => Ok(Some(copy)),
                None => self.latest(connection, id),
            },
        }
    }

    /// Makes this the latest event for these keys.
    pub(super) fn insert(&mut self, keys: Keys, event: &Earlier) {
        keys.each().for_each(|key| self.set(key, event.clone()));
    }

    /// Makes an event that was received in the past the latest one for those keys for which none was received
    /// after it.
    pub(super) fn insert_unless_later(
        &mut self,
        connection: &Connection,
        keys: Keys,
        event: &Earlier,
    ) -> rusqlite::Result<()> {
        for key in keys.each() {
            let latest = self.latest(connection, key)?;
            if latest.is_none_or(|latest| latest.received_at <= event.received_at) {
                self.set(key, event.clone());
            }
        }
        Ok(())
    }

    /// The event in this place is removed, so that nothing can be a copy of it any more.
    pub(super) fn forget(
        &mut self,
        connection: &Connection,
        keys: Keys,
        seq: i64,
    ) -> rusqlite::Result<()> {
        for key in keys.each() {
            for (map, is_flushing) in [(&mut self.recent, false), (&mut self.flushing, true)] {
                if is_at(map.get(&key), seq)
                    && let Some(before) = map.remove(&key)
                {
                    self.forgotten.push((key, before, is_flushing));
                }
            }
            connection
                .prepare_cached("DELETE FROM latest_event WHERE key = ?1 AND event = ?2")?
                .execute([key, seq])?;
        }
        Ok(())
    }

    /// Flushes some keys, inside the transaction of a batch that recorded this many events: twice
    /// as many, so that a generation is flushed before the next one is full.
    pub(super) fn flush(
        &mut self,
        connection: &Connection,
        recorded: usize,
    ) -> rusqlite::Result<()> {
        let left = &self.order[self.flushed..];
        let keys_max =
            if self.is_closing { self.limits.index_keys_at_close } else { recorded * KEYS_MAX * 2 };
        let part = &left[..left.len().min(keys_max)];
        let mut upsert = connection
            .prepare_cached("INSERT OR REPLACE INTO latest_event (key, event) VALUES (?1, ?2)")?;
        for (key, seq) in part {
            if is_at(self.flushing.get(key), *seq) {
                upsert.execute([key, seq])?;
            }
        }
        self.flushed_in_batch = part.len();
        if !part.is_empty() && part.len() == left.len() {
            let through = self.order.iter().map(|(_, seq)| seq).max();
            connection.execute("UPDATE progress SET indexed_through = ?1", [through])?;
        }
        Ok(())
    }

    /// Has all that is left flushed by the next batches.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        let mut left = std::mem::take(&mut self.flushing);
        for (key, _) in &self.order[..self.flushed] {
            left.remove(key);
        }
        left.extend(self.recent.drain());
        self.begin(left);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.flushed == self.order.len()
    }

    /// The batch is durable.
    pub(super) fn committed(&mut self) {
        self.inserted += self.undo.len();
        self.undo.clear();
        self.forgotten.clear();
        self.flushed += self.flushed_in_batch;
        self.flushed_in_batch = 0;
        if self.is_flushed() && self.inserted >= self.limits.index_keys {
            // The memory of the generation before, which is in the table, is used again.
            let mut empty = std::mem::take(&mut self.flushing);
            empty.clear();
            let generation = std::mem::replace(&mut self.recent, empty);
            self.begin(generation);
        }
    }

    fn begin(&mut self, generation: ByKey) {
        self.inserted = 0;
        self.order = generation.iter().map(|(key, of)| (*key, seq_of(of.event_id))).collect();
        self.order.sort_unstable();
        self.flushing = generation;
        self.flushed = 0;
    }

    /// The batch left no trace.
    pub(super) fn rolled_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(before) => self.recent.insert(key, before),
                None => self.recent.remove(&key),
            };
        }
        while let Some((key, before, is_flushing)) = self.forgotten.pop() {
            let map = if is_flushing { &mut self.flushing } else { &mut self.recent };
            map.insert(key, before);
        }
        self.flushed_in_batch = 0;
    }

    fn set(&mut self, key: i64, event: Earlier) {
        let before = self.recent.insert(key, event);
        self.undo.push((key, before));
    }

    fn latest(&self, connection: &Connection, key: i64) -> rusqlite::Result<Option<Earlier>> {
        if let Some(recent) = self.recent.get(&key) {
            return Ok(Some(recent.clone()));
        }
        if let Some(flushed) = self.flushing.get(&key) {
            return Ok(Some(flushed.clone()));
        }
        let found = connection
            .prepare_cached(
                "SELECT id, received_at_ms, digest, name, origin FROM latest_event JOIN event ON seq = latest_event.event \
                 WHERE key = ?1",
            )?
            // A damaged row says nothing about a duplicate, and must not refuse the event either.
            .query_row([key], |row| Ok(earlier(row).ok()))
            .optional()?;
        Ok(found.flatten())
    }
}

/// The keys of a request: 63 bits of SHA-256 each. Should two ever meet, a copy is recorded once
/// more; a change is never taken for a copy, because a copy has the same body.
#[derive(Clone, Copy)]
pub(crate) enum Keys {
    Subject(i64),
    DeliveryId { id: i64, id_and_body: i64 },
}

impl WriterState {
    /// The keys of the event in this place. `None` if it is not there, or cannot be read.
    pub(super) fn keys_of(&self, seq: i64) -> rusqlite::Result<Option<Keys>> {
        let keys = self
            .connection
            .prepare_cached(
                "SELECT source, subject, delivery_id, digest, erased.key AS erased_key, \
                 erased.body_key AS erased_body_key \
                 FROM event LEFT JOIN erased ON erased.event = seq WHERE seq = ?1",
            )?
            .query_row([seq], |row| Ok(Keys::of_row(row).ok()))
            .optional()?;
        Ok(keys.flatten())
    }
}

impl Keys {
    fn each(self) -> impl Iterator<Item = i64> {
        let keys = match self {
            Self::Subject(key) => [Some(key), None],
            Self::DeliveryId { id, id_and_body } => [Some(id), Some(id_and_body)],
        };
        keys.into_iter().flatten()
    }

    /// The same as they are stored for an event that was erased.
    pub(super) fn columns(self) -> (i64, Option<i64>) {
        match self {
            Self::Subject(key) => (key, None),
            Self::DeliveryId { id, id_and_body } => (id, Some(id_and_body)),
        }
    }

    /// The keys of an event that is recorded: a row with its `source`, `subject`, `delivery_id` and `digest`, or if
    /// it was erased with the keys that it had.
    pub(super) fn of_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        if let Some(key) = row.get("erased_key")? {
            return Ok(match row.get("erased_body_key")? {
                Some(id_and_body) => Self::DeliveryId { id: key, id_and_body },
                None => Self::Subject(key),
            });
        }
        let source: String = row.get("source")?;
        let (subject, delivery_id): (Option<String>, Option<String>) =
            (row.get("subject")?, row.get("delivery_id")?);
        let digest = digest_of(row, "digest")?;
        Ok(Self::of(&source, subject.as_deref(), delivery_id.as_deref(), digest))
    }

    pub(super) fn of(
        source: &str,
        subject: Option<&str>,
        delivery_id: Option<&str>,
        digest: Digest,
    ) -> Self {
        match delivery_id {
            Some(id) => Self::DeliveryId {
                id: key(&[b"id", source.as_bytes(), id.as_bytes()]),
                id_and_body: key(&[b"body", source.as_bytes(), id.as_bytes(), &digest.0]),
            },
            None => Self::Subject(match subject {
                Some(subject) => key(&[b"subject", source.as_bytes(), subject.as_bytes()]),
                None => key(&[b"none", source.as_bytes()]),
            }),
        }
    }
}

fn is_at(event: Option<&Earlier>, seq: i64) -> bool {
    event.is_some_and(|event| seq_of(event.event_id) == seq)
}

fn key(parts: &[&[u8]]) -> i64 {
    let mut text = Vec::with_capacity(256);
    for part in parts {
        text.extend_from_slice(&part.len().to_be_bytes());
        text.extend_from_slice(part);
    }
    Digest::of(&text).0.iter().take(8).fold(0, |bits: i64, &byte| (bits << 8) | i64::from(byte))
        & i64::MAX
}

/// What a request is compared with: the first four columns of a row.
pub(crate) fn earlier(row: &rusqlite::Row<'_>) -> rusqlite::Result<Earlier> {
    Ok(Earlier {
        event_id: id_of(&row.get::<_, String>(0)?)?,
        received_at: instant(row.get(1)?)?,
        content: Content::of(digest_of(row, 2)?, row.get_ref(3)?.as_str()?),
        origin: origin_of(row, 4)?,
    })
}

/// Keys of one event at most.
const KEYS_MAX: usize = 2;
