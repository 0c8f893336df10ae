//! What is read, on connections that cannot write.

mod contents;
mod failures;
mod listing;
mod rejections;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wilco::{Event, EventId, Headers, SourceName};

use super::{
    Checksums, ChunkReader, Unsealed, digest_of, each_chunk, id_of, instant, origin_of, row_limit,
    seq_of,
};
use crate::{
    Attempt, Breaker, Delivery, DestinationStatus, EventDetail, EventSummary, ROUTING_BYTES_MAX,
    State, StoreError,
    query::{self, TITLE_BODY_BYTES_MAX},
    rules::wait_until,
};
pub(crate) use contents::contents;
pub(crate) use failures::{failed_events, failure_groups};
use listing::head;
pub(crate) use listing::{
    Budget, Part, changes, counts, events, last_received, newest_position, position_before,
};
pub(crate) use rejections::{rejection, rejections};

/// The oldest unrouted events that have their payload, and the places of those that are damaged. One that is known
/// to be damaged does not block those behind it.
pub(crate) fn unrouted(
    connection: &Connection,
    chunk_reader: &Arc<ChunkReader>,
    limit: usize,
) -> Result<(Vec<Arc<Event>>, Vec<i64>), StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {EVENT} WHERE seq > (SELECT routed_through FROM progress) \
         AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.event = seq) ORDER BY seq"
    ))?;
    let mut rows = statement.query([])?;
    let (mut events, mut damaged) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    while events.len() < limit
        && let Some(row) = rows.next()?
    {
        let event = match checked(connection, row) {
            Ok(intact) => intact.event(chunk_reader),
            Err(StoreError::Pruned(_)) => continue,
            Err(_) => {
                damaged.push(row.get("seq")?);
                continue;
            }
        };
        bytes += event.body.len();
        if bytes > ROUTING_BYTES_MAX && !events.is_empty() {
            break;
        }
        events.push(Arc::new(event));
    }
    Ok((events, damaged))
}

/// Whether the record of this event is there, and what was written.
pub(crate) fn is_intact(connection: &Connection, id: EventId) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(&format!("SELECT {EVENT} WHERE seq = ?1"))?;
    let mut rows = statement.query([seq_of(id)])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    Ok(match checked(connection, row) {
        Ok(intact) => intact.event.id == id,
        Err(error) => matches!(error, StoreError::Pruned(_)),
    })
}

/// The event in this place, its checksum compared with what was read.
pub(crate) fn intact(
    connection: &Connection,
    chunk_reader: &Arc<ChunkReader>,
    seq: i64,
) -> Result<Option<Event>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {EVENT} WHERE seq = ?1"))?;
    let mut rows = statement.query([seq])?;
    let checked = rows.next()?.map(|row| checked(connection, row)).transpose()?;
    Ok(checked.map(|intact| intact.event(chunk_reader)))
}

/// An event that was found to be what was written.
pub(crate) struct Intact {
    /// Without its body, if that is in chunks.
    event: Event,
    chunks: Option<i64>,
    body_bytes: usize,
}

impl Intact {
    /// The event. Of a large body, each chunk is read when it is needed.
    fn event(self, chunk_reader: &Arc<ChunkReader>) -> Event {
        let Self { event, chunks, body_bytes } = self;
        match chunks {
            Some(chunks) => Event { body: chunk_reader.body(chunks, body_bytes), ..event },
            None => event,
        }
    }

    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }
}

/// The event of a row that is what was written.
pub(crate) fn checked(connection: &Connection, row: &Row<'_>) -> Result<Intact, StoreError> {
    if let Ok(true) = row.get("is_pruned") {
        return Err(match head(row) {
            Ok(Some(head)) => StoreError::Pruned(head.id.to_string()),
            Ok(None) | Err(_) => StoreError::Damaged("an event without a payload".into()),
        });
    }
    match compare(connection, row) {
        Ok((intact, true)) => Ok(intact),
        Ok((damaged, false)) => Err(StoreError::Damaged(damaged.event.id.to_string())),
        Err(error) => Err(StoreError::Damaged(format!("an event ({error})"))),
    }
}

