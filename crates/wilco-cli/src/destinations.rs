//! `wilco destinations`: lists, pauses and resumes destinations, and retries their deliveries at once.

use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use jiff::Timestamp;
use wilco::counted;
use wilco_server::{
    admin::{DestinationStatus, MadeDue},
    clock,
};

use super::{Column, Failure, ListingArgs, Record, Screen, StoreArgs, Table, json_line, print};

/// List, pause and resume destinations, and retry their deliveries
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
    Retry(Retry),
}

/// List destinations with their state and their unfinished deliveries
#[derive(Args)]
struct List {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

/// Pause a destination; it stays paused after a restart, and its deliveries wait
#[derive(Args)]
struct Pause {
    #[command(flatten)]
    store: StoreArgs,
    /// Destination name
    name: String,
}

/// Resume a paused destination
#[derive(Args)]
struct Resume {
    #[command(flatten)]
    store: StoreArgs,
    /// Destination name
    name: String,
}

/// Retry failed deliveries now instead of later, such as after a repair
///
/// If the circuit breaker is open, one is tried at its next probe, and then the others. Dead deliveries are
/// retried by `wilco failures retry`.
#[derive(Args)]
struct Retry {
    #[command(flatten)]
    store: StoreArgs,
    /// Destination name
    name: String,
}

impl Destinations {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::List(list) => list.run().await?,
            Verb::Pause(pause) => pause.run().await?,
            Verb::Resume(resume) => resume.run().await?,
            Verb::Retry(retry) => retry.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Pause {
    async fn run(self) -> Result<(), Failure> {
        let Self { store, name } = self;
        Record::write(&store, async |record| act(record, &name, "pause").await).await?;
        print(&format!("{name} paused; `wilco destinations resume {name}` resumes it\n"))
    }
}

impl Resume {
    async fn run(self) -> Result<(), Failure> {
        let Self { store, name } = self;
        Record::write(&store, async |record| act(record, &name, "resume").await).await?;
        print(&format!("{name} resumed\n"))
    }
}

impl Retry {
    async fn run(self) -> Result<(), Failure> {
        let Self { store, name } = self;
        let answer = Record::write(&store, async |record| act(record, &name, "retry").await);
        let MadeDue { made_due } = serde_json::from_slice(&answer.await?)?;
        match made_due {
            0 => print(&format!("no delivery to {name} waits for a retry\n")),
            _ => {
                print(&format!("{} due now\n", counted(made_due, "delivery is", "deliveries are")))
            }
        }
    }
}

/// Does something with a destination.
async fn act(record: &Record, name: &str, action: &str) -> Result<Bytes, Failure> {
    record.check_destination(name).await?;
    let path = format!("/api/v1/destinations/{}/{action}", percent_encoded(name));
    record.ask(Method::POST, &path, Bytes::new()).await
}

/// Encodes everything but what RFC 3986, section 2.3, calls unreserved.
fn percent_encoded(text: &str) -> String {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match is_unreserved(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let listed = Record::read(&self.store, async |record| record.destinations().await);
        let mut rows = listed.await?;
        let has_more = self.listing.shorten(&mut rows);
        if self.listing.json {
            let lines = rows.iter().map(json_line).collect::<Result<String, _>>()?;
            return print(&lines);
        }
        if rows.is_empty() {
            let text =
                "no destinations: events are recorded only; add [destination.NAME] to wilco.toml\n";
            return print(text);
        }
        let columns = [
            Column::name("destination"),
            Column::optional("type"),
            Column::state("state", 7),
            Column::number("pending"),
            Column::number("running"),
            Column::number("retrying"),
            Column::alarm("dead"),
            Column::wrapped("note", 12),
        ];
        let (screen, times) = (Screen::stdout(), self.store.times());
        let offset = times.offset(clock::now());
        let cells = rows.iter().map(|row| {
            let kind = row.kind.clone().unwrap_or_else(|| "-".into());
            let counts = [row.pending, row.running, row.retrying, row.dead];
            let mut cells = vec![row.destination.clone(), kind, state(row).into()];
            cells.extend(counts.map(|count| count.to_string()));
            cells.push(note(row, |until| times.cell(until, screen, &offset)));
            cells
        });
        print(&Table::new(columns, screen).draw(&cells.collect::<Vec<_>>()))?;
        if has_more {
            self.listing.note_more(rows.len());
        }
        Ok(())
    }
}

/// Whether deliveries are attempted, in a word.
fn state(row: &DestinationStatus) -> &'static str {
    match row {
        DestinationStatus { paused: true, .. } => "paused",
        DestinationStatus { open_until: Some(_), .. } => "open",
        DestinationStatus { asked_until: Some(_), .. } => "waiting",
        DestinationStatus { failures: 1.., .. } => "failing",
        _ => "ok",
    }
}

/// What the state is about.
fn note(row: &DestinationStatus, shown: impl Fn(Timestamp) -> String) -> String {
    let removed = row.kind.is_none().then(|| "no longer in the file".into());
    let waits = match (row.open_until, row.asked_until) {
        _ if row.paused => row.waits(&shown),
        (Some(until), _) => Some(format!("until {}", shown(until))),
        (None, Some(until)) => Some(format!("until {}, as its service asked", shown(until))),
        (None, None) => None,
    };
    let failures = match row.failures {
        0 => None,
        1 => Some("the last attempt failed".into()),
        failures => Some(format!("the last {failures} attempts failed")),
    };
    [removed, waits, failures].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
