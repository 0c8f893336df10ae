//! Records a rejection that was verified again, in the place of the rejection.
//!
//! The event is recorded behind all others although it was received before some of them. Which events
//! about its subject came after it is found only by looking at all of them, because nothing is indexed by
//! subject. A connection that reads does that, a part at a time, and only if there are any; what was
//! recorded since then is left to the writing thread.

use rusqlite::{Connection, params};
use wilco::RejectionId;

use super::{Prepared, WriterState, earlier, rejection_seq, row_limit};
use crate::{
    Duplicates, Receipt, StoreError,
    rules::{DuplicateDecision, Surroundings},
};

/// What became of it.
pub(crate) enum Acceptance {
    Recorded(Receipt),
    /// There is no such rejection any more.
    Gone,
    /// A later event about its subject is recorded: the events around it have to be looked at first.
    NeedsSearch,
}

/// The search for events about the subject of a rejection.
#[derive(Clone)]
pub(crate) struct Search {
    source: String,
    subject: Option<String>,
    /// That of the subject, by which events are found that were erased.
    key: i64,
    pub(super) found: Surroundings,
    /// All events up to this place were looked at.
    through: i64,
}

impl Search {
    /// A search for what the rejection is compared with, which begins behind this place.
    pub(super) fn new(prepared: &Prepared, behind: i64) -> Self {
        let event = prepared.event();
        Self {
            source: event.source.as_str().to_owned(),
            subject: event.subject.clone(),
            key: prepared.keys().columns().0,
            found: Surroundings::of(event.received_at, prepared.content()),
            through: behind,
        }
    }

    /// Looks at the next events. False at the end.
    pub(super) fn step(
        &mut self,
        connection: &Connection,
        events_max: usize,
    ) -> Result<bool, StoreError> {
        let last: Option<i64> = connection
            .prepare_cached(
                "SELECT max(seq) FROM (SELECT seq FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2)",
            )?
            .query_row(params![self.through, row_limit(events_max)], |row| row.get(0))?;
        let Some(last) = last else { return Ok(false) };
        let mut statement = connection.prepare_cached(
            "SELECT id, received_at_ms, digest, name, origin FROM event WHERE seq > ?1 AND seq <= ?2 \
             AND source = ?3 AND (subject IS ?4 AND delivery_id IS NULL \
             AND NOT EXISTS (SELECT 1 FROM erased WHERE erased.event = seq) \
             OR EXISTS (SELECT 1 FROM erased WHERE erased.event = seq AND key = ?5 \
             AND body_key IS NULL)) ORDER BY seq",
        )?;
        let mut rows =
            statement.query(params![self.through, last, self.source, self.subject, self.key])?;
        while let Some(row) = rows.next()? {
            // A damaged row says nothing about a duplicate.
            if let Ok(event) = earlier(row) {
                self.found.add(event);
            }
        }
        self.through = last;
        Ok(true)
    }
}

impl WriterState {
    /// Records a rejection as an event, unless it is a duplicate, and removes it. `search` has looked at
    /// all events but the newest.
    pub(super) fn accept(
        &mut self,
        id: RejectionId,
        prepared: &mut Prepared,
        duplicates: Duplicates,
        search: Option<Search>,
    ) -> rusqlite::Result<Acceptance> {
        let is_there = self
            .connection
            .prepare_cached("SELECT 1 FROM rejection WHERE seq = ?1 AND id = ?2")?
            .exists(params![rejection_seq(id), id.to_string()])?;
        if !is_there {
            return Ok(Acceptance::Gone);
        }
        let mut decision = self.decide(prepared, duplicates)?;
        if decision == DuplicateDecision::New && self.has_later(prepared)? {
            match (duplicates, search) {
                (Duplicates::Keep, _) => {}
                (Duplicates::Suppress { .. }, None) => return Ok(Acceptance::NeedsSearch),
                (Duplicates::Suppress { .. }, Some(mut search)) => {
                    while search.step(&self.connection, usize::MAX).map_err(super::bad_column)? {}
                    decision = duplicates.decide_among(&search.found);
                }
            }
        }
        let receipt = self.record_as(prepared, decision)?;
        if receipt.is_first() {
            let event_id = receipt.event_id();
            self.connection
                .prepare_cached("INSERT INTO accepted (event) VALUES (?1)")?
                .execute([super::seq_of(event_id)])?;
            let of = prepared.as_earlier(event_id);
            self.latest_events.insert_unless_later(&self.connection, prepared.keys(), &of)?;
        }
        self.remove_rejection(rejection_seq(id))?;
        Ok(Acceptance::Recorded(receipt))
    }

    /// Whether the latest event about its subject was received after it.
    fn has_later(&self, prepared: &Prepared) -> rusqlite::Result<bool> {
        if prepared.has_delivery_id() {
            return Ok(false);
        }
        let latest = self.latest_events.find(&self.connection, prepared.keys())?;
        Ok(latest.is_some_and(|latest| latest.received_at > prepared.event().received_at))
    }
}
