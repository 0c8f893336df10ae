//! What the service does for a worker, done here in a random order: calls are made and answered, timers
//! fire, attempts end. After each step the model is asked.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use wilco_delivery::{AttemptId, Conclusion, Effect, Input, OnDead, Report};
use wilco_store::{Claim, DestinationStatus, Settled, StoreError};

use super::{
    Call, Claimed, Concluded, End, Held, Next, Slot, Stage, Worker, World, at, hold, millis, said,
};

impl World {
    /// Executes everything that may happen now.
    pub(crate) async fn work(&mut self) -> Held {
        for _ in 0..STEPS_MAX {
            let mut choices = Vec::new();
            for (place, destination) in self.destinations.iter_mut().enumerate() {
                let waker = self.backend.store().wakers().due(&destination.config.name);
                destination.is_woken |= waker.notified().now_or_never().is_some();
                let of_it = destination.choices(self.now).into_iter();
                choices.extend(of_it.map(|(index, next)| (place, index, next)));
            }
            if choices.is_empty() {
                return (0..self.destinations.len()).try_for_each(|place| self.rests(place));
            }
            let (place, index, next) = self.dice.pick(&choices);
            self.happen(place, index, next).await?;
        }
        Err(format!("still not idle after {STEPS_MAX} steps in the same millisecond"))
    }

    /// Nothing happens at a destination until time passes, so no due delivery may be left.
    fn rests(&self, place: usize) -> Held {
        for slot in self.destinations[place].workers.iter().flat_map(|worker| worker.slots.values())
        {
            self.model.holds_lease(slot.claim.delivery(), self.now)?;
        }
        let Some(worker) = self.destinations[place].workers.last() else { return Ok(()) };
        let slots = worker.slots.len() + worker.predecessor_slots;
        let is_paused = self.model.places[place].is_paused;
        let is_ready = worker.has_status && !worker.is_stopping && !worker.is_calling();
        let may_begin = worker.free(self.now) > 0 && worker.breaker.lets_begin(slots, self.now);
        if is_paused || !is_ready || !may_begin {
            return Ok(());
        }
        self.model
            .nobody_waits_too_long(place, self.now)
            .map_err(|late| format!("the worker of d{place} is idle although {late}"))
    }

    async fn happen(&mut self, place: usize, index: usize, next: Next) -> Held {
        let worker = &mut self.destinations[place].workers[index];
        let input = match next {
            Next::Timer => {
                worker.timer = None;
                Input::TimerFired
            }
            Next::Predecessor(slots) => {
                worker.predecessor_slots = slots;
                Input::PredecessorSlots(slots)
            }
            Next::Wake => {
                self.destinations[place].is_woken = false;
                Input::Woken
            }
            Next::End(id) => return self.end(place, index, id),
            Next::Call(call) => match worker.calls.remove(call).stage {
                Stage::Answered(input) => input,
                Stage::Asked(effect) => {
                    let input = self.make(place, index, effect).await?;
                    let ready_at = self.soon();
                    if ready_at > self.now.elapsed {
                        let call = Call { ready_at, stage: Stage::Answered(input) };
                        self.destinations[place].workers[index].calls.push(call);
                        return Ok(());
                    }
                    input
                }
            },
        };
        self.step(place, index, input)
    }

    /// Now, or sometimes a little later.
    fn soon(&mut self) -> i64 {
        let delay = if self.dice.is_lucky(10) { self.dice.between(1, 3_000) } else { 0 };
        self.now.elapsed + i64::from(if self.is_rough { delay } else { 0 })
    }

    pub(crate) fn stop(&mut self, place: usize, index: usize) -> Held {
        self.destinations[place].workers[index].is_stopping = true;
        self.step(place, index, Input::Stop)
    }

