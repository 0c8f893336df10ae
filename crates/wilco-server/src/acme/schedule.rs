//! When a certificate is renewed, and when that is tried again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The certificate in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct InUse {
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
    /// When this process obtained it.
    pub(super) obtained: Option<Timestamp>,
    /// Whether it is the one that the configuration asks for.
    pub(super) is_as_configured: bool,
}

/// When an authority suggests to renew: some time between these two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl InUse {
    /// When to renew it. `chance`, from 0 to 1, chooses a time in the window, so that not everyone asks the
    /// authority at once; it has to stay the same for a certificate.
    pub(super) fn renew_at(&self, window: Option<Window>, chance: f64) -> Timestamp {
        if !self.is_as_configured {
            return Timestamp::MIN;
        }
        let lifetime = self.ends.duration_since(self.begins);
        let is_usable = |window: &Window| window.start < window.end && window.start < self.ends;
        let (due, at_least) = match window.filter(is_usable) {
            Some(window) => {
                let length = window.end.duration_since(window.start);
                let due = later(window.start, length.mul_f64(chance)).min(self.ends);
                (due, SUGGESTIONS_APART.min(lifetime / 10))
            }
            None => (later(self.begins, lifetime.mul_f64(2.0 / 3.0)), lifetime / 10),
        };
        // If the clock is wrong, or the authority is, a certificate that was just issued may seem to be due. It
        // is not replaced at once.
        self.obtained.map_or(due, |obtained| due.max(later(obtained, at_least)))
    }
}

/// How long to wait after this many failures in a row. `asked` is how long the authority asks to wait;
/// `chance` is from 0 to 1.
pub(super) fn retry_wait(failures: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let steps = failures.saturating_sub(1).min(16);
    let backoff = RETRY_FIRST.saturating_mul(RETRY_FACTOR.saturating_pow(steps)).min(RETRY_LONGEST);
    let backoff = backoff.mul_f64(0.75 + 0.25 * chance);
    backoff.max(asked.unwrap_or_default().min(ASKED_LONGEST))
}

/// How long an answer about the time of renewal is used.
pub(super) fn ask_again_after(asked: Duration) -> Duration {
    asked.clamp(ASK_SHORTEST, ASK_LONGEST)
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How soon after a certificate was obtained a suggestion of the authority is followed: it may have to revoke
/// what it has just issued.
const SUGGESTIONS_APART: SignedDuration = SignedDuration::from_hours(1);
/// The wait after a first failure. It trebles with each further one, so that five failures, which is what
/// Let's Encrypt allows for a domain in an hour, take 20 minutes.
const RETRY_FIRST: Duration = Duration::from_secs(10);
const RETRY_FACTOR: u32 = 3;
/// The longest wait that does not come from the authority.
const RETRY_LONGEST: Duration = Duration::from_secs(3_600);
/// The longest wait that an authority can ask for.
const ASKED_LONGEST: Duration = Duration::from_secs(86_400);
/// How often at most, and at least, an authority is asked when to renew (RFC 9773, section 4.3.2).
const ASK_SHORTEST: Duration = Duration::from_secs(60);
const ASK_LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: f64) -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
            + SignedDuration::from_secs_f64(number * 86_400.0)
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_lifetime_or_as_the_authority_suggests() {
        let in_use = |ends: f64| InUse {
            begins: day(0.0),
            ends: day(ends),
            obtained: None,
            is_as_configured: true,
        };
        let window = |start: f64, end: f64| Some(Window { start: day(start), end: day(end) });
        let ninety = in_use(90.0);
        for (name, in_use, window, chance, expected) in [
            ("90 days", ninety, None, 0.5, day(60.0)),
            ("6 days", in_use(6.0), None, 0.5, day(4.0)),
            ("3 hours", in_use(0.125), None, 0.5, day(0.125 * 2.0 / 3.0)),
            ("the start of a window", ninety, window(50.0, 54.0), 0.0, day(50.0)),
            ("in a window", ninety, window(50.0, 54.0), 0.75, day(53.0)),
            ("the end of a window", ninety, window(50.0, 54.0), 1.0, day(54.0)),
            (
                "a window in the past, as after an incident",
                ninety,
                window(-3.0, -1.0),
                0.5,
                day(-2.0),
            ),
            ("a window that reaches beyond the end", ninety, window(80.0, 120.0), 1.0, day(90.0)),
            ("a window after the end", ninety, window(91.0, 92.0), 0.5, day(60.0)),
            ("a window that ends before it starts", ninety, window(54.0, 50.0), 0.5, day(60.0)),
            (
                "other domains",
                InUse { is_as_configured: false, ..ninety },
                None,
                0.5,
                Timestamp::MIN,
            ),
            (
                "just obtained, with a clock that is 80 days fast",
                InUse { obtained: Some(day(80.0)), ..ninety },
                None,
                0.5,
                day(89.0),
            ),
            (
                "just obtained, and to be revoked",
                InUse { obtained: Some(day(1.0)), ..ninety },
                window(0.0, 0.5),
                0.5,
                day(1.0 + 1.0 / 24.0),
            ),
            ("just obtained", InUse { obtained: Some(day(0.0)), ..ninety }, None, 0.5, day(60.0)),
        ] {
            let found = in_use.renew_at(window, chance);
            let off = found.duration_since(expected).abs();
            assert!(off < SignedDuration::from_secs(1), "{name}: {found}, not {expected}");
        }
    }

    #[test]
    fn failures_are_retried_ever_later_and_not_before_the_authority_allows() {
        let secs = Duration::from_secs;
        for (failures, asked, chance, expected) in [
            (1, None, 1.0, secs(10)),
            (1, None, 0.0, Duration::from_millis(7_500)),
            (2, None, 1.0, secs(30)),
            (3, None, 1.0, secs(90)),
            (6, None, 1.0, secs(2_430)),
            (7, None, 1.0, secs(3_600)),
            (u32::MAX, None, 1.0, secs(3_600)),
            (1, Some(secs(600)), 1.0, secs(600)),
            (7, Some(secs(600)), 1.0, secs(3_600)),
            (1, Some(secs(604_800)), 1.0, secs(86_400)),
        ] {
            assert_eq!(retry_wait(failures, asked, chance), expected, "{failures} {asked:?}");
        }
    }

    #[test]
    fn an_authority_is_asked_about_the_renewal_from_once_a_minute_to_once_a_day() {
        for (asked, expected) in [(0, 60), (21_600, 21_600), (604_800, 86_400)] {
            let found = ask_again_after(Duration::from_secs(asked));
            assert_eq!(found, Duration::from_secs(expected), "{asked}");
        }
    }
}
