//! What a write changes, before it is durable.

mod claims;
mod recording;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use wilco::{Event, EventId};

use super::{DeliveryRow, InBurst, Kept, Pending, Record};
use crate::{
    Burst, Delivery, PayloadState, Replay, Routed, State, Target,
    rules::{self, Joined},
};

impl Pending {
    pub(super) fn fan_out(&mut self, routed: &[Routed], now: Timestamp) {
        let before = self.record.routed_through;
        for Routed { event_id, targets } in routed {
            let is_left =
                |kept: &Kept| kept.event.id == *event_id && kept.payload != PayloadState::Erased;
            let is_delivered = Some(*event_id) > before && self.record.events.iter().any(is_left);
            for target in targets.iter().filter(|_| is_delivered) {
                self.deliver(*event_id, target, None, now);
            }
        }
        let through = routed.iter().map(|routed| routed.event_id).max();
        self.record.routed_through = self.record.routed_through.max(through);
    }

    pub(super) fn replay(&mut self, replays: &[Replay], now: Timestamp) {
        for Replay { event_id, targets, reason } in replays {
            let mut events = self.record.events.iter();
            if !events.any(|kept| kept.event.id == *event_id && kept.payload == PayloadState::Kept)
            {
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
                self.record.last_change += 1;
                row.changed = self.record.last_change;
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
        let part = target.item.and_then(|item| event.item(item).ok()).map(Arc::new);
        let event = part.unwrap_or(event);
        let burst = target.burst.as_ref();
        let began = burst.and_then(|burst| self.supersede(event_id, target, burst, now));
        let has_head = self.record.rows.iter().any(|row| row.is_before(target));
        let Joined { burst: times, due_at, .. } = rules::join(target, began, has_head, now);
        let burst = burst.zip(times);
        let burst = burst.map(|(burst, times)| InBurst { key: burst.key.clone(), times });
        let delivery = Delivery {
            id: self.record.next_delivery(),
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
        let changed = self.record.next_change();
        self.record.rows.push(DeliveryRow {
            event,
            delivery,
            changed,
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
        let changed = self.record.next_change();
        let row = &mut self.record.rows[place];
        row.changed = changed;
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

    pub(super) fn retry_now(&mut self, destination: &str, now: Timestamp) -> usize {
        let Record { rows, last_change, .. } = &mut self.record;
        let mut waiting = 0;
        for row in rows.iter_mut().filter(|row| row.delivery.destination == destination) {
            let Delivery { state: State::Retrying, due_at: Some(due_at), .. } = &mut row.delivery
            else {
                continue;
            };
            if *due_at > now {
                row.waited = row.waited.saturating_sub(rules::wait_until(*due_at, now));
                *due_at = now;
                *last_change += 1;
                row.changed = *last_change;
                waiting += 1;
            }
        }
        self.to_wake.insert(destination.into());
        waiting
    }

    pub(super) fn release_keys(&mut self, destination: &str, now: Timestamp) {
        for place in 0..self.record.rows.len() {
            let row = &mut self.record.rows[place];
            if row.delivery.destination == destination && std::mem::take(&mut row.holds_key) {
                self.promote(place, now);
            }
        }
    }

    fn find(&self, id: EventId) -> Option<Arc<Event>> {
        let events = self.record.events.iter().map(|kept| &kept.event);
        events.into_iter().find(|event| event.id == id).cloned()
    }
}

impl DeliveryRow {
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
