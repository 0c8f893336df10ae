//! A model of the expected decisions, kept independently of the store.
//!
//! Two clocks: `elapsed` only moves forward, and says how long something really took; `wall` is what wilco
//! sees, and may be set. Both in milliseconds.

mod begins;
mod breaker;
mod ends;

use std::time::Duration;

use wilco_store::Target;

use super::{Destination, at};

pub(crate) use begins::Claimed;
pub(crate) use breaker::{BreakerModel, RateModel};
pub(crate) use ends::End;

/// The result of a check: nothing, or a sentence that says what is wrong.
pub(crate) type Held = Result<(), String>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) elapsed: i64,
    pub(crate) wall: i64,
    /// How often the clock was set.
    pub(crate) jumps: u32,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) places: Vec<Place>,
    /// In the order in which they are made: the first has number 1.
    pub(crate) ways: Vec<Way>,
}

/// A destination.
pub(crate) struct Place {
    pub(crate) config: Destination,
    pub(crate) is_paused: bool,
    /// The breaker as the store has it.
    pub(crate) breaker: BreakerModel,
}

/// One event on its way to one destination.
pub(crate) struct Way {
    pub(crate) event: usize,
    place: usize,
    key: Option<String>,
    burst: Option<InBurst>,
    /// Its position among those with its key.
    rank: usize,
    pub(crate) fate: Fate,
    pub(crate) attempts: u32,
    is_running: bool,
    lease_ends: i64,
    waited: i64,
    /// By the wall clock, while it waits for a time and not for another delivery.
    due: Option<i64>,
    not_before: i64,
    /// It may not start before this, unless the clock was set since.
    earliest: (i64, u32),
    /// It has to start then if a slot is free, whatever the clock did.
    patience: i64,
    /// The clock was set back since its times were written.
    is_stale: bool,
}

struct InBurst {
    key: String,
    began: i64,
    /// When it really began, or when its first event came after the clock was set back.
    first: i64,
    was_set_back: bool,
    jumps: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Awaited,
    Delivered,
    Dead { holds: bool, is_replayed: bool },
    Superseded { by: usize },
    Cancelled,
    Skipped,
}

impl Model {
    pub(crate) fn new(destinations: &[Destination]) -> Self {
        let places = destinations.iter().cloned();
        let places = places.map(|config| Place {
            config,
            is_paused: false,
            breaker: BreakerModel::default(),
        });
        Self { places: places.collect(), ways: Vec::new() }
    }

    /// A route makes a delivery.
    pub(crate) fn made(&mut self, event: usize, place: usize, target: &Target, now: Now) {
        let mut way = Way::new(event, place, target.order_key.clone(), self.ways.len(), now);
        if let Some(burst) = &target.burst {
            let (quiet, at_most) = (millis(burst.quiet), millis(burst.at_most));
            let new = InBurst {
                key: burst.key.clone(),
                began: now.wall,
                first: now.elapsed,
                was_set_back: false,
                jumps: now.jumps,
            };
            let burst = self.supersede(event, place, new, now);
            way.not_before = (now.wall + quiet).min(burst.began + at_most);
            way.patience = (now.elapsed + quiet).min(burst.first + at_most);
            if burst.jumps == now.jumps {
                way.earliest = (way.patience, now.jumps);
            }
            way.burst = Some(burst);
        }
        self.add(way, now);
    }

    /// A delivery is replayed.
    pub(crate) fn replayed(&mut self, event: usize, place: usize, target: &Target, now: Now) {
        let mut way = Way::new(event, place, target.order_key.clone(), self.ways.len(), now);
        for dead in self.ways.iter_mut().filter(|way| way.event == event && way.place == place) {
            if let Fate::Dead { holds, is_replayed: false } = dead.fate {
                dead.fate = Fate::Dead { holds: false, is_replayed: true };
                if holds {
                    way.rank = dead.rank;
                }
            }
        }
        self.add(way, now);
    }

    fn add(&mut self, mut way: Way, now: Now) {
        let (place, key) = (way.place, way.key.clone());
        if key.is_none() {
            way.due = Some(way.not_before.max(now.wall));
        }
        self.ways.push(way);
        self.open_key(place, key.as_deref(), now);
    }

    /// Supersedes the last of a burst by a later event, and returns the burst, which continues.
    fn supersede(&mut self, event: usize, place: usize, new: InBurst, now: Now) -> InBurst {
        let last = self.ways.iter_mut().find(|way| {
            way.place == place
                && way.fate == Fate::Awaited
                && way.attempts == 0
                && way.burst.as_ref().is_some_and(|burst| burst.key == new.key)
        });
        let Some(last) = last else { return new };
        last.fate = Fate::Superseded { by: event };
        let Some(before) = last.burst.take() else { return new };
        let key = last.key.clone();
        // A clock that was set back moves the beginning of the burst to where it is now.
        let first = if before.was_set_back { now.elapsed } else { before.first };
        let began = before.began.min(now.wall);
        self.open_key(place, key.as_deref(), now);
        InBurst { began, first, was_set_back: false, ..before }
    }

