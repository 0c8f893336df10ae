//! What each reader asks of the store: every method is one commit, or one look at what is durable.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use wilco::{Envelope, Event, EventId, Proof, RejectionId};

use super::{DeliveryRow, Kept, MemoryStore, Record};
use crate::{
    Accepted, AdminStore, Alert, Attempt, AuditEntry, BackfillStatus, Batch, Breaker, ChangeQuery,
    Changes, Claim, Contents, DestinationStatus, Duplicates, Erasure, ErasureQuery, EventCounts,
    EventDetail, EventList, EventQuery, EventSummary, FailedEvents, FailureGroupQuery,
    FailureGroups, FailureQuery, Gap, GapQuery, InboundStore, OutboundStore, Outcome, Overwritten,
    PayloadState, Position, PrunePlace, Pruned, Receipt, Rejection, RejectionDetail,
    RejectionQuery, RejectionSummary, Replay, Retention, RetentionStore, RoutedBatch,
    SecretMatches, Settled, Spool, State, Store, StoreError, StoreStatus, Usage, Wakers,
    rules::{Cutoffs, wait_until, whole_millis},
};

#[async_trait]
impl InboundStore for MemoryStore {
    async fn record_proven(
        &self,
        proof: Proof,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError> {
        self.commit(|pending| pending.record(&proof, envelope, duplicates))
    }

    fn spool(&self) -> Result<Spool, StoreError> {
        Spool::new(&std::env::temp_dir(), Arc::new(|| Ok(())))
    }

    fn reject(&self, rejection: Rejection) -> bool {
        let Ok(mut disk) = self.open_disk() else { return false };
        disk.durable.reject(rejection.clamped());
        true
    }

    fn set_secrets(&self, secrets: Vec<(String, String)>) {
        let now = self.now();
        if let Ok(mut disk) = self.open_disk() {
            disk.durable.set_secrets(secrets, now);
        }
    }
}

#[async_trait]
impl OutboundStore for MemoryStore {
    async fn unrouted(&self, limit: usize) -> Result<Batch, StoreError> {
        self.read(|record| Batch { events: record.unrouted(limit) })
    }

    async fn fan_out(&self, batch: RoutedBatch) -> Result<(), StoreError> {
        self.commit(|pending| pending.fan_out(&batch.routed, self.now()))
    }

    async fn claim(
        &self,
        destination: &str,
        limit: usize,
        lease: Duration,
        longest_wait: Duration,
    ) -> Result<Vec<Claim>, StoreError> {
        let (now, elapsed) = (self.now(), self.clock.elapsed());
        self.commit(|pending| {
            pending.end_leases(destination, now, elapsed);
            pending.claim(destination, limit, now, longest_wait, lease, elapsed)
        })
    }

    async fn renew(&self, claims: &[Claim]) -> Result<Vec<i64>, StoreError> {
        self.commit(|pending| pending.renew(claims, self.clock.elapsed()))
    }

    async fn settle(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
    ) -> Result<Settled, StoreError> {
        self.commit(|pending| pending.settle(claim, attempt, outcome, breaker, self.now()))
    }

    async fn next_due(&self, destination: &str) -> Result<Option<Duration>, StoreError> {
        let (now, elapsed) = (self.now(), self.clock.elapsed());
        self.read(|record| {
            let here = record.rows.iter().filter(|row| row.delivery.destination == destination);
            let waits = here.filter_map(|row| match row.delivery.state {
                State::Running => Some(row.lease_ends.saturating_sub(elapsed)),
                _ => row.delivery.due_at.map(|due_at| wait_until(due_at, now)),
            });
            waits.filter(|_| !record.is_paused(destination)).min()
        })
    }

    async fn release_keys(&self, destination: &str) -> Result<(), StoreError> {
        self.commit(|pending| pending.release_keys(destination, self.now()))
    }

    async fn record_alert(&self, alert: Alert) -> Result<bool, StoreError> {
        self.commit(|pending| pending.record_alert(alert, self.now()))
    }

