//! The worker of one destination: a state machine that decides to claim due deliveries, to make an attempt
//! of each, and to write the outcome.
//!
//! It does no I/O. Its driver reports what happened ([`Input`]) and executes what the worker decides
//! ([`Effect`]): the service with a store, a clock and tasks, the simulation with a model and simulated
//! time.
//!
//! ```text
//!   Open ──▶ Opened ──▶ Claim ──▶ Claimed ──▶ NextDue ──▶ Due ──▶ SetTimer ──▶ TimerFired, Woken
//!    ▲          │         ▲           │  fewer than asked for                       │
//!    └─ PAUSE ──┴─ error ─┼───────────┼─────────────────────────────────────────────┘
//!                         │           ▼
//!                         │        Attempt ──▶ Ended ──▶ Settle ──▶ Settled ──▶ Report, Alert
//!                         │                                ▲  error    │
//!                         │                                └── PAUSE ──┤
//!                         └────────────── a slot is free ──────────────┘
//! ```
//!
//! Leases are renewed (Renew ──▶ Renewed) until the outcome of each attempt is written. Only one call of
//! the upper row is made at a time. Attempts run concurrently, each in a slot that it holds until its
//! outcome is written. Only then is the outcome logged, or an alert sent: a crash must not make a log line
//! untrue.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use wilco_store::{
    Attempt, CLAIM_BYTES_MAX, Claim, DestinationStatus, Outcome, Settled, StoreError,
};

use crate::{
    attempt::Reply,
    effect::{AttemptEnd, AttemptId, Conclusion, Effect, Input, Report},
    lease::{LEASE, Leases},
    policy::{OnDead, Policy},
    scheduler::{Moment, Scheduler},
};

/// The decisions of one destination's worker.
pub struct Worker {
    policy: Policy,
    scheduler: Scheduler,
    /// Attempts that hold a slot.
    running: BTreeMap<AttemptId, Running>,
    last_id: AttemptId,
    /// Slots that attempts of an earlier configuration still hold.
    predecessor_slots: usize,
    /// The current call of the upper row.
    call: Option<Call>,
    leases: Leases,
    has_status: bool,
    backlog: Backlog,
    /// When to look for due deliveries at the latest, in time since the worker was opened.
    look_at: Duration,
    /// When the timer fires.
    timer: Option<Duration>,
    is_stopping: bool,
    is_closed: bool,
}

/// An attempt that holds a slot.
struct Running {
    claim: Claim,
    started_at: Timestamp,
    /// What follows from it, once it has ended.
    conclusion: Option<Arc<Conclusion>>,
    /// Whether its claim may still be valid: it is not known to be stale.
    has_lease: bool,
    /// Whether a write of the outcome failed before; it may be durable nevertheless.
    is_repeated: bool,
    /// When the outcome is written again, after a write that failed.
    settle_at: Option<Duration>,
}

enum Call {
    Open,
    Claim { limit: usize, asked_at: Duration },
    NextDue { asked_at: Duration },
}

/// What is known about the waiting deliveries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backlog {
    /// Something may be due.
    Unknown,
    /// A call is asking the store. A wake-up meanwhile makes the answer outdated.
    Asking,
    /// Nothing is due; the store has to be asked when something will be.
    Drained,
    /// Nothing is due before the next look.
    Waiting,
}

impl Worker {
    /// A worker that begins with its first [`Input::TimerFired`]. `predecessor_slots` are held by
    /// attempts of an earlier configuration of the same destination.
    pub fn new(policy: Policy, predecessor_slots: usize) -> Self {
        Self {
            scheduler: Scheduler::new(policy.clone()),
            policy,
            running: BTreeMap::new(),
            last_id: 0,
            predecessor_slots,
            call: None,
            leases: Leases::default(),
            has_status: false,
            backlog: Backlog::Unknown,
            look_at: Duration::ZERO,
            timer: None,
            is_stopping: false,
            is_closed: false,
        }
    }

    /// The slots that are taken, including those of earlier configurations.
    pub fn slots_taken(&self) -> usize {
        self.running.len() + self.predecessor_slots
    }

