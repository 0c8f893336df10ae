//! The leases of running attempts, which are renewed until each attempt is settled.

use std::{slice, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use wilco_store::{Claim, OutboundStore, StoreError};

/// Renews the lease of a claim until the answer is dropped. In a task of its own, so that an attempt
/// that blocks its thread does not lose its lease.
pub(super) fn renew(store: Arc<dyn OutboundStore>, claim: Claim) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut wait = claim.lease() / 3;
        loop {
            tokio::time::sleep(wait).await;
            wait = match store.renew(slice::from_ref(&claim)).await {
                Ok(stale) if stale.is_empty() => claim.lease() / 3,
                // Its settle says so in the log.
                Ok(_) | Err(StoreError::Closed | StoreError::Latched(_)) => return,
                Err(error) => {
                    let destination = claim.destination();
                    tracing::warn!(destination, %error, "the lease of an attempt was not renewed");
                    PAUSE
                }
            };
        }
    });
    task
}

/// How long an attempt is exclusive before it is renewed: what a delivery waits for at most if its
/// attempt is lost.
pub(super) const LEASE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::time::Instant;
    use wilco_store::{Alert, Attempt, Clock, MemoryStore, Outcome, Settled};

    use super::*;

    struct PausedClock(Instant);

    impl Clock for PausedClock {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_longer_than_its_lease_keeps_it_until_it_is_dropped() {
        let clock = Arc::new(PausedClock(Instant::now()));
        let store: Arc<dyn OutboundStore> = Arc::new(MemoryStore::new(clock));
        let alert = Alert {
            key: "test".into(),
            every: Duration::ZERO,
            name: "alert.dead".into(),
            to: "chat".into(),
            body: b"{}"[..].into(),
        };
        assert!(store.record_alert(alert).await.unwrap());
        let claim = async || store.claim("chat", 9, LEASE, Duration::MAX).await.unwrap();
        let first = claim().await.remove(0);
        let renewing = renew(Arc::clone(&store), first.clone());
        for _ in 0..10 {
            tokio::time::sleep(LEASE).await;
            assert!(claim().await.is_empty());
        }
        drop(renewing);
        tokio::time::sleep(LEASE).await;
        assert_eq!(claim().await.len(), 1);
        let attempt = Attempt {
            started_at: Timestamp::UNIX_EPOCH,
            took: Duration::ZERO,
            result: "exit 0".into(),
            output: Vec::new(),
        };
        let settled = store.settle(&first, &attempt, &Outcome::Delivered, None).await.unwrap();
        assert_eq!(settled, Settled::Stale);
    }
}
