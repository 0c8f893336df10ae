//! What is read, on connections that cannot write.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wilco::{Event, Headers, SourceName};

use super::{digest_of, id_of, moment, seq_of};
use crate::{
    Attempt, Breaker, Delivery, EventQuery, Listed, ROUTING_BYTES_MAX, Shown, Standing, State,
    StoreError, checksum,
};

pub(super) fn unrouted(
    connection: &Connection,
    limit: usize,
) -> Result<Vec<Arc<Event>>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {EVENT} FROM event WHERE seq > (SELECT routed_through FROM progress) \
         ORDER BY seq"
    ))?;
    let mut rows = statement.query([])?;
    let mut events = Vec::new();
    let mut bytes = 0;
    while events.len() < limit
        && let Some(row) = rows.next()?
    {
        let event = match checked(row) {
            Ok(event) => event,
            Err(error) => {
                // It stands in the way of nobody behind it.
                tracing::error!(%error, "an event is not routed");
                continue;
            }
        };
        bytes += event.body.len();
        if bytes > ROUTING_BYTES_MAX && !events.is_empty() {
            break;
        }
        events.push(Arc::new(event));
    }
    Ok(events)
}

/// The event in this place, its checksum compared with what was read.
pub(super) fn intact(connection: &Connection, seq: i64) -> Result<Option<Event>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {EVENT} FROM event WHERE seq = ?1"))?;
    let mut rows = statement.query([seq])?;
    rows.next()?.map(checked).transpose()
}

/// The event of a row that is what was written.
fn checked(row: &Row<'_>) -> Result<Event, StoreError> {
    let read = event(row).and_then(|event| Ok((event, row.get::<_, u32>("checksum")?)));
    match read {
        Ok((event, sum)) if checksum(&event) == sum => Ok(event),
        Ok((event, _)) => Err(StoreError::Damaged(event.id.to_string())),
        Err(error) => Err(StoreError::Damaged(format!("an event ({error})"))),
    }
}

pub(super) fn next_due(
    connection: &Connection,
    destination: &str,
) -> Result<Option<Timestamp>, StoreError> {
    // Asked first: as a condition of the query below it would be held against each row that waits.
    if standing(connection, destination)?.is_paused {
        return Ok(None);
    }
    let due: Option<i64> = connection
        .prepare_cached(
            "SELECT min(due_at_ms) FROM delivery WHERE destination = ?1 AND due_at_ms IS NOT NULL",
        )?
        .query_row([destination], |row| row.get(0))?;
    Ok(due.map(moment).transpose()?)
}

pub(super) fn events(
    connection: &Connection,
    query: &EventQuery,
) -> Result<Vec<Listed>, StoreError> {
    let order = if query.after.is_some() { "ASC" } else { "DESC" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT seq, {LISTED}, seq <= (SELECT routed_through FROM progress) AS is_routed FROM event \
         WHERE (?1 IS NULL OR source = ?1) AND (?2 IS NULL OR name = ?2 OR (?2 LIKE '%*' \
         AND substr(name, 1, length(?2) - 1) = substr(?2, 1, length(?2) - 1))) \
         AND (?3 IS NULL OR received_at_ms >= ?3) AND (?4 IS NULL OR received_at_ms < ?4) \
         AND seq > ?5 AND seq < ?6 AND ((?8 IS NULL AND NOT ?9) OR EXISTS (SELECT 1 FROM delivery \
         WHERE event = seq AND (?8 IS NULL OR destination = ?8) \
         AND (NOT ?9 OR (state = 'dead' AND replaced_by IS NULL)))) ORDER BY seq {order} LIMIT ?7"
    ))?;
    let rows = statement.query_map(
        params![
            query.source,
            query.name,
            query.since.map(Timestamp::as_millisecond),
            query.until.map(Timestamp::as_millisecond),
            query.after.map_or(0, seq_of),
            query.before.map_or(i64::MAX, seq_of),
            super::row_limit(query.limit),
            query.destination,
            query.is_dead,
        ],
        |row| Ok((row.get::<_, i64>(0)?, listed(row)?)),
    )?;
    let mut events = Vec::new();
    for row in rows {
        let (seq, mut listed) = row?;
        listed.deliveries = deliveries(connection, seq)?;
        events.push(listed);
    }
    Ok(events)
}

pub(super) fn show(connection: &Connection, seq: i64) -> Result<Option<Shown>, StoreError> {
    // One transaction: routing goes on meanwhile, and an event that is routed between two of these
    // statements would look as if no route had taken it.
    let transaction = connection.unchecked_transaction()?;
    let connection = &*transaction;
    let Some(event) = intact(connection, seq)? else { return Ok(None) };
    let mut deliveries = deliveries(connection, seq)?;
    for delivery in &mut deliveries {
        delivery.history = attempts(connection, delivery.id)?;
    }
    let is_routed = connection
        .prepare_cached("SELECT routed_through >= ?1 FROM progress")?
        .query_row([seq], |row| row.get(0))?;
    Ok(Some(Shown { event, is_routed, deliveries }))
}

