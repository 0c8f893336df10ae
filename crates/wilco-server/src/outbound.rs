//! The second half: after the 2xx. What is recorded goes to every destination that its routes name,
//! at least once.
//!
//! There is one loop that routes, and one lane for each destination, with attempts of its own: a
//! destination that hangs holds up nobody else. A loop knows nothing between its rounds; all that
//! it knows is in the store.

mod alert;
mod breaker;
mod destination;
mod hidden;
mod lane;
mod pace;
mod retry;
mod route;
mod silence;
#[cfg(test)]
mod simulation;
mod turns;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use wilco::SourceName;
use wilco_store::{Claim, Store};

use crate::{
    config::{self, Config},
    metrics::Metrics,
};
use lane::Lane;

pub(crate) use alert::Alerts;
pub(crate) use destination::{Function, legible};
pub(crate) use hidden::Hidden;
pub(crate) use pace::Pace;
pub(crate) use retry::Tried;
pub(crate) use route::{Clause, Routes};
pub(crate) use turns::{Change, Moment, Turns, take_up};

/// What a reload replaces: the routes, and the destinations that they lead to.
pub(crate) struct Plan {
    pub(crate) routes: Routes,
    pub(crate) destinations: Vec<config::Destination>,
    alerts: Option<config::Alerts>,
    /// The sources that should not be silent for so long.
    expected: Vec<(SourceName, Duration)>,
}

impl Plan {
    pub(crate) fn new(config: &Config) -> Self {
        let expected = config.sources.iter();
        let expected =
            expected.filter_map(|source| Some((source.name.clone(), source.expect_every?)));
        Self {
            routes: Routes::new(&config.routes, &config.destinations),
            destinations: config.destinations.clone(),
            alerts: config.alerts.clone(),
            expected: expected.collect(),
        }
    }
}

/// The second half, ready to run.
pub(crate) struct Outbound {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
    pub(crate) functions: Vec<Function>,
}

impl Outbound {
    /// Routes and delivers until `stop`, then lets the attempts that are under way end.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        tasks.spawn(route::run(Arc::clone(&self.store), self.plan.clone(), stop.clone()));
        tasks.spawn(silence::run(Arc::clone(&self.store), self.plan.clone(), stop.clone()));
        let mut lanes: HashMap<String, Open> = HashMap::new();
        loop {
            let plan = Arc::clone(&self.plan.borrow_and_update());
            for open in lanes.values().filter(|open| !plan.destinations.contains(&open.config)) {
                open.stop.cancel();
            }
            for config in &plan.destinations {
                let before = lanes.remove(&config.name);
                let open = match before {
                    Some(open) if !open.stop.is_cancelled() => open,
                    before => self.open(config, before, &stop, &mut tasks),
                };
                lanes.insert(config.name.clone(), open);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.plan.changed() => if changed.is_err() { break },
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Opens a lane. If the destination had one before, it begins when that one has come to its
    /// end, so that attempts never exceed the concurrency that either was given.
    fn open(
        &self,
        config: &config::Destination,
        before: Option<Open>,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Open {
        let turn = before.map(|open| open.turn).unwrap_or_default();
        let open = Open { config: config.clone(), stop: stop.child_token(), turn };
        let lane = Lane::new(
            Arc::clone(&self.store),
            Arc::clone(&self.metrics),
            destination::open(config, &self.functions),
            config.clone(),
            self.plan.clone(),
        );
        let (turn, stop) = (Arc::clone(&open.turn), open.stop.clone());
        tasks.spawn(async move {
            let _turn = turn.lock().await;
            lane.run(stop).await;
        });
        open
    }
}

/// A lane that is open, or is coming to its end.
struct Open {
    config: config::Destination,
    stop: CancellationToken,
    turn: Arc<Mutex<()>>,
}

/// A place that events are delivered to.
#[async_trait]
trait Destination: Send + Sync {
    /// Tries once, within its time. What happened is in the reply; there is no other error.
    async fn deliver(&self, claim: &Claim) -> Reply;

    /// Lets go of what it keeps between attempts; none will follow.
    async fn close(&self) {}
}

/// How an attempt went.
#[derive(Debug)]
struct Reply {
    verdict: Verdict,
    /// In a few words, for people: `exit 1`, `503 Service Unavailable`.
    result: String,
    /// The last of what it said, bounded.
    output: Vec<u8>,
}

/// What a destination's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It has the event.
    Delivered,
    /// Not now; perhaps it said how long to wait.
    Failed {
        /// It asked not to be tried before so much time has passed.
        not_before: Option<Duration>,
    },
    /// Not ever: trying again is of no use.
    Refused,
}

impl Reply {
    fn delivered() -> Self {
        Self { verdict: Verdict::Delivered, result: "delivered".into(), output: Vec::new() }
    }

    fn failed(result: String) -> Self {
        Self { verdict: Verdict::Failed { not_before: None }, result, output: Vec::new() }
    }

    /// What can never succeed, so that trying again is of no use.
    fn refused(result: String) -> Self {
        Self { verdict: Verdict::Refused, result, output: Vec::new() }
    }
}
