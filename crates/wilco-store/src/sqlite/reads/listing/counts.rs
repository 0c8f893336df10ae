//! How many events match a query, by the state of their deliveries.

use rusqlite::{Connection, Row};

use super::{BodyBudget, Budget, Limits, Part, Scan, cut, each_match, is_few};
use crate::{COUNTED_EVENTS_MAX, EventCount, EventCounts, EventQuery, State, StoreError};

/// Counts the events that match a query, whatever its state and its place. States that an index has are counted
/// exactly while they are few, and the others among the newest events.
pub(crate) fn counts(
    connection: &Connection,
    query: &EventQuery,
    part: Part,
    limits: Limits,
) -> Result<EventCounts, StoreError> {
    let mut counts = EventCounts::default();
    let bodies = BodyBudget::new(limits);
    let (mut exact, mut budget) = (Vec::new(), counting_budget(bodies));
    for state in State::ALL {
        let query = EventQuery { state: Some(state), ..query.clone() };
        if is_few(connection, &query)? {
            let mut events = 0;
            let scan = Scan { query: &query, part, is_few: true, columns: "" };
            let ended_at = each_match(connection, scan, &mut budget, |_, _| {
                events += 1;
                Ok(())
            })?;
            exact.push((state, EventCount { events, is_at_least: ended_at.is_some() }));
        }
    }
    let query = EventQuery { state: None, ..query.clone() };
    let (part, rest) = cut(connection, &query, Part { events: COUNTED_EVENTS_MAX, ..part })?;
    let scan = Scan { query: &query, part, is_few: false, columns: STATES };
    let ended_at = each_match(connection, scan, &mut counting_budget(bodies), |row, _| {
        counts.all.events += 1;
        let states = states(row)?;
        for state in State::ALL.into_iter().filter(|&state| states & bit(state) != 0) {
            counts.of_mut(state).events += 1;
        }
        Ok(())
    })?;
    let is_at_least = rest.is_some() || ended_at.is_some();
    counts.all.is_at_least = is_at_least;
    for state in State::ALL {
        counts.of_mut(state).is_at_least = is_at_least;
    }
    for (state, count) in exact {
        *counts.of_mut(state) = count;
    }
    Ok(counts)
}

/// Only what a search reads is limited: the events are few, or a part of all.
fn counting_budget(bodies: BodyBudget) -> Budget {
    let unlimited = usize::MAX;
    Budget { wanted: unlimited, listed_bytes: unlimited, scanned_events: unlimited, bodies }
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

/// The columns of [`states`]: the states of the deliveries of an event, those that are no longer dead because they were
/// replayed left out; NULL if it has none.
const STATES: &str = ", (SELECT max(state = 'pending') + 2 * max(state = 'running') \
                    + 4 * max(state = 'delivered') + 8 * max(state = 'retrying') \
                    + 16 * max(state = 'dead' AND replaced_by IS NULL) + 32 * max(state = 'skipped') \
                    + 64 * max(state = 'cancelled') + 128 * max(state = 'superseded') FROM delivery \
                    WHERE delivery.event = seq AND (?8 IS NULL OR destination = ?8)) AS states, \
                    seq <= (SELECT routed_through FROM progress) AS is_routed, \
                    EXISTS (SELECT 1 FROM damaged WHERE damaged.event = seq) AS is_damaged";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_the_statement_are_those_of_the_states() {
        for state in State::ALL {
            let bit = bit(state);
            let factor = if bit == 1 { "(SELECT".into() } else { format!("{bit} *") };
            let term = format!("{factor} max(state = '{state}'");
            assert!(STATES.contains(&term), "{term}");
        }
    }
}
