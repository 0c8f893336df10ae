//! Listings of events, and the search for the last one of a source.

mod changes;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wilco::{Digest, Origin};

use super::{
    super::{
        Head, Limits, digest_of, id_at, id_of, instant, origin_of, row_limit, seq_at, seq_of,
        time_of,
    },
    deliveries, delivery_of, source_of, title, unknown_source,
};
use crate::{EventQuery, EventSummary, PayloadState, StoreError};
pub(crate) use changes::{changes, newest_position, position_before};

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

impl Part {
    /// All that a query can find.
    pub(crate) fn all(query: &EventQuery, limits: Limits) -> Self {
        // The place of an event is never behind its time.
        let since = query.since.map_or(0, |since| seq_at(since).saturating_sub(1));
        Self {
            after: query.after.map_or(0, seq_of).max(since),
            before: query.before.map_or(i64::MAX, seq_of),
            events: limits.listing_events_first,
            events_max: limits.listing_events_max,
        }
    }
}

/// Events in the next part, at most `limit`, and those that reach `bytes_max`, and the part behind that, if any is left. A listing is
/// read in such parts, each a transaction of its own: a filter that few events meet looks at all of
/// them, and a reader that takes long keeps the log from being emptied.
pub(crate) fn events(
    connection: &Connection,
    query: &EventQuery,
    (limit, bytes_max): (usize, usize),
    part: Part,
) -> Result<(Vec<EventSummary>, Option<Part>), StoreError> {
    let (part, rest) = if query.is_dead {
        // Looked up by the index of the dead, which are few: there is nothing to look through.
        (part, None)
    } else {
        cut(connection, query, part)?
    };
    let mut statement = connection.prepare_cached(&listing(query))?;
    let rows = statement.query_map(
        params![
            query.source,
            query.name,
            query.since.map(Timestamp::as_millisecond),
            query.until.map(Timestamp::as_millisecond),
            part.after,
            part.before,
            row_limit(limit),
            query.destination,
        ],
        |row| Ok((row.get::<_, i64>(0)?, summary(row)?)),
    )?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let (seq, mut summary) = row?;
        summary.deliveries = deliveries(connection, seq)?;
        summary.title = title(connection, seq)?;
        bytes += summary.listed_bytes();
        events.push(summary);
        if bytes >= bytes_max {
            break;
        }
    }
    Ok((events, rest))
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

