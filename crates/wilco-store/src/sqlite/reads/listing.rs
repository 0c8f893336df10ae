//! Listings of events, and the search for the last one of a source.

mod changes;
mod counts;
mod filter;
mod matches;
mod summary;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio::time::Instant;
use wilco::EventId;

use super::{
    super::{Limits, id_at, instant, row_limit, seq_at, seq_of},
    deliveries, delivery_of, title,
};
use crate::{
    EventQuery, EventSummary, LISTING_BYTES_MAX, SCANNED_BYTES_MAX, StoreError, search::SearchText,
};
pub(crate) use changes::{changes, newest_position, position_before};
pub(crate) use counts::counts;
pub(crate) use filter::{bind, conditions, is_few};
pub(crate) use matches::{Scan, each_match};
pub(crate) use summary::{LISTED, PAYLOAD_STATE, head, summary};

/// A part of the events, which a listing looks through one part after another: those behind `after`
/// and before `before`.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    after: i64,
    before: i64,
    /// How many events of it are looked through next: few at first, because most listings end there.
    events: usize,
    events_max: usize,
}

/// How much a listing may still do.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    /// Events that are still wanted.
    pub(crate) wanted: usize,
    /// Bytes of what is listed.
    listed_bytes: usize,
    /// Events that are looked through, whether or not they match.
    scanned_events: usize,
    /// Bodies that are searched.
    bodies: BodyBudget,
}

/// How much of bodies a search may still read.
#[derive(Clone, Copy)]
pub(crate) struct BodyBudget {
    bytes: usize,
    /// Of these, those that are read however long it takes.
    bytes_min: usize,
    ends_at: Instant,
}

impl BodyBudget {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            bytes: SCANNED_BYTES_MAX,
            bytes_min: limits.search_bytes_min,
            ends_at: Instant::now() + limits.search_time,
        }
    }

    fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.bytes_min = self.bytes_min.saturating_sub(bytes);
    }

    fn is_spent(&self) -> bool {
        self.bytes == 0 || (self.bytes_min == 0 && Instant::now() >= self.ends_at)
    }
}

impl Part {
    /// All that a query can find.
    pub(crate) fn all(query: &EventQuery, limits: Limits) -> Self {
        // The place of an event is never behind its time.
        let since = query.since.map_or(0, |since| seq_at(since).saturating_sub(1));
        let ids = query.search.as_deref().and_then(|text| SearchText::new(text).ids());
        let (first, last) = ids.unwrap_or((EventId::from_bits(0), EventId::from_bits(u128::MAX)));
        Self {
            after: query.after.map_or(0, seq_of).max(since).max(seq_of(first).saturating_sub(1)),
            before: query.before.map_or(i64::MAX, seq_of).min(seq_of(last).saturating_add(1)),
            events: limits.listing_events_first,
            events_max: limits.listing_events_max,
        }
    }

    /// Where it begins, in the order of the query.
    pub(crate) fn begin(&self, query: &EventQuery) -> EventId {
        id_at(if query.after.is_some() { self.after } else { self.before })
    }

    /// What follows behind this place, in the order of the query.
    fn behind(self, seq: i64, query: &EventQuery) -> Self {
        match query.after {
            Some(_) => Self { after: seq, ..self },
            None => Self { before: seq, ..self },
        }
    }
}

impl Budget {
    pub(crate) fn new(query: &EventQuery, limits: Limits) -> Self {
        Self {
            wanted: query.limit,
            listed_bytes: LISTING_BYTES_MAX,
            scanned_events: limits.listing_scanned_max,
            bodies: BodyBudget::new(limits),
        }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.wanted == 0
            || self.listed_bytes == 0
            || self.scanned_events == 0
            || self.bodies.is_spent()
    }
}

/// The events of the next part that match, as far as the budget goes, and what is left to look through. A listing is
/// read in such parts, each a transaction of its own: a filter that few events meet looks at many of
/// them, and a reader that takes long keeps the log from being emptied.
pub(crate) fn events(
    connection: &Connection,
    query: &EventQuery,
    budget: &mut Budget,
    all: Part,
) -> Result<(Vec<EventSummary>, Option<Part>), StoreError> {
    let is_few = is_few(connection, query)?;
    let (part, rest) = match is_few {
        true => (all, None),
        false => {
            cut(connection, query, Part { events: all.events.min(budget.scanned_events), ..all })?
        }
    };
    let mut events = Vec::new();
    let take = |row: &Row<'_>, budget: &mut Budget| {
        let seq = row.get(0)?;
        if let Some(mut summary) = one(connection, seq)? {
            summary.deliveries = deliveries(connection, seq)?;
            summary.title = title(connection, seq)?;
            budget.listed_bytes = budget.listed_bytes.saturating_sub(summary.listed_bytes());
            budget.wanted -= 1;
            events.push(summary);
        }
        Ok(())
    };
    let scan = Scan { query, part, is_few, columns: "" };
    let ended_at = each_match(connection, scan, budget, take)?;
    if !is_few {
        budget.scanned_events = budget.scanned_events.saturating_sub(all.events);
    }
    Ok((events, ended_at.map_or(rest, |seq| Some(all.behind(seq, query)))))
}

