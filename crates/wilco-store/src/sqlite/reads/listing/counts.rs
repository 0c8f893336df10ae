//! How many events match a query, by the state of their deliveries.

use rusqlite::{Connection, Row};

use super::{Budget, Part, Searched, bind, conditions, cut, is_few};
use crate::{COUNTED_EVENTS_MAX, EventCounts, EventQuery, SCANNED_BYTES_MAX, State, StoreError};

/// Counts the events that match a query, whatever its state and its place. States that an index has are counted
/// exactly while they are few, and the others among the newest events.
pub(crate) fn counts(
    connection: &Connection,
    query: &EventQuery,
    part: Part,
) -> Result<EventCounts, StoreError> {
    let mut counts = EventCounts::default();
    let mut exact = Vec::new();
    for state in State::ALL {
        let query = EventQuery { state: Some(state), ..query.clone() };
        if is_few(connection, &query)? {
            let mut count = 0;
            let is_all = each(connection, &query, part, true, |_, _| count += 1)?;
            exact.push((state, count, !is_all));
        }
    }
    let query = EventQuery { state: None, ..query.clone() };
    let (part, rest) = cut(connection, &query, Part { events: COUNTED_EVENTS_MAX, ..part })?;
    let is_all = each(connection, &query, part, false, |states, _| {
        counts.all.events += 1;
        for state in State::ALL.into_iter().filter(|&state| states & bit(state) != 0) {
            counts.of_mut(state).events += 1;
        }
    })?;
    let is_at_least = rest.is_some() || !is_all;
    counts.all.is_at_least = is_at_least;
    for state in State::ALL {
        counts.of_mut(state).is_at_least = is_at_least;
    }
    for (state, events, is_at_least) in exact {
        *counts.of_mut(state) = crate::EventCount { events, is_at_least };
    }
    Ok(counts)
}

/// Calls `take` with the states of each event. False if the search looked through as much as it may.
fn each(
    connection: &Connection,
    query: &EventQuery,
    part: Part,
    is_few: bool,
    mut take: impl FnMut(u16, i64),
) -> Result<bool, StoreError> {
    let conditions = conditions(query, is_few);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT seq, id, name, subject, bytes, {MASK} AS states, \
         seq <= (SELECT routed_through FROM progress) AS is_routed, \
         EXISTS (SELECT 1 FROM damaged WHERE damaged.event = seq) AS is_damaged \
         FROM event WHERE {conditions} ORDER BY seq DESC LIMIT ?7"
    ))?;
    let mut rows = bind(&mut statement, query, part, usize::MAX)?;
    let mut searched = Searched::new(query);
    let mut budget = Budget { body_bytes: SCANNED_BYTES_MAX, ..Budget::default() };
    while let Some(row) = rows.next()? {
        if searched.is_match(connection, row, &mut budget)? {
            take(states(row)?, row.get("seq")?);
        }
        if budget.body_bytes == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The states that an event is in, a bit for each.
fn states(row: &Row<'_>) -> rusqlite::Result<u16> {
    let (is_routed, is_damaged): (bool, bool) = (row.get("is_routed")?, row.get("is_damaged")?);
    Ok(match row.get::<_, Option<u16>>("states")? {
        Some(states) => states,
        None if is_damaged => bit(State::Dead),
        None if is_routed => bit(State::Skipped),
        None => bit(State::Pending),
    })
}

fn bit(state: State) -> u16 {
    1 << state.index()
}

/// The states of the deliveries of an event, those that are no longer dead because they were replayed left out;
/// NULL if it has none.
const MASK: &str = "(SELECT max(state = 'pending') + 2 * max(state = 'running') \
                    + 4 * max(state = 'delivered') + 8 * max(state = 'retrying') \
                    + 16 * max(state = 'dead' AND replaced_by IS NULL) + 32 * max(state = 'skipped') \
                    + 64 * max(state = 'cancelled') + 128 * max(state = 'superseded') FROM delivery \
                    WHERE delivery.event = seq AND (?8 IS NULL OR destination = ?8))";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_the_statement_are_those_of_the_states() {
        for state in State::ALL {
            let bit = bit(state);
            let factor = if bit == 1 { "(SELECT".into() } else { format!("{bit} *") };
            let term = format!("{factor} max(state = '{state}'");
            assert!(MASK.contains(&term), "{term}");
        }
    }
}
