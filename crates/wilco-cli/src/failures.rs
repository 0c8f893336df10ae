//! `wilco failures`: what failed, in groups, and delivering a group again.

use std::{cmp::Reverse, process::ExitCode};

use clap::{Args, Subcommand};
use wilco::counted;
use wilco_server::admin::{
    FailureGroup, FailureGroupPage, ListFailures, PAGE_ITEMS_MAX, RetriedFailures, RetryFailures,
};

use super::{
    Column, Failure, ListingArgs, Record, Screen, StoreArgs, Table, json_line, note, print,
};

/// List what failed by destination and error, and retry it
#[derive(Args)]
pub(crate) struct Failures {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(List),
    Retry(Retry),
}

/// List dead and retrying deliveries, grouped by destination and error
#[derive(Args)]
struct List {
    #[command(flatten)]
    store: StoreArgs,
    /// Only failures of this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    #[command(flatten)]
    listing: ListingArgs,
}

/// Deliver dead deliveries again, as the routes are now, oldest event first
#[derive(Args)]
struct Retry {
    #[command(flatten)]
    store: StoreArgs,
    /// Those of this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only those with this error, as `wilco failures list` shows it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Why; shown with each new delivery
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only print how many events would be delivered
    #[arg(long)]
    dry_run: bool,
}

impl Failures {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::List(list) => list.run().await?,
            Verb::Retry(retry) => retry.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        Record::read(&self.store, async |record| self.list(record).await).await
    }

    async fn list(&self, record: &Record) -> Result<(), Failure> {
        let (mut groups, is_at_least) = self.groups(record).await?;
        // Groups with the same numbers stay in the order of their names.
        groups.sort_by_key(|group| Reverse((group.dead, group.retrying)));
        let has_more = self.listing.shorten(&mut groups);
        if self.listing.json {
            return print(&groups.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        if groups.is_empty() && !has_more {
            if let Some(name) = &self.destination {
                record.check_destination(name).await?;
            }
            return print("no failures: nothing is dead or retrying\n");
        }
        let (screen, times) = (Screen::stdout(), self.store.times());
        let newest = groups.iter().map(|group| group.last_at).max().unwrap_or_default();
        let offset = times.offset(newest);
        let columns = [
            Column::name("destination"),
            Column::alarm("dead"),
            Column::number("retrying"),
            Column::fixed(&times.title("last", screen, &offset)),
            Column::wrapped("error", 12),
        ];
        let cells = groups.iter().map(|group| {
            let FailureGroup { destination, dead, retrying, last_at, error, .. } = group;
            let last = times.cell(*last_at, screen, &offset);
            vec![destination.clone(), dead.to_string(), retrying.to_string(), last, error.clone()]
        });
        print(&Table::new(columns, screen).draw(&cells.collect::<Vec<_>>()))?;
        if has_more {
            self.listing.note_more(groups.len());
        }
        if is_at_least {
            note("there may be more: only the newest failures of each destination were counted");
        }
        if groups.iter().any(|group| group.dead > 0) {
            note("`wilco failures retry --destination NAME` delivers the dead ones again");
        }
        Ok(())
    }
}

impl List {
    /// Every group, and whether there may be more. Those with the most dead deliveries can be on any page.
    async fn groups(&self, record: &Record) -> Result<(Vec<FailureGroup>, bool), Failure> {
        let (destination, limit) = (self.destination.clone(), Some(PAGE_ITEMS_MAX));
        let mut query = ListFailures { destination, limit, cursor: None };
        let (mut groups, mut is_at_least) = (Vec::new(), false);
        loop {
            let page: FailureGroupPage = record.get_with("/api/v1/failures", &query).await?;
            groups.extend(page.items);
            is_at_least |= page.at_least;
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok((groups, is_at_least));
            }
        }
    }
}

impl Retry {
    async fn run(self) -> Result<(), Failure> {
        Record::write(&self.store, async |record| self.retry(record).await).await
    }

    async fn retry(&self, record: &Record) -> Result<(), Failure> {
        let Some(destination) = &self.destination else {
            let names = record.destinations().await?;
            let names: Vec<_> = names.iter().map(|known| known.destination.as_str()).collect();
            let names = names.join(", ");
            return Err(Failure::usage(format!(
                "choose a destination with --destination: {names}"
            )));
        };
        record.check_destination(destination).await?;
        let mut request = RetryFailures {
            destination: destination.clone(),
            error: self.error.clone(),
            dry_run: self.dry_run,
            reason: self.reason.clone(),
            after: None,
        };
        let mut all = RetriedFailures::default();
        loop {
            let part: RetriedFailures = record.post("/api/v1/failures/retry", &request).await?;
            all.events += part.events;
            all.deliveries += part.deliveries;
            all.left_out += part.left_out;
            request.after = part.next;
            if request.after.is_none() {
                break;
            }
        }
        if all.events == 0 && all.left_out == 0 {
            let with = if self.error.is_some() { " with this error" } else { "" };
            return print(&format!("{destination} has no dead deliveries{with}\n"));
        }
        let would = if self.dry_run { "would be " } else { "" };
        let mut text = format!(
            "{} {would}retried in {}",
            counted(all.events, "event", "events"),
            counted(all.deliveries, "new delivery", "new deliveries"),
        );
        if all.left_out > 0 {
            text += &format!(
                "; {} left out: no route takes them there now, or their payload is not there",
                counted(all.left_out, "event", "events"),
            );
        }
        print(&format!("{text}\n"))
    }
}
