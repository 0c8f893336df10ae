//! `wilco events replay`: delivers events again, as the routes are now.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use tokio::time::Instant;
use wilco::EventId;
use wilco_server::admin::{ReplayAsk, ReplayRow};

use super::Which;
use crate::{
    Failure, Filter, PAGE, Page, Place, Record, Screen, Table, json_line, print, progress, rate,
};

/// Delivers events again, as the routes of the file are now
///
/// Each delivery that is made is a new one and names its reason; what is there stays as it is. Name
/// events by their ids, or choose them by --since, --until, --event, --source, --destination, --dead,
/// or take --all.
#[derive(Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// Ids of events, their first characters, or latest
    #[arg(value_name = "ID", conflicts_with_all = ["source", "event", "since", "until", "all"])]
    ids: Vec<Which>,
    /// All events
    #[arg(long)]
    all: bool,
    /// Says what would be delivered where, and does nothing
    #[arg(long)]
    dry_run: bool,
    /// At most this many events a second, such as 10/s
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,
    /// Why, in words; shown with each new delivery
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    reason: String,
    /// One JSON object a line, for each event
    #[arg(long)]
    json: bool,
}

impl ReplayArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let Filter { source, event, since, until, destination, dead } = &self.filter;
        let is_chosen = source.is_some()
            || event.is_some()
            || since.is_some()
            || until.is_some()
            || destination.is_some()
            || *dead
            || self.all;
        if self.ids.is_empty() && !is_chosen {
            let text = "say which events: by ids, or by --since, --event, --dead and the like; \
                        --all stands for all of them";
            return Err(Failure::usage(text.into()));
        }
        let record = Record::open(&self.place).await?;
        let replayed = self.replay(&record).await;
        record.close().await?;
        self.report(&replayed?)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn replay(&self, record: &Record) -> Result<Vec<ReplayRow>, Failure> {
        if let Some(name) = &self.filter.destination {
            record.check_destination(name).await?;
        }
        let mut ids = Vec::with_capacity(self.ids.len());
        for which in &self.ids {
            ids.push(which.resolve_recorded(record).await?);
        }
        if self.ids.is_empty() {
            ids = self.choose(record).await?;
        }
        if ids.is_empty() {
            record.check_names(&self.filter).await?;
        }
        let bar = progress(ids.len() as u64);
        let began = Instant::now();
        let mut rows = Vec::with_capacity(ids.len());
        // With a rate one by one, so that what follows is as even as was asked for.
        let part = if self.rate.is_some() { 1 } else { PART };
        for ids in ids.chunks(part) {
            if let Some(rate) = self.rate {
                #[expect(clippy::cast_precision_loss, reason = "a count of events")]
                let due = Duration::from_secs_f64(rows.len() as f64 / rate);
                tokio::time::sleep_until(began + due).await;
            }
            let ask = ReplayAsk {
                ids: ids.iter().map(ToString::to_string).collect(),
                destination: self.filter.destination.clone(),
                dead: self.filter.dead,
                dry_run: self.dry_run,
                reason: Some(self.reason.clone()),
            };
            rows.extend(record.replay(&ask).await?);
            bar.inc(ids.len() as u64);
        }
        bar.finish_and_clear();
        Ok(rows)
    }

    /// The ids of the events that the filter names, oldest first: in that order they are delivered.
    async fn choose(&self, record: &Record) -> Result<Vec<EventId>, Failure> {
        // A destination that gets an event for the first time has no delivery of it yet.
        let destination = self.filter.destination.clone().filter(|_| self.filter.dead);
        let filter = Filter { destination, ..self.filter.clone() };
        let mut ids = Vec::new();
        let mut after = EventId::from_bits(0);
        loop {
            let page = Page { after: Some(after), limit: PAGE, ..Page::default() };
            let rows = record.events(&filter, &page).await?;
            let is_last = rows.len() < PAGE;
            for row in rows {
                after = row.id.parse().map_err(|_| Failure::failed(format!("id {}", row.id)))?;
                ids.push(after);
            }
            if is_last {
                return Ok(ids);
            }
        }
    }

    fn report(&self, rows: &[ReplayRow]) -> Result<(), Failure> {
        if self.json {
            let lines = rows.iter().map(json_line).collect::<Result<String, _>>()?;
            return print(&lines);
        }
        let taken = rows.iter().filter(|row| !row.destinations.is_empty());
        if self.dry_run {
            let cells = rows.iter().map(|row| {
                let to = match row.destinations.is_empty() {
                    true => "nowhere: no route takes it there now".into(),
                    false => row.destinations.join(", "),
                };
                vec![row.event.clone(), row.id.clone(), to]
            });
            if !rows.is_empty() {
                let columns = [("event", 8), ("id", 30), ("would go to", 11)];
                let mut table = Table::new(&columns, Screen::stdout());
                print(&table.draw(&cells.collect::<Vec<_>>()))?;
            }
        }
        let deliveries: usize = rows.iter().map(|row| row.destinations.len()).sum();
        let count = |number: usize, one: &str, more: &str| match number {
            1 => format!("1 {one}"),
            number => format!("{number} {more}"),
        };
        let events = count(taken.count(), "event", "events");
        let deliveries = count(deliveries, "new delivery", "new deliveries");
        let left = rows.iter().filter(|row| row.destinations.is_empty()).count();
        let left = match left {
            0 => String::new(),
            left => format!("; {} no route takes there now", count(left, "event", "events")),
        };
        let would = if self.dry_run { "would be " } else { "" };
        print(&format!("{events} {would}replayed in {deliveries}{left}\n"))
    }
}

/// Events that are replayed in one request.
const PART: usize = 100;
const _: () = assert!(PART <= wilco_server::admin::REPLAYS_MAX);