    /// Starts the wait of the first delivery of a key, if it has not started.
    fn open_key(&mut self, place: usize, key: Option<&str>, now: Now) {
        let Some(front) = key.and_then(|key| self.front(place, key)) else { return };
        let way = &mut self.ways[front];
        if way.fate == Fate::Awaited && !way.is_running && way.due.is_none() {
            way.due = Some(way.not_before.max(now.wall));
            way.patience = way.patience.max(now.elapsed);
        }
    }

    /// The first unfinished delivery of a key, or a finished one that holds the key.
    fn front(&self, place: usize, key: &str) -> Option<usize> {
        let of_key = self.ways.iter().enumerate().filter(|(_, way)| {
            way.place == place
                && way.key.as_deref() == Some(key)
                && matches!(way.fate, Fate::Awaited | Fate::Dead { holds: true, .. })
        });
        of_key.min_by_key(|(_, way)| way.rank).map(|(index, _)| index)
    }

    pub(crate) fn awaited(&self) -> usize {
        self.ways.iter().filter(|way| way.fate == Fate::Awaited).count()
    }

    /// The clock was set.
    pub(crate) fn clock_was_set(&mut self, by: i64) {
        if by < 0 {
            self.ways.iter_mut().for_each(|way| {
                way.is_stale = true;
                way.burst.iter_mut().for_each(|burst| burst.was_set_back = true);
            });
            self.places.iter_mut().for_each(|place| place.breaker.clock_was_set_back());
        }
    }

    /// The process was killed and a new one finds the store.
    pub(crate) fn crashed(&mut self, now: Now) {
        for way in &mut self.ways {
            if std::mem::take(&mut way.is_running) {
                way.is_due_again(now, now.wall, 0);
            }
        }
    }

    /// A worker opened its destination.
    pub(crate) fn opened(&mut self, place: usize, releases_keys: bool, now: Now) {
        for index in 0..self.ways.len() {
            let way = &mut self.ways[index];
            let is_here = way.place == place && releases_keys;
            if let (true, Fate::Dead { holds: true, is_replayed }) = (is_here, way.fate) {
                way.fate = Fate::Dead { holds: false, is_replayed };
                let key = way.key.clone();
                self.open_key(place, key.as_deref(), now);
            }
        }
    }

    /// A person cancelled an event at a destination. Returns how many deliveries that ends.
    pub(crate) fn cancelled(&mut self, event: usize, place: usize, now: Now) -> usize {
        let mut ended = 0;
        for index in 0..self.ways.len() {
            let way = &mut self.ways[index];
            let waits = way.fate == Fate::Awaited && !way.is_running;
            let holds = matches!(way.fate, Fate::Dead { holds: true, .. });
            if way.event == event && way.place == place && (waits || holds) {
                way.fate = Fate::Cancelled;
                let key = way.key.clone();
                ended += 1;
                self.open_key(place, key.as_deref(), now);
            }
        }
        ended
    }

    /// Events with a dead delivery to a destination that may be replayed.
    pub(crate) fn dead(&self, must_hold: bool) -> Vec<(usize, usize)> {
        let dead = self.ways.iter().filter(|way| match way.fate {
            Fate::Dead { holds, is_replayed } => !is_replayed && (holds || !must_hold),
            _ => false,
        });
        dead.map(|way| (way.event, way.place)).collect()
    }

    /// Any event and a destination that it went to.
    pub(crate) fn way(&self, index: usize) -> (usize, usize) {
        (self.ways[index].event, self.ways[index].place)
    }
}

impl Way {
    fn new(event: usize, place: usize, key: Option<String>, rank: usize, now: Now) -> Self {
        Self {
            event,
            place,
            key,
            burst: None,
            rank,
            fate: Fate::Awaited,
            attempts: 0,
            is_running: false,
            lease_ends: 0,
            waited: 0,
            due: None,
            not_before: i64::MIN,
            earliest: (now.elapsed, now.jumps),
            patience: now.elapsed,
            is_stale: false,
        }
    }

    fn is_due_again(&mut self, now: Now, at: i64, wait: i64) {
        self.due = Some(at);
        self.earliest = (now.elapsed + wait, now.jumps);
        self.patience = now.elapsed + wait;
        self.is_stale = false;
    }
}

pub(crate) fn hold(is_held: bool, otherwise: impl FnOnce() -> String) -> Held {
    if is_held { Ok(()) } else { Err(otherwise()) }
}

pub(crate) fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap()
}
