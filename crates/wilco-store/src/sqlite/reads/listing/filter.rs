//! The conditions of a query, in SQL. The parameters are those of [`bind`].

use jiff::Timestamp;
use rusqlite::{Connection, Rows, Statement, params};

use super::{super::super::row_limit, Part};
use crate::{EventQuery, State};

/// The conditions of a query. With `is_few`, its state is looked up by an index.
pub(crate) fn conditions(query: &EventQuery, is_few: bool) -> String {
    // SQLite does not choose an index for a condition with a plus in front.
    let plus = if is_few { "+" } else { "" };
    let to_one = query.destination.is_some();
    let deliveries = match query.state {
        Some(state) if is_few => format!("seq IN ({})", places(state, to_one).join(" UNION ALL ")),
        Some(state) => in_state(state, to_one),
        None if to_one => {
            "EXISTS (SELECT 1 FROM delivery WHERE delivery.event = seq AND destination = ?8)".into()
        }
        None => "?8 IS NULL".into(),
    };
    let (name, subject) = (glob("name", 2), glob("subject", 9));
    format!(
        "(?1 IS NULL OR source = ?1) AND {name} AND {subject} \
         AND (?3 IS NULL OR received_at_ms >= ?3) AND (?4 IS NULL OR received_at_ms < ?4) \
         AND {plus}seq > ?5 AND {plus}seq < ?6 AND {deliveries}"
    )
}

/// Runs a statement that has the conditions of a query for a part of the events, and returns at most `limit` rows.
pub(crate) fn bind<'s>(
    statement: &'s mut Statement<'_>,
    query: &EventQuery,
    part: Part,
    limit: usize,
) -> rusqlite::Result<Rows<'s>> {
    statement.query(params![
        query.source,
        query.name,
        query.since.map(Timestamp::as_millisecond),
        query.until.map(Timestamp::as_millisecond),
        part.after,
        part.before,
        row_limit(limit),
        query.destination,
        query.subject,
    ])
}

/// Whether the events in the state of the query are few and in an index: then there is nothing to look through.
pub(crate) fn is_few(connection: &Connection, query: &EventQuery) -> rusqlite::Result<bool> {
    let Some(state) = query.state else { return Ok(false) };
    let to_one = query.destination.is_some();
    let mut left = FEW_MAX;
    let looked_at = looked_at(state, to_one);
    for places in &looked_at {
        let places = places.replace("?8", "?2");
        let count: usize = connection
            .prepare_cached(&format!("SELECT count(*) FROM ({places} LIMIT ?1) WHERE ?2 IS ?2"))?
            .query_row(params![row_limit(left + 1), query.destination], |row| row.get(0))?;
        if count > left {
            return Ok(false);
        }
        left -= count;
    }
    Ok(!looked_at.is_empty())
}

/// The places of the events in a state, as far as an index has them.
fn places(state: State, to_one: bool) -> Vec<String> {
    let of_state = format!(" AND state = '{state}'");
    looked_at(state, to_one)
        .into_iter()
        .map(|places| if places.contains(DUE) { places + &of_state } else { places })
        .collect()
}

/// What is read of the indexes to find the events in a state; nothing if no index has them.
fn looked_at(state: State, to_one: bool) -> Vec<String> {
    let to = if to_one { " AND destination = ?8" } else { "" };
    let unfinished = format!(
        "SELECT event FROM delivery INDEXED BY delivery_unfinished WHERE state IN ('running', 'dead') \
         AND replaced_by IS NULL AND state = '{state}'{to}"
    );
    let due = format!("{DUE}{to}");
    let held = format!("SELECT event FROM delivery WHERE key_role = 'held'{to}");
    match (state, to_one) {
        (State::Running, _) | (State::Dead, true) => vec![unfinished],
        (State::Dead, false) => vec![unfinished, NEVER_DELIVERED.into()],
        (State::Retrying, _) => vec![due],
        (State::Pending, true) => vec![due, held],
        (State::Pending, false) => vec![due, held, UNROUTED.into()],
        (State::Delivered | State::Skipped | State::Cancelled | State::Superseded, _) => Vec::new(),
    }
}

/// Whether an event is in a state.
fn in_state(state: State, to_one: bool) -> String {
    let to = if to_one { " AND destination = ?8" } else { " AND ?8 IS NULL" };
    let replaced = if state == State::Dead { " AND replaced_by IS NULL" } else { "" };
    let delivery = format!(
        "EXISTS (SELECT 1 FROM delivery WHERE delivery.event = seq AND state = '{state}'{replaced}{to})"
    );
    match (state, to_one) {
        (State::Pending, false) => {
            format!("({delivery} OR seq > (SELECT routed_through FROM progress))")
        }
        (State::Dead, false) => format!("({delivery} OR seq IN ({NEVER_DELIVERED}))"),
        (State::Skipped, false) => format!(
            "({delivery} OR (seq <= (SELECT routed_through FROM progress) \
             AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.event = seq) \
             AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.event = seq)))"
        ),
        _ => delivery,
    }
}

/// A text, or the beginning of one with a star behind it.
fn glob(column: &str, parameter: u8) -> String {
    format!(
        "(?{parameter} IS NULL OR {column} = ?{parameter} OR (?{parameter} LIKE '%*' \
         AND substr({column}, 1, length(?{parameter}) - 1) \
         = substr(?{parameter}, 1, length(?{parameter}) - 1)))"
    )
}

const DUE: &str = "SELECT event FROM delivery INDEXED BY delivery_due WHERE due_at_ms IS NOT NULL";
/// What is damaged and has no delivery, because it will never get one.
const NEVER_DELIVERED: &str = "SELECT event FROM damaged \
                               WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.event = damaged.event)";
const UNROUTED: &str = "SELECT seq FROM event WHERE seq > (SELECT routed_through FROM progress)";
/// Events in a state that are looked up by an index; if there are more, a listing finds them soon among all.
const FEW_MAX: usize = 10_000;
