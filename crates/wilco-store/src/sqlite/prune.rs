//! Removes what is older than it is to be kept, in slices.
//!
//! A connection that only reads looks for what is old and finished, so that the writing thread never looks at
//! what has to stay. The writing thread then removes a few of them, which it checks once more, in a transaction
//! of its own: an event that comes meanwhile waits for one such slice at most.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Kind, Limits, SliceBudget, SqliteStore, WriterState, row_limit};
use crate::{
    PrunePlace, PruneStage, Pruned, Retention, RetentionStore, StoreError, rules::Cutoffs,
};

/// Events that are old and finished, and how far they were looked for.
struct Found {
    places: Vec<i64>,
    through: i64,
    /// There are no others.
    is_end: bool,
}

/// What a slice has done, and the place of the event that it had to leave unfinished.
type Slice = (Pruned, Option<i64>);

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn prune(
        &self,
        retention: Retention,
        place: PrunePlace,
    ) -> Result<(Pruned, Option<PrunePlace>), StoreError> {
        let Cutoffs { payloads, records } = Cutoffs::at(self.now(), retention);
        let limits = self.limits;
        match place.stage {
            PruneStage::Payloads => {
                let next = PrunePlace::of(PruneStage::Records);
                let Some(before) = payloads else { return Ok((Pruned::default(), Some(next))) };
                self.remove_found(place, next, (PAYLOADS, before), WriterState::prune_payload).await
            }
            PruneStage::Records => {
                let next = PrunePlace::of(PruneStage::Rejections);
                let Some(before) = records else { return Ok((Pruned::default(), Some(next))) };
                self.remove_found(place, next, (RECORDS, before), WriterState::prune_record).await
            }
            PruneStage::Rejections => {
                let next = PrunePlace::of(PruneStage::Counting);
                let Some(before) = payloads else { return Ok((Pruned::default(), Some(next))) };
                let prune = move |state: &mut WriterState| state.prune_rejections(before, limits);
                let rejections = self.writer.write(Kind::Maintenance, prune).await?;
                let pruned = Pruned { rejections, ..Pruned::default() };
                Ok((pruned, Some(if rejections > 0 { place } else { next })))
            }
            PruneStage::Counting => {
                let count = move |state: &mut WriterState| state.count(limits.count_rows);
                let is_end = self.writer.write(Kind::Maintenance, count).await?;
                let next = if is_end { PrunePlace::of(PruneStage::Space) } else { place };
                Ok((Pruned::default(), Some(next)))
            }
            PruneStage::Space => {
                let is_low = self.writer.shared().space.is_low();
                let give_back = move |state: &mut WriterState| state.give_back(is_low, limits);
                let (returned_bytes, is_end) =
                    self.writer.write(Kind::Maintenance, give_back).await?;
                let next = if is_end { PrunePlace::of(PruneStage::Overwriting) } else { place };
                Ok((Pruned { returned_bytes, ..Pruned::default() }, Some(next)))
            }
            PruneStage::Overwriting => {
                let (overwritten_pages, goes_on) = self.overwrite_some().await?;
                let pruned = Pruned { overwritten_pages, ..Pruned::default() };
                Ok((pruned, Some(place).filter(|_| goes_on)))
            }
        }
    }
}

impl SqliteStore {
    /// Looks for events, removes what is found, and says where the stage goes on, or that the next one begins.
    async fn remove_found(
        &self,
        place: PrunePlace,
        next_stage: PrunePlace,
        (kind, before): (Looked, Timestamp),
        remove: fn(&mut WriterState, i64, &mut SliceBudget) -> rusqlite::Result<Option<Pruned>>,
    ) -> Result<(Pruned, Option<PrunePlace>), StoreError> {
        let limits = self.limits;
        let look = move |connection: &Connection| {
            Ok(find(connection, kind, before, place.through, limits)?)
        };
        let Found { places, through, is_end } = self.query_readers.read(look).await?;
        let (pruned, unfinished) = if places.is_empty() {
            (Pruned::default(), None)
        } else {
            let slice = move |state: &mut WriterState| {
                state.prune_events(&places, kind.needed, limits, remove)
            };
            self.writer.write(Kind::Maintenance, slice).await?
        };
        let next = match unfinished {
            // Again from the event that was too much for one slice.
            Some(seq) => PrunePlace { through: seq - 1, ..place },
            None if is_end => next_stage,
            None => PrunePlace { through, ..place },
        };
        Ok((pruned, Some(next)))
    }
}

