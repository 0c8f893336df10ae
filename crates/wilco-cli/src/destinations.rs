//! `wilco destinations`: their state, and pausing one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use wilco_server::admin::DestinationStatus;

use super::{Failure, Listing, Place, Record, Screen, Table, Times, json_line, print};

/// Lists, pauses and resumes destinations
#[derive(Args)]
pub(crate) struct Destinations {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(List),
    Pause(Pause),
    Resume(Resume),
}

/// Lists destinations with their state and their unfinished deliveries
#[derive(Args)]
struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    listing: Listing,
}

/// Pauses a destination; it stays paused after a restart, and its deliveries wait
#[derive(Args)]
struct Pause {
    #[command(flatten)]
    place: Place,
    /// The destination's name
    name: String,
}

/// Resumes a paused destination
#[derive(Args)]
struct Resume {
    #[command(flatten)]
    place: Place,
    /// The destination's name
    name: String,
}

impl Destinations {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::List(list) => list.run().await?,
            Verb::Pause(pause) => pause.run().await?,
            Verb::Resume(resume) => resume.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Pause {
    async fn run(self) -> Result<(), Failure> {
        let Self { place, name } = self;
        Record::write(&place, async |record| record.pause(&name).await).await?;
        print(&format!("{name} paused; `wilco destinations resume {name}` resumes it\n"))
    }
}

impl Resume {
    async fn run(self) -> Result<(), Failure> {
        let Self { place, name } = self;
        Record::write(&place, async |record| record.resume(&name).await).await?;
        print(&format!("{name} resumed\n"))
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let listed = Record::read(&self.place, async |record| record.destinations().await);
        let mut rows = listed.await?;
        rows.truncate(self.listing.most());
        if self.listing.json {
            let lines = rows.iter().map(json_line).collect::<Result<String, _>>()?;
            return print(&lines);
        }
        if rows.is_empty() {
            return print("no destinations\n");
        }
        let columns = [
            ("destination", 11),
            ("type", 7),
            ("state", 14),
            ("pending", 7),
            ("running", 7),
            ("retrying", 8),
            ("dead", 4),
        ];
        let times = self.place.times();
        let cells = rows.iter().map(|row| {
            let kind = row.kind.as_deref().unwrap_or("not in the file");
            let counts = [row.pending, row.running, row.retrying, row.dead];
            let mut cells = vec![row.destination.clone(), kind.into(), state(row, &times)];
            cells.extend(counts.map(|count| count.to_string()));
            cells
        });
        print(&Table::new(&columns, Screen::stdout()).draw(&cells.collect::<Vec<_>>()))
    }
}

/// In a word whether deliveries are attempted, and what keeps them from it.
fn state(row: &DestinationStatus, times: &Times) -> String {
    let failures = match row.failures {
        0 => String::new(),
        1 => ", the last attempt failed".into(),
        failures => format!(", the last {failures} attempts failed"),
    };
    match (row.paused, row.waits(|until| times.time(until))) {
        (true, None) => format!("paused{failures}"),
        (true, Some(waits)) => format!("paused, {waits}{failures}"),
        (false, Some(waits)) => format!("{waits}{failures}"),
        (false, None) => format!("ok{failures}"),
    }
}
