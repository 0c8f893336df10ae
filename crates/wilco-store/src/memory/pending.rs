//! What a write changes, before it is durable.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use wilco::{Digest, Envelope, Event, EventId, Headers, Origin, Proof, SourceName};

use super::{DeliveryRow, Destination, InBurst, Kept, Pending, in_micros};
use crate::{
    ALERTS, Accepted, Alert, Attempt, Breaker, Burst, CLAIM_BYTES_MAX, Claim, Delivery, Duplicates,
    Outcome, Receipt, Replay, Routed, Settled, State, Target,
    rules::{
        self, Content, DuplicateDecision, Joined, Request, Settlement, Surroundings, later,
        latest_due, lease_end, whole_millis, within_bytes,
    },
};

impl Pending {
    pub(super) fn record(
        &mut self,
        proof: &Proof,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Receipt {
        let request = Request {
            has_delivery_id: envelope.delivery_id.is_some(),
            content: Content::of(proof.digest(), &envelope.name),
            received_at: proof.arrival().received_at,
            origin: proof.origin(),
        };
        let earlier = self.record.earlier(proof, &envelope);
        let decision = duplicates.decide(request, earlier.as_ref());
        self.record_as(proof, envelope, decision, false)
    }

    pub(super) fn accept(&mut self, accepted: Accepted) -> Option<Receipt> {
        let Accepted { id, verified, envelope, duplicates } = accepted;
        let rejections = &mut self.record.rejections;
        let place = rejections.iter().position(|kept| kept.summary.id == id)?;
        rejections.remove(place);
        let proof = Proof::Signed(verified);
        let received_at = whole_millis(proof.arrival().received_at);
        let content = Content::of(proof.digest(), &envelope.name);
        let decision = if envelope.delivery_id.is_some() {
            let earlier = self.record.earlier(&proof, &envelope);
            let origin = proof.origin();
            let request = Request { has_delivery_id: true, content, received_at, origin };
            duplicates.decide(request, earlier.as_ref())
        } else {
            let mut around = Surroundings::of(received_at, content);
            let events = self.record.events.iter();
            events
                .filter(|kept| kept.could_be(&proof, &envelope))
                .for_each(|kept| around.add(kept.as_earlier()));
            duplicates.decide_among(&around)
        };
        Some(self.record_as(&proof, envelope, decision, true))
    }

    fn record_as(
        &mut self,
        proof: &Proof,
        envelope: Envelope,
        decision: DuplicateDecision,
        is_accepted: bool,
    ) -> Receipt {
        self.record.count_match(proof);
        if let DuplicateDecision::DuplicateOf(event_id) = decision {
            return Receipt { event_id, is_first: false };
        }
        let arrival = proof.arrival();
        let event = Event {
            id: self.record.next_id(arrival.received_at),
            source: proof.source().clone(),
            name: envelope.name,
            provider: envelope.provider,
            subject: envelope.subject,
            received_at: whole_millis(arrival.received_at),
            secret_name: proof.secret_name().into(),
            digest: proof.digest(),
            conflict: decision == DuplicateDecision::Conflict,
            origin: proof.origin(),
            item: None,
            headers: arrival.head.headers.clone(),
            body: arrival.body.clone(),
        };
        let receipt = Receipt { event_id: event.id, is_first: true };
        let kept = Kept { event: Arc::new(event), delivery_id: envelope.delivery_id, is_accepted };
        self.record.events.push(kept);
        self.has_recorded = true;
        receipt
    }

    pub(super) fn fan_out(&mut self, routed: &[Routed], now: Timestamp) {
        let before = self.record.routed_through;
        for Routed { event_id, targets } in routed {
            let event = self.find(*event_id).filter(|_| Some(*event_id) > before);
            for target in targets.iter().filter(|_| event.is_some()) {
                self.deliver(*event_id, target, None, now);
            }
        }
        let through = routed.iter().map(|routed| routed.event_id).max();
        self.record.routed_through = self.record.routed_through.max(through);
    }

    pub(super) fn replay(&mut self, replays: &[Replay], now: Timestamp) {
        for Replay { event_id, targets, reason } in replays {
            if self.find(*event_id).is_none() {
                continue;
            }
            for target in targets {
                self.replace_dead(*event_id, target, now);
                let target = Target { burst: None, ..target.clone() };
                self.deliver(*event_id, &target, Some(reason.clone()), now);
            }
        }
    }

    fn replace_dead(&mut self, event_id: EventId, target: &Target, now: Timestamp) {
        for place in 0..self.record.rows.len() {
            let row = &mut self.record.rows[place];
            let delivery = &mut row.delivery;
            if row.event.id == event_id
                && delivery.destination == target.destination
                && delivery.is_replaced_by(target.item.map(|item| item.number))
            {
                delivery.replaced_by = Some(event_id);
                let held = std::mem::take(&mut row.holds_key);
                if held && row.delivery.order_key != target.order_key {
                    self.promote(place, now);
                }
            }
        }
    }

    fn deliver(
        &mut self,
        event_id: EventId,
        target: &Target,
        reason: Option<String>,
        now: Timestamp,
    ) {
        let Some(event) = self.find(event_id) else { return };
        let part = target.item.and_then(|item| event.item(item)).map(Arc::new);
        let event = part.unwrap_or(event);
        let burst = target.burst.as_ref();
        let began = burst.and_then(|burst| self.supersede(event_id, target, burst, now));
        let has_head = self.record.rows.iter().any(|row| row.is_before(target));
        let Joined { burst: times, due_at, .. } = rules::join(target, began, has_head, now);
        let burst = burst.zip(times);
        let burst = burst.map(|(burst, times)| InBurst { key: burst.key.clone(), times });
        let delivery = Delivery {
            id: self.record.rows.last().map_or(1, |row| row.delivery.id + 1),
            destination: target.destination.clone(),
            item: target.item.map(|item| item.number),
            state: State::Pending,
            attempts: 0,
            due_at,
            order_key: target.order_key.clone(),
            reason,
            replaced_by: None,
            last_error: None,
            history: Vec::new(),
        };
        self.record.rows.push(DeliveryRow {
            event,
            delivery,
            waited: Duration::ZERO,
            needs_reevaluation: target.needs_reevaluation,
            lease_ends: Duration::ZERO,
            burst,
            holds_key: false,
        });
        self.to_wake.insert(target.destination.clone());
    }

    /// Ends the last of a burst in favour of another event, and says when the burst began.
    fn supersede(
        &mut self,
        event_id: EventId,
        target: &Target,
        burst: &Burst,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let place = self.record.rows.iter().position(|row| {
            row.delivery.destination == target.destination
                && row.delivery.state == State::Pending
                && row.burst.as_ref().is_some_and(|before| before.key == burst.key)
        })?;
        let row = &mut self.record.rows[place];
        let began = row.burst.as_ref().map(|burst| burst.times.began);
        row.delivery.replaced_by = Some(event_id);
        self.end(place, State::Superseded, now);
        began
    }

    /// Ends a delivery that waits.
    fn end(&mut self, place: usize, state: State, now: Timestamp) {
        let row = &mut self.record.rows[place];
        let was_held = row.delivery.state == State::Pending && row.delivery.due_at.is_none();
        row.delivery.state = state;
        row.delivery.due_at = None;
        row.holds_key = false;
        if !was_held {
            self.promote(place, now);
        }
    }

    /// Makes the first delivery due that is held behind an ended one.
    fn promote(&mut self, ended: usize, now: Timestamp) {
        let ended = self.record.rows[ended].delivery.clone();
        let next = self.record.rows.iter_mut().find(|row| {
            row.delivery.destination == ended.destination
                && row.delivery.order_key == ended.order_key
                && row.delivery.order_key.is_some()
                && row.delivery.state == State::Pending
                && row.delivery.due_at.is_none()
        });
        if let Some(next) = next {
            let over_at = next.burst.as_ref().map(|burst| burst.times.over_at);
            next.delivery.due_at = Some(rules::start_of(over_at, now));
            self.to_wake.insert(ended.destination);
        }
    }

    pub(super) fn cancel(
        &mut self,
        event_id: EventId,
        destination: Option<&str>,
        now: Timestamp,
    ) -> usize {
        let mut ended = 0;
        for place in 0..self.record.rows.len() {
            let row = &self.record.rows[place];
            let waits = matches!(row.delivery.state, State::Pending | State::Retrying);
            if row.event.id == event_id
                && destination.is_none_or(|name| row.delivery.destination == name)
                && (waits || row.holds_key)
            {
                self.end(place, State::Cancelled, now);
                ended += 1;
            }
        }
        ended
    }

    pub(super) fn release_keys(&mut self, destination: &str, now: Timestamp) {
        for place in 0..self.record.rows.len() {
            let row = &mut self.record.rows[place];
            if row.delivery.destination == destination && std::mem::take(&mut row.holds_key) {
                self.promote(place, now);
            }
        }
    }

    pub(super) fn record_alert(&mut self, alert: Alert, now: Timestamp) -> bool {
        let last = self.record.alerts.get(&alert.key).copied();
        if !rules::is_alert_due(last, alert.every, now) {
            return false;
        }
        self.record.alerts.insert(alert.key, now);
        let Ok(source) = SourceName::new(ALERTS) else { return false };
        let event = Event {
            id: self.record.next_id(now),
            source,
            name: alert.name,
            provider: ALERTS.into(),
            subject: None,
            received_at: now,
            secret_name: String::new(),
            digest: Digest::of(&alert.body),
            conflict: false,
            origin: Origin::Webhook,
            item: None,
            headers: Headers::from_pairs([("content-type", "application/json")]),
            body: alert.body.into(),
        };
        let event_id = event.id;
        let kept = Kept { event: Arc::new(event), delivery_id: None, is_accepted: false };
        self.record.events.push(kept);
        self.has_recorded = true;
        self.deliver(event_id, &Target::to(alert.to), None, now);
        true
    }

    fn find(&self, id: EventId) -> Option<Arc<Event>> {
        let events = self.record.events.iter().map(|kept| &kept.event);
        events.into_iter().find(|event| event.id == id).cloned()
    }

    /// Makes the deliveries of a destination due whose leases have ended.
    pub(super) fn end_leases(&mut self, destination: &str, now: Timestamp, elapsed: Duration) {
        for DeliveryRow { delivery, lease_ends, .. } in &mut self.record.rows {
            if delivery.destination == destination
                && delivery.state == State::Running
                && *lease_ends <= elapsed
            {
                delivery.state = State::Retrying;
                delivery.due_at = Some(now);
                delivery.last_error = Some(rules::LEASE_ENDED.into());
            }
        }
    }

    pub(super) fn renew(&mut self, claims: &[Claim], elapsed: Duration) -> Vec<i64> {
        let mut stale = Vec::new();
        for claim in claims {
            match self.record.rows.iter_mut().find(|row| row.is_claimed_by(claim)) {
                Some(row) => row.lease_ends = lease_end(elapsed, claim.lease),
                None => stale.push(claim.delivery),
            }
        }
        stale
    }

    pub(super) fn claim(
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
        let count = within_bytes(due.iter().map(|row| row.event.body.len()), CLAIM_BYTES_MAX);
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

    pub(super) fn settle(
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
        let row = &mut self.record.rows[place];
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

    /// Whether what is made for this target has to wait for it.
    fn is_before(&self, target: &Target) -> bool {
        let is_head = match self.delivery.state {
            State::Pending => self.delivery.due_at.is_some(),
            State::Running | State::Retrying => true,
            State::Dead => self.holds_key,
            State::Delivered | State::Skipped | State::Cancelled | State::Superseded => false,
        };
        let is_same = self.delivery.destination == target.destination
            && self.delivery.order_key == target.order_key;
        is_head && is_same && target.order_key.is_some()
    }
}
