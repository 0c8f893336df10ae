//! Cancels the pending deliveries of an event.

use jiff::Timestamp;
use rusqlite::params;
use wilco::EventId;

use super::{WriterState, row_limit, seq_of};
use crate::State;

impl WriterState {
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
                params![seq_of(event_id), destination, event_id.to_string(), row_limit(limit)],
                |row| row.get(0),
            )?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        for &id in &waiting {
            self.end(id, State::Cancelled, None, now)?;
        }
        Ok(waiting.len())
    }
}