    /// Makes a call to the store.
    async fn make(&mut self, place: usize, index: usize, effect: Effect) -> Result<Input, String> {
        let name = self.destinations[place].config.name.clone();
        let longest_wait = self.destinations[place].config.policy.longest_wait;
        Ok(match effect {
            Effect::Open { releases_keys } => {
                Input::Opened(Ok(self.open(place, index, releases_keys).await?))
            }
            Effect::Claim { limit, lease } => {
                // A claim that fails has claimed nothing.
                let fails = self.dice.is_lucky(3) && self.is_rough && self.may_fail;
                if fails {
                    self.backend.break_next_write(false);
                }
                let claims = self.backend.store().claim(&name, limit, lease, longest_wait).await;
                if let Ok(claims) = &claims {
                    let claimed: Vec<_> = claims.iter().map(|claim| self.claimed(claim)).collect();
                    self.model.claimed(place, limit, &claimed, lease, self.now)?;
                }
                Input::Claimed(claims)
            }
            Effect::Renew(claims) => Input::Renewed(self.renew(&claims).await?),
            Effect::NextDue => Input::Due(self.backend.store().next_due(&name).await),
            Effect::Settle { id, conclusion } => {
                Input::Settled { id, written: self.write(place, index, id, &conclusion).await? }
            }
            other => return Err(format!("{other:?} is not a call")),
        })
    }

    async fn open(
        &mut self,
        place: usize,
        index: usize,
        releases_keys: bool,
    ) -> Result<DestinationStatus, String> {
        let config = self.destinations[place].config.clone();
        let policy = self.destinations[place].workers[index].policy.clone();
        hold(releases_keys == (policy.on_dead == OnDead::Skip), || {
            format!("d{place} releases keys: {releases_keys}")
        })?;
        let store = self.backend.store();
        if releases_keys {
            store.release_keys(&config.name).await.unwrap();
        }
        self.model.opened(place, releases_keys, self.now);
        let status = self.backend.store().destination_status(&config.name).await.unwrap();
        let expected = &self.model.places[place];
        hold(status.is_paused == expected.is_paused, || {
            format!("d{place} is paused: {}; but the worker was told otherwise", status.is_paused)
        })?;
        let stored = expected.breaker.state.stored(at(self.now));
        hold(status.breaker == stored, || {
            format!("the breaker of d{place} is {:?} instead of {stored:?}", status.breaker)
        })?;
        let read = expected.breaker.clone();
        self.destinations[place].workers[index].read = Some(read);
        Ok(status)
    }

    async fn renew(&mut self, claims: &[Claim]) -> Result<Result<Vec<i64>, StoreError>, String> {
        let broken = self.may_break();
        let renewed = self.backend.store().renew(claims).await;
        if renewed.is_ok() || broken == Some(true) {
            let stale = self.model.renewed(claims, self.now);
            if let Ok(renewed) = &renewed {
                hold(*renewed == stale, || format!("{renewed:?} are stale, should be {stale:?}"))?;
            }
        }
        Ok(renewed)
    }

    async fn write(
        &mut self,
        place: usize,
        index: usize,
        id: AttemptId,
        conclusion: &Arc<Conclusion>,
    ) -> Result<Result<Settled, StoreError>, String> {
        let Conclusion { claim, attempt, outcome, breaker } = &**conclusion;
        let broken = self.may_break();
        let breaker = breaker.map(|change| change.after.stored(at(self.now)));
        let written = self.backend.store().settle(claim, attempt, outcome, breaker).await;
        let slot = self.destinations[place].workers[index].slots.get_mut(&id);
        let concluded = slot.and_then(|slot| slot.concluded.as_mut());
        let concluded =
            concluded.ok_or("an outcome is written for an attempt that has not ended")?;
        let is_new = match (&written, broken) {
            (Ok(Settled::Written), _) => true,
            (Ok(Settled::Stale), _) => {
                hold(concluded.is_written, || format!("d{place}: {outcome:?} comes too late"))?;
                false
            }
            (Err(_), broken) => broken == Some(true) && !concluded.is_written,
        };
        if is_new {
            concluded.is_written = true;
            self.model.written(conclusion, self.now)?;
            let stored = &mut self.model.places[place].breaker;
            if let Some(breaker) = &concluded.breaker
                && breaker.state.revision >= stored.state.revision
            {
                *stored = breaker.written(self.now);
            }
        }
        Ok(written)
    }

