//! Erases events.

use std::sync::Arc;

use jiff::Timestamp;
use wilco::EventId;

use super::{Kept, Pending, Record};
use crate::{
    ALERTS, Contents, Erasure, ErasureQuery, EventSummary, PayloadState, State,
    erasure::event_ids,
    rules::{needs_payload, needs_record},
};

impl Record {
    pub(super) fn contents(&self) -> Contents {
        let payloads = || self.events.iter().filter(|kept| kept.payload == PayloadState::Kept);
        let bytes = self.rejections.iter();
        let bytes = bytes.map(|kept| kept.headers.as_bytes().len() + kept.body.len());
        Contents {
            events: self.events.len() as u64,
            payloads: payloads().count() as u64,
            body_bytes: payloads().map(|kept| kept.bytes).sum(),
            rejections: self.rejections.len() as u64,
            rejection_bytes: bytes.sum::<usize>() as u64,
            unused_bytes: 0,
            overwritten_through: None,
            oldest_event_at: self.events.first().map(|kept| kept.event.received_at),
            oldest_payload_at: payloads().next().map(|kept| kept.event.received_at),
        }
    }

    pub(super) fn selected(&self, query: &ErasureQuery) -> Vec<EventSummary> {
        let behind = self.events.iter().filter(|kept| Some(kept.event.id) > query.after);
        let selected = behind.filter(|kept| kept.payload != PayloadState::Erased);
        let selected = selected.filter(|kept| self.is_selected(kept, query));
        selected.map(|kept| self.summary(kept)).collect()
    }

    /// What becomes of an event that is erased now.
    pub(super) fn erasure_of(&self, id: EventId, cancels: bool) -> Erasure {
        let mut events = self.events.iter();
        if !events.any(|kept| kept.event.id == id && kept.payload != PayloadState::Erased) {
            return Erasure::Gone;
        }
        let mut rows = self.rows.iter().filter(|row| row.event.id == id);
        if rows.any(|row| row.delivery.state == State::Running) {
            return Erasure::Running;
        }
        let mut rows = self.rows.iter().filter(|row| row.event.id == id);
        let is_unfinished =
            !self.is_routed(id) || rows.any(|row| needs_record(row.delivery.state, row.holds_key));
        if is_unfinished && !cancels { Erasure::Unfinished } else { Erasure::Erased }
    }

    fn is_selected(&self, kept: &Kept, query: &ErasureQuery) -> bool {
        let event = &kept.event;
        if event.source.as_str() == ALERTS {
            let text = event.body.contiguous(usize::MAX).unwrap_or_default();
            let named = event_ids(&text);
            let mut others =
                self.events.iter().filter(|other| other.event.source.as_str() != ALERTS);
            return others.any(|other| {
                named.contains(&other.event.id)
                    && (other.payload == PayloadState::Erased || self.is_selected(other, query))
            });
        }
        let is_of_source =
            query.source.as_ref().is_none_or(|source| event.source.as_str() == source);
        let body = || Some(event.body.clone());
        is_of_source && query.selection.is_about(event.id, event.subject.as_deref(), body)
    }
}

impl Pending {
    pub(super) fn erase(&mut self, id: EventId, cancels: bool, now: Timestamp) -> Erasure {
        let outcome = self.record.erasure_of(id, cancels);
        let place = self.record.events.iter().position(|kept| kept.event.id == id);
        let Some(place) = place.filter(|_| outcome == Erasure::Erased) else { return outcome };
        self.cancel(id, None, now);
        let kept = &mut self.record.events[place];
        kept.remove_payload(PayloadState::Erased);
        Arc::make_mut(&mut kept.event).subject = None;
        let event = Arc::clone(&kept.event);
        for place in 0..self.record.rows.len() {
            if self.record.rows[place].event.id == id {
                let changed = self.record.next_change();
                let row = &mut self.record.rows[place];
                row.changed = changed;
                row.event = Arc::clone(&event);
                row.burst = None;
                let delivery = &mut row.delivery;
                if needs_payload(delivery.state, delivery.replaced_by.is_some()) {
                    delivery.state = State::Cancelled;
                }
                delivery.order_key = None;
                for text in [&mut delivery.last_error, &mut delivery.reason].into_iter().flatten() {
                    ERASED.clone_into(text);
                }
                for attempt in &mut delivery.history {
                    attempt.request.clear();
                    attempt.output.clear();
                    ERASED.clone_into(&mut attempt.result);
                }
            }
        }
        Erasure::Erased
    }
}

const ERASED: &str = "erased";
