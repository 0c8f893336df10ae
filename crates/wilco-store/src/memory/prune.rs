//! Removes what is older than it is to be kept: all of it at once.

use std::sync::Arc;

use jiff::Timestamp;
use wilco::EventId;

use super::{Kept, Pending, Record};
use crate::{
    PayloadState, Pruned,
    rules::{Cutoffs, needs_payload, needs_record},
};

impl Record {
    pub(super) fn next_delivery(&self) -> i64 {
        self.rows.last().map_or(0, |row| row.delivery.id).max(self.last_delivery) + 1
    }
}

impl Pending {
    pub(super) fn prune(&mut self, Cutoffs { payloads, records }: Cutoffs) -> Pruned {
        let mut pruned = Pruned::default();
        for kept in std::mem::take(&mut self.record.events) {
            let is_gone = self.is_old(&kept, records) && !self.is_record_needed(kept.event.id);
            let is_pruned =
                is_gone || self.is_old(&kept, payloads) && !self.is_payload_needed(kept.event.id);
            let kept = if is_pruned { self.prune_payload(kept, &mut pruned) } else { kept };
            if is_gone {
                self.prune_record(kept.event.id);
                pruned.records += 1;
            } else {
                self.record.events.push(kept);
            }
        }
        while let Some(oldest) = self.record.rejections.front()
            && payloads.is_some_and(|before| oldest.summary.received_at < before)
        {
            self.record.rejections.pop_front();
            pruned.rejections += 1;
        }
        pruned
    }

    fn is_old(&self, kept: &Kept, before: Option<Timestamp>) -> bool {
        self.record.is_routed(kept.event.id)
            && before.is_some_and(|before| kept.event.received_at < before)
    }

    fn is_payload_needed(&self, id: EventId) -> bool {
        let mut deliveries = self.record.deliveries(id);
        deliveries.any(|delivery| needs_payload(delivery.state, delivery.replaced_by.is_some()))
    }

    fn is_record_needed(&self, id: EventId) -> bool {
        let mut rows = self.record.rows.iter().filter(|row| row.event.id == id);
        rows.any(|row| needs_record(row.delivery.state, row.holds_key))
    }

    fn prune_payload(&mut self, mut kept: Kept, pruned: &mut Pruned) -> Kept {
        if kept.payload == PayloadState::Kept {
            kept.remove_payload(PayloadState::Pruned);
            pruned.payloads += 1;
            pruned.payload_bytes += kept.bytes;
        }
        for row in self.record.rows.iter_mut().filter(|row| row.event.id == kept.event.id) {
            row.event = Arc::clone(&kept.event);
            for attempt in &mut row.delivery.history {
                pruned.payload_bytes += (attempt.request.len() + attempt.output.len()) as u64;
                attempt.request.clear();
                attempt.output.clear();
            }
        }
        kept
    }

    fn prune_record(&mut self, id: EventId) {
        self.record.last_id = self.record.last_id.max(Some(id));
        self.record.last_delivery = self.record.next_delivery() - 1;
        self.record.rows.retain(|row| row.event.id != id);
    }
}
