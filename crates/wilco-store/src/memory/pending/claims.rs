//! Claiming deliveries for a time, and settling them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::Pending;
use crate::{
    Attempt, Breaker, CLAIM_BYTES_MAX, Claim, Delivery, Outcome, Settled, State,
    memory::{DeliveryRow, Destination, Record, in_micros},
    rules::{self, Settlement, later, latest_due, lease_end, whole_millis, within_bytes},
};

impl Pending {
    /// Makes the deliveries of a destination due whose leases have ended.
    pub(in crate::memory) fn end_leases(
        &mut self,
        destination: &str,
        now: Timestamp,
        elapsed: Duration,
    ) {
        let Record { rows, last_change, .. } = &mut self.record;
        for DeliveryRow { delivery, lease_ends, changed, .. } in rows {
            if delivery.destination == destination
                && delivery.state == State::Running
                && *lease_ends <= elapsed
            {
                delivery.state = State::Retrying;
                delivery.due_at = Some(now);
                delivery.last_error = Some(rules::LEASE_ENDED.into());
                *last_change += 1;
                *changed = *last_change;
            }
        }
    }

    pub(in crate::memory) fn renew(&mut self, claims: &[Claim], elapsed: Duration) -> Vec<i64> {
        let mut stale = Vec::new();
        for claim in claims {
            match self.record.rows.iter_mut().find(|row| row.is_claimed_by(claim)) {
                Some(row) => row.lease_ends = lease_end(elapsed, claim.lease),
                None => stale.push(claim.delivery),
            }
        }
        stale
    }

    pub(in crate::memory) fn claim(
        &mut self,
        destination: &str,
        limit: usize,
        now: Timestamp,
        longest_wait: Duration,
        lease: Duration,
        elapsed: Duration,
    ) -> Vec<Claim> {
        if self.record.is_paused(destination) {
            return Vec::new();
        }
        let latest = latest_due(now, longest_wait);
        let mut due = Vec::new();
        for row in &mut self.record.rows {
            let is_here = row.delivery.destination == destination;
            let Some(due_at) = row.delivery.due_at.as_mut().filter(|_| is_here) else { continue };
            *due_at = latest.min(*due_at);
            if *due_at <= now {
                due.push(row);
            }
        }
        due.sort_by_key(|row| (row.delivery.due_at, row.delivery.id));
        let bytes = due.iter().map(|row| row.event.body.bytes_in_memory());
        let count = within_bytes(bytes, CLAIM_BYTES_MAX);
        due.truncate(count.min(limit));
        due.into_iter()
            .map(
                |DeliveryRow {
                     event, delivery, waited, needs_reevaluation, lease_ends, ..
                 }| {
                    *lease_ends = lease_end(elapsed, lease);
                    delivery.state = State::Running;
                    delivery.due_at = None;
                    delivery.attempts += 1;
                    Claim {
                        delivery: delivery.id,
                        destination: destination.into(),
                        attempt: delivery.attempts,
                        waited: *waited,
                        needs_reevaluation: *needs_reevaluation,
                        lease,
                        event: Arc::clone(event),
                    }
                },
            )
            .collect()
    }

    pub(in crate::memory) fn settle(
        &mut self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
        now: Timestamp,
    ) -> Settled {
        let Some(place) = self.record.rows.iter().position(|row| row.is_claimed_by(claim)) else {
            return Settled::Stale;
        };
        if let Some(breaker) = breaker {
            self.set_breaker(&claim.destination, breaker, now);
        }
        let changed = self.record.next_change();
        let row = &mut self.record.rows[place];
        row.changed = changed;
        let delivery = &mut row.delivery;
        let Settlement { state, due_at, waited, error, leaves_key } =
            rules::settle(outcome, attempt, claim.waited, now);
        (delivery.state, delivery.due_at, row.waited) = (state, due_at, waited);
        delivery.last_error = error.map(Into::into);
        row.holds_key = state == State::Dead && !leaves_key && delivery.order_key.is_some();
        delivery.history.push(Attempt {
            started_at: whole_millis(attempt.started_at),
            took: in_micros(attempt.took),
            ..attempt.clone()
        });
        if delivery.due_at.is_some() {
            self.to_wake.insert(delivery.destination.clone());
        } else if !row.holds_key {
            self.promote(place, now);
        }
        Settled::Written
    }

    fn set_breaker(&mut self, destination: &str, breaker: Breaker, now: Timestamp) {
        let stored = self.record.destinations.entry(destination.into()).or_default();
        let Breaker { failures, open_for, revision } = breaker;
        if stored.revision <= revision {
            let open_until = open_for.map(|wait| whole_millis(later(now, wait)));
            *stored = Destination { failures, open_until, revision, ..*stored };
        }
    }
}

impl DeliveryRow {
    fn is_claimed_by(&self, claim: &Claim) -> bool {
        let Delivery { id, state, attempts, .. } = self.delivery;
        id == claim.delivery && state == State::Running && attempts == claim.attempt
    }
}
