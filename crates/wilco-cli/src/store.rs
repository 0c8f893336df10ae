//! `wilco store`: how much the store has.

use std::process::ExitCode;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use wilco_server::admin::{KeptFor, StoreContents};

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
    if let Some(bytes) = contents.free_bytes {
        let reserve = contents.reserve_bytes.map_or_else(String::new, |reserve| {
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
    match secs {
        None => "forever".into(),
        Some(secs) if secs > 0 && secs.is_multiple_of(86_400) => match secs / 86_400 {
            1 => "1 day".into(),
            days => format!("{days} days"),
        },
        Some(secs) if secs > 0 && secs.is_multiple_of(3_600) => format!("{} h", secs / 3_600),
        Some(secs) => format!("{secs} s"),
    }
}

/// A size for people.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, bits)| bytes >> bits > 0) {
        #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
        Some((unit, bits)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << bits) as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        for (secs, expected) in [
            (None, "forever"),
            (Some(30 * 86_400), "30 days"),
            (Some(86_400), "1 day"),
            (Some(7_200), "2 h"),
            (Some(90), "90 s"),
            (Some(0), "0 s"),
        ] {
            assert_eq!(age(secs), expected);
        }
    }
}
