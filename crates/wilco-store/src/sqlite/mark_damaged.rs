//! Notes which events were found damaged.

use super::{WriterState, id_at};

/// An event whose record is not what was written.
#[derive(Clone)]
pub(crate) struct DamagedEvent {
    pub(super) seq: i64,
    /// What is wrong with it, as the log says it.
    pub(super) what: &'static str,
    /// What found it.
    pub(super) by: &'static str,
}

impl WriterState {
    /// Notes that these events are damaged. Those of which that was not known are logged once the
    /// batch is committed.
    pub(super) fn mark_damaged(&mut self, found: &[DamagedEvent]) -> rusqlite::Result<()> {
        let mut mark =
            self.connection.prepare_cached("INSERT OR IGNORE INTO damaged (event) VALUES (?1)")?;
        for event in found {
            if mark.execute([event.seq])? > 0 {
                self.changes.found_damaged.push(event.clone());
            }
        }
        Ok(())
    }
}

pub(crate) fn log_damaged(found: &[DamagedEvent]) {
    for DamagedEvent { seq, what, by } in found {
        let event = id_at(*seq);
        tracing::error!(%event, by, "{what}");
    }
}

pub(crate) const RECORD_DAMAGED: &str = "the record of an event is damaged";
