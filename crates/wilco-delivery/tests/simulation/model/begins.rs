//! Which attempts may start, which have to, and which must not.

use std::time::Duration;

use wilco_store::Claim;

use super::{Fate, Held, Model, Now, Way, hold, millis};

/// A claim, as far as it is checked.
pub(crate) struct Claimed {
    /// The delivery's number.
    pub(crate) number: i64,
    pub(crate) event: usize,
    pub(crate) attempt: u32,
    pub(crate) waited: Duration,
}

impl Model {
    /// A worker claimed.
    pub(crate) fn claimed(
        &mut self,
        place: usize,
        room: usize,
        claims: &[Claimed],
        lease: Duration,
        now: Now,
    ) -> Held {
        let name = self.places[place].config.name.clone();
        if self.places[place].is_paused {
            return hold(claims.is_empty(), || format!("{name} is paused, and something begins"));
        }
        self.look_at_the_clock(place, now);
        let mut due: Vec<_> = self.ways.iter().enumerate().collect();
        due.retain(|(_, way)| way.place == place && way.is_due(now));
        due.sort_by_key(|(index, way)| (way.due, *index));
        let due: Vec<_> = due.iter().map(|(index, _)| *index).take(room).collect();
        let mut begun = Vec::new();
        for claim in claims {
            let index = self.begins(place, claim, now)?;
            self.ways[index].lease_ends = now.elapsed + millis(lease);
            begun.push(index);
        }
        if claims.len() < room {
            self.nobody_waits_too_long(place, now)?;
        }
        hold(begun == due, || {
            let numbers = |of: &[usize]| of.iter().map(|index| index + 1).collect::<Vec<_>>();
            format!("{name} begins {:?}, and due are {:?}", numbers(&begun), numbers(&due))
        })
    }

    fn begins(&mut self, place: usize, claim: &Claimed, now: Now) -> Result<usize, String> {
        let index = usize::try_from(claim.number - 1).unwrap();
        let Some(way) = self.ways.get(index) else {
            return Err(format!("delivery {} does not exist", claim.number));
        };
        let what = format!("delivery {} of event {}", claim.number, claim.event);
        hold(way.event == claim.event && way.place == place, || {
            format!("{what} is event {} for another place", way.event)
        })?;
        hold(way.fate == Fate::Awaited, || format!("{what} begins though it is {:?}", way.fate))?;
        hold(!way.is_running, || format!("{what} begins while it is under way"))?;
        let ahead = way.key.as_deref().and_then(|key| self.front(place, key));
        hold(ahead.is_none_or(|ahead| ahead == index), || {
            format!("{what} begins before delivery {} of its key ended", ahead.unwrap_or(0) + 1)
        })?;
        let (earliest, jumps) = way.earliest;
        hold(now.jumps != jumps || now.elapsed >= earliest, || {
            format!("{what} begins {} ms too early", earliest - now.elapsed)
        })?;
        hold(way.attempts + 1 == claim.attempt, || format!("{what} counts its attempts wrongly"))?;
        let off = millis(claim.waited) - way.waited;
        hold(off.abs() <= i64::from(way.attempts), || {
            format!("{what} says it waited {off} ms more than it did")
        })?;
        let way = &mut self.ways[index];
        way.attempts += 1;
        way.due = None;
        way.is_running = true;
        Ok(index)
    }

    /// A claim finds times written before the clock was set back, and shortens them.
    fn look_at_the_clock(&mut self, place: usize, now: Now) {
        let longest = millis(self.places[place].config.policy.longest_wait);
        for way in self.ways.iter_mut().filter(|way| way.place == place) {
            let Some(due) = &mut way.due else { continue };
            *due = now.wall.saturating_add(longest).min(*due);
            if std::mem::take(&mut way.is_stale) {
                way.patience = way.patience.max(now.elapsed + longest);
            }
        }
    }

    /// Leases are renewed. Returns those that nobody holds any more.
    pub(crate) fn renewed(&mut self, claims: &[Claim], now: Now) -> Vec<i64> {
        let mut stale = Vec::new();
        for claim in claims {
            let way = &mut self.ways[usize::try_from(claim.delivery() - 1).unwrap()];
            if way.is_running && way.attempts == claim.attempt() {
                way.lease_ends = now.elapsed + millis(claim.lease());
            } else {
                stale.push(claim.delivery());
            }
        }
        stale
    }

    /// A running delivery is exclusive.
    pub(crate) fn holds_lease(&self, number: i64, now: Now) -> Held {
        let way = &self.ways[usize::try_from(number - 1).unwrap()];
        hold(!way.is_running || now.elapsed < way.lease_ends, || {
            format!("the lease of delivery {number} ended {} ms ago", now.elapsed - way.lease_ends)
        })
    }

    pub(crate) fn nobody_waits_too_long(&self, place: usize, now: Now) -> Held {
        let late = self.ways.iter().enumerate().find(|(_, way)| {
            way.place == place && way.waits() && !way.is_stale && way.patience <= now.elapsed
        });
        match late {
            None => Ok(()),
            Some((index, way)) => Err(format!(
                "delivery {} of event {} should have started {} ms ago",
                index + 1,
                way.event,
                now.elapsed - way.patience
            )),
        }
    }
}

impl Way {
    fn waits(&self) -> bool {
        self.fate == Fate::Awaited && !self.is_running && self.due.is_some()
    }

    fn is_due(&self, now: Now) -> bool {
        self.waits() && self.due.is_some_and(|due| due <= now.wall)
    }
}
