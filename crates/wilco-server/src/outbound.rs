//! The outbound half: after the 2xx. Each event goes to every destination that its routes name, at least
//! once.
//!
//! One loop routes, and each destination has a worker with separate attempts, so that a destination that
//! hangs does not delay any other. The loops keep nothing between their rounds: all state is in the store.

mod alert;
mod damage;
mod inactivity;
mod report;
mod router;
mod worker;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch};
use tokio_util::sync::CancellationToken;
use wilco::SourceName;
use wilco_delivery::{AlertPolicy, Routes};
use wilco_destinations::{DestinationConfig, Hidden, Opener};
use wilco_store::OutboundStore;

use crate::{config::Config, metrics::Metrics, supervise::Tasks};
use worker::Worker;

pub(crate) use alert::record_alert;
pub(crate) use report::log_report;

/// What a reload replaces: the routes and the destinations that they name.
pub(crate) struct Plan {
    pub(crate) routes: Arc<Routes>,
    pub(crate) destinations: Vec<DestinationConfig>,
    pub(crate) alerts: Option<AlertPolicy>,
    /// How long each source may be silent before an alert is sent.
    expected: Vec<(SourceName, Duration)>,
}

impl Plan {
    pub(crate) fn new(config: &Config) -> Self {
        let expected = config.sources.iter();
        let expected =
            expected.filter_map(|source| Some((source.name.clone(), source.expect_every?)));
        let policies = config.destinations.iter();
        let policies = policies.map(|to| (to.name.as_str(), &to.policy));
        Self {
            routes: Arc::new(Routes::new(&config.routes, policies)),
            destinations: config.destinations.clone(),
            alerts: config.alerts.clone(),
            expected: expected.collect(),
        }
    }
}

/// The outbound half, ready to run.
pub(crate) struct Outbound {
    pub(crate) store: Arc<dyn OutboundStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
}

impl Outbound {
    /// Routes and delivers until `stop`, then lets the running attempts end. If one of its tasks ends
    /// before that, it logs which, and returns.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (mut tasks, on) = (Tasks::default(), Handle::current());
        let routing = router::run(Arc::clone(&self.store), self.plan.clone(), stop.clone());
        tasks.spawn("routing", stop.clone(), &on, routing);
        let inactivity = inactivity::run(Arc::clone(&self.store), self.plan.clone(), stop.clone());
        tasks.spawn("the inactivity check", stop.clone(), &on, inactivity);
        let damage = damage::run(Arc::clone(&self.store), self.plan.clone(), stop.clone());
        tasks.spawn("the alerts about damage", stop.clone(), &on, damage);
        let mut workers: HashMap<String, Started> = HashMap::new();
        loop {
            let plan = Arc::clone(&self.plan.borrow_and_update());
            for worker in workers.values() {
                if !plan.destinations.contains(&worker.config) {
                    worker.stop.cancel();
                }
            }
            for config in &plan.destinations {
                let before = workers.remove(&config.name);
                let worker = match before {
                    Some(worker) if !worker.stop.is_cancelled() => worker,
                    before => {
                        let slots = before.map(|worker| worker.slots);
                        let slots = slots.unwrap_or_else(|| watch::Sender::new(0).subscribe());
                        self.start(config, slots, &stop, &mut tasks)
                    }
                };
                workers.insert(config.name.clone(), worker);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.plan.changed() => if changed.is_err() { break },
                ended = tasks.failed() => return tracing::error!("{ended} unexpectedly"),
            }
        }
        tasks.join().await;
    }

    /// Starts a worker. If the destination had one before, the attempts of that one continue, and their
    /// slots count towards the concurrency of the new one: it does not wait for the longest of them.
    fn start(
        &self,
        config: &DestinationConfig,
        predecessor: watch::Receiver<usize>,
        stop: &CancellationToken,
        tasks: &mut Tasks,
    ) -> Started {
        let stop = stop.child_token();
        let destination = Arc::new(Opener::new(config));
        let slots = watch::Sender::new(*predecessor.borrow());
        let started =
            Started { config: config.clone(), stop: stop.clone(), slots: slots.subscribe() };
        let worker = Worker {
            store: Arc::clone(&self.store),
            metrics: Arc::clone(&self.metrics),
            destination: destination.clone(),
            hidden: Hidden::of(&*config.settings),
            config: config.clone(),
            plan: self.plan.clone(),
            slots,
            predecessor,
        };
        let name = format!("the worker of destination {}", config.name);
        let run = {
            let stop = stop.clone();
            async move {
                destination.open_early().await;
                worker.run(stop).await;
            }
        };
        tasks.spawn(name, stop, &Handle::current(), run);
        started
    }
}

/// A worker that was started.
struct Started {
    config: DestinationConfig,
    stop: CancellationToken,
    /// The slots that its attempts and those of earlier configurations hold.
    slots: watch::Receiver<usize>,
}
