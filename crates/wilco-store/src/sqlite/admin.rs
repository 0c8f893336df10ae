//! What people ask of the SQLite store, by the admin API and the command line.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;
use wilco::{EventId, Proof, RejectionId};

use super::{
    Acceptance, Budget, Kind, Part, Prepared, Search, SqliteStore, StoreFiles, WriterState,
    audit_entries, backfills, changes, contents, counts, earliest_due, events, failed_events,
    failure_groups, gaps, last_of_sources, newest_position, position_before, rejection, rejections,
    secret_matches, seq_at, seq_of, show, show_summary, slices, unread,
};
use crate::{
    Accepted, AdminStore, AuditEntry, BackfillStatus, ChangeQuery, Changes, Contents, Duplicates,
    Erasure, ErasureQuery, EventCounts, EventDetail, EventList, EventQuery, EventSummary,
    FailedEvents, FailureGroupQuery, FailureGroups, FailureQuery, Gap, GapQuery, Overwritten,
    Position, Receipt, RejectionDetail, RejectionQuery, RejectionSummary, Replay, SecretMatches,
    State, StoreError,
};

#[async_trait]
impl AdminStore for SqliteStore {
    async fn backfills(&self) -> Result<Vec<BackfillStatus>, StoreError> {
        self.query_readers.read(backfills).await
    }

    async fn gaps(&self, query: GapQuery) -> Result<Vec<Gap>, StoreError> {
        self.query_readers.read(move |connection| gaps(connection, &query)).await
    }

    async fn secret_matches(&self) -> Result<Vec<SecretMatches>, StoreError> {
        self.query_readers.read(secret_matches).await
    }

    async fn events(&self, query: EventQuery) -> Result<EventList, StoreError> {
        let mut found = Vec::new();
        let mut budget = Budget::new(&query, self.limits);
        let mut part = Some(Part::all(&query, self.limits));
        while let Some(next) = part
            && !budget.is_spent()
        {
            let query = query.clone();
            let read = move |connection: &Connection| {
                let (some, rest) = events(connection, &query, &mut budget, next)?;
                Ok((some, rest, budget))
            };
            let (some, rest, left) = self.query_readers.read(read).await?;
            found.extend(some);
            (part, budget) = (rest, left);
        }
        let damaged = found.iter().filter(|summary| summary.is_damaged);
        self.found_damaged(damaged.map(|summary| seq_of(summary.id)).collect(), "a listing").await;
        Ok(EventList { events: found, rest: part.map(|part| part.begin(&query)) })
    }

    async fn count_events(&self, query: EventQuery) -> Result<EventCounts, StoreError> {
        let query = EventQuery { after: None, before: None, ..query };
        let limits = self.limits;
        let part = Part::all(&query, limits);
        self.query_readers.read(move |connection| counts(connection, &query, part, limits)).await
    }

    async fn changes(&self, query: ChangeQuery) -> Result<Changes, StoreError> {
        self.query_readers.read(move |connection| changes(connection, &query)).await
    }

    async fn position(&self, since: Option<Timestamp>) -> Result<Position, StoreError> {
        match since {
            Some(since) => Ok(position_before(since)),
            None => self.query_readers.read(newest_position).await,
        }
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.writer.shared().wakers.changed.subscribe()
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        let chunk_reader = Arc::clone(&self.chunk_reader);
        let show = move |connection: &Connection| show(connection, &chunk_reader, seq_of(id));
        let shown = self.query_readers.read(show).await;
        if let Err(StoreError::Damaged(_)) = shown {
            self.found_damaged(vec![seq_of(id)], "a person who looked at it").await;
        }
        Ok(shown?.filter(|shown| shown.event.id == id))
    }

    async fn summary(&self, id: EventId) -> Result<Option<EventSummary>, StoreError> {
        let show = move |connection: &Connection| show_summary(connection, seq_of(id));
        let shown = self.query_readers.read(show).await?;
        Ok(shown.filter(|shown| shown.id == id))
    }

    async fn contents(&self) -> Result<Contents, StoreError> {
        self.query_readers.read(contents).await
    }

    async fn selected(
        &self,
        query: ErasureQuery,
    ) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError> {
        self.find_selected(query).await
    }

