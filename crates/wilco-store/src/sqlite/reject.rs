//! Stores rejections, and removes the oldest past the bounds.

use rusqlite::{OptionalExtension as _, params};
use wilco::RejectionId;

use super::{TAIL_BITS, WriterState, bad_column, id_bits, seq_at};
use crate::{REJECTION_BYTES_MAX, REJECTIONS_MAX, Rejection};

/// How many rejections are kept, and the bytes of their headers and bodies.
#[derive(Clone, Copy)]
pub(crate) struct KeptRejections {
    rejections: u64,
    bytes: u64,
}

impl WriterState {
    /// Stores rejections, and removes the oldest past the bounds: a limited number at a time, so
    /// that a store which has too many catches up bit by bit.
    pub(super) fn reject(&mut self, rejections: &[Rejection]) -> rusqlite::Result<()> {
        let mut kept = match self.rejections_kept {
            Some(kept) => kept,
            None => self.connection.query_row(
                "SELECT count(*), coalesce(sum(length(headers) + length(body)), 0) FROM rejection",
                [],
                |row| Ok(KeptRejections { rejections: row.get(0)?, bytes: row.get(1)? }),
            )?,
        };
        for rejection in rejections {
            self.insert_rejection(rejection)?;
            kept.rejections += 1;
            kept.bytes += (rejection.headers.as_bytes().len() + rejection.body.len()) as u64;
        }
        let mut oldest = self.connection.prepare_cached(
            "DELETE FROM rejection WHERE seq = (SELECT min(seq) FROM rejection) \
             RETURNING length(headers) + length(body)",
        )?;
        for _ in 0..REJECTIONS_REMOVED_MAX {
            if kept.rejections <= REJECTIONS_MAX && kept.bytes <= REJECTION_BYTES_MAX {
                break;
            }
            let removed = oldest.query_row([], |row| row.get::<_, u64>(0)).optional()?;
            let Some(removed) = removed else { break };
            kept.rejections -= 1;
            kept.bytes -= removed;
            self.want_overwriting()?;
        }
        self.rejections_kept = Some(kept);
        Ok(())
    }

    /// Removes the rejection in this place. False if there is none.
    pub(super) fn remove_rejection(&mut self, seq: i64) -> rusqlite::Result<bool> {
        let removed = self
            .connection
            .prepare_cached(
                "DELETE FROM rejection WHERE seq = ?1 RETURNING length(headers) + length(body)",
            )?
            .query_row([seq], |row| row.get::<_, u64>(0))
            .optional()?;
        if let (Some(kept), Some(removed)) = (&mut self.rejections_kept, removed) {
            kept.rejections -= 1;
            kept.bytes -= removed;
        }
        self.want_overwriting()?;
        Ok(removed.is_some())
    }

    fn insert_rejection(&mut self, rejection: &Rejection) -> rusqlite::Result<()> {
        let last: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(seq) FROM rejection")?
            .query_row([], |row| row.get(0))?;
        // Behind the last one, even if the clock was set back: the order is that of their receipt.
        let seq = seq_at(rejection.received_at).max(last.map_or(0, |last| last + 1));
        let body = rejection.body.contiguous(usize::MAX).map_err(bad_column)?;
        let id = RejectionId::from_bits(id_bits(seq, rejection.digest));
        self.connection
            .prepare_cached(
                "INSERT INTO rejection (seq, id, received_at_ms, source, provider, reason, message, client, \
                 method, url, hidden, bytes, digest, complete, headers, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?
            .execute(params![
                seq,
                id.to_string(),
                rejection.received_at.as_millisecond(),
                rejection.source.as_str(),
                rejection.provider,
                rejection.reason.as_str(),
                rejection.message,
                rejection.client.map(|client| client.to_string()),
                rejection.method,
                rejection.url,
                rejection.hidden.join("\n"),
                rejection.bytes,
                &rejection.digest.0[..],
                rejection.is_complete,
                rejection.headers.as_bytes(),
                &body[..],
            ])?;
        Ok(())
    }
}

/// The place of a rejection is the front of its id.
pub(crate) fn rejection_seq(id: RejectionId) -> i64 {
    i64::try_from(id.to_bits() >> TAIL_BITS).unwrap_or(i64::MAX)
}

/// Old rejections that one write removes.
const REJECTIONS_REMOVED_MAX: usize = 256;
