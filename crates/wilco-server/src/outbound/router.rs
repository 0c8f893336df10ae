//! The loop that routes recorded events.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco_delivery::Routes;
use wilco_store::{OutboundStore, StoreError};

use super::Plan;

/// Routes recorded events, oldest first, until `stop`.
pub(super) async fn run(
    store: Arc<dyn OutboundStore>,
    plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let plan = Arc::clone(&plan.borrow());
        let wait = match route_some(store.as_ref(), &plan.routes).await {
            Ok(true) => continue,
            Ok(false) => LOOK_AGAIN,
            Err(error) if error.is_final() => return,
            Err(error) => {
                tracing::warn!(%error, "cannot route events yet");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = store.wakers().recorded().notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Routes a batch of events. False if there was none to route.
async fn route_some(store: &dyn OutboundStore, routes: &Routes) -> Result<bool, StoreError> {
    let events_max = if routes.has_split() { SPLIT_BATCH } else { BATCH };
    let batch = store.unrouted(events_max).await?;
    if batch.is_empty() {
        return Ok(false);
    }
    let routed = batch.route(|event| {
        let began = tokio::time::Instant::now();
        let targets = routes.route(event);
        crate::trace::routed(event, began, targets.len());
        tracing::debug!(event = %event.id, name = event.name, ?targets, "routed");
        targets
    });
    if !routed.has_targets() {
        // No delivery waits for this, so more events may join the batch: each fan-out is a commit.
        tokio::time::sleep(UNHURRIED).await;
    }
    store.fan_out(routed).await?;
    Ok(true)
}

/// How many events are routed in one transaction.
const BATCH: usize = 1_024;
/// As many, if each of them may have a thousand targets for each destination.
const SPLIT_BATCH: usize = 64;
const UNHURRIED: Duration = Duration::from_millis(10);
/// How often to look in any case, should a wake-up be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
