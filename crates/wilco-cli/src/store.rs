//! `wilco store`: how much the store has.

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use wilco_server::{
    admin::{KeptFor, StoreContents},
    config,
    readable::size,
};

use super::{Failure, Record, StoreArgs, Times, json_line, print};

/// See how much the store has, and since when
#[derive(Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Status(Status),
}

/// Show sizes, ages, and how long events are kept
#[derive(Args)]
struct Status {
    #[command(flatten)]
    store: StoreArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Store {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::Status(status) => status.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Status {
    async fn run(self) -> Result<(), Failure> {
        let contents = Record::read(&self.store, async |record| {
            let answer = record.ask(Method::GET, "/api/v1/store", Bytes::new()).await?;
            Ok(serde_json::from_slice::<StoreContents>(&answer)?)
        });
        let contents = contents.await?;
        if self.json {
            return print(&json_line(&contents)?);
        }
        print(&picture(&contents, &self.store.times()))
    }
}

fn picture(contents: &StoreContents, times: &Times) -> String {
    let StoreContents { events, payloads, body_bytes, rejections, rejection_bytes, .. } = contents;
    let since = |at: Option<jiff::Timestamp>| {
        at.map_or_else(String::new, |at| format!(", since {}", times.full(at)))
    };
    let mut rows = vec![
        ("events", format!("{events}{}", since(contents.oldest_event_at))),
        (
            "payloads",
            format!("{payloads}, {}{}", size(*body_bytes), since(contents.oldest_payload_at)),
        ),
        ("rejections", format!("{rejections}, {}", size(*rejection_bytes))),
    ];
    if let Some(bytes) = contents.store_bytes {
        rows.push(("file", size(bytes)));
    }
    rows.extend(contents.wal_bytes.map(|bytes| ("log", size(bytes))));
    // What was written last is still in the log, so this may be more than the file has.
    rows.push(("unused", format!("{}, for new events", size(contents.unused_bytes))));
    if let Some(through) = contents.overwritten_through {
        rows.push(("removed", format!("overwritten up to {}", times.full(through))));
    }
    if let Some(bytes) = contents.free_bytes {
        let reserve = contents
            .reserve_bytes
            .filter(|reserve| *reserve > 0)
            .map_or_else(String::new, |reserve| {
                format!("; below {} nothing is recorded", size(reserve))
            });
        rows.push(("disk", format!("{} free{reserve}", size(bytes))));
    }
    if let Some(KeptFor { payloads_secs, records_secs }) = contents.kept {
        let (payloads, records) = (age(payloads_secs), age(records_secs));
        rows.push(("kept", format!("payloads {payloads}, records {records}")));
    }
    rows.iter().map(|(name, value)| format!("{name:<10}  {value}\n")).collect()
}

/// How long something is kept.
fn age(secs: Option<u64>) -> String {
    secs.map_or_else(|| "forever".into(), |secs| config::format_duration(Duration::from_secs(secs)))
}
