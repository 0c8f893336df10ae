//! What may follow from an attempt.

use wilco_delivery::{AttemptEnd, Conclusion, OnDead, Policy, Reply, Verdict};
use wilco_store::Outcome;

use super::{Fate, Held, Model, Now, hold, millis};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Answered(Verdict),
    NotTaken,
}

impl From<End> for AttemptEnd {
    fn from(end: End) -> Self {
        match end {
            End::NotTaken => Self::NotTaken,
            End::Answered(verdict) => Self::Replied(reply(verdict)),
        }
    }
}

fn reply(verdict: Verdict) -> Reply {
    Reply::new(verdict, format!("{verdict:?}"))
}

impl Model {
    /// An attempt ended, and this follows from it.
    pub(crate) fn concluded(&self, end: End, conclusion: &Conclusion, policy: &Policy) -> Held {
        let way = &self.ways[index(conclusion)];
        let (give_up, longest) = (millis(policy.retry.give_up_after), millis(policy.retry.max));
        let what = format!("delivery {} of event {}", index(conclusion) + 1, way.event);
        // Each wait may lose a part of a millisecond when it is written down.
        let is_old = way.waited + i64::from(way.attempts) >= give_up;
        hold(way.is_running, || format!("{what} ends without having begun"))?;
        let outcome = &conclusion.outcome;
        match (outcome, end) {
            (Outcome::Delivered, End::Answered(Verdict::Delivered))
            | (Outcome::Skipped, End::NotTaken) => Ok(()),
            (Outcome::Dead { .. }, End::Answered(Verdict::Delivered) | End::NotTaken) => {
                Err(format!("{what} dies by {end:?}"))
            }
            (Outcome::Dead { holds_key }, _) => {
                let is_final = matches!(end, End::Answered(Verdict::Refused | Verdict::Unsendable));
                hold(is_final || is_old, || {
                    format!("{what} dies after {} of {give_up} ms", way.waited)
                })?;
                hold(*holds_key == (policy.on_dead == OnDead::Block), || {
                    format!("{what} holds its key: {holds_key}")
                })
            }
            (Outcome::Retry { after, .. }, End::Answered(Verdict::Failed { .. })) => {
                let wait = millis(*after);
                hold((0..=longest).contains(&wait), || format!("{what} waits {wait} ms"))?;
                hold(way.waited + wait <= give_up, || format!("{what} waits past {give_up} ms"))
            }
            _ => Err(format!("{what}: {outcome:?} follows from {end:?}")),
        }
    }

    /// The consequence of an attempt is in the store.
    pub(crate) fn written(&mut self, conclusion: &Conclusion, now: Now) -> Held {
        let way = &mut self.ways[index(conclusion)];
        hold(std::mem::take(&mut way.is_running), || {
            format!("delivery {} is settled twice", index(conclusion) + 1)
        })?;
        way.fate = match conclusion.outcome {
            Outcome::Delivered => Fate::Delivered,
            Outcome::Skipped => Fate::Skipped,
            Outcome::Dead { holds_key } => {
                Fate::Dead { holds: holds_key && way.key.is_some(), is_replayed: false }
            }
            Outcome::Retry { after, .. } => {
                let wait = millis(after);
                way.waited += wait;
                way.is_due_again(now, now.wall + wait, wait);
                return Ok(());
            }
        };
        let (place, key) = (way.place, way.key.clone());
        self.open_key(place, key.as_deref(), now);
        Ok(())
    }
}

fn index(conclusion: &Conclusion) -> usize {
    usize::try_from(conclusion.claim.delivery() - 1).unwrap()
}