/// Where events are looked for, and what keeps one.
#[derive(Clone, Copy)]
struct Looked {
    /// The place, whether it is old, and how many bytes are removed with it; in the order of the places, behind
    /// the first parameter.
    query: &'static str,
    /// Whether a delivery of the event in the first parameter needs what would be removed.
    needed: &'static str,
}

fn find(
    connection: &Connection,
    Looked { query, needed }: Looked,
    before: Timestamp,
    after: i64,
    limits: Limits,
) -> rusqlite::Result<Found> {
    let mut needed = connection.prepare_cached(needed)?;
    let mut statement = connection.prepare_cached(query)?;
    let mut rows =
        statement.query(params![after, before.as_millisecond(), row_limit(limits.prune_looks)])?;
    let mut found = Found { places: Vec::new(), through: after, is_end: false };
    let (mut bytes, mut looked, mut old) = (0_usize, 0, 0);
    while found.places.len() < limits.prune_rows
        && bytes < limits.prune_bytes
        && let Some(row) = rows.next()?
    {
        let seq = row.get(0)?;
        (found.through, looked) = (seq, looked + 1);
        if !row.get::<_, bool>(1)? {
            continue;
        }
        old += 1;
        if !needed.exists([seq])? {
            found.places.push(seq);
            bytes = bytes.saturating_add(row.get(2)?);
        }
    }
    let is_full = found.places.len() >= limits.prune_rows || bytes >= limits.prune_bytes;
    // Places are in the order of time, unless the clock was set. A few that are ahead of it hide nothing.
    found.is_end = !is_full && (looked < limits.prune_looks || old == 0);
    Ok(found)
}

impl WriterState {
    /// Removes something of these events, unless it is needed by now, and says which of them was too much for a
    /// single slice.
    fn prune_events(
        &mut self,
        places: &[i64],
        needed: &str,
        limits: Limits,
        remove: fn(&mut Self, i64, &mut SliceBudget) -> rusqlite::Result<Option<Pruned>>,
    ) -> rusqlite::Result<Slice> {
        let mut budget = SliceBudget { rows: limits.prune_rows * 4, bytes: limits.prune_bytes * 2 };
        let mut pruned = Pruned::default();
        for &seq in places {
            if self.connection.prepare_cached(needed)?.exists([seq])? {
                continue;
            }
            match remove(self, seq, &mut budget)? {
                Some(removed) => pruned += removed,
                None => return Ok((pruned, Some(seq))),
            }
        }
        Ok((pruned, None))
    }

    /// Removes the payload of an event, and what its attempts put out. `None` if that is not all done.
    fn prune_payload(
        &mut self,
        seq: i64,
        budget: &mut SliceBudget,
    ) -> rusqlite::Result<Option<Pruned>> {
        let Some(output_bytes) = self.clear_outputs(seq, budget)? else { return Ok(None) };
        let body_bytes = self.remove_payload(seq)?;
        self.connection
            .prepare_cached("UPDATE progress SET pruned_through = max(pruned_through, ?1)")?
            .execute([seq])?;
        self.want_overwriting()?;
        let payloads = u64::from(body_bytes.is_some());
        let payload_bytes = body_bytes.unwrap_or(0) + output_bytes;
        Ok(Some(Pruned { payloads, payload_bytes, ..Pruned::default() }))
    }

