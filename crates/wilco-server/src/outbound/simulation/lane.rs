//! A lane, as `lane.rs` has it, with the clock, the chance and the destination in the hands of the
//! simulation.

use std::time::Duration;

use jiff::Timestamp;
use wilco_store::{Breaker, Claim};

use super::{Backend, Dice, Now, millis};
use crate::{
    config::{self, OnDead},
    outbound::{Pace, Verdict},
};

pub(crate) struct Lane {
    pub(crate) config: config::Destination,
    pub(crate) breaker: Breaker,
    pub(crate) running: Vec<Underway>,
    pub(crate) mood: Mood,
    pace: Option<Pace>,
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
    pub(crate) fn new(config: config::Destination, mood: Mood, now: Now) -> Self {
        Self {
            pace: config.rate.map(Pace::new),
            config,
            breaker: Breaker::default(),
            running: Vec::new(),
            mood,
            opened: now.elapsed,
            sleep: Sleep { until: now.elapsed, hears_bell: true, is_idle: false },
        }
    }

    /// Takes up how the destination stands, and says whether it is paused.
    pub(crate) async fn open(&mut self, backend: &Backend, now: Now) -> bool {
        if self.config.on_dead == OnDead::Skip {
            backend.store().release_keys(&self.config.name, at(now)).await.unwrap();
        }
        let standing = backend.store().standing(&self.config.name).await.unwrap();
        self.breaker = self.config.breaker.seen(standing.breaker, at(now));
        standing.is_paused
    }

    /// How many attempts may begin by concurrency and rate.
    pub(crate) fn free(&self, now: Now) -> usize {
        self.paced(self.config.concurrency - self.running.len(), now)
    }

    /// How many attempts may begin.
    pub(crate) fn room(&mut self, now: Now) -> usize {
        let free = self.config.concurrency - self.running.len();
        self.breaker = self.config.breaker.seen(self.breaker, at(now));
        let room = config::Breaker::room(self.breaker, self.running.len(), free, at(now));
        self.paced(room, now)
    }

    fn paced(&self, room: usize, now: Now) -> usize {
        self.pace.as_ref().map_or(room, |pace| pace.room(room, self.since_opened(now)))
    }

    pub(crate) async fn claim(&mut self, backend: &Backend, room: usize, now: Now) -> Vec<Claim> {
        let (name, longest) = (&self.config.name, self.config.longest_wait);
        let claims = backend.store().claim(name, room, at(now), longest).await.unwrap();
        let since_opened = self.since_opened(now);
        if let Some(pace) = &mut self.pace {
            pace.began(claims.len(), since_opened);
        }
        claims
    }

    pub(crate) async fn fall_asleep(&mut self, backend: &Backend, is_drained: bool, now: Now) {
        let due = match is_drained {
            true => backend.store().next_due(&self.config.name).await.unwrap(),
            false => None,
        };
        let wait = match due {
            Some(due) => Some((due.as_millisecond() - now.wall).max(0)),
            None if is_drained => None,
            None => self.hold_up(now),
        };
        let until = now.elapsed + wait.unwrap_or(LOOK_AGAIN_MS).min(LOOK_AGAIN_MS);
        let is_idle = wait.is_none_or(|wait| wait > LOOK_AGAIN_MS);
        self.sleep = Sleep { until, hears_bell: is_drained, is_idle };
    }

    fn hold_up(&self, now: Now) -> Option<i64> {
        let until_probe = self.breaker.open_until.map(|until| until.as_millisecond() - now.wall);
        // A wait of a part of a millisecond is a whole one: the clock here knows no less.
        let until_pace = self.pace.as_ref().map(|pace| pace.wait(self.since_opened(now)));
        let until_pace = until_pace.map(|wait| millis(wait + Duration::from_nanos(999_999)));
        let waits = [until_probe, until_pace].into_iter().flatten();
        waits.filter(|wait| *wait > 0).max()
    }

    /// Whether it has reason to look: its time is over, or the bell rang and it listens.
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

    fn since_opened(&self, now: Now) -> Duration {
        Duration::from_millis(u64::try_from(now.elapsed - self.opened).unwrap())
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
                _ => failed(dice),
            },
        }
    }
}

pub(crate) fn at(now: Now) -> Timestamp {
    Timestamp::from_millisecond(now.wall).unwrap()
}

const LOOK_AGAIN_MS: i64 = 30_000;
