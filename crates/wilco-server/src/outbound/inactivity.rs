//! The inactivity check: alerts about sources that have been silent for too long.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco_store::{OutboundStore, StoreError};

use super::{Plan, record_alert};
use crate::clock;

/// Sends an alert about each source that has been silent for longer than expected, until `stop`.
pub(super) async fn run(
    store: Arc<dyn OutboundStore>,
    mut plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    let started = clock::now();
    // When each source is checked next: after an event, once its time has passed again.
    let mut looks: HashMap<String, Timestamp> = HashMap::new();
    while !stop.is_cancelled() {
        let current = Arc::clone(&plan.borrow_and_update());
        let mut wait = LOOK_AGAIN;
        if let Some(config) = &current.alerts {
            for (source, every) in &current.expected {
                let now = clock::now();
                let look = looks.entry(source.to_string()).or_insert(now);
                // A time in the far future is not trusted: the clock may have been set back.
                let longest = (*every).max(config.every);
                if *look > now && until(*look, now) <= longest {
                    wait = wait.min(until(*look, now));
                    continue;
                }
                match last_activity(store.as_ref(), source.as_str(), *every, started, now).await {
                    Ok(Some(last)) => *look = later(last, *every),
                    Ok(None) => {
                        let alert = config.silent(source.as_str(), *every);
                        record_alert(store.as_ref(), alert).await;
                        // Before that, no further alert about this source would be recorded.
                        *look = later(now, config.every);
                    }
                    Err(error) => {
                        tracing::warn!(%source, %error, "cannot look up the last event of a source");
                    }
                }
                wait = wait.min(until(*look, now)).max(WAIT_MIN);
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            changed = plan.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The last activity within the expected time; `None` means silence. The start of wilco counts as activity,
/// because nothing could arrive before. An event with a later time than now was received while the clock
/// was wrong, so it does not count.
async fn last_activity(
    store: &dyn OutboundStore,
    source: &str,
    every: Duration,
    started: Timestamp,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let since = now.checked_sub(every).unwrap_or(Timestamp::MIN);
    let last = store.last_received(source, since, later(now, CLOCK_TOLERANCE)).await?;
    Ok(last.or_else(|| (started > since && started <= now).then_some(started)))
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn until(look: Timestamp, now: Timestamp) -> Duration {
    look.duration_since(now).try_into().unwrap_or_default()
}

const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How far a clock may be set back in normal operation.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
const WAIT_MIN: Duration = Duration::from_millis(100);
