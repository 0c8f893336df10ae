//! `wilco events tail`: events as they are received, and what becomes of them.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use tokio::time::{sleep, timeout};
use wilco::EventId;
use wilco_server::admin::{EventSummary, FollowChanges, ListEvents, PAGE_ITEMS_MAX};

use super::{MILLISECOND, Rows, deliveries};
use crate::{Failure, Filter, Record, StoreArgs, note};

/// Follow events as they are received, and their deliveries
///
/// If wilco restarts, this waits until it is back.
#[derive(Args)]
pub(super) struct Tail {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    filter: Filter,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Begin with this many events that are already recorded
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
}

impl Tail {
    pub(super) async fn run(self) -> Result<(), Failure> {
        Record::read(&self.store, async |record| self.follow(record).await).await
    }

    async fn follow(&self, record: &Record) -> Result<(), Failure> {
        if !record.is_running() {
            let text = "no wilco is running here, so no event can arrive; see `wilco events list`";
            return Err(Failure::failed(text));
        }
        let mut rows = Rows::new(&self.store, self.filter.is_dead(), self.json);
        let mut followed = Followed::default();
        let limit = Some(self.lines.clamp(1, PAGE_ITEMS_MAX));
        let mut latest = record.events(&ListEvents { limit, ..self.filter.query() }).await?.items;
        latest.reverse();
        followed.changes(&latest);
        if self.lines > 0 {
            rows.print(&latest)?;
        }
        if latest.is_empty() && !self.json {
            note("no events so far; they appear here as they are received");
        }
        loop {
            self.follow_stream(record, &mut rows, &mut followed).await?;
            reconnect(record).await;
        }
    }

    /// Shows what happens until the stream ends.
    async fn follow_stream(
        &self,
        record: &Record,
        rows: &mut Rows,
        followed: &mut Followed,
    ) -> Result<(), Failure> {
        let Filter { source, event, .. } = self.filter.clone();
        let query = FollowChanges { source, event, ..FollowChanges::default() };
        let mut messages = match record.messages(&query).await? {
            Ok(messages) => messages,
            Err(why) if record.answers().await => return Err(Failure::failed(why)),
            Err(_) => return Ok(()),
        };
        // The first message comes at once, so that nothing is missed that happened before it.
        while messages.next().await.is_ok() {
            // A burst is shown together.
            sleep(GATHER_TIME).await;
            while let Ok(Ok(_)) = timeout(Duration::ZERO, messages.next()).await {}
            let (after, limit) = (Some(followed.after()), Some(PAGE_ITEMS_MAX));
            match record.events(&ListEvents { after, limit, ..self.filter.query() }).await {
                Ok(page) => {
                    let mut changes = followed.changes(&page.items);
                    // A script gets one line for each event.
                    changes.retain(|change| change.is_new || !self.json);
                    let events: Vec<_> = changes.into_iter().map(|change| change.event).collect();
                    rows.print(&events)?;
                }
                Err(failure) if record.answers().await => return Err(failure),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

async fn reconnect(record: &Record) {
    note("wilco does not answer; waiting for it to come back");
    while !record.answers().await {
        sleep(RECONNECT_INTERVAL).await;
    }
    note("wilco answers again");
}

/// The newest events with the deliveries that were shown of them, to show what changed since.
#[derive(Default)]
struct Followed {
    deliveries: BTreeMap<EventId, String>,
}

/// An event to show: a new one, or one that changed.
struct Change {
    event: EventSummary,
    is_new: bool,
}

impl Followed {
    /// After which event to ask for more.
    fn after(&self) -> EventId {
        let oldest = self.deliveries.first_key_value().map_or(0, |(id, _)| id.to_bits());
        EventId::from_bits(oldest.saturating_sub(MILLISECOND))
    }

    /// The events that are new or have changed, oldest first.
    fn changes(&mut self, events: &[EventSummary]) -> Vec<Change> {
        let oldest = self.deliveries.first_key_value().map(|(id, _)| *id);
        let mut changes = Vec::new();
        for event in events.iter().filter(|event| Some(event.id) >= oldest) {
            let now = deliveries(event);
            let before = self.deliveries.insert(event.id, now.clone());
            if before.as_ref() != Some(&now) {
                changes.push(Change { event: event.clone(), is_new: before.is_none() });
            }
            if self.deliveries.len() > FOLLOWED_MAX {
                self.deliveries.pop_first();
            }
        }
        changes
    }
}

const GATHER_TIME: Duration = Duration::from_millis(100);
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// The most events whose deliveries are followed.
const FOLLOWED_MAX: usize = 100;
