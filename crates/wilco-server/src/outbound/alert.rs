//! What wilco has to tell a person: something died, a destination is left alone, a source is silent, the
//! store is damaged.
//!
//! An alert is an event like any other, of a source of its own: recorded, delivered with retries, and
//! seen by `wilco events list`.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use wilco_store::{ALERTS, Alert, Attempt, Claim, OutboundStore};

use crate::config;

/// Tells, if the file says whom.
pub(crate) struct Alerts {
    store: Arc<dyn OutboundStore>,
    config: config::Alerts,
}

impl Alerts {
    pub(super) fn new(store: Arc<dyn OutboundStore>, config: config::Alerts) -> Self {
        Self { store, config }
    }

    /// A delivery was given up.
    pub(super) async fn dead(&self, claim: &Claim, attempt: &Attempt) {
        let event = claim.event();
        if event.source.as_str() == ALERTS {
            return; // an alert about an alert that did not arrive would not arrive either
        }
        let destination = claim.destination();
        let text = format!(
            "{} for {destination} is dead after {}: {}. See `wilco events show {}`.",
            event.name,
            attempts(claim.attempt()),
            attempt.result,
            event.id,
        );
        let data = json!({
            "destination": destination,
            "event_id": event.id.to_string(),
            "event": event.name,
            "attempts": claim.attempt(),
            "result": attempt.result,
        });
        self.tell(format!("dead:{destination}"), "alert.dead", &text, &data).await;
    }

    /// A destination only fails, and is left alone for a while.
    pub(super) async fn open(&self, destination: &str, failures: u32) {
        if destination == self.config.to {
            return;
        }
        let text = format!(
            "{destination} failed {failures} times in a row and is left alone for a while; what is \
             for it waits."
        );
        let data = json!({ "destination": destination, "failures": failures });
        self.tell(format!("open:{destination}"), "alert.open", &text, &data).await;
    }

    /// Nothing came from a source for longer than the file expects.
    pub(super) async fn silent(&self, source: &str, expected: Duration) {
        let text = format!("nothing has come from {source} for more than {}.", words(expected));
        let data = json!({ "source": source, "expect_every_s": expected.as_secs() });
        self.tell(format!("silent:{source}"), "alert.silent", &text, &data).await;
    }

    /// The records of so many events were found damaged, all together. Answers whether that is news.
    pub(super) async fn damaged(&self, count: u64) -> bool {
        let (events, are) =
            if count == 1 { ("1 event".into(), "is") } else { (format!("{count} events"), "are") };
        let text = format!(
            "the records of {events} {are} damaged: the disk has not kept what was written. What is \
             damaged is not delivered. See `wilco events list` and the log, check the disk, and have \
             the provider send these events again."
        );
        let data = json!({ "damaged_events": count });
        // A number is told once, over restarts too.
        let key = format!("damaged:{count}");
        self.record_alert(key, Duration::MAX, "alert.damaged", &text, &data).await
    }

    /// Damage in the write-ahead log has taken so many commits.
    pub(super) async fn lost(&self, commits: u64) {
        let text = format!(
            "damage in the write-ahead log of the store has taken {commits} commits or more, and \
             perhaps events that were acknowledged. See the log, check the disk, and have the provider \
             send the latest events again."
        );
        let data = json!({ "lost_commits": commits });
        self.tell("lost".into(), "alert.damaged", &text, &data).await;
    }

    async fn tell(&self, key: String, name: &str, text: &str, data: &serde_json::Value) {
        self.record_alert(key, self.config.every, name, text, data).await;
    }

    async fn record_alert(
        &self,
        key: String,
        every: Duration,
        name: &str,
        text: &str,
        data: &serde_json::Value,
    ) -> bool {
        let body = json!({ "type": "alert", "event": name, "text": text, "data": data });
        let alert = Alert {
            every,
            name: name.into(),
            to: self.config.to.clone(),
            body: body.to_string().into(),
            key,
        };
        match self.store.record_alert(alert).await {
            Ok(true) => {
                tracing::warn!(to = self.config.to, "alert: {text}");
                true
            }
            Ok(false) => false,
            Err(error) => {
                tracing::error!(%error, "an alert was not recorded: {text}");
                false
            }
        }
    }
}

fn attempts(number: u32) -> String {
    if number == 1 { "1 attempt".into() } else { format!("{number} attempts") }
}

fn words(time: Duration) -> String {
    match time.as_secs() {
        secs if secs >= 3_600 && secs.is_multiple_of(3_600) => format!("{} h", secs / 3_600),
        secs if secs >= 60 && secs.is_multiple_of(60) => format!("{} min", secs / 60),
        _ => format!("{} s", time.as_secs_f32()),
    }
}
