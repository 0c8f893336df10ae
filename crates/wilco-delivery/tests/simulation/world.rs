//! One run: what the seed says happens, and after each step the model is asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use wilco::EventId;
use wilco_delivery::{Routes, Verdict};
use wilco_store::{Attempt, Breaker, Claim, Target};

use super::{
    Act, Backend, Claimed, Dice, Held, Lane, Model, Mood, Now, Scenario, Sent, StoreClock,
    Underway, at, hold, millis,
};

pub(crate) struct World {
    pub(crate) trace: Vec<String>,
    pub(crate) dice: Dice,
    pub(crate) backend: Backend,
    pub(crate) model: Model,
    pub(crate) routes: Routes,
    pub(crate) now: Now,
    /// The same, for the store.
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) lanes: Vec<Lane>,
    scenario: Scenario,
    pub(crate) events: Vec<EventId>,
    sent: Vec<Sent>,
    numbers: HashMap<EventId, usize>,
    pub(crate) routed: usize,
    /// Faults still happen.
    pub(crate) is_rough: bool,
}

impl World {
    pub(crate) fn new(seed: u64, on_disk: bool) -> Self {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::new(&mut dice);
        let now = Now { elapsed: 0, wall: BEGINNING_MS, jumps: 0 };
        let clock = Arc::new(StoreClock::new(now));
        let lanes = scenario.destinations.iter();
        let lanes = lanes.map(|config| Lane::new(config.clone(), Mood::Changing, now)).collect();
        Self {
            trace: Vec::new(),
            dice,
            backend: Backend::new(clock.clone(), on_disk),
            clock,
            model: Model::new(&scenario.destinations),
            routes: Routes::new(&scenario.routes, scenario.order_by()),
            now,
            lanes,
            scenario,
            events: Vec::new(),
            sent: Vec::new(),
            numbers: HashMap::new(),
            routed: 0,
            is_rough: true,
        }
    }

    pub(crate) async fn run(&mut self) -> Held {
        self.open_lanes().await?;
        for _ in 0..self.scenario.acts {
            let act = Act::any(&mut self.dice);
            self.act(act).await?;
            if self.dice.is_lucky(80) {
                self.route().await?;
            }
            self.work().await?;
        }
        self.drain().await?;
        self.judge().await
    }

    pub(crate) fn say(&mut self, what: &str) {
        let Now { elapsed, wall, .. } = self.now;
        self.trace.push(format!("{elapsed} ms, clock {wall}: {what}"));
    }

    pub(crate) async fn open_lanes(&mut self) -> Held {
        for place in 0..self.lanes.len() {
            self.open_lane(place).await?;
        }
        Ok(())
    }

    pub(crate) async fn open_lane(&mut self, place: usize) -> Held {
        let (config, mood) = (self.lanes[place].config.clone(), self.lanes[place].mood);
        self.model.opened(place, &config, self.now);
        let mut lane = Lane::new(config, mood, self.now);
        let is_paused = lane.open(&self.backend, self.now).await;
        self.lanes[place] = lane;
        hold(is_paused == self.model.places[place].is_paused, || {
            format!("d{place} is paused: {is_paused}; it was told otherwise")
        })
    }

    pub(crate) async fn record(&mut self) {
        let event = self.events.len();
        let sent = Sent::any(&mut self.dice);
        let body = sent.body(event);
        self.say(&format!("event {event} comes: {} {body}", sent.name));
        let event_id = self.backend.record(sent.name, body, at(self.now)).await;
        self.events.push(event_id);
        self.sent.push(sent);
        self.numbers.insert(event_id, event);
    }

