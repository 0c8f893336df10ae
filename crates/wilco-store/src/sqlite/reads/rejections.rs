//! Rejections, listed or one of them whole.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wilco::{Headers, RejectionId};

use super::{
    super::{bad_column, digest_of, instant, rejection_seq, row_limit, seq_at},
    source_of,
};
use crate::{RejectionDetail, RejectionQuery, RejectionReason, RejectionSummary, StoreError};

/// The rejections that a query finds. There are so few of them that one transaction looks at all.
pub(crate) fn rejections(
    connection: &Connection,
    query: &RejectionQuery,
) -> Result<Vec<RejectionSummary>, StoreError> {
    let order = if query.after.is_some() { "ASC" } else { "DESC" };
    // The place of a rejection is never behind its time.
    let since = query.since.map_or(0, |since| seq_at(since).saturating_sub(1));
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {LISTED} FROM rejection WHERE seq > ?1 AND seq < ?2 AND (?3 IS NULL OR source = ?3) \
         AND (?4 IS NULL OR received_at_ms >= ?4) ORDER BY seq {order} LIMIT ?5"
    ))?;
    let rows = statement.query_map(
        params![
            query.after.map_or(0, rejection_seq).max(since),
            query.before.map_or(i64::MAX, rejection_seq),
            query.source,
            query.since.map(Timestamp::as_millisecond),
            row_limit(query.limit),
        ],
        summary,
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One rejection.
pub(crate) fn rejection(
    connection: &Connection,
    id: RejectionId,
) -> Result<Option<RejectionDetail>, StoreError> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT {LISTED}, headers, body FROM rejection WHERE seq = ?1 AND id = ?2"
        ))?
        .query_row(params![rejection_seq(id), id.to_string()], |row| {
            Ok(RejectionDetail {
                summary: summary(row)?,
                headers: Headers::from_block(row.get::<_, Vec<u8>>("headers")?.into()),
                body: row.get::<_, Vec<u8>>("body")?.into(),
            })
        })
        .optional()?;
    Ok(found)
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RejectionSummary> {
    let (id, reason): (String, String) = (row.get("id")?, row.get("reason")?);
    let (client, hidden): (Option<String>, String) = (row.get("client")?, row.get("hidden")?);
    let reason = RejectionReason::from_word(&reason).ok_or_else(|| {
        rusqlite::Error::InvalidColumnType(0, reason, rusqlite::types::Type::Text)
    })?;
    Ok(RejectionSummary {
        id: id.parse().map_err(bad_column)?,
        received_at: instant(row.get("received_at_ms")?)?,
        source: source_of(row)?,
        provider: row.get("provider")?,
        reason,
        message: row.get("message")?,
        client: client.map(|client| client.parse().map_err(bad_column)).transpose()?,
        method: row.get("method")?,
        url: row.get("url")?,
        hidden: hidden.lines().map(ToOwned::to_owned).collect(),
        bytes: row.get("bytes")?,
        digest: digest_of(row, "digest")?,
        is_complete: row.get("complete")?,
    })
}

const LISTED: &str = "id, received_at_ms, source, provider, reason, message, client, method, url, \
                      hidden, bytes, digest, complete";