    /// Removes all of an event. `None` if that is not all done.
    fn prune_record(
        &mut self,
        seq: i64,
        budget: &mut SliceBudget,
    ) -> rusqlite::Result<Option<Pruned>> {
        let Some(payload) = self.prune_payload(seq, budget)? else { return Ok(None) };
        if !self.remove_deliveries(seq, budget)? {
            return Ok(None);
        }
        let Some(keys) = self.keys_of(seq)? else { return Ok(Some(payload)) };
        self.latest_events.forget(&self.connection, keys, seq)?;
        for table in ["erased", "damaged", "accepted"] {
            let sql = format!("DELETE FROM {table} WHERE event = ?1");
            self.connection.prepare_cached(&sql)?.execute([seq])?;
        }
        let bytes: i64 = self
            .connection
            .prepare_cached("DELETE FROM event WHERE seq = ?1 RETURNING bytes")?
            .query_row([seq], |row| row.get(0))?;
        // One that is not counted yet never will be, but its payload was subtracted.
        self.connection
            .prepare_cached(
                "UPDATE contents SET events = events - (?1 <= counted_through), \
                 payloads = payloads + (?1 > counted_through), \
                 body_bytes = body_bytes + iif(?1 > counted_through, ?2, 0)",
            )?
            .execute([seq, bytes])?;
        Ok(Some(Pruned { records: 1, ..payload }))
    }