    /// Holds whatever was recorded against the routes.
    pub(crate) async fn route(&mut self) -> Held {
        let batch = self.backend.store().unrouted(1_000).await.unwrap();
        let found: Vec<_> = batch.events().iter().map(|event| event.id).collect();
        hold(found == self.events[self.routed..], || "other events are unrouted than came".into())?;
        let mut routed = Vec::new();
        for event in batch.events() {
            let targets = self.routes.route(event);
            let mut to: Vec<_> = targets.iter().map(keys).collect();
            to.sort_unstable();
            hold(to == self.scenario.targets(&self.sent[self.routed]), || {
                format!("event {} goes to {to:?}", self.routed)
            })?;
            for target in &targets {
                let place = self.place(&target.destination);
                self.model.made(self.routed, place, target, self.now);
                let number = self.model.ways.len();
                let Target { order_key, burst, .. } = target;
                self.say(&format!(
                    "delivery {number} of event {} to d{place}, key {order_key:?}, {burst:?}",
                    self.routed
                ));
            }
            self.routed += 1;
            routed.push(targets);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut routed = routed.into_iter();
        let routed = batch.route(|_| routed.next().unwrap());
        self.may_break();
        while self.backend.store().fan_out(routed.clone()).await.is_err() {}
        Ok(())
    }

    pub(crate) fn place(&self, destination: &str) -> usize {
        self.lanes.iter().position(|lane| lane.config.name == destination).unwrap()
    }

    fn may_break(&mut self) {
        let (is_broken, is_durable) = (self.dice.is_lucky(5), self.dice.is_lucky(50));
        if self.is_rough && is_broken {
            self.backend.break_next_write(is_durable);
        }
    }

    /// Has time go by, and all that happens meanwhile.
    pub(crate) async fn wait(&mut self, time: Duration) -> Held {
        let end = self.now.elapsed + millis(time);
        loop {
            self.work().await?;
            let next = self.lanes.iter().filter_map(Lane::next_moment).min();
            let next = next.unwrap_or(end).clamp(self.now.elapsed, end);
            self.pass(next - self.now.elapsed);
            self.end_attempts().await?;
            if next == end {
                return self.work().await;
            }
        }
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        self.now.elapsed += millis;
        self.now.wall += millis;
        self.clock.set(self.now);
    }

    /// Lets every lane that has reason to do what it can.
    pub(crate) async fn work(&mut self) -> Held {
        for place in 0..self.lanes.len() {
            let waker = self.backend.store().wakers().due(&self.lanes[place].config.name);
            let has_rung = || waker.notified().now_or_never().is_some();
            while self.lanes[place].is_awake(has_rung, self.now) {
                self.round(place).await?;
            }
            let free = self.lanes[place].free(self.now);
            self.model.sleeps(place, free, self.now)?;
        }
        Ok(())
    }

    async fn round(&mut self, place: usize) -> Held {
        let lane = &mut self.lanes[place];
        let (free, running) = (lane.free(self.now), lane.running.len());
        let room = lane.room(self.now);
        self.model.room(place, running, free, room, self.now)?;
        let claims = match room {
            0 => Vec::new(),
            room => lane.claim(&self.backend, room, self.now).await,
        };
        let is_drained = claims.len() < room;
        if room > 0 {
            let claimed: Vec<_> = claims.iter().map(|claim| self.claimed(claim)).collect();
            self.model.claimed(place, room, &claimed, self.now)?;
        }
        for claim in claims {
            let event = self.numbers[&claim.event().id];
            let takes = self.dice.between(0, 3) * self.dice.between(0, 4_000);
            let (number, attempt) = (claim.delivery(), claim.attempt());
            self.say(&format!("d{place} begins delivery {number}, event {event}, try {attempt}"));
            let ends_at = self.now.elapsed + i64::from(takes);
            self.lanes[place].running.push(Underway { claim, began: at(self.now), ends_at });
        }
        self.lanes[place].fall_asleep(&self.backend, is_drained, self.now).await;
        Ok(())
    }

    fn claimed(&self, claim: &Claim) -> Claimed {
        Claimed {
            number: claim.delivery(),
            event: self.numbers[&claim.event().id],
            attempt: claim.attempt(),
            waited: claim.waited(),
        }
    }

    /// Ends the attempts whose time has come, in an order of chance.
    async fn end_attempts(&mut self) -> Held {
        for place in 0..self.lanes.len() {
            loop {
                let over = self.lanes[place].running.iter().enumerate();
                let over = over.filter(|(_, underway)| underway.ends_at <= self.now.elapsed);
                let over: Vec<_> = over.map(|(index, _)| index).collect();
                if over.is_empty() {
                    break;
                }
                let index = self.dice.pick(&over);
                self.end_attempt(place, index).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn end_attempt(&mut self, place: usize, index: usize) -> Held {
        let Underway { claim, began, .. } = self.lanes[place].running.remove(index);
        let (verdict, breaker) = self.note(place, &claim)?;
        let lane = &mut self.lanes[place];
        let outcome = lane.turns.outcome(&claim, verdict, self.dice.chance());
        lane.wake(self.now);
        self.say(&format!("d{place} ends delivery {}: {outcome:?}", claim.delivery()));
        self.model.settled(claim.delivery(), verdict, &outcome, self.now)?;
        let attempt = Attempt {
            started_at: began,
            took: Duration::from_millis(1),
            result: format!("{verdict:?}"),
            output: Vec::new(),
        };
        self.may_break();
        while self.backend.store().settle(&claim, &attempt, &outcome, breaker).await.is_err() {}
        Ok(())
    }

    /// The destination answers, and the breaker hears of it.
    fn note(&mut self, place: usize, claim: &Claim) -> Result<(Verdict, Option<Breaker>), String> {
        let lane = &mut self.lanes[place];
        let verdict = lane.mood.verdict(lane.config.policy.retry.max, &mut self.dice);
        let change = lane.turns.answered(verdict, at(self.now));
        let stands = lane.turns.breaker();
        self.say(&format!("d{place} answers for delivery {}: {verdict:?}", claim.delivery()));
        let before = change.as_ref().map_or(stands, |change| change.before);
        self.model.noted(place, verdict, (before, stands), self.now)?;
        let breaker = change.map(|change| change.after.stored(at(self.now)));
        if let Some(breaker) = breaker {
            self.say(&format!("the breaker of d{place} is now {breaker:?}"));
        }
        Ok((verdict, breaker))
    }
}

fn keys(target: &Target) -> (&str, Option<String>, Option<String>) {
    let burst = target.burst.as_ref().map(|burst| burst.key.clone());
    (target.destination.as_str(), target.order_key.clone(), burst)
}

/// 2026-03-01 12:00 UTC.
const BEGINNING_MS: i64 = 1_772_366_400_000;
