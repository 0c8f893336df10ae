//! What was recorded and changed behind a position.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{super::super::id_of, deliveries, delivery_of, one, row_limit, seq_at, title};
use crate::{
    Change, ChangeKind, ChangeQuery, Changes, DeliveryChange, Position, StoreError,
    changes::CHANGES_BYTES_MAX,
};

/// Reads changes in one transaction, so that none is committed behind one that was read.
pub(crate) fn changes(connection: &Connection, query: &ChangeQuery) -> Result<Changes, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let connection = &*transaction;
    let candidates = candidates(connection, query)?;
    let mut changes = Changes {
        items: Vec::new(),
        through: query.after,
        has_more: candidates.len() == query.limit,
    };
    let mut bytes = 0;
    for (number, delivery) in candidates {
        changes.through = Position(number);
        let change = match delivery {
            None => event(connection, number, query)?,
            Some(id) => delivery_change(connection, id, query)?,
        };
        let Some(change) = change else { continue };
        bytes += change.listed_bytes();
        changes.items.push((changes.through, change));
        if bytes >= CHANGES_BYTES_MAX {
            changes.has_more = true;
            break;
        }
    }
    Ok(changes)
}

/// The newest position.
pub(crate) fn newest_position(connection: &Connection) -> Result<Position, StoreError> {
    let newest = connection
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(seq) FROM event), 0), \
             coalesce((SELECT max(changed) FROM delivery), 0))",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(Position(newest))
}

/// The position behind which all events are that were received at this time or later.
pub(crate) fn position_before(time: Timestamp) -> Position {
    // The place of an event is never behind its time.
    Position(seq_at(time).saturating_sub(1).max(0))
}

/// The numbers of the next changes; of deliveries with their ids.
fn candidates(
    connection: &Connection,
    query: &ChangeQuery,
) -> rusqlite::Result<Vec<(i64, Option<i64>)>> {
    let end = first_unrouted(connection)?.unwrap_or(i64::MAX);
    let parts = [(ChangeKind::Event, EVENTS), (ChangeKind::Delivery, DELIVERIES)];
    let parts: Vec<_> =
        parts.into_iter().filter(|(kind, _)| query.is_about(*kind)).map(|(_, sql)| sql).collect();
    connection
        .prepare_cached(&format!("{} ORDER BY 1 LIMIT ?3", parts.join(" UNION ALL ")))?
        .query_map(params![query.after.0, end, row_limit(query.limit)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}

/// Nothing behind an event is read before that is routed: it would be passed over, or its deliveries were
/// not known. One that is damaged or erased is never routed by itself, and holds up nothing.
fn first_unrouted(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT seq FROM event WHERE seq > (SELECT routed_through FROM progress) \
             AND NOT EXISTS (SELECT 1 FROM damaged WHERE damaged.event = seq) \
             AND NOT EXISTS (SELECT 1 FROM erased WHERE erased.event = seq) ORDER BY seq LIMIT 1",
        )?
        .query_row([], |row| row.get(0))
        .optional()
}

fn event(
    connection: &Connection,
    seq: i64,
    query: &ChangeQuery,
) -> rusqlite::Result<Option<Change>> {
    let found = one(connection, seq)?;
    let Some(mut event) = found.filter(|found| query.wants(found.source.as_str(), &found.name))
    else {
        return Ok(None);
    };
    event.deliveries = deliveries(connection, seq)?;
    if !query.wants_any(&event.deliveries) {
        return Ok(None);
    }
    event.title = title(connection, seq)?;
    Ok(Some(Change::Event(Box::new(event))))
}

fn delivery_change(
    connection: &Connection,
    id: i64,
    query: &ChangeQuery,
) -> rusqlite::Result<Option<Change>> {
    let changed = |row: &Row<'_>| {
        Ok(DeliveryChange {
            event_id: id_of(&row.get::<_, String>("event_id")?)?,
            source: row.get("source")?,
            name: row.get("name")?,
            delivery: delivery_of(row)?,
        })
    };
    let found = connection
        .prepare_cached(
            "SELECT delivery.id, destination, state, attempts, due_at_ms, last_error, order_key, \
             reason, (SELECT id FROM event WHERE seq = replaced_by), item, event.id AS event_id, \
             source, name FROM delivery JOIN event ON event.seq = delivery.event \
             WHERE delivery.id = ?1",
        )?
        .query_row([id], changed)
        .optional()?;
    let wanted = found
        .filter(|found| query.wants(&found.source, &found.name) && query.wants_at(&found.delivery));
    Ok(wanted.map(|found| Change::Delivery(Box::new(found))))
}

const EVENTS: &str = "SELECT seq, NULL FROM event WHERE seq > ?1 AND seq < ?2";
const DELIVERIES: &str = "SELECT changed, id FROM delivery WHERE changed > ?1 AND changed < ?2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_changes_are_found_by_their_numbers_and_are_not_sorted() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../schema.sql")).unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {EVENTS} UNION ALL {DELIVERIES} ORDER BY 1 LIMIT ?3");
        let mut statement = connection.prepare(&sql).unwrap();
        let steps = statement.query_map([1, 2, 3], |row| row.get(3)).unwrap();
        let plan = steps.map(Result::unwrap).collect::<Vec<String>>().join("\n");
        assert!(plan.contains("event USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{plan}");
        let index = "delivery USING COVERING INDEX delivery_changed (changed>? AND changed<?)";
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
