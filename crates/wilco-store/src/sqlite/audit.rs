//! The audit list.

use rusqlite::{Connection, params};

use super::{WriterState, instant, row_limit};
use crate::{AUDIT_ENTRIES_MAX, AuditEntry, StoreError};

impl WriterState {
    /// Adds an entry, and removes those that are no longer among the newest.
    pub(super) fn audit(&mut self, entry: &AuditEntry) -> rusqlite::Result<()> {
        let AuditEntry { number: _, at, who, action, target, affected, result } = entry;
        self.connection
            .prepare_cached(
                "INSERT INTO audit (at_ms, who, action, target, affected, result) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![at.as_millisecond(), who, action, target, affected, result])?;
        self.connection
            .prepare_cached(
                "DELETE FROM audit WHERE number <= (SELECT max(number) FROM audit) - ?1",
            )?
            .execute([row_limit(AUDIT_ENTRIES_MAX)])?;
        Ok(())
    }
}

/// The newest entries before this number.
pub(crate) fn audit_entries(
    connection: &Connection,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, at_ms, who, action, target, affected, result FROM audit \
         WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
    )?;
    let rows =
        statement.query_map(params![before.unwrap_or(i64::MAX), row_limit(limit)], |row| {
            Ok(AuditEntry {
                number: row.get(0)?,
                at: instant(row.get(1)?)?,
                who: row.get(2)?,
                action: row.get(3)?,
                target: row.get(4)?,
                affected: row.get(5)?,
                result: row.get(6)?,
            })
        })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
