//! Selects the events that are to be erased.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use wilco::EventId;

use super::{ChunkReader, SqliteStore, event_summary, id_at, id_of, intact, row_limit, seq_of};
use crate::{ALERTS, ErasureQuery, EventSummary, StoreError, erasure::event_ids};

impl SqliteStore {
    /// Looks at a part of the events behind a place for those that a selection is about.
    pub(super) async fn find_selected(
        &self,
        query: ErasureQuery,
    ) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError> {
        let (chunk_reader, looks) =
            (Arc::clone(&self.chunk_reader), self.limits.listing_events_max);
        let look = move |connection: &Connection| {
            let look = Look { connection, chunk_reader: &chunk_reader, query: &query };
            look.find(looks)
        };
        self.query_readers.read(look).await
    }
}

/// What events are looked for with.
struct Look<'a> {
    connection: &'a Connection,
    chunk_reader: &'a Arc<ChunkReader>,
    query: &'a ErasureQuery,
}

/// What a row says of an event.
struct Found {
    seq: i64,
    id: Option<EventId>,
    source: String,
    subject: Option<String>,
    bytes: usize,
}

impl Look<'_> {
    fn find(&self, looks: usize) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError> {
        let after = self.query.after.map_or(0, seq_of);
        let mut statement = self.connection.prepare_cached(&format!(
            "{FOUND} WHERE seq > ?1 AND NOT EXISTS (SELECT 1 FROM erased WHERE erased.event = seq) \
             ORDER BY seq LIMIT ?2"
        ))?;
        let rows = statement.query_map(params![after, row_limit(looks)], found)?;
        let (mut selected, mut looked, mut bytes, mut last) = (Vec::new(), 0, 0, None);
        for row in rows {
            let row = row?;
            (looked, last, bytes) = (looked + 1, Some(row.seq), bytes + row.bytes);
            if self.is_selected(&row)
                && let Some(summary) = event_summary(self.connection, row.seq)?
            {
                selected.push(summary);
            }
            if selected.len() >= SELECTED_MAX || bytes >= LOOKED_BYTES_MAX {
                return Ok((selected, last.map(id_at)));
            }
        }
        Ok((selected, last.filter(|_| looked == looks).map(id_at)))
    }

    fn is_selected(&self, row: &Found) -> bool {
        if row.source == ALERTS && self.is_about_selected(row.seq) {
            return true;
        }
        let is_of_source = self.query.source.as_ref().is_none_or(|source| *source == row.source);
        let body =
            || intact(self.connection, self.chunk_reader, row.seq).ok()?.map(|event| event.body);
        let id = row.id.unwrap_or(id_at(row.seq));
        is_of_source && self.query.selection.is_about(id, row.subject.as_deref(), body)
    }

    /// Whether an alert names an event that is selected, or is erased already.
    fn is_about_selected(&self, alert: i64) -> bool {
        let Ok(Some(alert)) = intact(self.connection, self.chunk_reader, alert) else {
            return false;
        };
        let text = alert.body.contiguous(ALERT_BYTES_MAX).unwrap_or_default();
        event_ids(&text).into_iter().any(|id| {
            let find = || -> rusqlite::Result<Option<(Found, bool)>> {
                let row = self
                    .connection
                    .prepare_cached(&format!("{FOUND} WHERE seq = ?1"))?
                    .query_row([seq_of(id)], found)
                    .optional()?;
                let is_erased = self
                    .connection
                    .prepare_cached("SELECT 1 FROM erased WHERE event = ?1")?
                    .exists([seq_of(id)])?;
                Ok(row.map(|row| (row, is_erased)))
            };
            match find() {
                Ok(Some((row, is_erased))) => {
                    row.id == Some(id)
                        && row.source != ALERTS
                        && (is_erased || self.is_selected(&row))
                }
                Ok(None) | Err(_) => false,
            }
        })
    }
}

fn found(row: &rusqlite::Row<'_>) -> rusqlite::Result<Found> {
    Ok(Found {
        seq: row.get("seq")?,
        id: row.get::<_, String>("id").and_then(|text| id_of(&text)).ok(),
        source: row.get("source")?,
        subject: row.get("subject")?,
        bytes: row.get("bytes")?,
    })
}

const FOUND: &str = "SELECT seq, id, source, subject, bytes FROM event";
/// Events that one answer has.
const SELECTED_MAX: usize = 256;
/// Bytes of bodies that are looked at for one answer.
const LOOKED_BYTES_MAX: usize = 16 << 20;
const ALERT_BYTES_MAX: usize = 64 << 10;