    async fn last_received(
        &self,
        source: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.read(|record| {
            let events = record.events.iter().rev().map(|kept| &kept.event);
            let of_source = events.filter(|event| event.source.as_str() == source);
            let expected = whole_millis(since)..=whole_millis(until);
            of_source.map(|event| event.received_at).find(|at| expected.contains(at))
        })
    }

    fn wakers(&self) -> &Wakers {
        &self.wakers
    }
}

#[async_trait]
impl RetentionStore for MemoryStore {
    async fn prune(
        &self,
        retention: Retention,
        _: PrunePlace,
    ) -> Result<(Pruned, Option<PrunePlace>), StoreError> {
        let cutoffs = Cutoffs::at(self.now(), retention);
        self.commit(|pending| (pending.prune(cutoffs), None))
    }
}

#[async_trait]
impl AdminStore for MemoryStore {
    async fn backfills(&self) -> Result<Vec<BackfillStatus>, StoreError> {
        self.read(Record::backfills)
    }

    async fn gaps(&self, query: GapQuery) -> Result<Vec<Gap>, StoreError> {
        self.read(|record| record.gaps(&query))
    }

    async fn events(&self, query: EventQuery) -> Result<EventList, StoreError> {
        self.read(|record| record.list(&query))
    }

    async fn count_events(&self, query: EventQuery) -> Result<EventCounts, StoreError> {
        self.read(|record| record.count(&query))
    }

    async fn changes(&self, query: ChangeQuery) -> Result<Changes, StoreError> {
        self.read(|record| record.changes(&query))
    }

    async fn position(&self, since: Option<Timestamp>) -> Result<Position, StoreError> {
        self.read(|record| record.position(since))
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.wakers.changed.subscribe()
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        self.read(|record| {
            let Some(Kept { event, payload, .. }) =
                record.events.iter().find(|kept| kept.event.id == id)
            else {
                return Ok(None);
            };
            if *payload != PayloadState::Kept {
                return Err(StoreError::Pruned(id.to_string()));
            }
            Ok(Some(EventDetail {
                event: Event::clone(event),
                is_routed: record.is_routed(id),
                deliveries: record.deliveries(id).cloned().collect(),
            }))
        })?
    }

    async fn summary(&self, id: EventId) -> Result<Option<EventSummary>, StoreError> {
        self.read(|record| record.summary_of(id))
    }

    async fn contents(&self) -> Result<Contents, StoreError> {
        self.read(Record::contents)
    }

    async fn selected(
        &self,
        query: ErasureQuery,
    ) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError> {
        self.read(|record| (record.selected(&query), None))
    }

