//! Backfill: asks providers for what never arrived, at start and on a timer, and keeps the gaps
//! in which wilco did not run.
//!
//! A round asks from an hour before the start of the last good one. What it finds goes through the same
//! rule about duplicates as a webhook, so that a round that is repeated, also after it was cut off,
//! records nothing twice.

mod api;
mod github;
mod gitlab;
mod redelivery;
mod stripe;
mod trigger;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use wilco_delivery::AlertPolicy;
use wilco_store::Store;

use crate::{
    clock,
    config::{self, Backfill, Config, ProviderApi},
    outbound::record_alert,
};
pub(crate) use api::{Api, RoundError};
pub(crate) use redelivery::{Deliveries, Throttle};

pub(crate) use trigger::Trigger;

/// What a reload replaces.
pub(crate) struct Plan {
    /// The sources with a backfill.
    sources: Vec<(config::Source, Backfill)>,
    alerts: Option<AlertPolicy>,
}

impl Plan {
    pub(crate) fn new(config: &Config) -> Self {
        let sources = config.sources.iter();
        let sources = sources.filter_map(|source| Some((source.clone(), source.backfill.clone()?)));
        Self { sources: sources.collect(), alerts: config.alerts.clone() }
    }
}

/// The backfill, ready to run.
pub(crate) struct Backfiller {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
    pub(crate) trigger: Arc<Trigger>,
}

/// What a round is about.
struct Round<'a> {
    source: &'a config::Source,
    backfill: &'a Backfill,
    since: Timestamp,
    now: Timestamp,
}

impl Round<'_> {
    /// From when on the provider is asked, if it keeps what it sent for this long.
    fn since_at_most(&self, kept: SignedDuration) -> Timestamp {
        self.now.checked_sub(kept).map_or(self.since, |oldest| self.since.max(oldest))
    }
}

/// A list out of the provider's answer to a request to this path.
fn read_list<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<Vec<T>, RoundError> {
    serde_json::from_slice(body).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        RoundError::new(format!("GET {path}: not a list of deliveries: {place}"))
    })
}

/// When the next round of a source is due.
struct Next {
    at: Instant,
    /// Rounds that failed one after another.
    failures: u32,
}

