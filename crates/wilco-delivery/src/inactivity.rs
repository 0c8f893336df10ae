//! When a source has been silent for too long, and when to look at it next.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use crate::time::{earlier, later, until};

/// What is known of the sources that should not be silent.
pub struct Inactivity {
    started: Timestamp,
    /// When each source is checked next: after an event, once its time has passed again.
    looks: HashMap<String, Timestamp>,
}

/// What is expected of a source.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// The source.
    pub source: &'a str,
    /// Something should arrive in each such time.
    pub every: Duration,
    /// How long after an alert the next is due.
    pub alert_every: Duration,
}

/// The time in which an event has to have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From when.
    pub since: Timestamp,
    /// Until when. An event with a later time was received while the clock was wrong, so it does not count.
    pub until: Timestamp,
}

impl Inactivity {
    /// The longest time between two looks.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(30);

    /// Nothing is known yet of what was received since `started`.
    pub fn new(started: Timestamp) -> Self {
        Self { started, looks: HashMap::new() }
    }

    /// In which time the last event of a source has to be looked for; `None` if it is too early to look.
    pub fn look(&mut self, expected: Expectation<'_>, now: Timestamp) -> Option<Span> {
        let look = *self.looks.entry(expected.source.to_owned()).or_insert(now);
        // A time in the far future is not trusted: the clock may have been set back.
        let longest = expected.every.max(expected.alert_every);
        if look > now && until(look, now) <= longest {
            return None;
        }
        Some(Span { since: earlier(now, expected.every), until: later(now, CLOCK_TOLERANCE) })
    }

    /// Whether an alert is due, when `last` is the last event that was found in the time that
    /// [`Inactivity::look`] gave at `now`.
    pub fn is_silent(
        &mut self,
        expected: Expectation<'_>,
        last: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        // The start of wilco counts as activity, because nothing could arrive before.
        let since = earlier(now, expected.every);
        let has_just_started = self.started > since && self.started <= now;
        let last = last.or(has_just_started.then_some(self.started));
        let look = match last {
            Some(last) => later(last, expected.every),
            // Before that, no further alert about this source would be recorded.
            None => later(now, expected.alert_every),
        };
        self.looks.insert(expected.source.to_owned(), look);
        last.is_none()
    }

    /// The store could not say when the last event came. The source is looked at again after a pause.
    pub fn look_failed(&mut self, expected: Expectation<'_>, now: Timestamp) {
        let pause = Self::LOOK_AGAIN.min(expected.every.max(expected.alert_every));
        self.looks.insert(expected.source.to_owned(), later(now, pause));
    }

    /// How long to wait until a source has to be looked at.
    pub fn wait(&self, source: &str, now: Timestamp) -> Duration {
        let wait = self.looks.get(source).map_or(Duration::ZERO, |look| until(*look, now));
        wait.clamp(WAIT_MIN, Self::LOOK_AGAIN)
    }
}

/// How far a clock may be set back in normal operation.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// The shortest time between two looks.
const WAIT_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expectation<'_> = Expectation {
        source: "freispace",
        every: Duration::from_secs(600),
        alert_every: Duration::from_secs(3_600),
    };

    /// Seconds since a start at 10,000.
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(10_000 + second).unwrap()
    }

    #[test]
    fn a_source_is_inactive_if_nothing_arrived_in_its_time_while_wilco_ran() {
        for (now, last, is_silent, next) in [
            (0, None, false, 600),
            (599, None, false, 600),
            (600, None, true, 600 + 3_600),
            (599, Some(300), false, 900),
            (800, Some(300), false, 900),
            (900, Some(300), false, 900),
            // Before the start, and what a clock that is a little fast stamped.
            (100, Some(-400), false, 200),
            (800, Some(830), false, 1_430),
            // The clock was set back to before the start.
            (-100, None, true, -100 + 3_600),
        ] {
            let mut inactivity = Inactivity::new(at(0));
            let found = inactivity.is_silent(EXPECTED, last.map(at), at(now));
            assert_eq!(found, is_silent, "at {now}, last {last:?}");
            assert_eq!(inactivity.looks["freispace"], at(next), "at {now}, last {last:?}");
        }
    }

    #[test]
    fn a_source_is_checked_when_its_time_has_passed_or_the_clock_was_set_back_far() {
        let span = |now: i64| Some(Span { since: at(now - 600), until: at(now + 60) });
        for (now, expected) in [
            (700, None),
            (899, None),
            (900, span(900)),
            (5_000, span(5_000)),
            // The next look is at most as far away as an alert after an alert.
            (900 - 3_600, None),
            (899 - 3_600, span(899 - 3_600)),
        ] {
            let mut inactivity = Inactivity::new(at(0));
            assert_eq!(inactivity.look(EXPECTED, at(300)), span(300), "the first look is at once");
            assert!(!inactivity.is_silent(EXPECTED, Some(at(300)), at(300)));
            assert_eq!(inactivity.look(EXPECTED, at(now)), expected, "at {now}");
        }
    }

    #[test]
    fn a_failed_check_is_repeated_after_a_pause() {
        let mut inactivity = Inactivity::new(at(0));
        assert!(inactivity.look(EXPECTED, at(0)).is_some());
        inactivity.look_failed(EXPECTED, at(0));
        assert_eq!(inactivity.wait("freispace", at(0)), Inactivity::LOOK_AGAIN);
        assert_eq!(inactivity.look(EXPECTED, at(29)), None);
        assert!(inactivity.look(EXPECTED, at(30)).is_some());
    }

    #[test]
    fn the_wait_for_the_next_check_is_bounded() {
        let mut inactivity = Inactivity::new(at(0));
        inactivity.is_silent(EXPECTED, Some(at(300)), at(300));
        for (now, milliseconds) in
            [(300, 30_000), (870, 30_000), (880, 20_000), (900, 100), (950, 100)]
        {
            let wait = inactivity.wait("freispace", at(now));
            assert_eq!(wait, Duration::from_millis(milliseconds), "at {now}");
        }
        assert_eq!(inactivity.wait("github", at(300)), WAIT_MIN, "never looked at");
    }
}
