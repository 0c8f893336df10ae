//! From a claimed row to a claim: the event is read, and no delivery stays half claimed.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::Connection;
use wilco::{Event, Item};

use super::{
    DamagedEvent, Kind, RECORD_DAMAGED, SqliteStore, Taken, WriterState, intact, log_damaged,
};
use crate::{Attempt, Claim, Outcome, StoreError, rules::later};

impl SqliteStore {
    /// Reads the events of what was claimed. None stays half claimed: one whose event is damaged is
    /// settled as dead, and one whose event cannot be read now is given back.
    pub(super) async fn load_claimed(
        &self,
        destination: &str,
        taken: Vec<Taken>,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let recent_events = &self.writer.shared().recent_events;
        let recent: Vec<_> = taken.iter().map(|taken| recent_events.get(taken.event_seq)).collect();
        let others = taken.iter().zip(&recent).filter(|(_, event)| event.is_none());
        let others = others.map(|(taken, _)| (taken.event_seq, taken.item));
        let mut read = self.read_events(others.collect()).await;

        let mut claims = Vec::with_capacity(taken.len());
        let mut unread = Vec::new();
        let mut failure = None;
        for (taken, event) in taken.into_iter().zip(recent) {
            let event = match event {
                Some(event) => part(&event, taken.item).map(Some),
                None => read.pop_front().unwrap_or(Ok(None)),
            };
            match event {
                Ok(Some(event)) => claims.push(taken.with(destination, lease, event)),
                Ok(None) => self.mark_dead(&taken, "the event is not there any more", now).await,
                Err(error @ StoreError::Damaged(_)) => {
                    self.found_damaged(vec![taken.event_seq], "a delivery").await;
                    self.mark_dead(&taken, &error.to_string(), now).await;
                }
                Err(error @ StoreError::Pruned(_)) => {
                    self.mark_dead(&taken, &error.to_string(), now).await;
                }
                Err(error) => {
                    unread.push(taken);
                    failure = Some(error);
                }
            }
        }
        if !unread.is_empty() {
            self.release(unread, now).await;
        }
        match failure {
            Some(error) if claims.is_empty() => Err(error),
            Some(_) | None => Ok(claims),
        }
    }

    /// Reads events or items of them from the file: an answer for each place, in their order. Of events
    /// that are only needed for their items one at a time is held, and read once for those that follow
    /// one another.
    async fn read_events(
        &self,
        places: Vec<(i64, Option<Item>)>,
    ) -> VecDeque<Result<Option<Arc<Event>>, StoreError>> {
        if places.is_empty() {
            return VecDeque::new();
        }
        let (count, chunk_reader) = (places.len(), Arc::clone(&self.chunk_reader));
        let read = self.readers.read(move |connection: &Connection| {
            let mut last: Option<(i64, Arc<Event>)> = None;
            let read_one = |(seq, item)| {
                let event = match last.take().filter(|(last, _)| *last == seq) {
                    Some((_, event)) => event,
                    None => match intact(connection, &chunk_reader, seq)? {
                        Some(event) => Arc::new(event),
                        None => return Ok(None),
                    },
                };
                let part = part(&event, item)?;
                last = item.map(|_| (seq, event));
                Ok(Some(part))
            };
            Ok(places.into_iter().map(read_one).collect())
        });
        read.await.unwrap_or_else(|error| vec![Err(error); count].into())
    }

    /// Makes deliveries due again, a moment from now.
    async fn release(&self, taken: Vec<Taken>, now: Timestamp) {
        let due_at = later(now, RELEASE_PAUSE);
        let taken: Vec<_> = taken.iter().map(|taken| (taken.delivery, taken.attempt)).collect();
        tracing::warn!(count = taken.len(), "events could not be read; they are delivered later");
        self.write_surely(move |state| state.make_due(&taken, due_at, None)).await;
    }

    /// Notes which records are damaged, so that listings and metrics show them, and logs it once.
    pub(super) async fn found_damaged(&self, places: Vec<i64>, by: &'static str) {
        if places.is_empty() {
            return;
        }
        let damaged = |seq| DamagedEvent { seq, what: RECORD_DAMAGED, by };
        let found: Vec<_> = places.into_iter().map(damaged).collect();
        let mark = {
            let found = found.clone();
            move |state: &mut WriterState| state.mark_damaged(&found)
        };
        if self.writer.write(Kind::Delivery, mark).await.is_err() {
            // It is noted when it is found again.
            log_damaged(&found);
        }
    }

    async fn mark_dead(&self, taken: &Taken, why: &str, now: Timestamp) {
        tracing::error!(delivery = taken.delivery, why, "gave up");
        let (id, waited) = ((taken.delivery, taken.attempt), taken.waited);
        let attempt = Attempt {
            started_at: now,
            took: Duration::ZERO,
            result: why.to_owned(),
            request: String::new(),
            output: Vec::new(),
        };
        let dead = Outcome::Dead { holds_key: false };
        let settle = move |state: &mut WriterState| {
            state.settle(id, waited, &attempt, &dead, None, now).map(drop)
        };
        self.write_surely(settle).await;
    }

    /// Writes what must not be lost, for without it a delivery would stay claimed until the next
    /// start. If the store cannot take it now, the writing thread tries it again by itself.
    async fn write_surely(
        &self,
        work: impl FnMut(&mut WriterState) -> rusqlite::Result<()> + Clone + Send + 'static,
    ) {
        if self.writer.write(Kind::Delivery, work.clone()).await.is_err() {
            self.writer.repair(work);
        }
    }
}

/// What is delivered of an event: the item, or all of it.
fn part(event: &Arc<Event>, item: Option<Item>) -> Result<Arc<Event>, StoreError> {
    let Some(item) = item else { return Ok(Arc::clone(event)) };
    let part = event.item(item).map(Arc::new);
    part.map_err(|_| StoreError::Damaged(format!("{}, item {}", event.id, item.number)))
}

/// Until what could not be read is tried again.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);