fn listing(query: &EventQuery) -> String {
    let order = if query.after.is_some() { "ASC" } else { "DESC" };
    // SQLite does not choose an index for a condition with a plus in front.
    let (plus, deliveries) = match (query.is_dead, query.destination.is_some()) {
        (true, true) => ("+", DEAD_AT_ONE),
        (true, false) => ("+", DEAD),
        (false, true) => ("", AT_ONE),
        (false, false) => ("", "?8 IS NULL"),
    };
    format!(
        "SELECT seq, {LISTED}, seq <= (SELECT routed_through FROM progress) AS is_routed, \
         EXISTS (SELECT 1 FROM damaged WHERE damaged.event = seq) AS is_damaged, {PAYLOAD_STATE} FROM event \
         WHERE (?1 IS NULL OR source = ?1) AND (?2 IS NULL OR name = ?2 OR (?2 LIKE '%*' \
         AND substr(name, 1, length(?2) - 1) = substr(?2, 1, length(?2) - 1))) \
         AND (?3 IS NULL OR received_at_ms >= ?3) AND (?4 IS NULL OR received_at_ms < ?4) \
         AND {plus}seq > ?5 AND {plus}seq < ?6 AND {deliveries} ORDER BY {plus}seq {order} LIMIT ?7"
    )
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

fn summary(row: &Row<'_>) -> rusqlite::Result<EventSummary> {
    let seq: i64 = row.get("seq")?;
    let (is_routed, is_damaged) = (row.get("is_routed")?, row.get("is_damaged")?);
    // One damaged row must not hide all the others.
    let head = head(row).unwrap_or_default().unwrap_or_else(|| unreadable(row, seq));
    let payload = match row.get_ref("payload")?.as_str()? {
        "erased" => PayloadState::Erased,
        "pruned" => PayloadState::Pruned,
        _ => PayloadState::Kept,
    };
    Ok(EventSummary { is_routed, is_damaged: is_damaged || head.is_damaged, payload, ..head })
}

/// What a row says, unless that is not what was written.
pub(super) fn head(row: &Row<'_>) -> rusqlite::Result<Option<EventSummary>> {
    let delivery_id: Option<String> = row.get("delivery_id")?;
    let conflict = row.get("conflict")?;
    let provider: String = row.get("provider")?;
    let summary = EventSummary {
        id: id_of(&row.get::<_, String>("id")?)?,
        source: source_of(row)?,
        name: row.get("name")?,
        subject: row.get("subject")?,
        title: None,
        received_at: instant(row.get("received_at_ms")?)?,
        bytes: row.get("bytes")?,
        digest: digest_of(row, "digest")?,
        secret_name: row.get("secret_name")?,
        origin: origin_of(row, "origin")?,
        is_routed: false,
        is_conflict: conflict,
        is_damaged: false,
        payload: PayloadState::Kept,
        deliveries: Vec::new(),
    };
    let head = Head {
        source: summary.source.as_str(),
        provider: &provider,
        name: &summary.name,
        subject: summary.subject.as_deref(),
        delivery_id: delivery_id.as_deref(),
        received_at: summary.received_at,
        secret_name: &summary.secret_name,
        origin: summary.origin,
        digest: summary.digest,
        body_bytes: summary.bytes,
    };
    let checksum = head.checksum(summary.id, conflict);
    Ok((checksum == row.get::<_, u32>("head_checksum")?).then_some(summary))
}

/// A row that cannot be believed: what its place tells, the front of its id and its time, and the
/// source to find it by.
fn unreadable(row: &Row<'_>, seq: i64) -> EventSummary {
    let id = row.get::<_, String>("id").and_then(|text| id_of(&text)).ok();
    EventSummary {
        id: id.filter(|id| seq_of(*id) == seq).unwrap_or(id_at(seq)),
        source: source_of(row).unwrap_or_else(|_| unknown_source()),
        name: "damaged".into(),
        subject: None,
        title: None,
        received_at: time_of(seq),
        bytes: 0,
        digest: Digest([0; 32]),
        secret_name: String::new(),
        origin: Origin::Webhook,
        is_routed: false,
        is_conflict: false,
        is_damaged: true,
        payload: PayloadState::Kept,
        deliveries: Vec::new(),
    }
}

const PAYLOAD_STATE: &str = "CASE WHEN EXISTS (SELECT 1 FROM erased WHERE erased.event = seq) THEN 'erased' \
     WHEN seq <= (SELECT pruned_through FROM progress) \
     AND NOT EXISTS (SELECT 1 FROM payload WHERE payload.event = seq) THEN 'pruned' ELSE 'kept' END AS payload";
const LISTED: &str = "id, source, provider, name, subject, delivery_id, received_at_ms, secret_name, bytes, digest, \
                      conflict, origin, head_checksum";
/// Events with a dead delivery, for which the first two conditions are those of the index, and those
/// that are damaged and have none, because they will never get one.
const DEAD: &str = "?8 IS NULL AND seq IN (SELECT event FROM delivery INDEXED BY \
                    delivery_unfinished WHERE state IN ('running', 'dead') \
                    AND replaced_by IS NULL AND state = 'dead' UNION ALL SELECT event FROM damaged \
                    WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.event = damaged.event))";
const DEAD_AT_ONE: &str = "seq IN (SELECT event FROM delivery INDEXED BY delivery_unfinished \
                           WHERE state IN ('running', 'dead') AND replaced_by IS NULL \
                           AND state = 'dead' AND destination = ?8)";
const AT_ONE: &str =
    "EXISTS (SELECT 1 FROM delivery WHERE delivery.event = seq AND destination = ?8)";

#[cfg(test)]
mod tests {
    use wilco::EventId;

    use super::*;

    /// How SQLite reads a listing, in an empty store: one line for each step.
    fn plan(query: &EventQuery) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../schema.sql")).unwrap();
        let mut statement =
            connection.prepare(&format!("EXPLAIN QUERY PLAN {}", listing(query))).unwrap();
        let nothing = [None::<i64>; 8];
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
            let plan = plan(&query);
            let first = plan.lines().next().unwrap();
            assert!(first.contains("(rowid>? AND rowid<?)"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn dead_letters_are_found_by_their_index_and_not_among_all_events() {
        for destination in [None, Some("crm".to_owned())] {
            let query = EventQuery { is_dead: true, destination, ..EventQuery::default() };
            let plan = plan(&query);
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