    async fn preview_erasure(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError> {
        self.preview(ids, cancels).await
    }

    async fn erase(
        &self,
        ids: Vec<EventId>,
        cancels: bool,
    ) -> Result<Vec<(EventId, Erasure)>, StoreError> {
        self.erase_events(ids, cancels).await
    }

    async fn write_rejections(&self) -> Result<(), StoreError> {
        self.writer.write_rejections().await
    }

    async fn erase_rejections(&self, ids: Vec<RejectionId>) -> Result<u64, StoreError> {
        self.remove_rejections(ids).await
    }

    fn kept_copies(&self) -> Vec<String> {
        self.writer.shared().files.get().map(StoreFiles::kept_copies).unwrap_or_default()
    }

    async fn overwrite_erased(&self) -> Result<Overwritten, StoreError> {
        self.overwrite_removed().await
    }

    async fn unfinished(&self) -> Result<Vec<(String, State, u64)>, StoreError> {
        self.count_unfinished().await
    }

    async fn failure_groups(&self, query: FailureGroupQuery) -> Result<FailureGroups, StoreError> {
        self.query_readers.read(move |connection| failure_groups(connection, &query)).await
    }

    async fn failed_events(&self, query: FailureQuery) -> Result<FailedEvents, StoreError> {
        self.query_readers.read(move |connection| failed_events(connection, &query)).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.writer.write(Kind::Delivery, move |state| state.audit(&entry)).await
    }

    async fn audit_entries(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.query_readers.read(move |connection| audit_entries(connection, before, limit)).await
    }

    async fn earliest_due(&self, destination: &str) -> Result<Option<Timestamp>, StoreError> {
        let name = destination.to_owned();
        self.query_readers.read(move |connection| earliest_due(connection, &name)).await
    }

    async fn last_of_sources(&self) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        self.query_readers.read(last_of_sources).await
    }

    async fn replay(&self, replays: Vec<Replay>) -> Result<(), StoreError> {
        let now = self.now();
        for slice in slices(replays, self.limits.write_rows, |replay| replay.targets.len()) {
            self.writer.write(Kind::Delivery, move |state| state.replay(&slice, now)).await?;
        }
        Ok(())
    }

    async fn cancel(
        &self,
        event_id: EventId,
        destination: Option<String>,
    ) -> Result<usize, StoreError> {
        let now = self.now();
        let cancel = move |state: &mut WriterState, limit| {
            state.cancel(event_id, destination.as_deref(), now, limit)
        };
        self.write_in_slices(cancel).await
    }

    async fn pause(&self, destination: &str, is_paused: bool) -> Result<(), StoreError> {
        let name = destination.to_owned();
        self.writer.write(Kind::Delivery, move |state| state.pause(&name, is_paused)).await
    }

    async fn retry_now(&self, destination: &str) -> Result<usize, StoreError> {
        let (name, now) = (destination.to_owned(), self.now());
        let retry = move |state: &mut WriterState, limit| state.retry_now(&name, now, limit);
        self.write_in_slices(retry).await
    }

    async fn rejections(&self, query: RejectionQuery) -> Result<Vec<RejectionSummary>, StoreError> {
        self.query_readers.read(move |connection| rejections(connection, &query)).await
    }

    async fn rejection(&self, id: RejectionId) -> Result<Option<RejectionDetail>, StoreError> {
        self.query_readers.read(move |connection| rejection(connection, id)).await
    }

    async fn accept(&self, accepted: Accepted) -> Result<Option<Receipt>, StoreError> {
        self.writer.require_space()?;
        let Accepted { id, verified, envelope, duplicates } = accepted;
        let mut search = None;
        loop {
            let mut prepared = Prepared::of(Proof::Signed(verified.clone()), envelope.clone())
                .map_err(|error| unread(&error))?;
            let first = Search::new(&prepared, behind(&prepared, duplicates));
            let searched = search.clone();
            let accept = move |state: &mut WriterState| {
                state.accept(id, &mut prepared, duplicates, searched.clone())
            };
            match self.writer.write(Kind::Event, accept).await? {
                Acceptance::Recorded(receipt) => return Ok(Some(receipt)),
                Acceptance::Gone => return Ok(None),
                Acceptance::NeedsSearch => search = Some(self.search(first).await?),
            }
        }
    }
}

impl SqliteStore {
    /// Looks at all events that a rejection is compared with, a part at a time.
    async fn search(&self, mut search: Search) -> Result<Search, StoreError> {
        let events_max = self.limits.listing_events_max;
        loop {
            let step = move |connection: &Connection| {
                let has_more = search.step(connection, events_max)?;
                Ok((search, has_more))
            };
            let (stepped, has_more) = self.query_readers.read(step).await?;
            if !has_more {
                return Ok(stepped);
            }
            search = stepped;
        }
    }
}

/// The place behind which the events are that a rejection is compared with. The place of an event is never
/// behind its time.
fn behind(prepared: &Prepared, duplicates: Duplicates) -> i64 {
    let received_at = prepared.event().received_at;
    let from = match duplicates {
        Duplicates::Suppress { window } => {
            received_at.saturating_sub(window).unwrap_or(received_at)
        }
        Duplicates::Keep => received_at,
    };
    seq_at(from).saturating_sub(1)
}