/// Reads an event, and all of its body, and says whether they are what was written.
fn compare(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<(Intact, bool)> {
    let (event, body_bytes) = (event(row)?, row.get("bytes")?);
    let (delivery_id, chunks): (Option<String>, Option<i64>) =
        (row.get("delivery_id")?, row.get("chunks")?);
    let stored = Checksums { head: row.get("head_checksum")?, whole: row.get("checksum")? };
    let mut found = Unsealed::without_body(&event, delivery_id.as_deref(), body_bytes as u64);
    let mut found_bytes = 0;
    let mut add = |part: &[u8]| {
        found.add_body(part);
        found_bytes += part.len();
    };
    match chunks {
        Some(chunks) => each_chunk(connection, chunks, add)?,
        None => add(row.get_ref("body")?.as_blob().map_err(super::bad_column)?),
    }
    let is_whole = found.seal(event.id, event.conflict) == stored && found_bytes == body_bytes;
    Ok((Intact { event, chunks, body_bytes }, is_whole))
}

pub(crate) fn next_due(
    connection: &Connection,
    destination: &str,
    now: Timestamp,
    next_lease_end: Option<Duration>,
) -> Result<Option<Duration>, StoreError> {
    // Asked first: as a condition of the query below it would be checked for each waiting row.
    if destination_status(connection, destination, now)?.is_paused {
        return Ok(None);
    }
    let wait = earliest_due(connection, destination)?.map(|due| wait_until(due, now));
    Ok(wait.into_iter().chain(next_lease_end).min())
}

/// When the earliest delivery that waits for a destination is due.
pub(crate) fn earliest_due(
    connection: &Connection,
    destination: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let due: Option<i64> = connection
        .prepare_cached(
            "SELECT min(due_at_ms) FROM delivery WHERE destination = ?1 AND due_at_ms IS NOT NULL",
        )?
        .query_row([destination], |row| row.get(0))?;
    Ok(due.map(instant).transpose()?)
}

/// When the last request of each source came: as far as its secrets say, and the newest events, which are also
/// those that were fetched.
pub(crate) fn last_of_sources(
    connection: &Connection,
) -> Result<BTreeMap<String, Timestamp>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT source, max(last_ms) FROM (SELECT source, last_ms FROM secret_match UNION ALL \
         SELECT * FROM (SELECT source, received_at_ms FROM event ORDER BY seq DESC LIMIT ?1)) \
         WHERE last_ms IS NOT NULL GROUP BY source",
    )?;
    let rows = statement
        .query_map([row_limit(NEWEST_EVENTS)], |row| Ok((row.get(0)?, instant(row.get(1)?)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn show(
    connection: &Connection,
    chunk_reader: &Arc<ChunkReader>,
    seq: i64,
) -> Result<Option<EventDetail>, StoreError> {
    // One transaction: routing continues meanwhile, and an event that is routed between two of these
    // statements would look as if no route had taken it.
    let transaction = connection.unchecked_transaction()?;
    let connection = &*transaction;
    let Some(event) = intact(connection, chunk_reader, seq)? else { return Ok(None) };
    let mut deliveries = deliveries(connection, seq)?;
    for delivery in &mut deliveries {
        delivery.history = attempts(connection, delivery.id)?;
    }
    let is_routed = connection
        .prepare_cached("SELECT routed_through >= ?1 FROM progress")?
        .query_row([seq], |row| row.get(0))?;
    Ok(Some(EventDetail { event, is_routed, deliveries }))
}

/// An event without its payload, and without the attempts of its deliveries.
pub(crate) fn event_summary(
    connection: &Connection,
    seq: i64,
) -> Result<Option<EventSummary>, StoreError> {
    let Some(mut summary) = listing::one(connection, seq)? else { return Ok(None) };
    summary.deliveries = deliveries(connection, seq)?;
    Ok(Some(summary))
}

/// An event without its payload.
pub(crate) fn show_summary(
    connection: &Connection,
    seq: i64,
) -> Result<Option<EventSummary>, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let Some(mut summary) = listing::one(&transaction, seq)? else { return Ok(None) };
    summary.title = title(&transaction, seq)?;
    summary.deliveries = deliveries(&transaction, seq)?;
    for delivery in &mut summary.deliveries {
        delivery.history = attempts(&transaction, delivery.id)?;
    }
    Ok(Some(summary))
}

pub(crate) fn unfinished(connection: &Connection) -> Result<Vec<(String, State, u64)>, StoreError> {
    // Each branch is answered from an index that covers it; the finished ones are in none of them.
    // What is due is counted in the order of its index: by state too, a million would be sorted.
    let mut statement = connection.prepare_cached(
        "WITH due AS MATERIALIZED (SELECT destination, count(*) AS number, \
         sum(state = 'retrying') AS retrying FROM delivery WHERE due_at_ms IS NOT NULL GROUP BY 1) \
         SELECT destination, state, sum(number) FROM (\
         SELECT destination, state, count(*) AS number FROM delivery \
         WHERE state IN ('running', 'dead') AND replaced_by IS NULL GROUP BY 1, 2 \
         UNION ALL SELECT destination, 'pending', number - retrying FROM due \
         WHERE number > retrying \
         UNION ALL SELECT destination, 'retrying', retrying FROM due WHERE retrying > 0 \
         UNION ALL SELECT destination, 'pending', count(*) FROM delivery \
         WHERE key_role = 'held' GROUP BY 1) GROUP BY 1, 2",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, state_of(row, 1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn destination_status(
    connection: &Connection,
    name: &str,
    now: Timestamp,
) -> Result<DestinationStatus, StoreError> {
    let status = connection
        .prepare_cached(
            "SELECT paused, failures, open_until_ms, revision FROM destination WHERE name = ?1",
        )?
        .query_row([name], |row| {
            let open_until = row.get::<_, Option<i64>>(2)?.map(instant).transpose()?;
            let open_for = open_until.map(|until| wait_until(until, now));
            let breaker = Breaker { failures: row.get(1)?, open_for, revision: row.get(3)? };
            Ok(DestinationStatus { is_paused: row.get(0)?, breaker })
        })
        .optional()?;
    Ok(status.unwrap_or_default())
}

/// Asked for each row of a listing and not in its query, which may have to sort the rows.
fn title(connection: &Connection, seq: i64) -> rusqlite::Result<Option<String>> {
    let body: Option<Vec<u8>> = connection
        .prepare_cached("SELECT body FROM event JOIN payload ON payload.event = seq WHERE seq = ?1 AND bytes <= ?2")?
        .query_row(params![seq, TITLE_BODY_BYTES_MAX], |row| row.get(0))
        .optional()?;
    Ok(body.and_then(|body| query::title(&body.into())))
}

fn deliveries(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<Delivery>> {
    connection
        .prepare_cached(
            "SELECT id, destination, state, attempts, due_at_ms, last_error, order_key, reason, \
             (SELECT id FROM event WHERE seq = replaced_by), item FROM delivery \
             WHERE event = ?1 ORDER BY id",
        )?
        .query_map([seq], delivery_of)?
        .collect()
}

fn delivery_of(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: row.get(0)?,
        destination: row.get(1)?,
        state: state_of(row, 2)?,
        attempts: row.get(3)?,
        due_at: row.get::<_, Option<i64>>(4)?.map(instant).transpose()?,
        last_error: row.get(5)?,
        order_key: row.get(6)?,
        reason: row.get(7)?,
        replaced_by: row.get::<_, Option<String>>(8)?.map(|text| id_of(&text)).transpose()?,
        item: row.get(9)?,
        history: Vec::new(),
    })
}

fn attempts(connection: &Connection, delivery: i64) -> rusqlite::Result<Vec<Attempt>> {
    connection
        .prepare_cached(
            "SELECT started_at_ms, took_us, result, request, output FROM attempt \
             WHERE delivery = ?1 ORDER BY number",
        )?
        .query_map([delivery], |row| {
            Ok(Attempt {
                started_at: instant(row.get(0)?)?,
                took: Duration::from_micros(row.get(1)?),
                result: row.get(2)?,
                request: row.get(3)?,
                output: row.get(4)?,
            })
        })?
        .collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: id_of(&row.get::<_, String>("id")?)?,
        source: source_of(row)?,
        provider: row.get("provider")?,
        name: row.get("name")?,
        subject: row.get("subject")?,
        received_at: instant(row.get("received_at_ms")?)?,
        secret_name: row.get("secret_name")?,
        digest: digest_of(row, "digest")?,
        conflict: row.get("conflict")?,
        origin: origin_of(row, "origin")?,
        item: None,
        headers: Headers::from_block(row.get::<_, Vec<u8>>("headers")?.into()),
        body: row.get::<_, Vec<u8>>("body")?.into(),
    })
}

fn source_of(row: &Row<'_>) -> rusqlite::Result<SourceName> {
    let name: String = row.get("source")?;
    SourceName::new(&name).map_err(super::bad_column)
}

#[expect(clippy::expect_used, reason = "seven letters are a name")]
fn unknown_source() -> SourceName {
    SourceName::new("damaged").expect("seven letters are a name")
}

pub(crate) fn damaged_events(connection: &Connection) -> Result<u64, StoreError> {
    let count = connection
        .prepare_cached("SELECT count(*) FROM damaged")?
        .query_row([], |row| row.get(0))?;
    Ok(count)
}

pub(crate) fn state_of(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let word: String = row.get(column)?;
    State::parse(&word)
        .ok_or_else(|| super::bad_column(StoreError::Internal(format!("state {word:?}"))))
}

/// Events among which the last one of each source is looked for.
const NEWEST_EVENTS: usize = 1_000;

/// The columns of an event with its payload, and where they are.
pub(crate) const EVENT: &str = "seq, id, source, provider, name, subject, delivery_id, \
                                received_at_ms, secret_name, bytes, digest, conflict, origin, \
                                head_checksum, checksum, headers, body, chunks, (headers IS NULL \
                                AND (seq <= (SELECT pruned_through FROM progress) OR EXISTS \
                                (SELECT 1 FROM erased WHERE erased.event = seq))) AS is_pruned \
                                FROM event LEFT JOIN payload ON payload.event = seq";
