//! What is expected of a circuit breaker and of a rate.

use std::time::Duration;

use wilco_delivery::{Breaker, BreakerChange, Policy, RateLimit, Verdict};

use super::{Held, Now, at, hold, millis};

/// A breaker as one worker should have it.
#[derive(Clone, Default)]
pub(crate) struct BreakerModel {
    pub(crate) state: Breaker,
    failures: u32,
    open: Option<Open>,
}

/// A breaker that is open.
#[derive(Clone)]
struct Open {
    /// Nothing starts before this time, unless the clock was set since.
    from: i64,
    jumps: u32,
    /// Something may start from this time on, whatever the clock did.
    until: i64,
    /// The clock was set back, and the worker has not read it since.
    is_stale: bool,
    /// The clock was set back since it opened.
    was_set_back: bool,
}

impl Open {
    fn new(wait: i64, now: Now) -> Self {
        let from = now.elapsed + wait;
        Self { from, jumps: now.jumps, until: from, is_stale: false, was_set_back: false }
    }
}

impl BreakerModel {
    pub(crate) fn clock_was_set_back(&mut self) {
        let open = self.open.iter_mut();
        open.for_each(|open| (open.is_stale, open.was_set_back) = (true, true));
    }

    /// As it is stored: a wait that is over is stored as none.
    pub(crate) fn written(&self, now: Now) -> Self {
        let mut written = self.clone();
        written.state.open_until = written.state.open_until.map(|until| until.max(at(now)));
        written
    }

    /// The breaker as a worker reads it, given how long it stays open.
    pub(crate) fn read(&self, open_for: Option<Duration>, now: Now) -> Self {
        let mut read = self.clone();
        read.state.open_until = open_for.map(|wait| at(now) + wait);
        if let Some(open) = &mut read.open {
            // What is stored of a breaker is the time of the clock when it opened.
            open.is_stale = open.was_set_back;
            open.until = open.until.max(now.elapsed + open_for.map_or(0, millis));
        }
        read
    }

    /// A worker reads the clock.
    pub(crate) fn looked(&mut self, policy: &Policy, now: Now) {
        let longest = millis(policy.breaker.probe_max.max(policy.retry.max));
        let latest = at(Now { wall: now.wall + longest, ..now });
        self.state.open_until = self.state.open_until.map(|until| until.min(latest));
        if let Some(open) = &mut self.open
            && std::mem::take(&mut open.is_stale)
        {
            open.until = open.until.max(now.elapsed + longest);
        }
    }

    /// A worker claims up to `limit`. `free` is the number that concurrency and rate allow.
    pub(crate) fn claims(&self, limit: usize, free: usize, slots: usize, now: Now) -> Held {
        let Some(open) = &self.open else {
            return hold(limit == free, || format!("it claims {limit}, but {free} could start"));
        };
        let is_early = now.jumps == open.jumps && now.elapsed < open.from;
        hold(!is_early, || format!("its breaker is open, and it claims {limit}"))?;
        hold(slots == 0 && limit == 1, || format!("it is probed with {limit} next to {slots}"))
    }

    /// Whether a due delivery has to start.
    pub(crate) fn lets_begin(&self, slots: usize, now: Now) -> bool {
        self.open.as_ref().is_none_or(|open| now.elapsed >= open.until && slots == 0)
    }

    /// A destination answered, and this is what its worker concludes.
    pub(crate) fn answered(
        &mut self,
        policy: &Policy,
        verdict: Verdict,
        change: Option<BreakerChange>,
        now: Now,
    ) -> Held {
        let before = self.state;
        let after = change.map_or(before, |change| change.after);
        self.state = after;
        if let Some(change) = change {
            hold(change.before == before && after.revision == before.revision + 1, || {
                format!("its breaker was {before:?}, and then {change:?}")
            })?;
        }
        // Whether it asked for a wait before that is not over by the clock that it sees.
        let is_held = before.open_until.is_some_and(|until| until.as_millisecond() > now.wall);
        if verdict == Verdict::Unsendable {
            return hold(after == before, || format!("it was not asked, and then {after:?}"));
        }
        let Verdict::Failed { not_before } = verdict else {
            let was_asked = is_held && self.failures < policy.breaker.failures;
            self.failures = 0;
            if !was_asked {
                self.open = None;
            }
            return hold(after.failures == 0 && after.open_until.is_some() == was_asked, || {
                format!("it answers, and then {after:?}")
            });
        };
        let asked = not_before.map_or(0, |wait| millis(wait.min(policy.retry.max)));
        self.failed(policy, asked, is_held, [before, after], now)
    }

    /// A destination failed, and asked for this wait.
    fn failed(
        &mut self,
        policy: &Policy,
        asked: i64,
        is_held: bool,
        [before, after]: [Breaker; 2],
        now: Now,
    ) -> Held {
        let config = policy.breaker;
        let wait = after.open_until.map(|until| until.as_millisecond() - now.wall);
        if is_held {
            // An attempt that was running when it opened changes nothing, but may ask for more time.
            let more = wait.unwrap_or(0).max(asked);
            if after != before {
                self.open = Some(Open::new(asked, now));
            }
            return hold(after.failures == before.failures && wait == Some(more), || {
                format!("it asks for {asked} ms, and its breaker is open for {wait:?}")
            });
        }
        self.failures += 1;
        hold(after.failures == before.failures + 1, || format!("it failed, and then {after:?}"))?;
        let Some(wait) = wait else {
            self.open = None;
            return hold(asked == 0 && self.failures < config.failures, || {
                format!("it failed {} times, and its breaker is closed", self.failures)
            });
        };
        self.open = Some(Open::new(wait, now));
        if self.failures < config.failures {
            return hold(wait == asked && asked > 0, || {
                format!("it asks for {asked} ms, and its breaker is open for {wait}")
            });
        }
        let (least, most) = (millis(config.probe_after), millis(config.probe_max));
        hold((least.max(asked)..=most.max(asked)).contains(&wait), || {
            format!("its breaker is open for {wait} ms")
        })
    }
}

/// Attempts that a rate allows: one in each interval, and those missed in the last tenth of a second.
pub(crate) struct RateModel {
    interval: u128,
    /// When the next one may start, in nanoseconds.
    next: u128,
}

impl RateModel {
    pub(crate) fn new(limit: RateLimit, now: Now) -> Self {
        Self { interval: (limit.per / limit.count).as_nanos(), next: nanos(now.elapsed) }
    }

    pub(crate) fn allowed(&self, now: Now) -> usize {
        let (now, from) = (nanos(now.elapsed), self.from(now));
        if now < from {
            return 0;
        }
        usize::try_from((now - from) / self.interval + 1).unwrap()
    }

    pub(crate) fn began(&mut self, attempts: usize, now: Now) {
        self.next = self.from(now) + self.interval * u128::try_from(attempts).unwrap();
    }

    fn from(&self, now: Now) -> u128 {
        self.next.max(nanos(now.elapsed).saturating_sub(Duration::from_millis(100).as_nanos()))
    }
}

fn nanos(millis: i64) -> u128 {
    u128::try_from(millis).unwrap() * 1_000_000
}
