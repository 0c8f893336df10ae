//! `wilco events replay`: delivers events again, with the current routes.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;
use wilco::{EventId, counted};
use wilco_server::admin::{
    ListEvents, PAGE_ITEMS_MAX, PayloadState, REPLAY_REASON, REPLAYED_EVENTS_MAX, ReplayRequest,
    Replayed, ReplayedEvent,
};

use super::EventRef;
use crate::{
    Column, Failure, Filter, Record, Screen, StoreArgs, Table, json_line, print, progress, rate,
    shown_ids,
};

/// Deliver events again, with the current routes
///
/// Each replay makes new deliveries, which show its reason; earlier deliveries stay as they are.
/// Name the events by their ids, choose them with --since, --until, --event, --source,
/// --destination or --dead, or take --all.
#[derive(Args)]
pub(super) struct Replay {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    filter: Filter,
    /// Event ids, their first characters, or latest
    #[arg(value_name = "ID", conflicts_with_all = ["source", "event", "since", "until", "all"])]
    ids: Vec<EventRef>,
    /// Replay every event
    #[arg(long)]
    all: bool,
    /// Only show what would be delivered where
    #[arg(long)]
    dry_run: bool,
    /// Replay at most this many events per second, such as 10/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,
    /// Reason, shown with each new delivery
    #[arg(long, value_name = "TEXT", default_value = REPLAY_REASON)]
    reason: String,
    /// Print one JSON object per line for each event
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.ids.is_empty() && !self.all && !self.filter.is_set() {
            let text = "choose events: name their ids, or use --since, --event, --dead and the like, \
                        or --all for every event";
            return Err(Failure::usage(text));
        }
        let events = Record::write(&self.store, async |record| {
            let ids = self.choose(record).await?;
            self.replay(record, &ids).await
        });
        self.report(&events.await?)
    }

    /// The events to replay, oldest first: they are delivered in that order.
    async fn choose(&self, record: &Record) -> Result<Vec<EventId>, Failure> {
        if let Some(name) = &self.filter.destination {
            record.check_destination(name).await?;
        }
        if self.ids.is_empty() {
            let ids = self.matching(record).await?;
            if ids.is_empty() {
                self.filter.check_names(record).await?;
            }
            return Ok(ids);
        }
        let mut ids = Vec::with_capacity(self.ids.len());
        for which in &self.ids {
            ids.push(which.resolve_recorded(record).await?);
        }
        Ok(ids)
    }

    /// The events that match the filter.
    async fn matching(&self, record: &Record) -> Result<Vec<EventId>, Failure> {
        let all = self.filter.query();
        let mut query = ListEvents {
            // A destination that gets an event for the first time has no delivery of it yet.
            destination: all.destination.clone().filter(|_| all.state.is_some()),
            after: Some(EventId::from_bits(0)),
            limit: Some(PAGE_ITEMS_MAX),
            ..all
        };
        let mut ids = Vec::new();
        loop {
            let page = record.events(&query).await?;
            ids.extend(page.items.iter().map(|event| event.id));
            if page.next.is_none() {
                return Ok(ids);
            }
            query.cursor = page.next;
        }
    }

    async fn replay(
        &self,
        record: &Record,
        ids: &[EventId],
    ) -> Result<Vec<ReplayedEvent>, Failure> {
        let bar = progress(ids.len() as u64);
        let began = Instant::now();
        let mut events = Vec::with_capacity(ids.len());
        // With a rate one by one, because a request for many would deliver them all at once.
        let batch = if self.rate.is_some() { 1 } else { BATCH_EVENTS };
        for ids in ids.chunks(batch) {
            if let Some(rate) = self.rate {
                #[expect(clippy::cast_precision_loss, reason = "a count of events")]
                let due = Duration::from_secs_f64(events.len() as f64 / rate);
                tokio::time::sleep_until(began + due).await;
            }
            let request = ReplayRequest {
                ids: ids.to_vec(),
                destination: self.filter.destination.clone(),
                dead: self.filter.is_dead(),
                dry_run: self.dry_run,
                reason: Some(self.reason.clone()),
            };
            let replayed: Replayed = record.post("/api/v1/replay", &request).await?;
            events.extend(replayed.events);
            bar.inc(ids.len() as u64);
        }
        bar.finish_and_clear();
        Ok(events)
    }

    fn report(&self, events: &[ReplayedEvent]) -> Result<(), Failure> {
        if self.json {
            return print(&events.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        if events.is_empty() {
            return print("no events that match\n");
        }
        if self.dry_run {
            print(&table(events))?;
        }
        let (taken, left): (Vec<_>, Vec<_>) =
            events.iter().partition(|event| !event.destinations.is_empty());
        let deliveries: usize = taken.iter().map(|event| event.deliveries).sum();
        let replayed = counted(taken.len(), "event", "events");
        let deliveries = counted(deliveries, "new delivery", "new deliveries");
        let would = if self.dry_run { "would be " } else { "" };
        let mut text = format!("{replayed} {would}replayed in {deliveries}");
        for why in [NO_ROUTE, DAMAGED, PRUNED, ERASED] {
            match left.iter().filter(|event| reason(event) == why).count() {
                0 => {}
                left => {
                    let left = counted(left, "event", "events");
                    text.push_str(&format!("\n{left} not replayed: {why}"));
                }
            }
        }
        print(&format!("{text}\n"))
    }
}

fn table(events: &[ReplayedEvent]) -> String {
    let screen = Screen::stdout();
    let ids = shown_ids(events.iter().map(|event| event.id), screen);
    let cells = events.iter().zip(ids).map(|(event, id)| {
        let to = match event.destinations.is_empty() {
            true => format!("nowhere: {}", reason(event)),
            false => event.destinations.join(", "),
        };
        vec![event.event.clone().unwrap_or_else(|| "-".into()), id, to]
    });
    let columns =
        [Column::text("event", 8), Column::name("id"), Column::wrapped("would go to", 24)];
    Table::new(columns, screen).draw(&cells.collect::<Vec<_>>())
}

/// Why an event goes nowhere.
fn reason(event: &ReplayedEvent) -> &'static str {
    match event.payload {
        PayloadState::Pruned => PRUNED,
        PayloadState::Erased => ERASED,
        PayloadState::Kept if event.damaged => DAMAGED,
        PayloadState::Kept => NO_ROUTE,
    }
}

const NO_ROUTE: &str = "no route matches now";
const DAMAGED: &str = "damaged";
const PRUNED: &str = "the payload was pruned";
const ERASED: &str = "erased";
/// Events that are replayed in one request.
const BATCH_EVENTS: usize = 100;
const _: () = assert!(BATCH_EVENTS <= REPLAYED_EVENTS_MAX);
