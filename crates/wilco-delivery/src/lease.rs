//! When the leases of a worker's attempts are renewed: all of them when the oldest has to be, because an
//! attempt may take longer than its lease, and its outcome may have to wait for the store.

use std::time::Duration;

/// The leases of one worker. Times are those since the worker was opened.
#[derive(Default)]
pub(crate) struct Leases {
    /// When they are renewed next; `None` while there are none, or a renewal is being made.
    renew_at: Option<Duration>,
    /// When the renewal began that is being made.
    renewing_since: Option<Duration>,
}

impl Leases {
    /// When there is something to do next.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.renew_at
    }

    /// A renewal is being made.
    pub(crate) fn are_being_renewed(&self) -> bool {
        self.renewing_since.is_some()
    }

    /// Leases began at `since` or later.
    pub(crate) fn began(&mut self, since: Duration) {
        if self.renewing_since.is_none() {
            self.renew_at.get_or_insert(since.saturating_add(RENEW_AFTER));
        }
    }

    /// No attempt runs any more.
    pub(crate) fn ended(&mut self) {
        self.renew_at = None;
    }

    /// Begins a renewal, if it is time.
    pub(crate) fn begin_renewal(&mut self, now: Duration) -> bool {
        let is_time = self.renew_at.is_some_and(|renew_at| renew_at <= now);
        if is_time {
            self.renew_at = None;
            self.renewing_since = Some(now);
        }
        is_time
    }

    /// A renewal ended. One that failed is repeated after `pause`. What began meanwhile is younger than
    /// what was renewed.
    pub(crate) fn renewed(&mut self, is_done: bool, pause: Duration, now: Duration) {
        let since = self.renewing_since.take().unwrap_or(now);
        let (from, wait) = if is_done { (since, RENEW_AFTER) } else { (now, pause) };
        self.renew_at = Some(from.saturating_add(wait));
    }
}

/// How long an attempt is exclusive before it is renewed: what a delivery waits for at most if its
/// attempt is lost.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// How old a lease gets. There is time for many attempts at a renewal before it ends.
const RENEW_AFTER: Duration = Duration::from_secs(20);
