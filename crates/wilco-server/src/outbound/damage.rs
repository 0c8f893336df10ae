//! Damage that the store has found in its records.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco_store::OutboundStore;

use super::{Plan, record_alert};

/// Sends an alert about each damage until `stop`.
pub(super) async fn run(
    store: Arc<dyn OutboundStore>,
    mut plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    let mut lost_told = 0;
    while !stop.is_cancelled() {
        let current = Arc::clone(&plan.borrow_and_update());
        let mut pause = Duration::ZERO;
        if let Some(config) = &current.alerts {
            let lost = store.usage().map_or(0, |usage| usage.lost_commits);
            if lost > lost_told {
                record_alert(store.as_ref(), config.lost(lost)).await;
                lost_told = lost;
            }
            match store.damaged_events().await {
                Ok(0) => {}
                // Damage seldom comes alone: what is found next is told together, a while later.
                Ok(count) => {
                    if record_alert(store.as_ref(), config.damaged(count)).await {
                        pause = config.every;
                    }
                }
                Err(error) => tracing::debug!(%error, "cannot count the damaged events"),
            }
        }
        let found = async {
            tokio::time::sleep(pause).await;
            store.wakers().damaged().notified().await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            changed = plan.changed() => if changed.is_err() { return },
            () = found => {}
            () = tokio::time::sleep(pause.max(LOOK_AGAIN)) => {}
        }
    }
}

/// A store that is opened late, or that was busy, says nothing when it can be asked.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
