//! Alerts: a delivery is dead, a destination is paused by its circuit breaker, a source
//! is silent, the store is damaged.
//!
//! An alert is an event like any other, of a separate source: recorded, delivered with retries, and
//! listed by `wilco events list`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use wilco::counted;
use wilco_store::{ALERTS, Alert};

use crate::effect::Conclusion;

/// Where alerts go, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertPolicy {
    /// The name of the destination.
    pub to: String,
    /// The shortest time between two alerts about the same destination or source.
    pub every: Duration,
}

/// An alert, and its text, which is logged too.
#[derive(Clone, Debug)]
pub struct LoggedAlert {
    /// What it says.
    pub text: String,
    /// The alert itself.
    pub alert: Alert,
}

impl AlertPolicy {
    /// A delivery is dead. `None` if it was itself an alert: an alert about an alert that did not
    /// arrive would not arrive either.
    pub fn dead(&self, conclusion: &Conclusion) -> Option<LoggedAlert> {
        let Conclusion { claim, attempt, .. } = conclusion;
        let event = claim.event();
        if event.source.as_str() == ALERTS {
            return None;
        }
        let destination = claim.destination();
        let item = event.item.map_or_else(String::new, |item| format!(", item {item},"));
        let text = format!(
            "{}{item} for {destination} is dead after {}: {}. See `wilco events show {}`.",
            event.name,
            counted(claim.attempt(), "attempt", "attempts"),
            attempt.result,
            event.id,
        );
        let mut data = json!({
            "destination": destination,
            "event_id": event.id.to_string(),
            "event": event.name,
            "attempts": claim.attempt(),
            "result": attempt.result,
        });
        if let Some(item) = event.item {
            data["item"] = item.into();
        }
        Some(self.alert(format!("dead:{destination}"), "alert.dead", &text, &data))
    }

    /// A destination is paused by its circuit breaker. `None` if alerts go to that destination.
    pub fn breaker_opened(&self, destination: &str, failures: u32) -> Option<LoggedAlert> {
        if destination == self.to {
            return None;
        }
        let text = format!(
            "{destination} had {} in a row, so its circuit breaker is open; its deliveries wait.",
            counted(failures, "failure", "failures"),
        );
        let data = json!({ "destination": destination, "failures": failures });
        Some(self.alert(format!("open:{destination}"), "alert.open", &text, &data))
    }

    /// A source has been silent for longer than the file expects.
    pub fn silent(&self, source: &str, expected: Duration) -> LoggedAlert {
        let text =
            format!("nothing has arrived from {source} for more than {}.", format_wait(expected));
        let data = json!({ "source": source, "expect_every_s": expected.as_secs() });
        self.alert(format!("silent:{source}"), "alert.silent", &text, &data)
    }

    /// A provider could not be asked for what never arrived.
    pub fn backfill_failed(&self, source: &str, error: &str) -> LoggedAlert {
        let text = format!(
            "what never arrived from {source} cannot be taken in: {error}. See `wilco backfill --status`."
        );
        let data = json!({ "source": source, "error": error });
        self.alert(format!("backfill:{source}"), "alert.backfill", &text, &data)
    }

    /// The authority has not issued a certificate for these domains. `until` is when the one in use ends.
    pub fn certificate_not_obtained(
        &self,
        domains: &str,
        error: &str,
        until: Option<Timestamp>,
    ) -> LoggedAlert {
        let in_use = match until {
            Some(until) => format!("The one in use ends at {until}."),
            None => "There is none, so that nothing can be received.".into(),
        };
        let text = format!("no certificate could be obtained for {domains}: {error}. {in_use}");
        let data = json!({
            "domains": domains,
            "error": error,
            "in_use_until": until.map(|until| until.to_string()),
        });
        self.alert("certificate".into(), "alert.certificate", &text, &data)
    }

    /// The records of `count` events are damaged, counted since the store was created. Each count is
    /// reported once, even across restarts.
    pub fn damaged(&self, count: u64) -> LoggedAlert {
        let events = counted(count, "event", "events");
        let are = if count == 1 { "is" } else { "are" };
        let text = format!(
            "the records of {events} {are} damaged: the disk has not kept what was written. Damaged events \
             are not delivered. See `wilco events list` and the log, check the disk, and have the \
             provider send these events again."
        );
        let data = json!({ "damaged_events": count });
        let mut alert = self.alert(format!("damaged:{count}"), "alert.damaged", &text, &data);
        alert.alert.every = Duration::MAX;
        alert
    }

    /// Damage in the write-ahead log has destroyed at least this many commits.
    pub fn lost(&self, commits: u64) -> LoggedAlert {
        let text = format!(
            "damage in the write-ahead log of the store has destroyed at least {}, and perhaps \
             acknowledged events. See the log, check the disk, and have the provider send the latest \
             events again.",
            counted(commits, "commit", "commits"),
        );
        let data = json!({ "lost_commits": commits });
        self.alert("lost".into(), "alert.damaged", &text, &data)
    }

    fn alert(&self, key: String, name: &str, text: &str, data: &Value) -> LoggedAlert {
        let body = json!({ "type": "alert", "event": name, "text": text, "data": data });
        let alert = Alert {
            every: self.every,
            name: name.into(),
            to: self.to.clone(),
            body: body.to_string().into(),
            key,
        };
        LoggedAlert { text: text.into(), alert }
    }
}

fn format_wait(time: Duration) -> String {
    match time.as_secs() {
        secs if secs >= 3_600 && secs.is_multiple_of(3_600) => format!("{} h", secs / 3_600),
        secs if secs >= 60 && secs.is_multiple_of(60) => format!("{} min", secs / 60),
        _ => format!("{} s", time.as_secs_f32()),
    }
}
