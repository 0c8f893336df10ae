//! Releases the order keys that dead deliveries hold.

use jiff::Timestamp;
use rusqlite::params;

use super::{Ended, WriterState, row_limit};

impl WriterState {
    /// Releases at most `limit` keys, and says how many.
    pub(super) fn release_keys(
        &mut self,
        destination: &str,
        now: Timestamp,
        limit: usize,
    ) -> rusqlite::Result<usize> {
        let holding = self
            .connection
            .prepare_cached(
                "SELECT id, order_key FROM delivery INDEXED BY delivery_unfinished \
                 WHERE destination = ?1 AND state = 'dead' AND state IN ('running', 'dead') \
                 AND replaced_by IS NULL AND key_role = 'head' ORDER BY id LIMIT ?2",
            )?
            .query_map(params![destination, row_limit(limit)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, Option<String>)>>>()?;
        let count = holding.len();
        for (id, head_of) in holding {
            self.leave_key(id, Ended { destination: destination.to_owned(), head_of }, now)?;
        }
        Ok(count)
    }
}