    /// Applies an input and returns the effects that follow from it.
    pub fn step(&mut self, input: Input, at: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::TimerFired => self.timer = None,
            Input::Woken => self.backlog = Backlog::Unknown,
            Input::Opened(status) => self.opened(status, at, &mut effects),
            Input::Claimed(claims) => self.claimed(claims, at, &mut effects),
            Input::Due(due) => self.due(&due, at),
            Input::Ended { id, end, took, chance } => {
                self.ended(id, end, took, chance, at, &mut effects);
            }
            Input::Settled { id, written } => self.settled(id, written, at, &mut effects),
            Input::Renewed(stale) => self.renewed(stale, at, &mut effects),
            Input::PredecessorSlots(taken) => self.predecessor_slots = taken,
            Input::Stop => self.is_stopping = true,
        }
        self.settle_again(at, &mut effects);
        self.renew(at, &mut effects);
        self.look(at, &mut effects);
        self.set_timer(at, &mut effects);
        effects
    }

    fn opened(
        &mut self,
        status: Result<DestinationStatus, StoreError>,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.call = None;
        match status {
            Ok(status) => {
                self.has_status = true;
                self.backlog = Backlog::Unknown;
                self.scheduler.apply(&status, at.now);
                let is_breaker_open = self.scheduler.is_open(self.scheduler.breaker());
                effects.push(Effect::Report(Report::Opened { is_breaker_open }));
            }
            Err(error) => self.call_failed(error, at, effects),
        }
    }

    /// Begins the claimed deliveries, even if the worker is stopping: they are running in the store, and
    /// would otherwise stay so until their leases end.
    fn claimed(
        &mut self,
        claims: Result<Vec<Claim>, StoreError>,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Call::Claim { limit, asked_at }) = self.call.take() else { return };
        let claims = match claims {
            Ok(claims) => claims,
            Err(error) => return self.call_failed(error, at, effects),
        };
        if claims.len() == limit {
            self.backlog = Backlog::Unknown;
        } else if self.backlog == Backlog::Asking {
            self.backlog = Backlog::Drained;
        }
        self.scheduler.began(claims.len(), at);
        self.leases.began(asked_at);
        for claim in claims {
            self.last_id += 1;
            effects.push(Effect::Attempt { id: self.last_id, claim: claim.clone() });
            let running = Running {
                claim,
                started_at: at.now,
                conclusion: None,
                has_lease: true,
                is_repeated: false,
                settle_at: None,
            };
            self.running.insert(self.last_id, running);
        }
    }

    fn due(&mut self, due: &Result<Option<Duration>, StoreError>, at: Moment) {
        let Some(Call::NextDue { asked_at }) = self.call.take() else { return };
        if self.backlog == Backlog::Asking {
            self.backlog = Backlog::Waiting;
            match due {
                // The store answered some time between the question and now; the question is the safe bound.
                Ok(due) => self.look_in(*due, asked_at),
                Err(_) => self.look_in(Some(PAUSE), at.since_opened),
            }
        }
    }

    /// Pauses, then starts over: the state of the store is unknown after an error.
    fn call_failed(&mut self, error: StoreError, at: Moment, effects: &mut Vec<Effect>) {
        if error.is_final() {
            self.is_stopping = true;
            return;
        }
        self.has_status = false;
        self.look_in(Some(PAUSE), at.since_opened);
        effects.push(Effect::Report(Report::DeliveriesWait(error)));
    }

    fn ended(
        &mut self,
        id: AttemptId,
        end: AttemptEnd,
        took: Duration,
        chance: f64,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let claim = running.claim.clone();
        let (reply, outcome, breaker) = match end {
            AttemptEnd::Replied(reply) => {
                let outcome = self.scheduler.outcome(&claim, reply.verdict, chance);
                let breaker = self.scheduler.answered(reply.verdict, at.now);
                (reply, outcome, breaker)
            }
            AttemptEnd::NotTaken => {
                (Reply::failed("no route takes it".into()), Outcome::Skipped, None)
            }
        };
        let Reply { verdict: _, result, request, output } = reply;
        let attempt = Attempt { started_at: running.started_at, took, result, request, output };
        let conclusion = Arc::new(Conclusion { claim, attempt, outcome, breaker });
        running.conclusion = Some(Arc::clone(&conclusion));
        effects.push(Effect::Settle { id, conclusion });
    }

    fn settled(
        &mut self,
        id: AttemptId,
        written: Result<Settled, StoreError>,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let Some(conclusion) = running.conclusion.clone() else { return };
        match written {
            Ok(Settled::Stale) if !running.is_repeated => {
                // The breaker has changed all the same: what the worker does next depends on it.
                let changes = conclusion.effects_of_breaker(&self.policy.breaker);
                effects.push(Effect::Report(Report::Dropped(conclusion)));
                effects.extend(changes);
            }
            // An earlier write that seemed to fail was durable after all.
            Ok(Settled::Written | Settled::Stale) => {
                effects.extend(conclusion.effects_once_written(&self.policy.breaker));
            }
            Err(error) if error.is_final() => {
                self.is_stopping = true;
                effects.push(Effect::Report(Report::Lost(conclusion)));
            }
            // A lost outcome means that the delivery is repeated.
            Err(error) => {
                running.is_repeated = true;
                running.settle_at = Some(at.since_opened.saturating_add(PAUSE));
                return effects.push(Effect::Report(Report::OutcomeWaits(error)));
            }
        }
        // The store wakes the worker when the next delivery of this key, or the retry, is due.
        self.running.remove(&id);
    }

    /// Retries the writes of outcomes that failed.
    fn settle_again(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        for (id, running) in &mut self.running {
            if let Some(conclusion) = &running.conclusion
                && running.settle_at.is_some_and(|settle_at| settle_at <= at.since_opened)
            {
                running.settle_at = None;
                effects.push(Effect::Settle { id: *id, conclusion: Arc::clone(conclusion) });
            }
        }
    }

    fn renew(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        if self.running.values().all(|running| !running.has_lease) {
            return self.leases.ended();
        }
        if self.leases.begin_renewal(at.since_opened) {
            let leased = self.running.values().filter(|running| running.has_lease);
            effects.push(Effect::Renew(leased.map(|running| running.claim.clone()).collect()));
        }
    }

    fn renewed(
        &mut self,
        stale: Result<Vec<i64>, StoreError>,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.leases.renewed(stale.is_ok(), PAUSE, at.since_opened);
        match stale {
            // The outcomes of these attempts will not be written, which is logged then.
            Ok(stale) => self.running.values_mut().for_each(|running| {
                running.has_lease &= !stale.contains(&running.claim.delivery());
            }),
            Err(error) if error.is_final() => {}
            Err(error) => effects.push(Effect::Report(Report::LeasesWait(error))),
        }
    }

    /// Decides on the next call of the upper row.
    fn look(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        if self.call.is_some() || self.is_closed {
            return;
        }
        if self.is_stopping {
            // A successor learns the slots of all its predecessors from this worker.
            if self.slots_taken() == 0 && !self.leases.are_being_renewed() {
                self.is_closed = true;
                effects.push(Effect::Close);
            }
            return;
        }
        let is_time = at.since_opened >= self.look_at;
        if !self.has_status {
            if is_time {
                self.call = Some(Call::Open);
                let releases_keys = self.policy.on_dead == OnDead::Skip;
                effects.push(Effect::Open { releases_keys });
            }
            return;
        }
        if is_time && self.backlog == Backlog::Waiting {
            self.backlog = Backlog::Unknown;
        }
        let limit = self.scheduler.allowed(self.slots_taken(), at);
        let held =
            self.running.values().map(|running| running.claim.event().body.bytes_in_memory());
        if limit == 0 || held.sum::<usize>() >= CLAIM_BYTES_MAX {
            // What is known now will be outdated when a slot is free again.
            self.backlog = Backlog::Unknown;
            return self.look_in(self.scheduler.wait(at), at.since_opened);
        }
        match self.backlog {
            Backlog::Unknown => {
                self.backlog = Backlog::Asking;
                self.call = Some(Call::Claim { limit, asked_at: at.since_opened });
                effects.push(Effect::Claim { limit, lease: LEASE });
            }
            Backlog::Drained => {
                self.backlog = Backlog::Asking;
                self.call = Some(Call::NextDue { asked_at: at.since_opened });
                effects.push(Effect::NextDue);
            }
            Backlog::Asking | Backlog::Waiting => {}
        }
    }

    /// Limited, because the clock may be changed.
    fn look_in(&mut self, wait: Option<Duration>, from: Duration) {
        let wait = wait.map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN));
        self.look_at = from.saturating_add(wait);
    }

    fn set_timer(&mut self, at: Moment, effects: &mut Vec<Effect>) {
        let looks = self.call.is_none() && !self.is_stopping;
        let settles = self.running.values().filter_map(|running| running.settle_at);
        let times = settles.chain(looks.then_some(self.look_at)).chain(self.leases.next());
        let Some(next) = times.min() else { return };
        if self.timer != Some(next) {
            self.timer = Some(next);
            effects.push(Effect::SetTimer(next.saturating_sub(at.since_opened)));
        }
    }
}

/// How long everything waits after an error of the store.
const PAUSE: Duration = Duration::from_secs(1);
/// How often to look for due deliveries in any case: the clock may have been changed, or a wake-up lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
