//! What the backfill asks of the SQLite store.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use wilco::Digest;

use super::{Keys, Kind, SqliteStore, WriterState, instant, row_limit};
use crate::{
    AWAITED_MAX, BackfillStatus, BackfillStore, GAPS_MAX, Gap, GapQuery, Redelivery, StoreError,
    backfill::{AWAITED_MS, GAP_TAIL_MS},
};

#[async_trait]
impl BackfillStore for SqliteStore {
    async fn note_start(&self, sources: Vec<String>) -> Result<(), StoreError> {
        let now = self.now();
        self.writer.write(Kind::Delivery, move |state| state.note_start(&sources, now)).await
    }

    async fn note_running(&self) -> Result<(), StoreError> {
        let now = self.now();
        self.writer.write(Kind::Delivery, move |state| state.note_running(now)).await
    }

    async fn covered_through(&self, source: &str) -> Result<Timestamp, StoreError> {
        let (source, now) = (source.to_owned(), self.now());
        let covered = move |state: &mut WriterState| state.covered_through(&source, now);
        self.writer.write(Kind::Delivery, covered).await
    }

    async fn forget_errors(&self, except: Vec<String>) -> Result<(), StoreError> {
        let forget = move |state: &mut WriterState| state.forget_errors(&except);
        self.writer.write(Kind::Delivery, forget).await
    }

    async fn ask_again(&self, source: &str, delivery_id: &str) -> Result<Redelivery, StoreError> {
        let (source, delivery_id, now) = (source.to_owned(), delivery_id.to_owned(), self.now());
        let ask = move |state: &mut WriterState| state.ask_again(&source, &delivery_id, now);
        self.writer.write(Kind::Delivery, ask).await
    }

    async fn end_round(
        &self,
        source: &str,
        result: Result<Timestamp, String>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (source, now) = (source.to_owned(), self.now());
        let end = move |state: &mut WriterState| state.end_round(&source, &result, now);
        self.writer.write(Kind::Delivery, end).await
    }

    async fn missing(&self, source: &str, ids: Vec<String>) -> Result<Vec<String>, StoreError> {
        let source = source.to_owned();
        let missing = move |state: &mut WriterState| state.missing(&source, &ids);
        self.writer.write(Kind::Delivery, missing).await
    }
}

impl WriterState {
    fn note_start(&self, sources: &[String], now: Timestamp) -> rusqlite::Result<()> {
        let ran = self.connection.query_row("SELECT max(seen_at_ms) FROM running", [], |row| {
            row.get::<_, Option<i64>>(0)
        })?;
        for source in sources {
            self.begin_coverage(source, ran.unwrap_or(now.as_millisecond()))?;
            if let Some(from) = ran {
                self.connection.execute(
                    "INSERT INTO gap (source, from_ms, to_ms) VALUES (?1, ?2, ?3)",
                    params![source, from, now.as_millisecond()],
                )?;
            }
        }
        self.connection
            .execute("DELETE FROM gap WHERE id <= (SELECT max(id) FROM gap) - ?1", [GAPS_MAX])?;
        self.note_running(now)
    }

