//! Alerts about damage that the store has found in its records.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco_store::OutboundStore;

use super::{Plan, record_alert};

/// Sends alerts about damage until `stop`.
pub(super) async fn run(
    store: Arc<dyn OutboundStore>,
    mut plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    let mut lost_reported = 0;
    while !stop.is_cancelled() {
        let current = Arc::clone(&plan.borrow_and_update());
        let mut pause = Duration::ZERO;
        if let Some(config) = &current.alerts {
            let lost = store.usage().map_or(0, |usage| usage.lost_commits);
            if lost > lost_reported {
                record_alert(store.as_ref(), config.lost(lost)).await;
                lost_reported = lost;
            }
            match store.damaged_events().await {
                Ok(0) => {}
                // Damage is seldom isolated: what is found next is reported together, later.
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

/// How often to look in any case: a store that was opened late or was busy does not send a wake-up when
/// it is ready.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
