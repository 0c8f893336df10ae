//! Failed deliveries, and what people did about them.

use super::Record;
use crate::{
    AUDIT_ENTRIES_MAX, AuditEntry, Delivery, FailedEvents, FailureGroupQuery, FailureGroups,
    FailureQuery, State,
    failure::{Failure, Grouping, kind_of_error},
};

impl Record {
    pub(super) fn failure_groups(&self, query: &FailureGroupQuery) -> FailureGroups {
        let mut grouping = Grouping::default();
        for row in &self.rows {
            let delivery = &row.delivery;
            let is_dead = is_dead(delivery);
            let destination = query.destination.as_ref();
            let is_meant = destination.is_none_or(|name| delivery.destination == *name);
            if !is_meant || !(is_dead || delivery.state == State::Retrying) {
                continue;
            }
            grouping.add(&Failure {
                destination: &delivery.destination,
                error: delivery.last_error.as_deref().unwrap_or_default(),
                is_dead,
                event_id: row.event.id,
                failed_at: delivery
                    .history
                    .last()
                    .map_or(row.event.received_at, |attempt| attempt.started_at),
            });
        }
        grouping.finish(query)
    }

    pub(super) fn failed_events(&self, query: &FailureQuery) -> FailedEvents {
        let is_of_kind = |delivery: &Delivery| {
            let error = delivery.last_error.as_deref().unwrap_or_default();
            query.error.as_ref().is_none_or(|kind| kind_of_error(error) == *kind)
        };
        let rows = self.rows.iter().filter(|row| {
            let delivery = &row.delivery;
            delivery.destination == query.destination
                && is_dead(delivery)
                && is_of_kind(delivery)
                && query.after.is_none_or(|after| row.event.id > after)
        });
        let mut ids: Vec<_> = rows.map(|row| row.event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let has_more = ids.len() > query.limit;
        ids.truncate(query.limit);
        FailedEvents { rest: ids.last().copied().filter(|_| has_more), ids }
    }

    pub(super) fn audit(&mut self, entry: AuditEntry) {
        let number = self.audit.last().map_or(1, |last| last.number + 1);
        self.audit.push(AuditEntry { number, ..entry });
        let old = self.audit.len().saturating_sub(AUDIT_ENTRIES_MAX);
        self.audit.drain(..old);
    }
}

fn is_dead(delivery: &Delivery) -> bool {
    delivery.state == State::Dead && delivery.replaced_by.is_none()
}