    async fn preview_erasure(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError> {
        self.read(|record| ids.into_iter().map(|id| (id, record.erasure_of(id, cancels))).collect())
    }

    async fn erase(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError> {
        let now = self.now();
        self.commit(|pending| {
            ids.into_iter().map(|id| (id, pending.erase(id, cancels, now))).collect()
        })
    }

    async fn write_rejections(&self) -> Result<(), StoreError> {
        self.read(|_| ())
    }

    async fn erase_rejections(&self, ids: Vec<RejectionId>) -> Result<u64, StoreError> {
        self.commit(|pending| {
            let rejections = &mut pending.record.rejections;
            let before = rejections.len();
            rejections.retain(|kept| !ids.contains(&kept.summary.id));
            (before - rejections.len()) as u64
        })
    }

    fn kept_copies(&self) -> Vec<String> {
        Vec::new()
    }

    async fn overwrite_erased(&self) -> Result<Overwritten, StoreError> {
        self.read(|_| Overwritten { file: true, log: true })
    }

    async fn unfinished(&self) -> Result<Vec<(String, State, u64)>, StoreError> {
        self.read(|record| {
            let mut counts = BTreeMap::new();
            for DeliveryRow { delivery, .. } in &record.rows {
                if delivery.is_unfinished() {
                    *counts.entry((delivery.destination.clone(), delivery.state)).or_default() += 1;
                }
            }
            counts.into_iter().map(|((name, state), count)| (name, state, count)).collect()
        })
    }

    async fn failure_groups(&self, query: FailureGroupQuery) -> Result<FailureGroups, StoreError> {
        self.read(|record| record.failure_groups(&query))
    }

    async fn failed_events(&self, query: FailureQuery) -> Result<FailedEvents, StoreError> {
        self.read(|record| record.failed_events(&query))
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.commit(|pending| pending.record.audit(entry))
    }

    async fn audit_entries(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(|record| {
            let entries = record.audit.iter().rev();
            let older = entries.filter(|entry| before.is_none_or(|before| entry.number < before));
            older.take(limit).cloned().collect()
        })
    }

    async fn earliest_due(&self, destination: &str) -> Result<Option<Timestamp>, StoreError> {
        self.read(|record| {
            let here = record.rows.iter().filter(|row| row.delivery.destination == destination);
            here.filter_map(|row| row.delivery.due_at).min()
        })
    }

    async fn last_of_sources(&self) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        self.read(|record| {
            let matched = record.secret_matches.values();
            let matched = matched.filter_map(|of| Some((of.source.clone(), of.last_at?)));
            let recorded = record.events.iter();
            let recorded =
                recorded.map(|kept| (kept.event.source.to_string(), kept.event.received_at));
            let mut last = BTreeMap::new();
            for (source, at) in matched.chain(recorded) {
                let latest = last.entry(source).or_insert(at);
                *latest = at.max(*latest);
            }
            last
        })
    }

    async fn replay(&self, replays: Vec<Replay>) -> Result<(), StoreError> {
        self.commit(|pending| pending.replay(&replays, self.now()))
    }

    async fn cancel(
        &self,
        event_id: EventId,
        destination: Option<String>,
    ) -> Result<usize, StoreError> {
        let destination = destination.as_deref();
        self.commit(|pending| pending.cancel(event_id, destination, self.now()))
    }

    async fn pause(&self, destination: &str, is_paused: bool) -> Result<(), StoreError> {
        self.commit(|pending| {
            pending.record.destinations.entry(destination.into()).or_default().is_paused =
                is_paused;
            pending.to_wake.insert(destination.into());
        })
    }

    async fn retry_now(&self, destination: &str) -> Result<usize, StoreError> {
        self.commit(|pending| pending.retry_now(destination, self.now()))
    }

    async fn rejections(&self, query: RejectionQuery) -> Result<Vec<RejectionSummary>, StoreError> {
        self.read(|record| record.rejections(&query))
    }

    async fn rejection(&self, id: RejectionId) -> Result<Option<RejectionDetail>, StoreError> {
        self.read(|record| {
            let found = record.rejections.iter().find(|kept| kept.summary.id == id)?;
            Some(RejectionDetail::clone(found))
        })
    }

    async fn accept(&self, accepted: Accepted) -> Result<Option<Receipt>, StoreError> {
        self.commit(|pending| pending.accept(accepted))
    }

    async fn secret_matches(&self) -> Result<Vec<SecretMatches>, StoreError> {
        self.read(|record| record.secret_matches.values().cloned().collect())
    }
}

#[async_trait]
impl StoreStatus for MemoryStore {
    fn ready(&self) -> Result<(), StoreError> {
        self.open_disk().map(drop)
    }

    async fn respond(&self) {
        drop(self.disk());
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    async fn destination_status(&self, destination: &str) -> Result<DestinationStatus, StoreError> {
        self.read(|record| record.destination_status(destination, self.now()))
    }

    async fn damaged_events(&self) -> Result<u64, StoreError> {
        self.read(|_| 0)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn latch(&self, cause: &str) {
        self.disk().latched = Some(cause.into());
        self.wakers.failed.notify_one();
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.open_disk()?.is_closed = true;
        Ok(())
    }
}
