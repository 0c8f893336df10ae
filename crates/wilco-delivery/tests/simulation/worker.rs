//! A worker as the service drives it, with the clock, the chance and the destination controlled by the
//! simulation: the state machine of production, its timer, and its pending calls.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use wilco_delivery::{
    AttemptId, Conclusion, Effect, Input, Moment, Policy, Verdict, Worker as Decisions,
};
use wilco_store::Claim;

use super::{BreakerModel, Destination, Dice, Now, RateModel, millis};

/// A destination, with the worker of each of its configurations that has not closed yet. The last one is
/// the current one.
pub(crate) struct SimulatedDestination {
    pub(crate) config: Destination,
    pub(crate) mood: Mood,
    pub(crate) workers: Vec<Worker>,
    /// It was woken, and has not noticed yet.
    pub(crate) is_woken: bool,
}

pub(crate) struct Worker {
    pub(crate) policy: Policy,
    decisions: Decisions,
    opened: i64,
    pub(crate) timer: Option<i64>,
    /// The timer is only there in case the clock was set or a wake-up was lost.
    pub(crate) is_idle: bool,
    pub(crate) calls: Vec<Call>,
    pub(crate) slots: BTreeMap<AttemptId, Slot>,
    pub(crate) predecessor_slots: usize,
    pub(crate) has_status: bool,
    pub(crate) is_stopping: bool,
    pub(crate) is_closed: bool,
    pub(crate) breaker: BreakerModel,
    /// What it has read of the breaker, once the answer arrives.
    pub(crate) read: Option<BreakerModel>,
    pub(crate) rate: Option<RateModel>,
}

/// A call in progress.
pub(crate) struct Call {
    pub(crate) ready_at: i64,
    pub(crate) stage: Stage,
}

pub(crate) enum Stage {
    /// It will be made.
    Asked(Effect),
    /// It was made, and its answer has not arrived yet.
    Answered(Input),
}

/// An attempt that holds a slot.
pub(crate) struct Slot {
    pub(crate) claim: Claim,
    pub(crate) began: Timestamp,
    /// When the attempt ends; `None` once it has.
    pub(crate) ends_at: Option<i64>,
    pub(crate) concluded: Option<Concluded>,
}

/// The consequence of an attempt.
#[derive(Clone)]
pub(crate) struct Concluded {
    pub(crate) conclusion: Arc<Conclusion>,
    /// The breaker after it, if it changed.
    pub(crate) breaker: Option<BreakerModel>,
    /// The store has it, whatever it answered.
    pub(crate) is_written: bool,
}

/// What may happen next to a worker.
#[derive(Clone, Copy)]
pub(crate) enum Next {
    Call(usize),
    End(AttemptId),
    Timer,
    Wake,
    Predecessor(usize),
}

impl SimulatedDestination {
    pub(crate) fn new(config: Destination, now: Now) -> Self {
        let workers = vec![Worker::new(config.policy.clone(), 0, now)];
        Self { config, mood: Mood::Changing, workers, is_woken: false }
    }

    /// Everything that may happen now, to any of the workers.
    pub(crate) fn choices(&self, now: Now) -> Vec<(usize, Next)> {
        let mut choices = Vec::new();
        for (index, worker) in self.workers.iter().enumerate() {
            let is_current = index + 1 == self.workers.len();
            choices.extend(worker.choices(now).into_iter().map(|next| (index, next)));
            if is_current && self.is_woken {
                choices.push((index, Next::Wake));
            }
            let before = index.checked_sub(1).map_or(0, |before| self.workers[before].taken());
            if before != worker.predecessor_slots {
                choices.push((index, Next::Predecessor(before)));
            }
        }
        choices
    }

    pub(crate) fn clock_was_set_back(&mut self) {
        for worker in &mut self.workers {
            worker.breaker.clock_was_set_back();
            worker.read.iter_mut().for_each(BreakerModel::clock_was_set_back);
            let concluded = worker.slots.values_mut().filter_map(|slot| slot.concluded.as_mut());
            let breakers = concluded.filter_map(|concluded| concluded.breaker.as_mut());
            breakers.for_each(BreakerModel::clock_was_set_back);
        }
    }

    /// When something happens here without an event from outside.
    pub(crate) fn next_moment(&self) -> Option<i64> {
        self.workers.iter().filter_map(Worker::next_moment).min()
    }
}

impl Worker {
    pub(crate) fn new(policy: Policy, predecessor_slots: usize, now: Now) -> Self {
        Self {
            decisions: Decisions::new(policy.clone(), predecessor_slots),
            rate: policy.rate.map(|limit| RateModel::new(limit, now)),
            policy,
            opened: now.elapsed,
            timer: Some(now.elapsed),
            is_idle: false,
            calls: Vec::new(),
            slots: BTreeMap::new(),
            predecessor_slots,
            has_status: false,
            is_stopping: false,
            is_closed: false,
            breaker: BreakerModel::default(),
            read: None,
        }
    }

    pub(crate) fn step(&mut self, input: Input, now: Now) -> Vec<Effect> {
        self.decisions.step(input, self.moment(now))
    }

    /// Whether a call is in progress that must not overlap with another.
    pub(crate) fn is_calling(&self) -> bool {
        self.calls.iter().any(|call| match &call.stage {
            Stage::Asked(effect) => !matches!(effect, Effect::Settle { .. } | Effect::Renew(_)),
            Stage::Answered(input) => !matches!(input, Input::Settled { .. } | Input::Renewed(_)),
        })
    }

    /// The slots that it reports to its successor, as production counts them.
    pub(crate) fn taken(&self) -> usize {
        self.decisions.slots_taken()
    }

    /// How many attempts concurrency and rate allow to start.
    pub(crate) fn free(&self, now: Now) -> usize {
        let taken = self.slots.len() + self.predecessor_slots;
        let free = self.policy.concurrency.saturating_sub(taken);
        self.rate.as_ref().map_or(free, |rate| rate.allowed(now).min(free))
    }

    fn choices(&self, now: Now) -> Vec<Next> {
        let calls = self.calls.iter().enumerate();
        let calls = calls.filter(|(_, call)| call.ready_at <= now.elapsed);
        let mut choices: Vec<_> = calls.map(|(index, _)| Next::Call(index)).collect();
        let ended = |slot: &Slot| slot.ends_at.is_some_and(|ends_at| ends_at <= now.elapsed);
        let ended = self.slots.iter().filter(|(_, slot)| ended(slot));
        choices.extend(ended.map(|(id, _)| Next::End(*id)));
        if self.timer.is_some_and(|timer| timer <= now.elapsed) {
            choices.push(Next::Timer);
        }
        choices
    }

    fn next_moment(&self) -> Option<i64> {
        let calls = self.calls.iter().map(|call| call.ready_at);
        let ends = self.slots.values().filter_map(|slot| slot.ends_at);
        calls.chain(ends).chain(self.timer.filter(|_| !self.is_idle)).min()
    }

    fn moment(&self, now: Now) -> Moment {
        let since_opened = u64::try_from(now.elapsed - self.opened).unwrap();
        Moment { now: at(now), since_opened: std::time::Duration::from_millis(since_opened) }
    }
}

impl Mood {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        dice.pick(&[Self::Well, Self::Changing, Self::Changing, Self::Down])
    }

    pub(crate) fn verdict(self, longest: std::time::Duration, dice: &mut Dice) -> Verdict {
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

/// How a destination answers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Well,
    Changing,
    Down,
}
