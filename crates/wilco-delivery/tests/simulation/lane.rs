//! A lane, as `lane.rs` has it, with the clock, the chance and the destination in the hands of the
//! simulation.

use std::time::Duration;

use jiff::Timestamp;
use wilco_delivery::{Moment, Scheduler, Verdict, apply_status};
use wilco_store::Claim;

use super::{Backend, Destination, Dice, Now, millis};

pub(crate) struct Lane {
    pub(crate) config: Destination,
    pub(crate) turns: Scheduler,
    pub(crate) running: Vec<Underway>,
    pub(crate) mood: Mood,
    opened: i64,
    sleep: Sleep,
}

/// An attempt that is under way.
pub(crate) struct Underway {
    pub(crate) claim: Claim,
    pub(crate) began: Timestamp,
    pub(crate) ends_at: i64,
}

/// How a destination answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Well,
    Changing,
    Down,
}

struct Sleep {
    until: i64,
    hears_bell: bool,
    /// Only to look whether the clock was set.
    is_idle: bool,
}

impl Lane {
    /// A new lane, which knows nothing yet: [`open`](Self::open) comes next.
    pub(crate) fn new(config: Destination, mood: Mood, now: Now) -> Self {
        Self {
            turns: Scheduler::new(config.policy.clone()),
            config,
            running: Vec::new(),
            mood,
            opened: now.elapsed,
            sleep: Sleep { until: now.elapsed, hears_bell: true, is_idle: false },
        }
    }

    /// Takes up how the destination stands, and says whether it is paused.
    pub(crate) async fn open(&mut self, backend: &Backend, now: Now) -> bool {
        let status =
            apply_status(&self.config.name, &self.config.policy, backend.store()).await.unwrap();
        self.turns.stand(&status, at(now));
        status.is_paused
    }

    /// How many attempts may begin by concurrency and rate.
    pub(crate) fn free(&self, now: Now) -> usize {
        self.turns.places(self.running.len(), self.moment(now))
    }

    /// How many attempts may begin.
    pub(crate) fn room(&mut self, now: Now) -> usize {
        let moment = self.moment(now);
        self.turns.room(self.running.len(), moment)
    }

    pub(crate) async fn claim(&mut self, backend: &Backend, room: usize, now: Now) -> Vec<Claim> {
        let (name, longest) = (&self.config.name, self.config.policy.longest_wait);
        let claims = backend.store().claim(name, room, LEASE, longest).await.unwrap();
        let moment = self.moment(now);
        self.turns.began(claims.len(), moment);
        claims
    }

    pub(crate) async fn fall_asleep(&mut self, backend: &Backend, is_drained: bool, now: Now) {
        let wait = match is_drained {
            false => self.turns.wait(None, self.moment(now)),
            true => match backend.store().next_due(&self.config.name).await.unwrap() {
                None => None,
                due => self.turns.wait(due, self.moment(now)),
            },
        };
        // A wait of a part of a millisecond is a whole one: the clock here knows no less.
        let wait = wait.map(|wait| millis(wait + Duration::from_nanos(999_999)));
        let until = now.elapsed + wait.unwrap_or(LOOK_AGAIN_MS).min(LOOK_AGAIN_MS);
        let is_idle = wait.is_none_or(|wait| wait > LOOK_AGAIN_MS);
        self.sleep = Sleep { until, hears_bell: is_drained, is_idle };
    }

    /// Whether it has reason to look: its time is over, or it was woken and listens.
    pub(crate) fn is_awake(&self, has_rung: impl FnOnce() -> bool, now: Now) -> bool {
        now.elapsed >= self.sleep.until || (self.sleep.hears_bell && has_rung())
    }

    pub(crate) fn wake(&mut self, now: Now) {
        self.sleep.until = now.elapsed;
    }

    /// When something happens here by itself.
    pub(crate) fn next_moment(&self) -> Option<i64> {
        let ends = self.running.iter().map(|underway| underway.ends_at);
        ends.chain((!self.sleep.is_idle).then_some(self.sleep.until)).min()
    }

    fn moment(&self, now: Now) -> Moment {
        let since_opened = u64::try_from(now.elapsed - self.opened).unwrap();
        Moment { now: at(now), since_opened: Duration::from_millis(since_opened) }
    }
}

impl Mood {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        dice.pick(&[Self::Well, Self::Changing, Self::Changing, Self::Down])
    }

    pub(crate) fn verdict(self, longest: Duration, dice: &mut Dice) -> Verdict {
        let most = u32::try_from(2 * millis(longest)).unwrap();
        let failed = |dice: &mut Dice| Verdict::Failed {
            not_before: dice.is_lucky(20).then(|| dice.millis(0, most)),
        };
        match self {
            Self::Well => Verdict::Delivered,
            Self::Down => failed(dice),
            Self::Changing => match dice.between(0, 9) {
                0..4 => Verdict::Delivered,
                4 => Verdict::Refused,
                5 => Verdict::Unsendable,
                _ => failed(dice),
            },
        }
    }
}

pub(crate) fn at(now: Now) -> Timestamp {
    Timestamp::from_millisecond(now.wall).unwrap()
}

/// Longer than any attempt takes here.
const LEASE: Duration = Duration::from_secs(3_600);
const LOOK_AGAIN_MS: i64 = 30_000;
