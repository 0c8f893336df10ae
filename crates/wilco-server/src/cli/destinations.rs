//! `wilco destinations`: how they stand, and to stop one for a while.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, Listing, Place, Record, json_line, print, table};
use crate::admin::DestinationRow;

/// Lists destinations, pauses one, lets it go on
#[derive(Args)]
pub(super) struct Destinations {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    List(List),
    Pause(Pause),
    Resume(Resume),
}

/// Lists destinations: how each stands, and what waits for it
#[derive(Args)]
struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    listing: Listing,
}

/// Stops deliveries to a destination, also over restarts; events for it wait
#[derive(Args)]
struct Pause {
    #[command(flatten)]
    place: Place,
    /// The destination's name
    name: String,
}

/// Lets deliveries to a destination go on
#[derive(Args)]
struct Resume {
    #[command(flatten)]
    place: Place,
    /// The destination's name
    name: String,
}

impl Destinations {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.what {
            What::List(list) => list.run().await?,
            What::Pause(Pause { place, name }) => pause(&place, &name, true).await?,
            What::Resume(Resume { place, name }) => pause(&place, &name, false).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn pause(place: &Place, name: &str, is_paused: bool) -> Result<(), Failure> {
    let record = Record::open(place).await?;
    let done = record.pause(name, is_paused).await;
    record.close().await?;
    done?;
    let what = match is_paused {
        true => format!("paused; `wilco destinations resume {name}` lets it go on"),
        false => "goes on".into(),
    };
    print(&format!("{name} {what}\n"))
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let record = Record::open_read_only(&self.place).await?;
        let rows = record.destinations().await;
        record.close().await?;
        let mut rows = rows?;
        rows.truncate(self.listing.most());
        if self.listing.json {
            let lines = rows.iter().map(json_line).collect::<Result<String, _>>()?;
            return print(&lines);
        }
        if rows.is_empty() {
            return print("no destinations\n");
        }
        let header = ["destination", "type", "stands", "waiting", "running", "retrying", "dead"];
        let mut table = table(&header);
        for row in &rows {
            let [waiting, running, retrying, dead] =
                [row.waiting, row.running, row.retrying, row.dead].map(|count| count.to_string());
            let kind = row.kind.as_deref().unwrap_or("not in the file");
            let stands = stands(row);
            table.add_row([&row.destination, kind, &stands, &waiting, &running, &retrying, &dead]);
        }
        print(&format!("{}\n", table.trim_fmt()))
    }
}

fn stands(row: &DestinationRow) -> String {
    let left_alone = row.open_until.map(|until| {
        let until = until.to_string();
        let until = until.split('.').next().unwrap_or_default().trim_end_matches('Z');
        let time = until.split('T').nth(1).unwrap_or_default();
        format!("left alone until {time} UTC, {} failures", row.failures)
    });
    match (row.paused, left_alone) {
        (true, None) => "paused".into(),
        (true, Some(left_alone)) => format!("paused, {left_alone}"),
        (false, Some(left_alone)) => left_alone,
        (false, None) if row.failures > 0 => match row.failures {
            1 => "the last attempt failed".into(),
            failures => format!("the last {failures} attempts failed"),
        },
        (false, None) => "open".into(),
    }
}