    fn claimed(&self, claim: &Claim) -> Claimed {
        Claimed {
            number: claim.delivery(),
            event: self.numbers[&claim.event().id],
            attempt: claim.attempt(),
            waited: claim.waited(),
        }
    }

    /// An attempt ends, depending on chance and the state of its destination.
    fn end(&mut self, place: usize, index: usize, id: AttemptId) -> Held {
        let (mood, longest) =
            (self.destinations[place].mood, self.destinations[place].config.policy.retry.max);
        let end = match self.dice.between(0, 99) {
            0 if self.is_rough => End::NotTaken,
            _ => End::Answered(mood.verdict(longest, &mut self.dice)),
        };
        let chance = self.dice.chance();
        let worker = &mut self.destinations[place].workers[index];
        let Some(slot) = worker.slots.get_mut(&id) else { return Ok(()) };
        slot.ends_at = None;
        let number = slot.claim.delivery();
        self.say(&format!("d{place} ends delivery {number}: {end:?}"));
        let input = Input::Ended { id, end: end.into(), took: TOOK, chance };
        let effects = self.destinations[place].workers[index].step(input, self.now);
        let settles: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Settle { id: settled, conclusion } if *settled == id => Some(conclusion),
                _ => None,
            })
            .cloned()
            .collect();
        let [conclusion] = settles.as_slice() else {
            return Err(format!("delivery {number} ended, and {} outcomes follow", settles.len()));
        };
        let policy = &self.destinations[place].workers[index].policy;
        said(&effects, None, policy).map_err(|broken| format!("d{place}: {broken}"))?;
        self.conclude(place, index, id, end, conclusion)?;
        self.execute(place, index, effects)
    }

    fn conclude(
        &mut self,
        place: usize,
        index: usize,
        id: AttemptId,
        end: End,
        conclusion: &Arc<Conclusion>,
    ) -> Held {
        self.say(&format!("then {:?}, and {:?}", conclusion.outcome, conclusion.breaker));
        let now = self.now;
        let worker = &mut self.destinations[place].workers[index];
        let Worker { slots, breaker, policy, .. } = worker;
        let Some(slot) = slots.get_mut(&id) else { return Ok(()) };
        let attempt = &conclusion.attempt;
        hold(attempt.started_at == slot.began && attempt.took == TOOK, || {
            format!("an attempt that began at {} is written as {attempt:?}", slot.began)
        })?;
        match end {
            End::Answered(verdict) => breaker
                .answered(policy, verdict, conclusion.breaker, now)
                .map_err(|broken| format!("d{place}: {broken}"))?,
            End::NotTaken => hold(conclusion.breaker.is_none(), || {
                format!("d{place} was not asked, and its breaker changes")
            })?,
        }
        let breaker = conclusion.breaker.map(|_| breaker.clone());
        let conclusion = Arc::clone(conclusion);
        self.model.concluded(end, &conclusion, policy)?;
        slot.concluded = Some(Concluded { conclusion, breaker, is_written: false });
        Ok(())
    }

    fn step(&mut self, place: usize, index: usize, input: Input) -> Held {
        let now = self.now;
        let worker = &mut self.destinations[place].workers[index];
        let mut begin = Vec::new();
        let mut done = None;
        match &input {
            Input::Opened(Ok(status)) => {
                worker.has_status = true;
                let read = worker.read.take().unwrap_or_default();
                if status.breaker.revision >= worker.breaker.state.revision {
                    worker.breaker = read.read(status.breaker.open_for, now);
                }
            }
            Input::Claimed(Ok(claims)) => {
                begin = claims.iter().map(Claim::delivery).collect();
                if let Some(rate) = &mut worker.rate {
                    rate.began(claims.len(), now);
                }
            }
            Input::Opened(Err(_)) | Input::Claimed(Err(_)) => worker.has_status = false,
            Input::Settled { id, written: Ok(_) } => done = worker.slots.remove(id),
            _ => {}
        }
        let has_failed = matches!(&input, Input::Settled { written: Err(_), .. });
        let is_well = !matches!(
            &input,
            Input::Opened(Err(_))
                | Input::Claimed(Err(_))
                | Input::Renewed(Err(_))
                | Input::Settled { written: Err(_), .. }
        );
        let effects = worker.step(input, now);
        let begun = effects.iter().filter_map(|effect| match effect {
            Effect::Attempt { claim, .. } => Some(claim.delivery()),
            _ => None,
        });
        hold(begun.eq(begin), || format!("d{place} starts something that it has not claimed"))?;
        let waits = effects.iter().any(|effect| {
            let waits = |report: &Report| {
                matches!(
                    report,
                    Report::DeliveriesWait(_) | Report::OutcomeWaits(_) | Report::LeasesWait(_)
                )
            };
            matches!(effect, Effect::Report(report) if waits(report))
        });
        hold(waits != is_well, || format!("d{place} says that the store failed: {waits}"))?;
        said(&effects, done.and_then(|slot| slot.concluded), &worker.policy)
            .map_err(|broken| format!("d{place}: {broken}"))?;
        self.execute(place, index, effects)?;
        // A failed write of an outcome is repeated soon, even if the worker has nothing else to do.
        let worker = self.destinations[place].workers.get(index);
        let is_soon = worker.and_then(|it| it.timer).is_some_and(|at| at <= now.elapsed + PAUSE_MS);
        hold(!has_failed || is_soon, || format!("d{place} does not write an outcome again"))
    }

    fn execute(&mut self, place: usize, index: usize, effects: Vec<Effect>) -> Held {
        let is_look = |effect: &Effect| matches!(effect, Effect::Claim { .. } | Effect::NextDue);
        let worker = &mut self.destinations[place].workers[index];
        let has_looked = !worker.is_calling() || effects.iter().any(is_look);
        if has_looked && worker.has_status && !worker.is_stopping {
            worker.breaker.looked(&worker.policy, self.now);
        }
        for effect in effects {
            self.check(place, index, &effect).map_err(|broken| format!("d{place}: {broken}"))?;
            match effect {
                Effect::SetTimer(wait) => {
                    // A fraction of a millisecond is rounded up, because the clock here counts whole ones.
                    let wait = millis(wait + Duration::from_nanos(999_999));
                    let worker = &mut self.destinations[place].workers[index];
                    worker.timer = Some(self.now.elapsed + wait);
                    worker.is_idle = wait >= LOOK_AGAIN_MS;
                }
                Effect::Attempt { id, claim } => {
                    let takes = match self.dice.between(0, 19) {
                        0 => self.dice.between(0, 300_000),
                        _ => self.dice.between(0, 3) * self.dice.between(0, 4_000),
                    };
                    let (number, attempt) = (claim.delivery(), claim.attempt());
                    let event = self.numbers[&claim.event().id];
                    self.say(&format!(
                        "d{place} starts delivery {number}, event {event}, attempt {attempt}"
                    ));
                    let ends_at = Some(self.now.elapsed + i64::from(takes));
                    let began = at(self.now);
                    let slot = Slot { claim, began, ends_at, concluded: None };
                    self.destinations[place].workers[index].slots.insert(id, slot);
                }
                Effect::Report(_) | Effect::Alert(_) => {}
                Effect::Close => self.destinations[place].workers[index].is_closed = true,
                call => {
                    let call = Call { ready_at: self.soon(), stage: Stage::Asked(call) };
                    self.destinations[place].workers[index].calls.push(call);
                }
            }
        }
        self.destinations[place].workers.retain(|worker| !worker.is_closed);
        Ok(())
    }
}

/// A timer of this duration or longer is not waited for: it fires with the next thing that happens.
const LOOK_AGAIN_MS: i64 = 30_000;
const PAUSE_MS: i64 = 1_000;
const TOOK: Duration = Duration::from_millis(1);
/// More steps in one millisecond than this count as an endless loop.
const STEPS_MAX: u32 = 20_000;
