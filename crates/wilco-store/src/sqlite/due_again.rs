//! Makes deliveries due again that run no more: their event could not be read, their lease ended, or
//! the process did.

use jiff::Timestamp;
use rusqlite::params;

use super::{AttemptId, WriterState};
use crate::rules::INTERRUPTED;

impl WriterState {
    /// Makes deliveries due by the numbers of their attempts, so that a later claim of the same delivery is
    /// unaffected.
    pub(super) fn make_due(
        &mut self,
        attempts: &[AttemptId],
        due_at: Timestamp,
        error: Option<&str>,
    ) -> rusqlite::Result<()> {
        for (id, attempt) in attempts {
            let changed = self.next_change();
            self.connection
                .prepare_cached(
                    "UPDATE delivery SET state = 'retrying', due_at_ms = ?2, \
                     last_error = coalesce(?4, last_error), changed = ?5 \
                     WHERE id = ?1 AND state = 'running' AND attempts = ?3",
                )?
                .execute(params![id, due_at.as_millisecond(), attempt, error, changed])?;
        }
        self.changes.leases.ended.extend_from_slice(attempts);
        Ok(())
    }

    /// What was running when the last process ended is tried again: at least once, not at most. There
    /// is no more of it than attempts that may run at once. Returns how many there were.
    pub(super) fn recover(&mut self, now: Timestamp) -> rusqlite::Result<usize> {
        // The condition repeats that of the index, which is then all that is read.
        let recovered = self.connection.execute(
            "UPDATE delivery SET state = 'retrying', due_at_ms = ?1, last_error = ?2, \
             changed = ?3 + number FROM (SELECT id AS running, row_number() OVER () AS number \
             FROM delivery INDEXED BY delivery_unfinished WHERE state = 'running' \
             AND state IN ('running', 'dead') AND replaced_by IS NULL) WHERE id = running",
            params![now.as_millisecond(), INTERRUPTED, self.last_seq],
        )?;
        self.last_seq += i64::try_from(recovered).unwrap_or(i64::MAX);
        Ok(recovered)
    }
}