pub(super) fn unfinished(connection: &Connection) -> Result<Vec<(String, State, u64)>, StoreError> {
    // Each branch is answered from an index that covers it; the finished ones are in none of them.
    // What is due is counted in the order of its index: by state too, a million would be sorted.
    let mut statement = connection.prepare_cached(
        "WITH due AS MATERIALIZED (SELECT destination, count(*) AS number, \
         sum(state = 'retrying') AS retrying FROM delivery WHERE due_at_ms IS NOT NULL GROUP BY 1) \
         SELECT destination, state, sum(number) FROM (\
         SELECT destination, state, count(*) AS number FROM delivery \
         WHERE state IN ('running', 'dead') AND replaced_by IS NULL GROUP BY 1, 2 \
         UNION ALL SELECT destination, 'waiting', number - retrying FROM due \
         WHERE number > retrying \
         UNION ALL SELECT destination, 'retrying', retrying FROM due WHERE retrying > 0 \
         UNION ALL SELECT destination, 'waiting', count(*) FROM delivery \
         WHERE key_role = 'held' GROUP BY 1) GROUP BY 1, 2",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, state_of(row, 1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn standing(connection: &Connection, name: &str) -> Result<Standing, StoreError> {
    let standing = connection
        .prepare_cached(
            "SELECT paused, failures, open_until_ms, revision FROM destination WHERE name = ?1",
        )?
        .query_row([name], |row| {
            let open_until = row.get::<_, Option<i64>>(2)?.map(moment).transpose()?;
            let breaker = Breaker { failures: row.get(1)?, open_until, revision: row.get(3)? };
            Ok(Standing { is_paused: row.get(0)?, breaker })
        })
        .optional()?;
    Ok(standing.unwrap_or_default())
}

/// Looks from the newest event backwards: the one that is looked for is mostly near.
pub(super) fn last_received(
    connection: &Connection,
    source: &str,
    since: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let received_at_ms = connection
        .prepare_cached(
            // The id of an event is never behind its time, and ahead of it where the clock was set
            // back.
            "SELECT received_at_ms FROM event WHERE source = ?1 AND seq >= ?2 \
             AND received_at_ms >= ?3 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![source, super::seq_at(since), since.as_millisecond()], |row| row.get(0))
        .optional()?;
    Ok(received_at_ms.map(moment).transpose()?)
}

fn deliveries(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<Delivery>> {
    connection
        .prepare_cached(
            "SELECT id, destination, state, attempts, due_at_ms, last_error, order_key, reason, \
             (SELECT id FROM event WHERE seq = replaced_by) FROM delivery \
             WHERE event = ?1 ORDER BY id",
        )?
        .query_map([seq], |row| {
            Ok(Delivery {
                id: row.get(0)?,
                destination: row.get(1)?,
                state: state_of(row, 2)?,
                attempts: row.get(3)?,
                due_at: row.get::<_, Option<i64>>(4)?.map(moment).transpose()?,
                last_error: row.get(5)?,
                order_key: row.get(6)?,
                reason: row.get(7)?,
                replaced_by: row
                    .get::<_, Option<String>>(8)?
                    .map(|text| id_of(&text))
                    .transpose()?,
                history: Vec::new(),
            })
        })?
        .collect()
}

fn attempts(connection: &Connection, delivery: i64) -> rusqlite::Result<Vec<Attempt>> {
    connection
        .prepare_cached(
            "SELECT started_at_ms, took_us, result, output FROM attempt \
             WHERE delivery = ?1 ORDER BY number",
        )?
        .query_map([delivery], |row| {
            Ok(Attempt {
                started_at: moment(row.get(0)?)?,
                took: std::time::Duration::from_micros(row.get(1)?),
                result: row.get(2)?,
                output: row.get(3)?,
            })
        })?
        .collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        id: id_of(&row.get::<_, String>("id")?)?,
        source: source_of(row)?,
        name: row.get("name")?,
        subject: row.get("subject")?,
        received_at: moment(row.get("received_at_ms")?)?,
        secret: row.get("secret")?,
        digest: digest_of(row, "digest")?,
        conflict: row.get("conflict")?,
        headers: Headers::from_block(row.get::<_, Vec<u8>>("headers")?.into()),
        body: row.get::<_, Vec<u8>>("body")?.into(),
    })
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        id: id_of(&row.get::<_, String>("id")?)?,
        source: source_of(row)?,
        name: row.get("name")?,
        subject: row.get("subject")?,
        received_at: moment(row.get("received_at_ms")?)?,
        bytes: row.get("bytes")?,
        digest: digest_of(row, "digest")?,
        secret: row.get("secret")?,
        is_routed: row.get("is_routed")?,
        deliveries: Vec::new(),
    })
}

fn source_of(row: &Row<'_>) -> rusqlite::Result<SourceName> {
    let name: String = row.get("source")?;
    SourceName::new(&name).map_err(super::odd)
}

fn state_of(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let word: String = row.get(column)?;
    State::parse(&word).ok_or_else(|| super::odd(StoreError::Internal(format!("state {word:?}"))))
}

const EVENT: &str = "id, source, name, subject, received_at_ms, secret, digest, conflict, checksum, \
                     headers, body";
const LISTED: &str = "id, source, name, subject, received_at_ms, bytes, digest, secret";
