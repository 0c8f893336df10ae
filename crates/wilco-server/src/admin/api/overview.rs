//! The overview: whether all is well, and if not, what is wrong.

use std::{sync::Arc, time::Duration};

use axum::extract::State;
use jiff::{SignedDuration, Timestamp};

use super::Backend;
use crate::admin::{Activity, Json, Latency, Overview, Problem, SourceStatus, StoreUsage};
use crate::{clock, history::Window};

pub(super) async fn show(State(backend): State<Arc<Backend>>) -> Result<Json<Overview>, Problem> {
    Ok(Json(backend.overview().await?))
}

impl Backend {
    /// Whether all is well, and if not, what is wrong.
    pub(crate) async fn overview(&self) -> Result<Overview, Problem> {
        let now = clock::now();
        let unready = match self.store.ready() {
            Err(error) => Some(error.to_string()),
            Ok(()) => self.running.as_ref().and_then(|running| (running.unready)()),
        };
        let running = self.running.as_ref();
        let history = running.map(|running| &running.history);
        let within = |time| history.map(|history| Activity::from(history.within(time)));
        let minutes = history.map(|history| history.minutes()).unwrap_or_default();
        Ok(Overview {
            version: env!("CARGO_PKG_VERSION").into(),
            now,
            started_at: self.began_at,
            ready: unready.is_none(),
            unready,
            last_minute: within(LAST_MINUTE),
            last_hour: within(LAST_HOUR),
            minutes: minutes.into_iter().map(Activity::from).collect(),
            destinations: self.destination_statuses().await?,
            sources: sources(self, now).await?,
            store: store(self).await?,
            certificate_expires_at: running.and_then(|running| {
                Timestamp::from_second(running.metrics.certificate_end()?).ok()
            }),
        })
    }
}

async fn sources(backend: &Backend, now: Timestamp) -> Result<Vec<SourceStatus>, Problem> {
    let last = backend.store.last_of_sources().await?;
    // Without a service, the secrets may be out of reach, and the rest of the overview is still true.
    let sources = (backend.sources)().unwrap_or_default();
    let mut sources: Vec<_> = sources
        .iter()
        .map(|source| {
            let last_event_at = last.get(source.name.as_str()).copied();
            // Nothing could arrive before wilco started.
            let active_at = last_event_at.max(backend.began_at);
            let is_silent = |every: Duration| {
                let every = SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX);
                active_at.is_some_and(|at| now.duration_since(at) > every)
            };
            SourceStatus {
                source: source.name.to_string(),
                provider: source.provider.name.clone(),
                path: source.path.clone(),
                last_event_at,
                expect_every_secs: source.expect_every.map(|every| every.as_secs()),
                silent: source.expect_every.is_some_and(is_silent),
            }
        })
        .collect();
    sources.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(sources)
}

async fn store(backend: &Backend) -> Result<StoreUsage, Problem> {
    let damaged_events = backend.store.damaged_events().await?;
    let Some(usage) = backend.store.usage() else {
        return Ok(StoreUsage { damaged_events, ..StoreUsage::default() });
    };
    Ok(StoreUsage {
        free_bytes: Some(usage.free_bytes),
        reserve_bytes: Some(usage.reserve_bytes),
        store_bytes: Some(usage.store_bytes),
        wal_bytes: Some(usage.wal_bytes),
        lost_commits: Some(usage.lost_commits),
        damaged_events,
    })
}

impl From<Window> for Activity {
    fn from(window: Window) -> Self {
        let Window { began_at, took, totals } = window;
        let millis = |share| totals.ack_within(share).map(|took| took.as_secs_f64() * 1_000.0);
        let ack = millis(0.5).zip(millis(0.99)).map(|(p50_ms, p99_ms)| Latency {
            count: totals.acknowledged(),
            p50_ms,
            p99_ms,
        });
        Self {
            began_at,
            seconds: took.as_secs_f64(),
            ack,
            requests: totals.requests,
            events: totals.events,
            commits: totals.commits,
            attempts: totals.attempts,
        }
    }
}

const LAST_MINUTE: Duration = Duration::from_secs(60);
const LAST_HOUR: Duration = Duration::from_secs(3_600);