    fn note_running(&self, now: Timestamp) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO running (id, seen_at_ms) VALUES (1, ?1)")?
            .execute([now.as_millisecond()])?;
        Ok(())
    }

    fn begin_coverage(&self, source: &str, through_ms: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO backfill (source, covered_ms) VALUES (?1, ?2)")?
            .execute(params![source, through_ms])?;
        Ok(())
    }

    fn covered_through(&self, source: &str, now: Timestamp) -> rusqlite::Result<Timestamp> {
        self.begin_coverage(source, now.as_millisecond())?;
        self.connection
            .prepare_cached("SELECT covered_ms FROM backfill WHERE source = ?1")?
            .query_row([source], |row| instant(row.get(0)?))
    }

    fn forget_errors(&self, except: &[String]) -> rusqlite::Result<()> {
        let mut failing = self
            .connection
            .prepare_cached("SELECT source FROM backfill WHERE error IS NOT NULL")?;
        let failing =
            failing.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        for source in failing.iter().filter(|source| !except.contains(source)) {
            self.connection.execute(
                "UPDATE backfill SET error = NULL, failing_since_ms = NULL WHERE source = ?1",
                [source],
            )?;
        }
        Ok(())
    }

    fn ask_again(
        &self,
        source: &str,
        delivery_id: &str,
        now: Timestamp,
    ) -> rusqlite::Result<Redelivery> {
        let now = now.as_millisecond();
        let known = self
            .connection
            .prepare_cached(
                "SELECT asked, given_up FROM awaited WHERE source = ?1 AND delivery_id = ?2",
            )?
            .query_row([source, delivery_id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (asked, is_given_up) = known.unwrap_or((0, false));
        let redelivery = Redelivery::after(asked, is_given_up);
        match redelivery {
            Redelivery::Ask => {
                self.connection
                    .prepare_cached(
                        "INSERT INTO awaited (source, delivery_id, asked, asked_ms, given_up) \
                         VALUES (?1, ?2, 1, ?3, 0) \
                         ON CONFLICT DO UPDATE SET asked = asked + 1, asked_ms = excluded.asked_ms",
                    )?
                    .execute(params![source, delivery_id, now])?;
                self.connection
                    .prepare_cached(
                        "DELETE FROM awaited WHERE asked_ms < ?1 \
                         OR id <= (SELECT max(id) FROM awaited) - ?2",
                    )?
                    .execute(params![now - AWAITED_MS, AWAITED_MAX])?;
            }
            Redelivery::GivenUp => {
                self.connection.execute(
                    "UPDATE awaited SET given_up = 1 WHERE source = ?1 AND delivery_id = ?2",
                    [source, delivery_id],
                )?;
            }
            Redelivery::GivenUpBefore => {}
        }
        Ok(redelivery)
    }

    /// Whether the provider was asked for this delivery, which has come now.
    pub(super) fn was_asked_for(&self, source: &str, delivery_id: &str) -> rusqlite::Result<bool> {
        let removed = self
            .connection
            .prepare_cached("DELETE FROM awaited WHERE source = ?1 AND delivery_id = ?2")?
            .execute([source, delivery_id])?;
        Ok(removed > 0)
    }

    fn end_round(
        &self,
        source: &str,
        result: &Result<Timestamp, String>,
        now: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let now = now.as_millisecond();
        match result {
            Ok(through) => {
                let through = through.as_millisecond();
                self.connection.execute(
                    "UPDATE backfill SET covered_ms = max(covered_ms, ?2), error = NULL, \
                     failing_since_ms = NULL WHERE source = ?1",
                    params![source, through],
                )?;
                self.connection.execute(
                    "UPDATE gap SET closed_ms = ?2 WHERE source = ?1 AND closed_ms IS NULL",
                    params![source, now],
                )?;
            }
            Err(error) => {
                self.connection.execute(
                    "UPDATE backfill SET error = ?2, \
                     failing_since_ms = coalesce(failing_since_ms, ?3) WHERE source = ?1",
                    params![source, error, now],
                )?;
            }
        }
        let since = self
            .connection
            .prepare_cached("SELECT failing_since_ms FROM backfill WHERE source = ?1")?
            .query_row([source], |row| row.get::<_, Option<i64>>(0))
            .optional()?;
        since.flatten().map(instant).transpose()
    }

    fn missing(&self, source: &str, ids: &[String]) -> rusqlite::Result<Vec<String>> {
        let mut missing = Vec::new();
        for id in ids {
            let keys = Keys::of(source, None, Some(id), Digest([0; 32]));
            if self.latest_events.find(&self.connection, keys)?.is_none() {
                missing.push(id.clone());
            }
        }
        Ok(missing)
    }
}

pub(crate) fn backfills(connection: &Connection) -> Result<Vec<BackfillStatus>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT source, covered_ms, error, failing_since_ms, (SELECT count(*) FROM event \
         WHERE event.source = backfill.source AND origin <> 'webhook'), \
         (SELECT count(*) FROM awaited WHERE awaited.source = backfill.source AND NOT given_up), \
         (SELECT count(*) FROM awaited WHERE awaited.source = backfill.source AND given_up) \
         FROM backfill ORDER BY source",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(BackfillStatus {
            source: row.get(0)?,
            covered_through: instant(row.get(1)?)?,
            error: row.get(2)?,
            failing_since: row.get::<_, Option<i64>>(3)?.map(instant).transpose()?,
            taken_in: row.get(4)?,
            awaited: row.get(5)?,
            given_up: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn gaps(connection: &Connection, query: &GapQuery) -> Result<Vec<Gap>, StoreError> {
    let GapQuery { source, before, limit } = query;
    let mut statement = connection.prepare_cached(
        "SELECT id, source, from_ms, to_ms, closed_ms, (SELECT count(*) FROM event \
         WHERE event.source = gap.source AND origin <> 'webhook' AND received_at_ms >= to_ms \
         AND (closed_ms IS NULL OR received_at_ms < closed_ms + ?4) \
         AND received_at_ms < coalesce((SELECT min(later.to_ms) FROM gap AS later \
         WHERE later.source = gap.source AND later.id > gap.id), 9e18)) \
         FROM gap WHERE (?1 IS NULL OR source = ?1) AND id < ?2 ORDER BY id DESC LIMIT ?3",
    )?;
    let before = before.unwrap_or(i64::MAX);
    let rows =
        statement.query_map(params![source, before, row_limit(*limit), GAP_TAIL_MS], |row| {
            Ok(Gap {
                number: row.get(0)?,
                source: row.get(1)?,
                from: instant(row.get(2)?)?,
                to: instant(row.get(3)?)?,
                closed_at: row.get::<_, Option<i64>>(4)?.map(instant).transpose()?,
                taken_in: row.get(5)?,
            })
        })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
