//! What may follow from an attempt.

use wilco_delivery::{Breaker, OnDead, Verdict};
use wilco_store::Outcome;

use super::{Fate, Held, Model, Now, Open, hold, millis};

impl Model {
    /// A lane's breaker heard how an attempt went.
    pub(crate) fn noted(
        &mut self,
        place: usize,
        verdict: Verdict,
        (before, after): (Breaker, Breaker),
        now: Now,
    ) -> Held {
        let place = &mut self.places[place];
        let (name, config) = (&place.config.name, place.config.policy.breaker);
        let wait = after.open_until.map(|until| until.as_millisecond() - now.wall);
        // Whether it asked for a wait before, and that is not over by the clock that it sees.
        let is_held = before.open_until.is_some_and(|until| until.as_millisecond() > now.wall);
        if verdict == Verdict::Unsendable {
            return hold(after == before, || format!("{name} was not asked, and then {after:?}"));
        }
        let Verdict::Failed { not_before } = verdict else {
            let was_asked = is_held && place.failures < config.failures;
            place.failures = 0;
            if !was_asked {
                place.open = None;
            }
            return hold(after.failures == 0 && after.open_until.is_some() == was_asked, || {
                format!("{name} answers, and then {after:?}")
            });
        };
        let asked = not_before.map_or(0, |wait| millis(wait.min(place.config.policy.retry.max)));
        if is_held {
            // What was under way when it opened says nothing new, but may ask for more time.
            let more = wait.unwrap_or(0).max(asked);
            if after != before {
                place.open = Some(Open::new(asked, now));
            }
            return hold(after.failures == before.failures && wait == Some(more), || {
                format!("{name} asks for {asked} ms, and is left for {wait:?}")
            });
        }
        place.failures += 1;
        let Some(wait) = wait else {
            place.open = None;
            return hold(asked == 0 && place.failures < config.failures, || {
                format!("{name} failed {} times and is not left alone", place.failures)
            });
        };
        place.open = Some(Open::new(wait, now));
        if place.failures < config.failures {
            return hold(wait == asked && asked > 0, || {
                format!("{name} asks for {asked} ms, and is left for {wait}")
            });
        }
        let (least, most) = (millis(config.probe_after), millis(config.probe_max));
        hold((least.max(asked)..=most.max(asked)).contains(&wait), || {
            format!("{name} is left for {wait} ms")
        })
    }

    /// An attempt ended, and this follows from it.
    pub(crate) fn settled(
        &mut self,
        number: i64,
        verdict: Verdict,
        outcome: &Outcome,
        now: Now,
    ) -> Held {
        let index = usize::try_from(number - 1).unwrap();
        let way = &mut self.ways[index];
        let config = &self.places[way.place].config;
        let (give_up, longest) =
            (millis(config.policy.retry.give_up_after), millis(config.policy.retry.max));
        let what = format!("delivery {number} of event {}", way.event);
        // Each wait may lose a part of a millisecond when it is written down.
        let is_old = way.waited + i64::from(way.attempts) >= give_up;
        hold(std::mem::take(&mut way.is_running), || format!("{what} ends without having begun"))?;
        way.fate = match (outcome, verdict) {
            (Outcome::Delivered, Verdict::Delivered) => Fate::Delivered,
            (
                Outcome::Dead { holds_key },
                Verdict::Failed { .. } | Verdict::Refused | Verdict::Unsendable,
            ) => {
                let is_final = matches!(verdict, Verdict::Refused | Verdict::Unsendable);
                hold(is_final || is_old, || {
                    format!("{what} dies after {} of {give_up} ms", way.waited)
                })?;
                hold(*holds_key == (config.policy.on_dead == OnDead::Block), || {
                    format!("{what} holds its key: {holds_key}")
                })?;
                Fate::Dead { holds: *holds_key && way.key.is_some(), is_replayed: false }
            }
            (Outcome::Retry { after, .. }, Verdict::Failed { .. }) => {
                let wait = millis(*after);
                hold((0..=longest).contains(&wait), || format!("{what} waits {wait} ms"))?;
                way.waited += wait;
                hold(way.waited <= give_up, || format!("{what} waits past its {give_up} ms"))?;
                way.is_due_again(now, now.wall + wait, wait);
                return Ok(());
            }
            _ => return Err(format!("{what}: {outcome:?} follows from {verdict:?}")),
        };
        let (place, key) = (way.place, way.key.clone());
        self.open_key(place, key.as_deref(), now);
        Ok(())
    }
}
