//! A source that has been silent for longer than it should.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco_store::{OutboundStore, StoreError};

use super::{Plan, record_alert};
use crate::clock;

/// Alerts about each source from which nothing came for longer than is expected, until `stop`.
pub(super) async fn run(
    store: Arc<dyn OutboundStore>,
    mut plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    let started = clock::now();
    // When each source has to be looked at next: one that was heard of is left alone until its time
    // has gone by again.
    let mut looks: HashMap<String, Timestamp> = HashMap::new();
    while !stop.is_cancelled() {
        let current = Arc::clone(&plan.borrow_and_update());
        let mut wait = LOOK_AGAIN;
        if let Some(config) = &current.alerts {
            for (source, every) in &current.expected {
                let now = clock::now();
                let look = looks.entry(source.to_string()).or_insert(now);
                // Not in the far future either: the clock may be set back.
                let longest = (*every).max(config.every);
                if *look > now && until(*look, now) <= longest {
                    wait = wait.min(until(*look, now));
                    continue;
                }
                match last_heard(store.as_ref(), source.as_str(), *every, started, now).await {
                    Ok(Some(last)) => *look = later(last, *every),
                    Ok(None) => {
                        let told = config.silent(source.as_str(), *every);
                        record_alert(store.as_ref(), told).await;
                        // Sooner it would not be told again.
                        *look = later(now, config.every);
                    }
                    Err(error) => tracing::warn!(%source, %error, "cannot look up its last event"),
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

/// When something came within the time that is expected. While wilco did not run nothing could. An
/// event that is stamped later than now came while the clock was wrong, and says nothing of today.
async fn last_heard(
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
/// How far a clock is set back in everyday use.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
const WAIT_MIN: Duration = Duration::from_millis(100);
