//! What people ask of the SQLite store, by the admin API and the command line.

use async_trait::async_trait;
use rusqlite::Connection;
use wilco::EventId;

use super::{Kind, Part, SqliteStore, WriterState, events, seq_of, show, slices, unfinished};
use crate::{AdminStore, EventDetail, EventQuery, EventSummary, Replay, State, StoreError};

#[async_trait]
impl AdminStore for SqliteStore {
    async fn events(&self, query: EventQuery) -> Result<Vec<EventSummary>, StoreError> {
        let limit = query.limit;
        let mut found = Vec::new();
        let mut part = Some(Part::all(&query, self.limits));
        while let Some(next) = part {
            let (query, wanted) = (query.clone(), query.limit - found.len());
            let read = move |connection: &Connection| events(connection, &query, wanted, next);
            let (some, rest) = self.query_readers.read(read).await?;
            found.extend(some);
            part = rest.filter(|_| found.len() < limit);
        }
        let damaged = found.iter().filter(|summary| summary.is_damaged);
        self.found_damaged(damaged.map(|summary| seq_of(summary.id)).collect(), "a listing").await;
        Ok(found)
    }

    async fn event(&self, id: EventId) -> Result<Option<EventDetail>, StoreError> {
        let shown = self.query_readers.read(move |connection| show(connection, seq_of(id))).await;
        if let Err(StoreError::Damaged(_)) = shown {
            self.found_damaged(vec![seq_of(id)], "a person who looked at it").await;
        }
        Ok(shown?.filter(|shown| shown.event.id == id))
    }

    async fn unfinished(&self) -> Result<Vec<(String, State, u64)>, StoreError> {
        self.query_readers.read(unfinished).await
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
}