    /// Empties what the attempts for an event sent and got back, and says how many bytes that were. `None` if some are
    /// left.
    fn clear_outputs(
        &mut self,
        seq: i64,
        budget: &mut SliceBudget,
    ) -> rusqlite::Result<Option<u64>> {
        let outputs = self
            .connection
            .prepare_cached(
                "SELECT delivery, number, octet_length(request) + length(output) AS bytes \
                 FROM delivery JOIN attempt ON attempt.delivery = delivery.id \
                 WHERE event = ?1 AND bytes > 0 LIMIT ?2",
            )?
            .query_map(params![seq, row_limit(budget.rows + 1)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, i64, usize)>>>()?;
        let mut clear = self.connection.prepare_cached(
            "UPDATE attempt SET request = '', output = x'' WHERE delivery = ?1 AND number = ?2",
        )?;
        let mut cleared = 0;
        for (delivery, number, bytes) in outputs {
            if !budget.take(bytes) {
                return Ok(None);
            }
            clear.execute([delivery, number])?;
            cleared += bytes as u64;
        }
        Ok(Some(cleared))
    }

    /// Removes headers and body of an event, and answers the length of the body. `None` if they are gone.
    pub(super) fn remove_payload(&mut self, seq: i64) -> rusqlite::Result<Option<u64>> {
        let removed = self
            .connection
            .prepare_cached("DELETE FROM payload WHERE event = ?1 RETURNING chunks")?
            .query_row([seq], |row| row.get::<_, Option<i64>>(0))
            .optional()?;
        let Some(chunks) = removed else { return Ok(None) };
        if let Some(chunks) = chunks {
            // They are removed after this, and by the next start if this process does not get to it.
            self.connection
                .prepare_cached("INSERT INTO partial_body (chunks) VALUES (?1)")?
                .execute([chunks])?;
            self.changes.unused_chunks.push(chunks);
        }
        self.changes.removed.push(seq);
        let bytes = self
            .connection
            .prepare_cached("SELECT bytes FROM event WHERE seq = ?1")?
            .query_row([seq], |row| row.get::<_, u64>(0))?;
        self.connection
            .prepare_cached(
                "UPDATE contents SET payloads = payloads - 1, body_bytes = body_bytes - ?1",
            )?
            .execute([bytes])?;
        Ok(Some(bytes))
    }

    /// Removes the deliveries of an event with their attempts. False if some are left.
    fn remove_deliveries(&mut self, seq: i64, budget: &mut SliceBudget) -> rusqlite::Result<bool> {
        let deliveries = self
            .connection
            .prepare_cached(
                "SELECT id, changed FROM delivery WHERE event = ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![seq, row_limit(budget.rows + 1)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
        let mut attempts = self.connection.prepare_cached(
            "DELETE FROM attempt WHERE delivery = ?1 AND number IN \
             (SELECT number FROM attempt WHERE delivery = ?1 LIMIT ?2)",
        )?;
        let mut delivery = self.connection.prepare_cached("DELETE FROM delivery WHERE id = ?1")?;
        // No number is used twice: destinations and those who follow the changes know it.
        let mut number = self.connection.prepare_cached(
            "UPDATE progress SET last_delivery = max(last_delivery, ?1), \
             last_change = max(last_change, ?2) WHERE last_delivery < ?1 OR last_change < ?2",
        )?;
        for (id, changed) in deliveries {
            budget.rows -= attempts.execute(params![id, row_limit(budget.rows)])?;
            if !budget.take(0) {
                return Ok(false);
            }
            number.execute([id, changed])?;
            delivery.execute([id])?;
        }
        Ok(true)
    }

    /// Removes the oldest rejections, and says how many.
    fn prune_rejections(&mut self, before: Timestamp, limits: Limits) -> rusqlite::Result<u64> {
        let mut removed = 0;
        let mut budget = SliceBudget { rows: limits.prune_rows, bytes: limits.prune_bytes };
        loop {
            let oldest = self
                .connection
                .prepare_cached(
                    "SELECT seq, length(headers) + length(body) FROM rejection \
                     WHERE seq = (SELECT min(seq) FROM rejection) AND received_at_ms < ?1",
                )?
                .query_row([before.as_millisecond()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((seq, bytes)) = oldest else { return Ok(removed) };
            self.remove_rejection(seq)?;
            removed += 1;
            if !budget.take(bytes) {
                return Ok(removed);
            }
        }
    }

    /// Counts the next events. Whether all are counted.
    fn count(&mut self, rows_max: usize) -> rusqlite::Result<bool> {
        let (last, events, bytes): (Option<i64>, usize, i64) = self
            .connection
            .prepare_cached(
                "SELECT max(seq), count(*), coalesce(sum(bytes), 0) FROM (SELECT seq, bytes FROM event \
                 WHERE seq > (SELECT counted_through FROM contents) ORDER BY seq LIMIT ?1)",
            )?
            .query_row([row_limit(rows_max)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if let Some(last) = last {
            self.connection
                .prepare_cached(
                    "UPDATE contents SET counted_through = ?1, events = events + ?2, \
                     payloads = payloads + ?2, body_bytes = body_bytes + ?3",
                )?
                .execute(params![last, events, bytes])?;
        }
        Ok(events < rows_max)
    }

    /// Gives some free pages back to the file system: those beyond what the next events will need, or all if
    /// space is low. Answers how many bytes that were, and whether it was all.
    fn give_back(&mut self, is_low: bool, limits: Limits) -> rusqlite::Result<(u64, bool)> {
        let (pages, free, page_bytes): (u64, u64, u64) = self.connection.query_row(
            "SELECT page_count, freelist_count, page_size FROM pragma_page_count, \
             pragma_freelist_count, pragma_page_size",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        // The file gets shorter when the log is copied into it, and the log takes space itself.
        self.log_is_to_be_emptied |= is_low;
        let kept = if is_low { 0 } else { (pages / FREE_PART).max(limits.free_pages) };
        let returned = free.saturating_sub(kept).min(limits.prune_bytes as u64 / page_bytes);
        if returned == 0 {
            return Ok((0, true));
        }
        let vacuum = format!("PRAGMA incremental_vacuum({returned})");
        // Each step gives one page back.
        let mut vacuum = self.connection.prepare(&vacuum)?;
        let mut steps = vacuum.query([])?;
        while steps.next()?.is_some() {}
        let now: u64 = self.connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        // A file that another version created cannot be made shorter.
        Ok((pages.saturating_sub(now) * page_bytes, now == pages))
    }
}

const PAYLOADS: Looked = Looked {
    query: "SELECT payload.event, received_at_ms < ?2, bytes FROM payload CROSS JOIN event \
            ON event.seq = payload.event WHERE payload.event > ?1 \
            AND payload.event <= (SELECT routed_through FROM progress) ORDER BY payload.event LIMIT ?3",
    needed: "SELECT 1 FROM delivery WHERE event = ?1 AND (state IN ('pending', 'running', 'retrying') \
             OR (state = 'dead' AND replaced_by IS NULL))",
};
const RECORDS: Looked = Looked {
    query: "SELECT seq, received_at_ms < ?2, 0 FROM event WHERE seq > ?1 \
            AND seq <= (SELECT routed_through FROM progress) ORDER BY seq LIMIT ?3",
    needed: "SELECT 1 FROM delivery WHERE event = ?1 AND (state IN ('pending', 'running', 'retrying') \
             OR (state = 'dead' AND key_role = 'head'))",
};
/// This part of the file stays free for what comes next, so that it is not made shorter and longer in turns.
const FREE_PART: u64 = 8;
