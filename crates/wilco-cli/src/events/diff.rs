//! `wilco events diff`: what another configuration would deliver about recorded events.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::Args;
use serde::Serialize;
use wilco::{Event, EventId, counted};
use wilco_server::{
    clock, config,
    forecast::{Change, Difference, Forecast, PartDifference, differences},
    service::KINDS,
};
use wilco_store::{AdminStore as _, EventQuery, EventSummary, SqliteStore, Store as _, StoreError};

use crate::{
    Column, Failure, Filter, Screen, Table, json_line, known_instead, note, print, require_store,
    visible,
};

/// Show how another configuration would deliver recorded events, without delivering any
///
/// Compares each event's deliveries under two files, as both would route it now: deliveries that are
/// added or gone, and those whose message, body, headers, order or debounce would be different.
/// Exits with 0 if there is no difference, and with 1 if there is one.
#[derive(Args)]
pub(super) struct Diff {
    /// Configuration file to try
    #[arg(long = "config", value_name = "CANDIDATE")]
    candidate: PathBuf,
    /// Configuration file to compare it with [default: ./wilco.toml, else /etc/wilco/wilco.toml]
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Store with the events; wilco may be running on it [default: the store of the file that is
    /// compared with]
    #[arg(long = "store", value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Compare at most this many of the newest events
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Compare all events
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print only the summary
    #[arg(long)]
    summary: bool,
    /// Print one JSON object per line for each difference, then one with the summary
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let against = config::find(self.against.as_deref()).ok_or_else(|| {
            let text = "no wilco.toml found here or in /etc/wilco to compare with; name it with \
                        --against";
            Failure::configuration(text)
        })?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => config::places(Some(&against), KINDS)?.store.url,
        };
        let current = Forecast::read(&against, KINDS)?;
        let candidate = Forecast::read(&self.candidate, KINDS)?;
        for why in current.unresolved().iter().chain(candidate.unresolved()) {
            note(&format!("not compared, because a setting is missing here: {why}"));
        }
        self.check_destination(&current, &candidate)?;
        require_store(SqliteStore::path(&url)?, self.url.is_some(), "")?;
        let store = SqliteStore::open_read_only(&url, clock::system())?;
        let compared = self.compare(&store, &current, &candidate).await;
        store.close().await?;
        let summary = compared?;
        print(&if self.json { json_line(&summary.line())? } else { summary.in_words() })?;
        Ok(if summary.differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn check_destination(&self, current: &Forecast, candidate: &Forecast) -> Result<(), Failure> {
        let known = || current.destinations().chain(candidate.destinations());
        match &self.filter.destination {
            Some(name) if !known().any(|known| known == name) => {
                let hint = known_instead(name, known());
                Err(Failure::failed(format!("destination {name} not found{hint}")))
            }
            _ => Ok(()),
        }
    }

    /// Compares the events, newest first, and prints their differences.
    async fn compare(
        &self,
        store: &SqliteStore,
        current: &Forecast,
        candidate: &Forecast,
    ) -> Result<Summary, Failure> {
        let events_max = if self.all { usize::MAX } else { self.limit };
        let mut summary = Summary::default();
        let mut before: Option<EventId> = None;
        while summary.seen() < events_max {
            let page = store.events(self.query(before, events_max - summary.seen())).await?;
            for listed in page.events {
                let event = match store.event(listed.id).await {
                    Ok(Some(found)) => found.event,
                    Ok(None) => continue,
                    Err(StoreError::Pruned(_)) => {
                        summary.without_payload += 1;
                        continue;
                    }
                    Err(StoreError::Damaged(_)) => {
                        summary.damaged += 1;
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                let mut found = differences(current, candidate, &event);
                let only = self.filter.destination.as_ref();
                found.retain(|found| only.is_none_or(|only| found.destination == *only));
                summary.add(&found);
                if !self.summary && !found.is_empty() {
                    print(&self.draw(&event, &listed, &found)?)?;
                }
            }
            before = page.rest;
            if before.is_none() {
                break;
            }
        }
        Ok(summary)
    }

    fn query(&self, before: Option<EventId>, left: usize) -> EventQuery {
        let all = EventQuery::from(self.filter.query());
        EventQuery {
            // What a destination would get for the first time has no delivery to it yet.
            destination: all.destination.clone().filter(|_| all.state.is_some()),
            before,
            limit: left.min(PAGE_EVENTS),
            ..all
        }
    }

    fn draw(
        &self,
        event: &Event,
        listed: &EventSummary,
        found: &[Difference],
    ) -> Result<String, Failure> {
        if self.json {
            let (event_id, event) = (event.id, &*event.name);
            let line = |difference| json_line(&Line { event_id, event, difference });
            return found.iter().map(line).collect();
        }
        let about = listed.title.as_ref().or(listed.subject.as_ref());
        let about = about.map_or_else(String::new, |about| format!("  {}", visible(about)));
        let mut text = format!("{}  {}{about}\n", event.id, visible(&event.name));
        for difference in found {
            text += &in_words(difference);
        }
        Ok(text + "\n")
    }
}

/// A line of JSON about a difference.
#[derive(Serialize)]
struct Line<'d> {
    event_id: EventId,
    event: &'d str,
    #[serde(flatten)]
    difference: &'d Difference,
}

/// How many events were compared, and how many deliveries differ.
#[derive(Default)]
struct Summary {
    compared: usize,
    differing: usize,
    without_payload: usize,
    damaged: usize,
    /// Added, gone and changed deliveries by destination and route.
    counts: BTreeMap<(String, Option<usize>), [usize; 3]>,
}

/// The last line of JSON.
#[derive(Serialize)]
struct SummaryLine {
    compared: usize,
    differing: usize,
    without_payload: usize,
    damaged: usize,
    summary: Vec<Counts>,
}

#[derive(Serialize)]
struct Counts {
    destination: String,
    route: Option<usize>,
    added: usize,
    gone: usize,
    changed: usize,
}

impl Summary {
    fn seen(&self) -> usize {
        self.compared + self.without_payload + self.damaged
    }

    fn add(&mut self, found: &[Difference]) {
        self.compared += 1;
        self.differing += usize::from(!found.is_empty());
        for Difference { destination, route, change, .. } in found {
            let [added, gone, changed] =
                self.counts.entry((destination.clone(), *route)).or_default();
            *match change {
                Change::Added => added,
                Change::Gone => gone,
                Change::Changed => changed,
            } += 1;
        }
    }

    fn line(&self) -> SummaryLine {
        let counts = self.counts.iter();
        let counts = counts.map(|((destination, route), [added, gone, changed])| Counts {
            destination: destination.clone(),
            route: *route,
            added: *added,
            gone: *gone,
            changed: *changed,
        });
        let Self { compared, differing, without_payload, damaged, .. } = *self;
        SummaryLine { compared, differing, without_payload, damaged, summary: counts.collect() }
    }

    fn in_words(&self) -> String {
        let mut text = String::new();
        if !self.counts.is_empty() {
            let rows = self.counts.iter().map(|((destination, route), counts)| {
                let route = route.map_or_else(|| "-".into(), |route| route.to_string());
                let counts = counts.iter().map(ToString::to_string);
                [destination.clone(), route].into_iter().chain(counts).collect()
            });
            let columns = [
                Column::name("destination"),
                Column::number("route"),
                Column::number("added"),
                Column::number("gone"),
                Column::number("changed"),
            ];
            text += &Table::new(columns, Screen::stdout()).draw(&rows.collect::<Vec<_>>());
            text.push('\n');
        }
        let compared = counted(self.compared, "event", "events");
        let differing = match self.differing {
            0 => "no difference".into(),
            1 => "1 would be delivered differently".into(),
            differing => format!("{differing} would be delivered differently"),
        };
        text += &format!("{compared} compared: {differing}");
        for (count, why) in
            [(self.without_payload, "its payload was removed"), (self.damaged, "it is damaged")]
        {
            if count > 0 {
                text += &format!("; {} not compared: {why}", counted(count, "event", "events"));
            }
        }
        text + "\n"
    }
}

/// The difference as `diff` would show it.
fn in_words(difference: &Difference) -> String {
    let Difference { destination, item, change, route, parts } = difference;
    let (sign, change) = match change {
        Change::Added => ('+', "added"),
        Change::Gone => ('-', "gone"),
        Change::Changed => ('~', "changed"),
    };
    let item = item.map_or_else(String::new, |item| format!(" item {item}"));
    let route = route.map_or_else(String::new, |route| format!(" (route {route})"));
    let mut text = format!("{sign} {destination}{item}: {change}{route}\n");
    for PartDifference { name, before, after } in parts {
        text += &format!("    {}\n", visible(name));
        for (sign, value) in [('-', before), ('+', after)] {
            let lines = value.iter().flat_map(|value| value.split('\n'));
            text.extend(lines.map(|line| format!("    {sign} {}\n", visible(line))));
        }
    }
    text
}

/// Events that are listed at once.
const PAGE_EVENTS: usize = 200;
