//! What is durable, and how it is looked at.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use wilco::{Body, Envelope, Event, EventId, Headers, Proof, RejectionId};

use super::{Destination, Kept, Record};
use crate::{
    Breaker, Delivery, DestinationStatus, EventCount, EventCounts, EventList, EventQuery,
    EventSummary, PayloadState, REJECTION_BYTES_MAX, REJECTIONS_MAX, ROUTING_BYTES_MAX, Rejection,
    RejectionDetail, RejectionQuery, RejectionSummary, State, query,
    rules::{Content, Earlier, wait_until, whole_millis, within_bytes},
    search::SearchText,
};

impl Record {
    /// The latest event that a request could be a copy of.
    pub(super) fn earlier(&self, proof: &Proof, envelope: &Envelope) -> Option<Earlier> {
        let events = || self.events.iter().filter(|kept| kept.could_be(proof, envelope));
        let copies = events().filter(|kept| kept.event.digest == proof.digest());
        let copy = latest(copies).filter(|_| envelope.delivery_id.is_some());
        copy.or_else(|| latest(events())).map(Kept::as_earlier)
    }

    /// From the clock, and always behind the last.
    pub(super) fn next_id(&self, received_at: Timestamp) -> EventId {
        let millis = u128::try_from(received_at.as_millisecond()).unwrap_or(0);
        let from_clock = EventId::from_bits(millis << CHOICE_BITS);
        let last = self.events.last().map(|kept| kept.event.id).max(self.last_id);
        let behind_last = last.map(|last| EventId::from_bits(last.to_bits() + 1));
        behind_last.map_or(from_clock, |behind_last| from_clock.max(behind_last))
    }

    /// Keeps a rejection, and the newest of the others.
    pub(super) fn reject(&mut self, rejection: Rejection) {
        let last = self.rejections.back().map_or(0, |kept| kept.summary.id.to_bits() + 1);
        let millis = u128::try_from(rejection.received_at.as_millisecond()).unwrap_or(0);
        let id = RejectionId::from_bits((millis << CHOICE_BITS).max(last));
        let rejection = Rejection { received_at: whole_millis(rejection.received_at), ..rejection };
        let Rejection { headers, body, .. } = rejection.clone();
        let kept = RejectionDetail { summary: rejection.summary(id), headers, body };
        self.rejections.push_back(Arc::new(kept));
        let bytes = |kept: &Arc<RejectionDetail>| kept.headers.as_bytes().len() + kept.body.len();
        let mut sum: u64 = self.rejections.iter().map(|kept| bytes(kept) as u64).sum();
        while self.rejections.len() as u64 > REJECTIONS_MAX || sum > REJECTION_BYTES_MAX {
            let Some(oldest) = self.rejections.pop_front() else { break };
            sum -= bytes(&oldest) as u64;
        }
    }

    pub(super) fn rejections(&self, query: &RejectionQuery) -> Vec<RejectionSummary> {
        let RejectionQuery { source, since, after, before, limit } = query;
        let summaries = self.rejections.iter().map(|kept| &kept.summary);
        let is_asked_for = |kept: &&RejectionSummary| {
            source.as_ref().is_none_or(|source| kept.source.as_str() == source)
                && since.is_none_or(|since| kept.received_at >= whole_millis(since))
                && after.is_none_or(|after| kept.id > after)
                && before.is_none_or(|before| kept.id < before)
        };
        let mut found: Vec<_> = summaries.filter(is_asked_for).collect();
        if after.is_none() {
            found.reverse();
        }
        found.into_iter().take(*limit).cloned().collect()
    }

    pub(super) fn unrouted(&self, limit: usize) -> Vec<Arc<Event>> {
        let waiting = || {
            self.events
                .iter()
                .filter(|kept| kept.payload == PayloadState::Kept)
                .map(|kept| &kept.event)
                .filter(|event| !self.is_routed(event.id))
        };
        let count = within_bytes(waiting().map(|event| event.body.len()), ROUTING_BYTES_MAX);
        waiting().take(count.min(limit)).cloned().collect()
    }

    pub(super) fn is_routed(&self, id: EventId) -> bool {
        Some(id) <= self.routed_through
    }

    pub(super) fn deliveries(&self, id: EventId) -> impl Iterator<Item = &Delivery> {
        self.rows.iter().filter(move |row| row.event.id == id).map(|row| &row.delivery)
    }

    pub(super) fn list(&self, query: &EventQuery) -> EventList {
        let mut found = self.matching(query);
        if query.after.is_none() {
            found.reverse();
        }
        let (count, mut listed) = (found.len(), Vec::new());
        for kept in found.into_iter().take(query.limit) {
            listed.push(self.summary(kept));
            if query::is_full(&listed) {
                break;
            }
        }
        let rest = listed.last().filter(|_| listed.len() < count).map(|last| last.id);
        EventList { events: listed, rest }
    }

    pub(super) fn count(&self, query: &EventQuery) -> EventCounts {
        let count = |state| {
            let query = EventQuery { after: None, before: None, state, ..query.clone() };
            EventCount { events: self.matching(&query).len() as u64, is_at_least: false }
        };
        EventCounts { all: count(None), by_state: State::ALL.map(|state| count(Some(state))) }
    }

    fn matching(&self, query: &EventQuery) -> Vec<&Kept> {
        self.events.iter().filter(|kept| self.is_asked_for(&kept.event, query)).collect()
    }

