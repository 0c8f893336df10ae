//! Makes failed deliveries due at once that wait for a retry.

use jiff::Timestamp;
use rusqlite::params;

use super::{WriterState, row_limit};

impl WriterState {
    pub(super) fn retry_now(
        &mut self,
        destination: &str,
        now: Timestamp,
        limit: usize,
    ) -> rusqlite::Result<usize> {
        let now_ms = now.as_millisecond();
        let waiting = self
            .connection
            .prepare_cached(
                "SELECT id FROM delivery WHERE destination = ?1 AND due_at_ms > ?2 \
                 AND state = 'retrying' LIMIT ?3",
            )?
            .query_map(params![destination, now_ms, row_limit(limit)], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        for id in &waiting {
            let changed = self.next_change();
            // What is left of the wait does not count towards the age.
            self.connection
                .prepare_cached(
                    "UPDATE delivery SET due_at_ms = ?2, changed = ?3, \
                     waited_ms = max(0, waited_ms - (due_at_ms - ?2)) WHERE id = ?1",
                )?
                .execute(params![id, now_ms, changed])?;
        }
        self.changes.to_wake.insert(destination.to_owned());
        Ok(waiting.len())
    }
}