/// One event, without its deliveries.
pub(super) fn one(connection: &Connection, seq: i64) -> rusqlite::Result<Option<EventSummary>> {
    connection
        .prepare_cached(&format!(
            "SELECT seq, {LISTED}, seq <= (SELECT routed_through FROM progress) AS is_routed, \
             EXISTS (SELECT 1 FROM damaged WHERE damaged.event = seq) AS is_damaged, {PAYLOAD_STATE} \
             FROM event WHERE seq = ?1"
        ))?
        .query_row([seq], summary)
        .optional()
}

/// Cuts off the first events of a part, in the order of the query.
fn cut(
    connection: &Connection,
    query: &EventQuery,
    part: Part,
) -> rusqlite::Result<(Part, Option<Part>)> {
    let (last, order) = if query.after.is_some() { ("max", "ASC") } else { ("min", "DESC") };
    let (last, count): (Option<i64>, usize) = connection
        .prepare_cached(&format!(
            "SELECT {last}(seq), count(*) FROM (SELECT seq FROM event WHERE seq > ?1 AND seq < ?2 \
             ORDER BY seq {order} LIMIT ?3)"
        ))?
        .query_row(params![part.after, part.before, row_limit(part.events)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let rest = Part { events: (part.events * 8).min(part.events_max), ..part };
    Ok(match last {
        Some(last) if count == part.events && query.after.is_some() => {
            (Part { before: last + 1, ..part }, Some(Part { after: last, ..rest }))
        }
        Some(last) if count == part.events => {
            (Part { after: last - 1, ..part }, Some(Part { before: last, ..rest }))
        }
        Some(_) | None => (part, None),
    })
}

/// Looks through a part of the events, from the newest backwards, and gives the part behind it: the one
/// that is looked for is mostly near, but a source that has been silent for days is looked for among
/// all events of the others.
pub(crate) fn last_received(
    connection: &Connection,
    source: &str,
    since: Timestamp,
    until: Timestamp,
    part: Part,
) -> Result<(Option<Timestamp>, Option<Part>), StoreError> {
    let (part, rest) = cut(connection, &EventQuery::default(), part)?;
    let received_at_ms = connection
        .prepare_cached(
            // The id of an event is never behind its time, and ahead of it where the clock was set
            // back.
            "SELECT received_at_ms FROM event WHERE source = ?1 AND seq > ?2 AND seq < ?3 \
             AND received_at_ms BETWEEN ?4 AND ?5 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(
            params![
                source,
                part.after,
                part.before,
                since.as_millisecond(),
                until.as_millisecond()
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok((received_at_ms.map(instant).transpose()?, rest))
}

#[cfg(test)]
mod tests {
    use super::{matches::statement, *};
    use crate::State;

    /// How SQLite reads a listing, in an empty store: one line for each step.
    fn plan(query: &EventQuery, is_few: bool) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../schema.sql")).unwrap();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {}", statement(query, is_few, "")))
            .unwrap();
        let nothing = [None::<i64>; 9];
        let steps = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3));
        let steps: Vec<String> = steps.unwrap().map(Result::unwrap).collect();
        steps.join("\n")
    }

    #[test]
    fn a_listing_reads_only_its_part_of_the_events() {
        let any = EventQuery::default();
        let to_one = EventQuery { destination: Some("crm".into()), ..any.clone() };
        let onwards = EventQuery { after: Some(EventId::from_bits(0)), ..any.clone() };
        for query in [any, to_one, onwards] {
            let plan = plan(&query, false);
            let first = plan.lines().next().unwrap();
            assert!(first.contains("(rowid>? AND rowid<?)"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn dead_letters_are_found_by_their_index_and_not_among_all_events() {
        for destination in [None, Some("crm".to_owned())] {
            let query =
                EventQuery { state: Some(State::Dead), destination, ..EventQuery::default() };
            let plan = plan(&query, true);
            assert!(plan.starts_with("SEARCH event USING INTEGER PRIMARY KEY (rowid=?)"), "{plan}");
            assert!(plan.contains("USING COVERING INDEX delivery_unfinished"), "{plan}");
        }
    }

    #[test]
    fn a_time_limits_how_many_events_are_searched() {
        let since = Timestamp::from_second(1_772_366_400).unwrap();
        let bounded = Part::all(
            &EventQuery { since: Some(since), ..EventQuery::default() },
            Limits::default(),
        );
        assert_eq!(bounded.after, seq_at(since) - 1);
        let all = Part::all(&EventQuery::default(), Limits::default());
        assert_eq!((all.after, all.before), (0, i64::MAX));
    }
}
