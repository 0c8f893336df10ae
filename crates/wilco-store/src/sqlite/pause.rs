//! Pauses and resumes a destination.

use rusqlite::params;

use super::WriterState;

impl WriterState {
    pub(super) fn pause(&mut self, destination: &str, is_paused: bool) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO destination (name, paused, failures, revision) VALUES (?1, ?2, 0, 0) \
                 ON CONFLICT (name) DO UPDATE SET paused = ?2",
            )?
            .execute(params![destination, is_paused])?;
        self.changes.to_wake.insert(destination.to_owned());
        Ok(())
    }
}
