//! The inactivity check: alerts about sources that have been silent for too long.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco_delivery::{AlertPolicy, Expectation, Inactivity};
use wilco_store::OutboundStore;

use super::{Plan, record_alert};
use crate::clock;

/// Sends an alert about each source that has been silent for longer than expected, until `stop`.
pub(super) async fn run(
    store: Arc<dyn OutboundStore>,
    mut plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    let mut inactivity = Inactivity::new(clock::now());
    while !stop.is_cancelled() {
        let current = Arc::clone(&plan.borrow_and_update());
        let mut wait = Inactivity::LOOK_AGAIN;
        if let Some(alerts) = &current.alerts {
            for (source, every) in &current.expected {
                let source = source.as_str();
                let expected = Expectation { source, every: *every, alert_every: alerts.every };
                look(store.as_ref(), &mut inactivity, expected, alerts).await;
                wait = wait.min(inactivity.wait(source, clock::now()));
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            changed = plan.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Looks up the last event of a source if it is time to, and sends an alert if that was too long ago.
async fn look(
    store: &dyn OutboundStore,
    inactivity: &mut Inactivity,
    expected: Expectation<'_>,
    alerts: &AlertPolicy,
) {
    let (source, now) = (expected.source, clock::now());
    let Some(span) = inactivity.look(expected, now) else { return };
    match store.last_received(source, span.since, span.until).await {
        Ok(last) => {
            if inactivity.is_silent(expected, last, now) {
                record_alert(store, alerts.silent(source, expected.every)).await;
            }
        }
        Err(error) => {
            inactivity.look_failed(expected, now);
            tracing::warn!(source, %error, "cannot look up the last event of a source");
        }
    }
}
