//! Logs and counts deliveries.

use jiff::Timestamp;
use wilco_delivery::{Conclusion, Report};
use wilco_destinations::legible;
use wilco_store::Outcome;

use crate::{clock, metrics::Metrics};

/// Logs a report of a worker and updates the metrics.
pub(crate) fn log_report(destination: &str, metrics: &Metrics, report: &Report) {
    match report {
        Report::Opened { is_breaker_open } => metrics.breaker(destination, *is_breaker_open),
        Report::DeliveriesWait(error) => {
            tracing::warn!(destination, %error, "deliveries wait because the store failed");
        }
        Report::OutcomeWaits(error) => {
            tracing::warn!(destination, %error, "cannot write an outcome yet");
        }
        Report::LeasesWait(error) => {
            tracing::warn!(destination, %error, "cannot renew the leases of attempts");
        }
        Report::Settled(conclusion) => settled(destination, metrics, conclusion),
        Report::Dropped(conclusion) => {
            let (id, attempt) = (conclusion.claim.event().id, conclusion.claim.attempt());
            tracing::warn!(%id, destination, attempt, "outcome dropped: the attempt no longer holds its delivery");
        }
        Report::Lost(conclusion) => {
            let (id, attempt) = (conclusion.claim.event().id, conclusion.claim.attempt());
            tracing::warn!(%id, destination, attempt, "outcome lost: the store is closed, and the attempt will be repeated");
        }
        Report::BreakerOpened { failures, until } => {
            tracing::warn!(destination, failures, %until, "destination paused by circuit breaker");
            metrics.breaker(destination, true);
        }
        Report::BreakerClosed => {
            tracing::info!(destination, "circuit breaker closed: deliveries continue");
            metrics.breaker(destination, false);
        }
        Report::AskedToWait { until } => {
            tracing::warn!(destination, %until, "destination asked to wait (retry-after)");
        }
    }
}

fn settled(destination: &str, metrics: &Metrics, conclusion: &Conclusion) {
    let Conclusion { claim, attempt: tried, outcome, .. } = conclusion;
    let (id, event) = (claim.event().id, legible(&claim.event().name));
    let item = claim.event().item;
    let (attempt, result) = (claim.attempt(), &tried.result);
    let millis = u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX);
    let said = first_line(&tried.output);
    let said = said.as_deref();
    let word = match outcome {
        Outcome::Delivered => {
            tracing::info!(event, %id, item, destination, attempt, millis, "event delivered");
            "delivered"
        }
        Outcome::Retry { after, .. } => {
            let next = clock::now().checked_add(*after).unwrap_or(Timestamp::MAX);
            tracing::warn!(event, %id, item, destination, attempt, millis, result, said, %next, "delivery failed");
            "failed"
        }
        Outcome::Dead { .. } => {
            tracing::error!(event, %id, item, destination, attempt, millis, result, said, "delivery is dead");
            "dead"
        }
        Outcome::Skipped => {
            tracing::info!(event, %id, item, destination, "delivery skipped: no route takes the event");
            "skipped"
        }
    };
    metrics.attempted(destination, word, tried.took);
}

/// The first line of a destination's output, as it is logged.
fn first_line(output: &[u8]) -> Option<String> {
    let output = String::from_utf8_lossy(output);
    output.trim_start().lines().next().map(legible)
}
