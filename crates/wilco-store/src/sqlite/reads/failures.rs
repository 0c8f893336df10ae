//! Failed deliveries, read from the indexes that have them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{id_of, instant, row_limit, seq_of, time_of};
use crate::{
    FAILURES_SCANNED_MAX, FailedEvents, FailureGroupQuery, FailureGroups, FailureQuery, StoreError,
    failure::{Failure, Grouping, kind_of_error},
};

/// Groups of failures.
pub(crate) fn failure_groups(
    connection: &Connection,
    query: &FailureGroupQuery,
) -> Result<FailureGroups, StoreError> {
    let destinations = match &query.destination {
        Some(name) => vec![name.clone()],
        None => destinations(connection)?,
    };
    let mut grouping = Grouping::default();
    let scanned_max = FAILURES_SCANNED_MAX / (2 * destinations.len()).max(1);
    let is_listed = |name: &&String| query.after.as_ref().is_none_or(|(after, _)| *name >= after);
    for destination in destinations.iter().filter(is_listed) {
        if grouping.is_full(query) {
            break;
        }
        for (statement, is_dead) in [(DEAD, true), (RETRYING, false)] {
            let mut statement = connection.prepare_cached(statement)?;
            let mut rows = statement.query(params![destination, row_limit(scanned_max)])?;
            let mut count = 0;
            while let Some(row) = rows.next()? {
                count += 1;
                let (delivery, seq): (i64, i64) = (row.get(0)?, row.get(1)?);
                let error: Option<String> = row.get(2)?;
                let error = error.as_deref().unwrap_or_default();
                let Some(event_id) = event_id(connection, seq)? else { continue };
                let failed_at = last_attempt(connection, delivery)?.unwrap_or(time_of(seq));
                grouping.add(&Failure { destination, error, is_dead, event_id, failed_at });
            }
            grouping.is_at_least |= count == scanned_max;
        }
    }
    Ok(grouping.finish(query))
}

/// Events with a dead delivery, oldest first.
pub(crate) fn failed_events(
    connection: &Connection,
    query: &FailureQuery,
) -> Result<FailedEvents, StoreError> {
    let mut statement = connection.prepare_cached(DEAD_AFTER)?;
    let after = query.after.map_or(0, seq_of);
    let mut rows =
        statement.query(params![query.destination, after, row_limit(FAILURES_SCANNED_MAX)])?;
    let (mut found, mut count) = (FailedEvents::default(), 0);
    while let Some(row) = rows.next()? {
        count += 1;
        let seq = row.get(0)?;
        let error: Option<String> = row.get(1)?;
        let Some(id) = event_id(connection, seq)? else { continue };
        let is_meant = |kind: &String| kind_of_error(error.as_deref().unwrap_or_default()) == *kind;
        if query.error.as_ref().is_none_or(is_meant) && found.ids.last() != Some(&id) {
            if found.ids.len() == query.limit {
                return Ok(found);
            }
            found.ids.push(id);
        }
        found.rest = Some(id);
    }
    found.rest = found.rest.filter(|_| count == FAILURES_SCANNED_MAX);
    Ok(found)
}

/// The destinations with failed deliveries: for each of them, an index is asked for the next one.
fn destinations(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for of in [
        "delivery INDEXED BY delivery_unfinished WHERE state IN ('running', 'dead') AND replaced_by IS NULL",
        "delivery INDEXED BY delivery_due WHERE due_at_ms IS NOT NULL",
    ] {
        let mut next = connection
            .prepare_cached(&format!("SELECT min(destination) FROM {of} AND destination > ?1"))?;
        let mut last = String::new();
        while let Some(name) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
            names.push(name.clone());
            last = name;
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn event_id(connection: &Connection, seq: i64) -> rusqlite::Result<Option<wilco::EventId>> {
    let id: Option<String> = connection
        .prepare_cached("SELECT id FROM event WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))
        .optional()?;
    // A damaged row is not a reason to hide the others.
    Ok(id.and_then(|id| id_of(&id).ok()))
}

fn last_attempt(connection: &Connection, delivery: i64) -> rusqlite::Result<Option<Timestamp>> {
    let at: Option<i64> = connection
        .prepare_cached(
            "SELECT started_at_ms FROM attempt WHERE delivery = ?1 ORDER BY number DESC LIMIT 1",
        )?
        .query_row([delivery], |row| row.get(0))
        .optional()?;
    at.map(instant).transpose()
}

const DEAD: &str = "SELECT id, event, last_error FROM delivery INDEXED BY delivery_unfinished \
                    WHERE destination = ?1 AND state IN ('running', 'dead') AND replaced_by IS NULL \
                    AND state = 'dead' ORDER BY event DESC LIMIT ?2";
const RETRYING: &str = "SELECT id, event, last_error FROM delivery INDEXED BY delivery_due \
                        WHERE destination = ?1 AND due_at_ms IS NOT NULL AND state = 'retrying' \
                        LIMIT ?2";
const DEAD_AFTER: &str = "SELECT event, last_error FROM delivery INDEXED BY delivery_unfinished \
                          WHERE destination = ?1 AND state IN ('running', 'dead') \
                          AND replaced_by IS NULL AND state = 'dead' AND event > ?2 \
                          ORDER BY event LIMIT ?3";
