//! Stores rejections, and removes the oldest past the bounds.

use rusqlite::{OptionalExtension as _, params};

use super::WriterState;
use crate::{REJECTION_BYTES_MAX, REJECTIONS_MAX, Rejection};

impl WriterState {
    /// Stores rejections, and removes the oldest past the bounds: a limited number at a time, so
    /// that a store which has too many catches up bit by bit.
    pub(super) fn reject(&mut self, rejections: &[Rejection]) -> rusqlite::Result<()> {
        let mut bytes = match self.rejected_bytes {
            Some(bytes) => bytes,
            None => self.connection.query_row(
                "SELECT coalesce(sum(length(headers) + length(body)), 0) FROM rejection",
                [],
                |row| row.get(0),
            )?,
        };
        for rejection in rejections {
            self.insert_rejection(rejection)?;
            bytes += (rejection.headers.as_bytes().len() + rejection.body.len()) as u64;
        }
        let newest = self.connection.last_insert_rowid();
        let mut oldest = self.connection.prepare_cached(
            "DELETE FROM rejection WHERE id = (SELECT min(id) FROM rejection) \
             AND (id <= ?1 - ?2 OR ?3 > ?4) RETURNING length(headers) + length(body)",
        )?;
        for _ in 0..REJECTIONS_REMOVED_MAX {
            let limits = params![newest, REJECTIONS_MAX, bytes, REJECTION_BYTES_MAX];
            let removed = oldest.query_row(limits, |row| row.get::<_, u64>(0)).optional()?;
            let Some(removed) = removed else { break };
            bytes -= removed;
        }
        self.rejected_bytes = Some(bytes);
        Ok(())
    }

    fn insert_rejection(&mut self, rejection: &Rejection) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO rejection (at_ms, source, reason, client, method, url, bytes, headers, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                rejection.at.as_millisecond(),
                rejection.source.as_str(),
                rejection.reason,
                rejection.client.map(|client| client.to_string()),
                rejection.method,
                rejection.url,
                rejection.bytes,
                rejection.headers.as_bytes(),
                &rejection.body[..],
            ])?;
        Ok(())
    }
}

/// Old rejections that one write removes.
const REJECTIONS_REMOVED_MAX: usize = 256;
