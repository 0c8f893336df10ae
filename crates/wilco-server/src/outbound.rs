//! The second half: after the 2xx. What is recorded goes to every destination that its routes name,
//! at least once.
//!
//! There is one loop that routes, and one lane for each destination, with attempts of its own: a
//! destination that hangs holds up nobody else. A loop knows nothing between its rounds; all that
//! it knows is in the store.

mod alert;
mod damage;
mod destination;
mod hidden;
mod lane;
mod leases;
mod router;
mod silence;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
};
use tokio_util::sync::CancellationToken;
use wilco::SourceName;
use wilco_delivery::{Destination as _, Routes};
use wilco_store::OutboundStore;

use crate::{
    config::{self, Config},
    metrics::Metrics,
    supervise::Tasks,
};
use lane::Lane;

pub(crate) use alert::Alerts;
pub use destination::{Function, KINDS};
pub(crate) use destination::{LEGIBLE_CHARS_MAX, Opener, legible};
pub(crate) use hidden::Hidden;

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
        let order_by = config.destinations.iter().filter_map(|destination| {
            Some((destination.name.clone(), destination.policy.order_by.clone()?))
        });
        Self {
            routes: Routes::new(&config.routes, order_by),
            destinations: config.destinations.clone(),
            alerts: config.alerts.clone(),
            expected: expected.collect(),
        }
    }
}

/// Checks whether events can be delivered to a destination, without delivering one. Of what must not be
/// shown, the result has nothing.
pub(crate) async fn check(config: &config::Destination) -> Result<String, String> {
    let hidden = Hidden::of(&*config.settings);
    let opener = Opener::new(config.name.clone(), config.settings.clone(), config.timeout);
    let result = opener.check().await;
    opener.close().await;
    result.map_err(|why| hidden.clean_text(&why).unwrap_or(why))
}

/// The second half, ready to run.
pub(crate) struct Outbound {
    pub(crate) store: Arc<dyn OutboundStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
}

impl Outbound {
    /// Routes and delivers until `stop`, then lets the attempts that are under way end. Ends earlier,
    /// and says why in the log, if any of its own tasks does.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (mut tasks, on) = (Tasks::default(), Handle::current());
        let routing = router::run(Arc::clone(&self.store), self.plan.clone(), stop.clone());
        tasks.spawn("routing", stop.clone(), &on, routing);
        let silence = silence::run(Arc::clone(&self.store), self.plan.clone(), stop.clone());
        tasks.spawn("the inactivity check", stop.clone(), &on, silence);
        let damage = damage::run(Arc::clone(&self.store), self.plan.clone(), stop.clone());
        tasks.spawn("the alerts about damage", stop.clone(), &on, damage);
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
                    before => {
                        let slots = before.map(|open| open.slots).unwrap_or_default();
                        self.open(config, slots, &stop, &mut tasks)
                    }
                };
                lanes.insert(config.name.clone(), open);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = self.plan.changed() => if changed.is_err() { break },
                ended = tasks.failed() => return tracing::error!("{ended}, and must not"),
            }
        }
        tasks.join().await;
    }

    /// Opens a lane. If the destination had one before, its attempts go on beside those of the new
    /// one and take slots of the same concurrency: nobody waits for the longest of them.
    fn open(
        &self,
        config: &config::Destination,
        slots: Arc<Slots>,
        stop: &CancellationToken,
        tasks: &mut Tasks,
    ) -> Open {
        let stop = stop.child_token();
        let destination =
            Arc::new(Opener::new(config.name.clone(), config.settings.clone(), config.timeout));
        let lane = Lane::new(
            Arc::clone(&self.store),
            Arc::clone(&self.metrics),
            destination.clone(),
            config.clone(),
            self.plan.clone(),
            Arc::clone(&slots),
        );
        let name = format!("the worker of destination {}", config.name);
        let lane_stop = stop.clone();
        let run = async move {
            destination.open_early().await;
            lane.run(lane_stop).await;
        };
        tasks.spawn(name, stop.clone(), &Handle::current(), run);
        Open { config: config.clone(), stop, slots }
    }
}

/// A lane that is open.
struct Open {
    config: config::Destination,
    stop: CancellationToken,
    slots: Arc<Slots>,
}

/// The attempts of one destination that run, whichever configuration they began under.
#[derive(Default)]
struct Slots {
    taken: AtomicUsize,
    freed: Notify,
}

/// One attempt that runs.
struct Slot(Arc<Slots>);

impl Slots {
    fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    fn take(self: &Arc<Self>) -> Slot {
        self.taken.fetch_add(1, Ordering::AcqRel);
        Slot(Arc::clone(self))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}
