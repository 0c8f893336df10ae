//! Recording events, those that a person accepts, and alerts.

use jiff::Timestamp;
use wilco::{Digest, Envelope, Event, Headers, Origin, Proof, SourceName};

use super::Pending;
use crate::{
    ALERTS, Accepted, Alert, Duplicates, PayloadState, Receipt, Target,
    erasure::event_ids,
    memory::Kept,
    rules::{self, Content, DuplicateDecision, Request, Surroundings, whole_millis},
};

impl Pending {
    pub(in crate::memory) fn record(
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

    pub(in crate::memory) fn accept(&mut self, accepted: Accepted) -> Option<Receipt> {
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
        let was_asked_for = envelope
            .delivery_id
            .as_ref()
            .is_some_and(|id| self.record.was_asked_for(proof.source().as_str(), id));
        let origin = match proof.origin() {
            Origin::Webhook if was_asked_for => Origin::Redelivered,
            origin => origin,
        };
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
            origin,
            item: None,
            headers: arrival.head.headers.clone(),
            body: arrival.body.clone(),
        };
        let receipt = Receipt { event_id: event.id, is_first: true };
        let number = self.record.next_change();
        let kept = Kept::new(event, number, envelope.delivery_id, is_accepted);
        self.record.events.push(kept);
        self.has_recorded = true;
        receipt
    }

    pub(in crate::memory) fn record_alert(&mut self, alert: Alert, now: Timestamp) -> bool {
        let last = self.record.alerts.get(&alert.key).copied();
        let named = event_ids(&alert.body);
        let is_erased =
            |kept: &Kept| kept.payload == PayloadState::Erased && named.contains(&kept.event.id);
        let is_about_erased = self.record.events.iter().any(is_erased);
        if is_about_erased || !rules::is_alert_due(last, alert.every, now) {
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
        let number = self.record.next_change();
        let kept = Kept::new(event, number, None, false);
        self.record.events.push(kept);
        self.has_recorded = true;
        self.deliver(event_id, &Target::to(alert.to), None, now);
        true
    }
}
