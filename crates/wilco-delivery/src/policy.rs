//! The delivery policy of one destination: concurrency, rate, retries, circuit breaker, order.

use std::time::Duration;

use crate::rules::Rule;

/// How the deliveries to a destination are treated, whatever its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How many attempts may run at once.
    pub concurrency: usize,
    /// How many attempts may begin in a given time; `None` for no limit.
    pub rate: Option<RateLimit>,
    /// When a failed delivery is tried again.
    pub retry: RetryPolicy,
    /// When the circuit breaker pauses the destination.
    pub breaker: BreakerPolicy,
    /// Events for which this expression gives the same key are delivered one after another.
    pub order_by: Option<Rule>,
    /// What a dead delivery means for those behind it with the same key.
    pub on_dead: OnDead,
    /// The longest possible wait: of a retry, or of a debounce on a route to this destination.
    pub longest_wait: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        let retry = RetryPolicy::default();
        Self {
            concurrency: 1,
            rate: None,
            retry,
            breaker: BreakerPolicy::default(),
            order_by: None,
            on_dead: OnDead::Skip,
            longest_wait: retry.max,
        }
    }
}

/// At most `count` attempts begin in each `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The number of attempts.
    pub count: u32,
    /// The time in which they may begin.
    pub per: Duration,
}

/// When the circuit breaker pauses a failing destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Consecutive failures that open the breaker.
    pub failures: u32,
    /// The wait before the first probe.
    pub probe_after: Duration,
    /// The longest wait: each failed probe doubles the wait up to this.
    pub probe_max: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 10,
            probe_after: Duration::from_secs(30),
            probe_max: Duration::from_secs(300),
        }
    }
}

/// What a dead delivery means for those behind it with the same order key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDead {
    /// They are delivered anyway.
    Skip,
    /// They wait until it is replayed or cancelled.
    Block,
}

/// When a failed delivery is tried again, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The wait after the first attempt.
    pub first: Duration,
    /// The factor by which the wait grows with each attempt.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// A delivery that fails and has waited this long in total is dead.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            factor: 2.0,
            max: Duration::from_secs(3_600),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }
}
