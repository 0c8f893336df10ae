//! What a worker may decide, and what it has to report.

use wilco_delivery::{Breaker, BreakerChange, Cause, Effect, Policy, Report};
use wilco_store::Outcome;

use super::{Concluded, Held, World, hold};

impl World {
    pub(crate) fn check(&self, place: usize, index: usize, effect: &Effect) -> Held {
        let worker = &self.destinations[place].workers[index];
        let slots = worker.slots.len() + worker.predecessor_slots;
        hold(!worker.is_closed, || format!("it has closed, but then {effect:?}"))?;
        match effect {
            Effect::Open { .. } | Effect::Claim { .. } | Effect::NextDue => {
                let is_free = !worker.is_calling() && !worker.is_stopping;
                hold(is_free, || format!("{effect:?} though it stops or is calling"))?;
                hold(worker.has_status != matches!(effect, Effect::Open { .. }), || {
                    format!("{effect:?}, and its status is known: {}", worker.has_status)
                })?;
                match effect {
                    Effect::Claim { limit, .. } => {
                        let free = worker.free(self.now);
                        worker.breaker.claims(*limit, free, slots, self.now)
                    }
                    _ => Ok(()),
                }
            }
            Effect::Close => {
                let is_done = worker.is_stopping && slots == 0 && worker.calls.is_empty();
                hold(is_done, || {
                    format!(
                        "it closes with {slots} slots taken and {} calls in progress",
                        worker.calls.len()
                    )
                })
            }
            _ => Ok(()),
        }
    }
}

/// An outcome is reported once, when it is written: before that, a crash could undo it.
pub(crate) fn said(effects: &[Effect], done: Option<Concluded>, policy: &Policy) -> Held {
    let count = |is: fn(&Effect) -> bool| effects.iter().filter(|effect| is(effect)).count();
    let said = [
        count(|effect| matches!(effect, Effect::Report(Report::Settled(_)))),
        count(|effect| matches!(effect, Effect::Alert(Cause::Dead(_)))),
        count(|effect| matches!(effect, Effect::Report(Report::BreakerOpened { .. }))),
        count(|effect| matches!(effect, Effect::Alert(Cause::BreakerOpened { .. }))),
        count(|effect| matches!(effect, Effect::Report(Report::BreakerClosed))),
        count(|effect| matches!(effect, Effect::Report(Report::Dropped(_) | Report::Lost(_)))),
    ];
    let mut expected = [0; 6];
    if let Some(Concluded { conclusion, is_written, .. }) = done {
        hold(is_written, || "an outcome is finished that was not written".into())?;
        let is_open = |breaker: Breaker| {
            breaker.open_until.is_some() && breaker.failures >= policy.breaker.failures
        };
        let (was_open, is_open) = match conclusion.breaker {
            Some(BreakerChange { before, after }) => (is_open(before), is_open(after)),
            None => (false, false),
        };
        let opens = usize::from(!was_open && is_open);
        let is_dead = usize::from(matches!(conclusion.outcome, Outcome::Dead { .. }));
        expected = [1, is_dead, opens, opens, usize::from(was_open && !is_open), 0];
    }
    hold(said == expected, || format!("it reports {said:?} instead of {expected:?}"))
}
