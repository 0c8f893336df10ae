//! What was recorded and changed, in order.

use jiff::Timestamp;

use super::Record;
use crate::{
    Change, ChangeKind, ChangeQuery, Changes, Delivery, DeliveryChange, PayloadState, Position,
    rules::whole_millis,
};

impl Record {
    pub(super) fn next_change(&mut self) -> i64 {
        self.last_change += 1;
        self.last_change
    }

    pub(super) fn changes(&self, query: &ChangeQuery) -> Changes {
        let mut whole = self.events.iter().filter(|kept| kept.payload == PayloadState::Kept);
        let unrouted = whole.find(|kept| !self.is_routed(kept.event.id));
        let end = unrouted.map_or(i64::MAX, |kept| kept.number);
        let events = self.events.iter().filter(|_| query.is_about(ChangeKind::Event));
        let events = events.map(|kept| {
            let summary = self.summary(kept);
            let is_wanted = query.wants(summary.source.as_str(), &summary.name)
                && query.wants_any(&summary.deliveries);
            (kept.number, is_wanted, Change::Event(Box::new(summary)))
        });
        let rows = self.rows.iter().filter(|_| query.is_about(ChangeKind::Delivery));
        let rows = rows.map(|row| {
            let change = DeliveryChange {
                event_id: row.event.id,
                source: row.event.source.to_string(),
                name: row.event.name.clone(),
                delivery: Delivery { history: Vec::new(), ..row.delivery.clone() },
            };
            let is_wanted =
                query.wants(&change.source, &change.name) && query.wants_at(&change.delivery);
            (row.changed, is_wanted, Change::Delivery(Box::new(change)))
        });
        let is_behind = |number: i64| number > query.after.0 && number < end;
        let mut found: Vec<_> =
            events.chain(rows).filter(|(number, ..)| is_behind(*number)).collect();
        found.sort_by_key(|(number, ..)| *number);
        let has_more = found.len() >= query.limit;
        found.truncate(query.limit);
        let through = found.last().map_or(query.after, |(number, ..)| Position(*number));
        let wanted = found.into_iter().filter(|(_, is_wanted, _)| *is_wanted);
        let items = wanted.map(|(number, _, change)| (Position(number), change)).collect();
        Changes { items, through, has_more }
    }

    pub(super) fn position(&self, since: Option<Timestamp>) -> Position {
        let Some(since) = since.map(whole_millis) else { return Position(self.last_change) };
        let first = self.events.iter().find(|kept| kept.event.received_at >= since);
        Position(first.map_or(self.last_change, |kept| kept.number - 1))
    }
}
