//! One run: what the seed says happens, and after each step the model is asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use wilco::EventId;
use wilco_delivery::Routes;
use wilco_store::Target;

use super::{
    Act, Backend, Dice, Held, Model, Now, Scenario, Sent, SimulatedDestination, StoreClock, at,
    hold, millis,
};

pub(crate) struct World {
    pub(crate) trace: Vec<String>,
    pub(crate) dice: Dice,
    pub(crate) backend: Backend,
    pub(crate) model: Model,
    pub(crate) routes: Routes,
    pub(crate) now: Now,
    /// The clock of the store, which shows the same time.
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) destinations: Vec<SimulatedDestination>,
    scenario: Scenario,
    pub(crate) events: Vec<EventId>,
    sent: Vec<Sent>,
    pub(crate) numbers: HashMap<EventId, usize>,
    pub(crate) routed: usize,
    /// Faults still happen.
    pub(crate) is_rough: bool,
    /// Writes fail now and then.
    pub(crate) may_fail: bool,
}

impl World {
    pub(crate) fn new(seed: u64, on_disk: bool, may_fail: bool) -> Self {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::new(&mut dice);
        let now = Now { elapsed: 0, wall: BEGINNING_MS, jumps: 0 };
        let clock = Arc::new(StoreClock::new(now));
        let destinations = scenario.destinations.iter();
        let destinations =
            destinations.map(|config| SimulatedDestination::new(config.clone(), now)).collect();
        Self {
            trace: Vec::new(),
            dice,
            backend: Backend::new(clock.clone(), on_disk),
            clock,
            model: Model::new(&scenario.destinations),
            routes: Routes::new(&scenario.routes, scenario.policies()),
            now,
            destinations,
            scenario,
            events: Vec::new(),
            sent: Vec::new(),
            numbers: HashMap::new(),
            routed: 0,
            is_rough: true,
            may_fail,
        }
    }

    pub(crate) async fn run(&mut self) -> Held {
        self.work().await?;
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

    pub(crate) async fn record(&mut self) {
        let event = self.events.len();
        let sent = Sent::any(&mut self.dice);
        let body = sent.body(event);
        self.say(&format!("event {event} arrives: {} {body}", sent.name));
        let event_id = self.backend.record(sent.name, body, at(self.now)).await;
        self.events.push(event_id);
        self.sent.push(sent);
        self.numbers.insert(event_id, event);
    }

    /// Compares everything that was recorded with the routes.
    pub(crate) async fn route(&mut self) -> Held {
        let batch = self.backend.store().unrouted(1_000).await.unwrap();
        let found: Vec<_> = batch.events().iter().map(|event| event.id).collect();
        hold(found == self.events[self.routed..], || {
            "the unrouted events differ from those recorded".into()
        })?;
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
        self.destinations.iter().position(|to| to.config.name == destination).unwrap()
    }

    /// Makes the next write fail now and then, before it is durable or after. Returns which.
    pub(crate) fn may_break(&mut self) -> Option<bool> {
        let (is_broken, is_durable) = (self.dice.is_lucky(5), self.dice.is_lucky(50));
        if !(self.is_rough && self.may_fail && is_broken) {
            return None;
        }
        self.backend.break_next_write(is_durable);
        Some(is_durable)
    }

    /// Lets time pass, with everything that happens meanwhile.
    pub(crate) async fn wait(&mut self, time: Duration) -> Held {
        let end = self.now.elapsed + millis(time);
        loop {
            self.work().await?;
            if self.now.elapsed == end {
                return Ok(());
            }
            let next = self.destinations.iter().filter_map(SimulatedDestination::next_moment).min();
            let next = next.unwrap_or(end).clamp(self.now.elapsed, end);
            self.pass(next - self.now.elapsed);
        }
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        self.now.elapsed += millis;
        self.now.wall += millis;
        self.clock.set(self.now);
    }
}

fn keys(target: &Target) -> (&str, Option<String>, Option<String>) {
    let burst = target.burst.as_ref().map(|burst| burst.key.clone());
    (target.destination.as_str(), target.order_key.clone(), burst)
}

/// 2026-03-01 12:00 UTC.
const BEGINNING_MS: i64 = 1_772_366_400_000;