    /// One event without its payload, with the attempts of its deliveries.
    pub(super) fn summary_of(&self, id: EventId) -> Option<EventSummary> {
        let kept = self.events.iter().find(|kept| kept.event.id == id)?;
        let deliveries = self.deliveries(id).cloned().collect();
        Some(EventSummary { deliveries, ..self.summary(kept) })
    }

    pub(super) fn is_paused(&self, destination: &str) -> bool {
        self.destinations.get(destination).is_some_and(|destination| destination.is_paused)
    }

    pub(super) fn destination_status(&self, name: &str, now: Timestamp) -> DestinationStatus {
        let destination = self.destinations.get(name).cloned().unwrap_or_default();
        let Destination { is_paused, failures, open_until, revision } = destination;
        let open_for = open_until.map(|until| wait_until(until, now));
        DestinationStatus { is_paused, breaker: Breaker { failures, open_for, revision } }
    }

    fn is_asked_for(&self, event: &Event, query: &EventQuery) -> bool {
        let to_it = |delivery: &&Delivery| {
            query.destination.as_ref().is_none_or(|name| delivery.destination == *name)
        };
        let mut deliveries = self.deliveries(event.id).filter(to_it);
        let is_in_state = match query.state {
            None if query.destination.is_none() => true,
            None => deliveries.next().is_some(),
            Some(state) => {
                let has_none = query.destination.is_none()
                    && self.deliveries(event.id).next().is_none()
                    && state
                        == if self.is_routed(event.id) { State::Skipped } else { State::Pending };
                has_none
                    || deliveries.any(|delivery| {
                        let is_over = state == State::Dead && delivery.replaced_by.is_some();
                        delivery.state == state && !is_over
                    })
            }
        };
        is_in_state && is_of_this_kind(event, query)
    }

    pub(super) fn summary(&self, kept: &Kept) -> EventSummary {
        let event = &kept.event;
        let without_history =
            |delivery: &Delivery| Delivery { history: Vec::new(), ..delivery.clone() };
        EventSummary {
            id: event.id,
            source: event.source.clone(),
            name: event.name.clone(),
            subject: event.subject.clone(),
            title: query::title(&event.body),
            received_at: event.received_at,
            bytes: kept.bytes,
            digest: event.digest,
            secret_name: event.secret_name.clone(),
            origin: event.origin,
            is_routed: self.is_routed(event.id),
            is_conflict: event.conflict,
            is_damaged: false,
            payload: kept.payload,
            deliveries: self.deliveries(event.id).map(without_history).collect(),
        }
    }
}

/// The one that was recorded last; one that was accepted later only if none was received after it.
fn latest<'k>(events: impl Iterator<Item = &'k Kept>) -> Option<&'k Kept> {
    events.reduce(|latest, next| {
        let is_later = !next.is_accepted || latest.event.received_at <= next.event.received_at;
        if is_later { next } else { latest }
    })
}

impl Kept {
    /// An event with its payload.
    pub(super) fn new(
        event: Event,
        number: i64,
        delivery_id: Option<String>,
        is_accepted: bool,
    ) -> Self {
        let (bytes, payload) = (event.body.len() as u64, PayloadState::Kept);
        let (subject, event) = (event.subject.clone(), Arc::new(event));
        Self { event, number, payload, bytes, subject, delivery_id, is_accepted }
    }

    /// Removes headers and body.
    pub(super) fn remove_payload(&mut self, payload: PayloadState) {
        self.payload = payload;
        let event = Arc::make_mut(&mut self.event);
        event.headers = Headers::from_block(Bytes::new());
        event.body = Body::from(Vec::new());
    }

    /// Whether a request could be a copy of this event, apart from its body.
    pub(super) fn could_be(&self, proof: &Proof, envelope: &Envelope) -> bool {
        self.event.source == *proof.source()
            && self.delivery_id == envelope.delivery_id
            && (envelope.delivery_id.is_some() || self.subject == envelope.subject)
    }

    pub(super) fn as_earlier(&self) -> Earlier {
        let Event { id, received_at, digest, origin, ref name, .. } = *self.event;
        Earlier { event_id: id, received_at, content: Content::of(digest, name), origin }
    }
}

fn is_of_this_kind(event: &Event, query: &EventQuery) -> bool {
    let EventQuery { source, name, subject, search, since, until, after, before, .. } = query;
    let is_like = |text: &str, glob: &Option<String>| {
        glob.as_ref().is_none_or(|glob| match glob.strip_suffix('*') {
            Some(front) => text.starts_with(front),
            None => text == glob,
        })
    };
    let search = search.as_deref().map(SearchText::new);
    let is_found = search.is_none_or(|search| {
        search.is_in_head(event.id, &event.name, event.subject.as_deref())
            || search.ids().is_none()
                && event.body.contiguous(usize::MAX).is_ok_and(|body| search.is_in(&body))
    });
    source.as_ref().is_none_or(|source| event.source.as_str() == source)
        && is_like(&event.name, name)
        && (subject.is_none() || event.subject.as_ref().is_some_and(|text| is_like(text, subject)))
        && since.is_none_or(|since| event.received_at >= whole_millis(since))
        && until.is_none_or(|until| event.received_at < whole_millis(until))
        && after.is_none_or(|after| event.id > after)
        && before.is_none_or(|before| event.id < before)
        && is_found
}

/// Bits of an id behind its time.
const CHOICE_BITS: u32 = 80;
