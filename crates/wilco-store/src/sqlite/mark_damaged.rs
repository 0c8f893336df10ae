//! Notes which events were found damaged.

use super::WriterState;

impl WriterState {
    /// Remembers that the records of these events are not what was written, and gives those of which
    /// that was not known.
    pub(super) fn mark_damaged(&mut self, places: &[i64]) -> rusqlite::Result<Vec<i64>> {
        let mut mark =
            self.connection.prepare_cached("INSERT OR IGNORE INTO damaged (event) VALUES (?1)")?;
        let mut marked = Vec::new();
        for seq in places {
            if mark.execute([seq])? > 0 {
                marked.push(*seq);
            }
        }
        Ok(marked)
    }
}
