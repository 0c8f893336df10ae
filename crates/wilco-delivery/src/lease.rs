//! When the leases of a worker's attempts are renewed. An attempt may take longer than its lease, and its
//! outcome may have to wait for the store; all leases are renewed when the oldest has to be.

use std::time::Duration;

/// The leases of one worker. Times are those since the worker was opened.
#[derive(Default)]
pub(crate) struct Leases {
    /// When the next renewal is due; `None` if no attempt runs, or during a renewal.
    renew_at: Option<Duration>,
    /// When the current renewal began.
    renewing_since: Option<Duration>,
}

impl Leases {
    /// When the next renewal is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.renew_at
    }

    /// Whether a renewal is under way.
    pub(crate) fn are_being_renewed(&self) -> bool {
        self.renewing_since.is_some()
    }

    /// Notes that leases began at `since` or later.
    pub(crate) fn began(&mut self, since: Duration) {
        if self.renewing_since.is_none() {
            self.renew_at.get_or_insert(since.saturating_add(RENEW_AFTER));
        }
    }

    /// Notes that no attempt runs any more.
    pub(crate) fn ended(&mut self) {
        self.renew_at = None;
    }

    /// Begins a renewal if one is due.
    pub(crate) fn begin_renewal(&mut self, now: Duration) -> bool {
        let is_time = self.renew_at.is_some_and(|renew_at| renew_at <= now);
        if is_time {
            self.renew_at = None;
            self.renewing_since = Some(now);
        }
        is_time
    }

    /// Ends a renewal. One that failed is repeated after `pause`. Attempts that began meanwhile have
    /// younger leases than those that were renewed.
    pub(crate) fn renewed(&mut self, is_done: bool, pause: Duration, now: Duration) {
        let since = self.renewing_since.take().unwrap_or(now);
        let (from, wait) = if is_done { (since, RENEW_AFTER) } else { (now, pause) };
        self.renew_at = Some(from.saturating_add(wait));
    }
}

/// How long a claim is exclusive unless it is renewed. If an attempt is lost, its delivery waits this
/// long at most.
pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// The age at which a lease is renewed, early enough for many retries before it ends.
const RENEW_AFTER: Duration = Duration::from_secs(20);