impl Backfiller {
    /// Runs until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            self.note_start().await;
            tokio::join!(self.heartbeat(), self.rounds());
        })
        .await;
    }

    /// Notes the gap since wilco last ran. Nothing else happens before, because it would be lost.
    async fn note_start(&self) {
        let plan = Arc::clone(&self.plan.borrow());
        let sources: Vec<_> =
            plan.sources.iter().map(|(source, _)| source.name.as_str().to_owned()).collect();
        while !sources.is_empty()
            && let Err(error) = self.store.note_start(sources.clone()).await
        {
            tracing::warn!(%error, "cannot note that wilco runs again");
            sleep(HEARTBEAT).await;
        }
    }

    async fn heartbeat(&self) {
        loop {
            sleep(HEARTBEAT).await;
            if !self.plan.borrow().sources.is_empty()
                && let Err(error) = self.store.note_running().await
            {
                tracing::warn!(%error, "cannot note that wilco runs");
            }
        }
    }

    /// The error of a source whose backfill was removed would stay for ever.
    async fn forget_errors(&self, plan: &Plan) {
        let except = plan.sources.iter().map(|(source, _)| source.name.as_str().to_owned());
        if let Err(error) = self.store.forget_errors(except.collect()).await {
            tracing::warn!(%error, "cannot forget the errors of sources without a backfill");
        }
    }

    async fn rounds(&self) {
        let (mut plan, mut wanted) = (self.plan.clone(), self.trigger.wanted());
        let mut next: HashMap<String, Next> = HashMap::new();
        let mut last: Option<Arc<Plan>> = None;
        loop {
            let current = Arc::clone(&plan.borrow_and_update());
            if !last.is_some_and(|last| Arc::ptr_eq(&last, &current)) {
                self.forget_errors(&current).await;
            }
            last = Some(Arc::clone(&current));
            let asked = *wanted.borrow_and_update();
            let is_asked = asked > self.trigger.done();
            let now = Instant::now();
            let is_due = |name: &str| next.get(name).is_none_or(|next| is_asked || next.at <= now);
            let due = current.sources.iter().filter(|(source, _)| is_due(source.name.as_str()));
            let rounds = due.map(async |(source, backfill)| {
                let result = self.round(source, backfill, current.alerts.as_ref()).await;
                (source.name.as_str().to_owned(), result, backfill.every)
            });
            for (name, result, every) in join_all(rounds).await {
                let failures = next.get(&name).map_or(0, |next| next.failures);
                let (wait, failures) = match result {
                    Ok(()) => (every, 0),
                    Err(error) => (error.wait(failures, every), failures.saturating_add(1)),
                };
                next.insert(name, Next { at: Instant::now() + wait, failures });
            }
            self.trigger.complete(asked);
            let is_there = |name: &String| {
                current.sources.iter().any(|(source, _)| source.name.as_str() == name)
            };
            next.retain(|name, _| is_there(name));
            let idle = Instant::now() + IDLE;
            let until = next.values().map(|next| next.at).min().unwrap_or(idle);
            tokio::select! {
                () = sleep_until(until) => {}
                changed = plan.changed() => if changed.is_err() { return std::future::pending().await },
                _ = wanted.changed() => {}
            }
        }
    }

    /// Asks the provider of one source, and notes how that ended.
    async fn round(
        &self,
        source: &config::Source,
        backfill: &Backfill,
        alerts: Option<&AlertPolicy>,
    ) -> Result<(), RoundError> {
        let (name, now) = (source.name.as_str(), clock::now());
        let result = match timeout(ROUND_MAX, self.ask(source, backfill, now)).await {
            Ok(result) => result,
            Err(_) => Err(RoundError::new("the round took more than 30 min")),
        };
        let noted = match &result {
            Ok(count) => {
                if *count > 0 {
                    tracing::info!(source = name, count, "backfill found what never arrived");
                }
                self.store.end_round(name, Ok(now)).await
            }
            Err(error) => {
                tracing::warn!(source = name, %error, "backfill failed");
                self.store.end_round(name, Err(error.to_string())).await
            }
        };
        match (noted, &result) {
            (Err(error), _) => tracing::warn!(source = name, %error, "cannot note a backfill"),
            (Ok(Some(since)), Err(error)) => {
                let failing = now.duration_since(since);
                if let Some(alerts) = alerts.filter(|_| error.is_lasting || failing >= PATIENCE) {
                    let alert = alerts.backfill_failed(name, &error.to_string());
                    record_alert(&*self.store, alert).await;
                }
            }
            (Ok(_), _) => {}
        }
        result.map(drop)
    }

    /// How many events were missing.
    async fn ask(
        &self,
        source: &config::Source,
        backfill: &Backfill,
        now: Timestamp,
    ) -> Result<usize, RoundError> {
        let covered = self.store.covered_through(source.name.as_str()).await?;
        let since = covered.checked_sub(OVERLAP).unwrap_or(covered);
        let api = Api::new(backfill)?;
        let round = Round { source, backfill, since, now };
        match &backfill.api {
            ProviderApi::Stripe => stripe::round(&api, &round, &*self.store).await,
            ProviderApi::GitHub { hook } => github::round(&api, &round, hook, &*self.store).await,
            ProviderApi::GitLab { hook } => gitlab::round(&api, &round, hook, &*self.store).await,
        }
    }
}

/// How often wilco notes that it runs: a gap seems longer by at most this.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How far a round reaches back behind what is covered: a delivery may fail long after its event.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// The longest round.
const ROUND_MAX: Duration = Duration::from_secs(1_800);
/// How long rounds may fail before an alert is sent, unless the error is one that lasts.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// Without a source that has a backfill.
const IDLE: Duration = Duration::from_secs(3_600);
