//! What a seed is expanded into: a configuration, and what happens to it.

use std::time::Duration;

use wilco_delivery::{
    BreakerPolicy, Debounce, OnDead, Policy, RateLimit, RetryPolicy, Route, Rule,
};

use super::Dice;

#[derive(Clone)]
pub(crate) struct Destination {
    pub(crate) name: String,
    pub(crate) policy: Policy,
}

pub(crate) struct Scenario {
    pub(crate) destinations: Vec<Destination>,
    pub(crate) routes: Vec<Route>,
    pub(crate) acts: u32,
}

impl Scenario {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let count = dice.between(1, 3);
        let mut destinations: Vec<_> =
            (0..count).map(|number| destination(dice, &format!("d{number}"))).collect();
        let routes: Vec<_> = (0..dice.between(1, 3)).map(|_| route(dice, &destinations)).collect();
        for destination in &mut destinations {
            let bursts = routes.iter().filter(|route| route.to.contains(&destination.name));
            let longest = bursts.filter_map(|route| route.debounce.as_ref());
            let longest = longest.map(|debounce| debounce.at_most.max(debounce.quiet)).max();
            destination.policy.longest_wait =
                destination.policy.retry.max.max(longest.unwrap_or_default());
        }
        Self { destinations, routes, acts: dice.between(10, 45) }
    }

    pub(crate) fn policies(&self) -> impl Iterator<Item = (&str, &Policy)> {
        self.destinations.iter().map(|to| (to.name.as_str(), &to.policy))
    }

    /// Where an event goes, with its order and burst keys, by a straightforward reading of the file.
    pub(crate) fn targets(&self, sent: &Sent) -> Vec<(&str, Option<String>, Option<String>)> {
        let takes = |route: &&Route| {
            let glob = route.events[0].glob().glob();
            match glob.strip_suffix('*') {
                Some(front) => sent.name.starts_with(front),
                None => sent.name == glob,
            }
        };
        let key = |rule: &Rule| {
            let value = if rule.source() == "id" { sent.id } else { Some(sent.kind) };
            value.map(|value| format!("freispace:{value}"))
        };
        let target = |to: &'_ Destination| {
            let mut routes = self.routes.iter().filter(takes);
            let route = routes.find(|route| route.to.contains(&to.name))?;
            let burst = route.debounce.as_ref().and_then(|debounce| key(&debounce.by));
            Some((to.policy.order_by.as_ref().and_then(key), burst))
        };
        let targets =
            self.destinations.iter().filter_map(|to| Some((to.name.as_str(), target(to)?)));
        targets.map(|(to, (order, burst))| (to, order, burst)).collect()
    }
}

/// An event, as it was sent.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) name: &'static str,
    pub(crate) id: Option<&'static str>,
    pub(crate) kind: &'static str,
}

impl Sent {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        Self {
            name: dice.pick(&["booking.updated", "booking.moved", "invoice.updated"]),
            id: dice.pick(&[Some("a"), Some("a"), Some("b"), Some("c"), Some("d"), None]),
            kind: dice.pick(&["x", "y"]),
        }
    }

    pub(crate) fn body(&self, number: usize) -> String {
        let Self { id, kind, .. } = self;
        let id = id.map_or("null".into(), |id| format!("\"{id}\""));
        format!(r#"{{"id":{id},"kind":"{kind}","number":{number}}}"#)
    }
}

/// What happens next.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Record,
    Wait(Duration),
    /// The clock is set: forward, or back.
    SetClock(i64),
    ChangeMood,
    Pause(bool),
    /// The process is killed, and started again after this time.
    Crash(Duration),
    Reload,
    Replay,
    Cancel,
}

impl Act {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        match dice.between(0, 99) {
            0..30 => Self::Record,
            30..58 => Self::Wait(dice.millis(0, 60_000)),
            58..62 => Self::Wait(dice.millis(60_000, 1_800_000)),
            62..67 => Self::SetClock(jump(dice)),
            67..76 => Self::ChangeMood,
            76..81 => Self::Pause(dice.is_lucky(50)),
            81..86 => Self::Crash(match dice.is_lucky(70) {
                true => dice.millis(0, 20_000),
                false => dice.millis(20_000, 7_200_000),
            }),
            86..90 => Self::Reload,
            90..96 => Self::Replay,
            _ => Self::Cancel,
        }
    }
}

fn jump(dice: &mut Dice) -> i64 {
    let far = match dice.between(0, 3) {
        0 => dice.between(1, 60_000),
        1 => dice.between(60_000, 36_000_000),
        2 => 86_400_000,
        _ => return dice.pick(&[YEAR_MS, -YEAR_MS]),
    };
    dice.pick(&[1, -1]) * i64::from(far)
}

fn destination(dice: &mut Dice, name: &str) -> Destination {
    let max = dice.millis(10_000, 300_000);
    let probe_after = dice.millis(1_000, 30_000);
    let order_by = dice.pick(&[None, Some("id"), Some("id"), Some("kind")]);
    let policy = Policy {
        concurrency: dice.index(4) + 1,
        rate: dice
            .is_lucky(20)
            .then(|| RateLimit { count: dice.between(1, 5), per: dice.millis(1_000, 10_000) }),
        retry: RetryPolicy {
            first: dice.millis(500, 10_000),
            factor: f64::from(dice.between(10, 30)) / 10.0,
            max,
            give_up_after: max * dice.between(0, 6),
        },
        breaker: BreakerPolicy {
            failures: dice.between(2, 8),
            probe_after,
            probe_max: probe_after * dice.between(1, 8),
        },
        order_by: order_by.map(|rule| Rule::new(rule).unwrap()),
        on_dead: dice.pick(&[OnDead::Skip, OnDead::Block]),
        ..Policy::default()
    };
    Destination { name: name.into(), policy }
}

fn route(dice: &mut Dice, destinations: &[Destination]) -> Route {
    let glob = dice.pick(&["*", "*", "booking.*", "invoice.updated"]);
    let mut to: Vec<_> = destinations.iter().map(|to| to.name.clone()).collect();
    to.retain(|_| dice.is_lucky(70));
    if to.is_empty() {
        to.push(destinations[0].name.clone());
    }
    let quiet = dice.millis(1_000, 40_000);
    let debounce = dice.is_lucky(50).then(|| Debounce {
        by: Rule::new(dice.pick(&["id", "id", "kind"])).unwrap(),
        quiet,
        at_most: quiet * dice.between(1, 6),
    });
    Route { debounce, ..Route::new(glob, to).unwrap() }
}

const YEAR_MS: i64 = 365 * 86_400_000;
