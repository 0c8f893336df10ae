//! `wilco secrets`: which secrets are in use, and which can be removed.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use wilco_server::{
    admin::{SecretStatus, Secrets as Listed},
    clock,
};

use super::{Failure, Record, Screen, StoreArgs, Table, Times, did_you_mean, json_line, print};

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

/// Say for each secret whether it is in use or can be removed, as far as the running wilco has seen
///
/// Matches are counted since wilco started. A secret can be removed once it has not matched for a day
/// although another one of its source has.
#[derive(Args)]
struct Status {
    #[command(flatten)]
    store: StoreArgs,
    /// Only the secrets of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// A secret, and what follows from its matches.
#[derive(Serialize)]
struct Judged {
    #[serde(flatten)]
    status: SecretStatus,
    /// Since when matches are counted.
    since: Timestamp,
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
        let get = async |record: &Record| record.get::<Listed>("/api/v1/secrets").await;
        let listed = Record::read(&self.store, get).await?;
        let mut judged = judge(listed, clock::now());
        if let Some(name) = &self.source {
            let known: Vec<_> = judged.iter().map(|secret| secret.status.source.clone()).collect();
            if !known.contains(name) {
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                return Err(Failure::failed(format!("source {name} not found{hint}")));
            }
            judged.retain(|secret| secret.status.source == *name);
        }
        if self.json {
            return print(&judged.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        print(&table(&judged, &self.store.times()))
    }
}

fn judge(listed: Listed, now: Timestamp) -> Vec<Judged> {
    let Listed { since, secrets } = listed;
    let judged = secrets.iter().map(|status| {
        let is_other = |other: &&SecretStatus| {
            other.source == status.source && other.secret_name != status.secret_name
        };
        let latest = secrets.iter().filter(is_other).filter(|other| other.last_match.is_some());
        let latest = latest.max_by_key(|other| other.last_match);
        let (can_be_removed, verdict) = verdict(status, latest, since, now);
        Judged { status: status.clone(), since, can_be_removed, verdict }
    });
    judged.collect()
}

/// Whether a secret can be removed, and why, given the one of the same source that matched last.
fn verdict(
    status: &SecretStatus,
    latest: Option<&SecretStatus>,
    since: Timestamp,
    now: Timestamp,
) -> (bool, String) {
    let quiet = now.duration_since(status.last_match.unwrap_or(since)).unsigned_abs();
    let matched_later = latest.filter(|other| other.last_match > status.last_match);
    match (status.last_match, matched_later) {
        (_, Some(other)) if quiet >= QUIET_MIN => {
            let (name, matches) = (&other.secret_name, other.matches);
            let times = if matches == 1 { "once".into() } else { format!("{matches} times") };
            (true, format!("can be removed: unused for {}; {name} matched {times}", rough(quiet)))
        }
        (None, Some(_)) => (false, format!("not used yet, for {}", rough(quiet))),
        (None, None) => (false, "not used yet, and no other of its source either".into()),
        (Some(_), _) => (false, "in use".into()),
    }
}

/// `12 days`, `3 hours`.
fn rough(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn table(judged: &[Judged], times: &Times) -> String {
    let Some(first) = judged.first() else { return "no secrets\n".into() };
    let offset = times.offset(clock::now());
    let columns =
        [("source", 6), ("secret", 16), ("matches", 7), ("last match", 19), ("verdict", 6)];
    let cells = judged.iter().map(|secret| {
        let SecretStatus { source, secret_name, matches, last_match, .. } = &secret.status;
        let last = last_match.map_or_else(|| "never".into(), |at| times.short(at, &offset));
        vec![source.clone(), secret_name.clone(), matches.to_string(), last, secret.verdict.clone()]
    });
    let rows = Table::new(&columns, Screen::stdout()).draw(&cells.collect::<Vec<_>>());
    format!("{rows}\ncounted since wilco started: {}\n", times.full(first.since))
}

/// How long a secret has to be unused before it is said that it can be removed.
const QUIET_MIN: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_can_be_removed_once_another_one_has_taken_its_place_for_a_day() {
        let day = 86_400;
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        // When both secrets matched last, and what is said of the first.
        for (own, other, can_be_removed, expected) in [
            (Some(10 * day), Some(10 * day - 1), false, "in use"),
            (
                Some(9 * day),
                Some(10 * day),
                true,
                "can be removed: unused for 24 hours; new matched 7 times",
            ),
            (Some(9 * day + 1), Some(10 * day), false, "in use"),
            (
                Some(2 * day),
                Some(10 * day),
                true,
                "can be removed: unused for 8 days; new matched 7 times",
            ),
            (Some(2 * day), None, false, "in use"),
            (None, Some(10 * day), true, "can be removed: unused for 10 days; new matched 7 times"),
            (None, None, false, "not used yet, and no other of its source either"),
        ] {
            let status = |name: &str, last: Option<i64>| SecretStatus {
                source: "s".into(),
                provider: "freispace".into(),
                path: "/s".into(),
                secret_name: name.into(),
                matches: if last.is_some() { 7 } else { 0 },
                first_match: last.map(at),
                last_match: last.map(at),
            };
            let secrets = vec![status("old", own), status("new", other)];
            let judged = judge(Listed { since: at(0), secrets }, at(10 * day));
            assert_eq!(judged[0].verdict, expected, "{own:?} {other:?}");
            assert_eq!(judged[0].can_be_removed, can_be_removed, "{own:?} {other:?}");
        }
    }
}
