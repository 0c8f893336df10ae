//! `wilco secrets`: which secrets are in use, and which can be removed.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use wilco_server::{admin::SecretStatus, clock};

use super::{
    Column, Failure, ListingArgs, Pages, Record, Screen, StoreArgs, Table, Times, json_line,
    known_instead, print,
};

/// Look at how often and when each secret matched
#[derive(Args)]
pub(crate) struct Secrets {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Status(Status),
}

/// Say for each secret whether it is in use or can be removed
///
/// Matches are counted by the name of a secret, since it was first in the configuration. A secret can be
/// removed if another one of its source has matched a day or more after its own last match.
#[derive(Args)]
struct Status {
    #[command(flatten)]
    store: StoreArgs,
    /// Only the secrets of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    listing: ListingArgs,
}

/// A secret, and what follows from its matches.
#[derive(Serialize)]
struct Judged {
    #[serde(flatten)]
    status: SecretStatus,
    can_be_removed: bool,
    verdict: String,
}

impl Secrets {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let Verb::Status(status) = self.verb;
        status.run().await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Status {
    async fn run(self) -> Result<(), Failure> {
        // What follows for a secret depends on the others of its source.
        let list = async |record: &Record| {
            Pages::of(record, "/api/v1/secrets", &(), usize::MAX)?.collect().await
        };
        let (secrets, _) = Record::read(&self.store, list).await?;
        let times = self.store.times();
        let offset = times.offset(clock::now());
        let mut judged = judge(&secrets, |at| times.short(at, &offset));
        if let Some(name) = &self.source {
            if judged.iter().all(|secret| secret.status.source != *name) {
                let known = judged.iter().map(|secret| secret.status.source.as_str());
                let hint = known_instead(name, known);
                return Err(Failure::failed(format!("source {name} not found{hint}")));
            }
            judged.retain(|secret| secret.status.source == *name);
        }
        let has_more = self.listing.shorten(&mut judged);
        if self.listing.json {
            return print(&judged.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        print(&table(&judged, &times, &offset))?;
        if has_more {
            self.listing.note_more(judged.len());
        }
        Ok(())
    }
}

fn judge(secrets: &[SecretStatus], shown: impl Fn(Timestamp) -> String) -> Vec<Judged> {
    let judged = secrets.iter().map(|status| {
        let others = secrets.iter().filter(|other| {
            other.source == status.source && other.secret_name != status.secret_name
        });
        let latest = others.filter_map(|other| other.last_match).max();
        let (can_be_removed, verdict) = verdict(status, latest, &shown);
        Judged { status: status.clone(), can_be_removed, verdict }
    });
    judged.collect()
}

/// Whether a secret can be removed, and why, given when another one of the source matched last.
fn verdict(
    status: &SecretStatus,
    latest_of_others: Option<Timestamp>,
    shown: impl Fn(Timestamp) -> String,
) -> (bool, String) {
    let unused_since = status.last_match.or(status.since);
    let quiet = unused_since.zip(latest_of_others).map(|(last, other)| other.duration_since(last));
    match (unused_since, status.others_matched_since) {
        (Some(since), others @ 1..) if quiet.is_some_and(|quiet| quiet >= QUIET_MIN) => {
            let times = if others == 1 { "once".into() } else { format!("{others} times") };
            let since = shown(since);
            (true, format!("can be removed: not used since {since}; another one matched {times}"))
        }
        _ if status.last_match.is_some() => (false, "in use".into()),
        (Some(since), 1..) => (false, format!("not used yet, since {}", shown(since))),
        _ => (false, format!("no secret of {} was used yet", status.source)),
    }
}

fn table(judged: &[Judged], times: &Times, offset: &str) -> String {
    if judged.is_empty() {
        return "no secrets: no source has one\n".into();
    }
    let screen = Screen::stdout();
    let columns = [
        Column::name("source"),
        Column::name("secret"),
        Column::number("matches"),
        Column::fixed(&times.title("last", screen, offset)),
        Column::wrapped("verdict", 12),
    ];
    let cells = judged.iter().map(|secret| {
        let SecretStatus { source, secret_name, matches, last_match, .. } = &secret.status;
        let last = last_match.map_or_else(|| "never".into(), |at| times.cell(at, screen, offset));
        vec![source.clone(), secret_name.clone(), matches.to_string(), last, secret.verdict.clone()]
    });
    Table::new(columns, screen).draw(&cells.collect::<Vec<_>>())
}

/// How long others have to match while a secret does not, before it is said that it can be removed.
const QUIET_MIN: SignedDuration = SignedDuration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_can_be_removed_once_another_one_has_taken_its_place_for_a_day() {
        let day = 86_400;
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let removable =
            |since| format!("can be removed: not used since {since}; another one matched 7 times");
        // When both secrets matched last, and what is said of the first. Both are known from the first day on.
        for (own, other, can_be_removed, expected) in [
            (Some(10 * day), Some(10 * day - 1), false, "in use".into()),
            (Some(9 * day), Some(10 * day), true, removable(at(9 * day))),
            (Some(9 * day + 1), Some(10 * day), false, "in use".into()),
            (Some(2 * day), None, false, "in use".into()),
            (None, Some(10 * day), true, removable(at(day))),
            (None, Some(2 * day - 1), false, format!("not used yet, since {}", at(day))),
            (None, None, false, "no secret of s was used yet".into()),
        ] {
            let status = |name: &str, last: Option<i64>, of_other: Option<i64>| SecretStatus {
                source: "s".into(),
                provider: "freispace".into(),
                path: "/s".into(),
                secret_name: name.into(),
                since: Some(at(day)),
                matches: if last.is_some() { 7 } else { 0 },
                first_match: last.map(at),
                last_match: last.map(at),
                others_matched_since: if of_other > last { 7 } else { 0 },
            };
            let secrets = [status("old", own, other), status("new", other, own)];
            let judged = judge(&secrets, |at| at.to_string());
            assert_eq!(judged[0].verdict, expected, "{own:?} {other:?}");
            assert_eq!(judged[0].can_be_removed, can_be_removed, "{own:?} {other:?}");
        }
    }
}
