//! What the outbound half asks of the SQLite store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;

use super::{Kind, Part, SqliteStore, WriterState, last_received, next_due, slices, unrouted};
use crate::{
    Alert, Attempt, Batch, Breaker, Claim, EventQuery, OutboundStore, Outcome, RoutedBatch,
    Settled, StoreError, Wakers,
    rules::{LEASE_ENDED, lease_end},
};

#[async_trait]
impl OutboundStore for SqliteStore {
    async fn unrouted(&self, limit: usize) -> Result<Batch, StoreError> {
        self.writer.require_open()?;
        self.writer.shared().require_opened()?;
        if let Some(events) = self.writer.shared().recent_events.unrouted(limit) {
            return Ok(Batch { events });
        }
        let chunk_reader = Arc::clone(&self.chunk_reader);
        let read = move |connection: &Connection| unrouted(connection, &chunk_reader, limit);
        let unrouted = self.readers.read(read);
        let (events, damaged) = unrouted.await?;
        self.found_damaged(damaged, "routing").await;
        Ok(Batch { events })
    }

    async fn fan_out(&self, batch: RoutedBatch) -> Result<(), StoreError> {
        let now = self.now();
        for slice in slices(batch.routed, self.limits.write_rows, |routed| routed.targets.len()) {
            self.writer.write(Kind::Delivery, move |state| state.fan_out(&slice, now)).await?;
        }
        Ok(())
    }

    async fn claim(
        &self,
        destination: &str,
        limit: usize,
        lease: Duration,
        longest_wait: Duration,
    ) -> Result<Vec<Claim>, StoreError> {
        let (now, elapsed) = (self.now(), self.clock.elapsed());
        let rows_max = self.limits.write_rows;
        let taken = loop {
            let (name, shared) = (destination.to_owned(), Arc::clone(self.writer.shared()));
            let take = move |state: &mut WriterState| {
                if state.limit_waits(&name, now, longest_wait, rows_max)? == rows_max {
                    return Ok(None);
                }
                // Looked up only now: a lease may have been renewed while this waited for its turn.
                state.make_due(&shared.leases.over(&name, elapsed), now, Some(LEASE_ENDED))?;
                state.claim(&name, limit, now, lease_end(elapsed, lease)).map(Some)
            };
            if let Some(taken) = self.writer.write(Kind::Delivery, take).await? {
                break taken;
            }
        };
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        self.load_claimed(destination, taken, lease, now).await
    }

    async fn renew(&self, claims: &[Claim]) -> Result<Vec<i64>, StoreError> {
        self.writer.require_open()?;
        self.writer.shared().require_sound()?;
        Ok(self.writer.shared().leases.renew(claims, self.clock.elapsed()))
    }

    async fn settle(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
    ) -> Result<Settled, StoreError> {
        let (attempt, outcome, now) = (attempt.clone(), outcome.clone(), self.now());
        let (id, waited) = ((claim.delivery, claim.attempt), claim.waited);
        let settle = move |state: &mut WriterState| {
            state.settle(id, waited, &attempt, &outcome, breaker, now)
        };
        self.writer.write(Kind::Delivery, settle).await
    }

    async fn next_due(&self, destination: &str) -> Result<Option<Duration>, StoreError> {
        let (name, now) = (destination.to_owned(), self.now());
        let lease = self.writer.shared().leases.next_end(destination, self.clock.elapsed());
        self.readers.read(move |connection| next_due(connection, &name, now, lease)).await
    }

    async fn release_keys(&self, destination: &str) -> Result<(), StoreError> {
        let (name, now) = (destination.to_owned(), self.now());
        let release = move |state: &mut WriterState, limit| state.release_keys(&name, now, limit);
        self.write_in_slices(release).await.map(drop)
    }

    async fn record_alert(&self, alert: Alert) -> Result<bool, StoreError> {
        let now = self.now();
        self.writer.write(Kind::Delivery, move |state| state.record_alert(&alert, now)).await
    }

    async fn last_received(
        &self,
        source: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let query = EventQuery { since: Some(since), ..EventQuery::default() };
        let mut part = Some(Part::all(&query, self.limits));
        while let Some(next) = part {
            let source = source.to_owned();
            let read = move |connection: &Connection| {
                last_received(connection, &source, since, until, next)
            };
            let (found, rest) = self.query_readers.read(read).await?;
            if found.is_some() {
                return Ok(found);
            }
            part = rest;
        }
        Ok(None)
    }

    fn wakers(&self) -> &Wakers {
        &self.writer.shared().wakers
    }
}
