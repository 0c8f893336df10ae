//! How much there is, and since when.

use rusqlite::{Connection, Row};

use super::instant;
use crate::{Contents, StoreError};

pub(crate) fn contents(connection: &Connection) -> Result<Contents, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let time =
        |row: &Row<'_>, column: &str| row.get::<_, Option<i64>>(column)?.map(instant).transpose();
    let count = |row: &Row<'_>, column: &str| -> rusqlite::Result<u64> {
        Ok(row.get::<_, i64>(column)?.max(0).unsigned_abs())
    };
    let contents = transaction
        .prepare_cached(
            "WITH newer AS (SELECT count(*) AS events, coalesce(sum(bytes), 0) AS body_bytes FROM event \
             WHERE seq > (SELECT counted_through FROM contents)), \
             refused AS (SELECT count(*) AS number, \
             coalesce(sum(length(headers) + length(body)), 0) AS bytes FROM rejection) \
             SELECT contents.events + newer.events AS events, payloads + newer.events AS payloads, \
             contents.body_bytes + newer.body_bytes AS body_bytes, number AS rejections, \
             bytes AS rejection_bytes, freelist_count * page_size AS unused, \
             (SELECT received_at_ms FROM event ORDER BY seq LIMIT 1) AS oldest_event, \
             (SELECT received_at_ms FROM event WHERE seq = (SELECT min(event) FROM payload)) \
             AS oldest_payload, (SELECT through_ms FROM overwriting) AS overwritten \
             FROM contents, newer, refused, pragma_freelist_count, pragma_page_size",
        )?
        .query_row([], |row| {
            Ok(Contents {
                events: count(row, "events")?,
                payloads: count(row, "payloads")?,
                body_bytes: count(row, "body_bytes")?,
                rejections: count(row, "rejections")?,
                rejection_bytes: count(row, "rejection_bytes")?,
                unused_bytes: count(row, "unused")?,
                overwritten_through: time(row, "overwritten")?,
                oldest_event_at: time(row, "oldest_event")?,
                oldest_payload_at: time(row, "oldest_payload")?,
            })
        })?;
    Ok(contents)
}
