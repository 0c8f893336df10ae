//! What the operations work on: the store, the configuration, and a service if one runs.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use wilco_store::{AdminStore, Retention};

use crate::{
    admin::{Probe, ProbeRequest, ProbedRequest, Problem, Routing, SentTest, Sessions, Streams},
    config::{Source, known_instead},
    history::History,
    metrics::Metrics,
};

/// Asks every provider for what never arrived. False if that is not done yet.
pub(crate) type RunBackfill = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Sends an event with this name and this body to a source, signed as its provider does.
pub(crate) type SendTest = Box<
    dyn Fn(Arc<Source>, String, String) -> BoxFuture<'static, Result<SentTest, Problem>>
        + Send
        + Sync,
>;

/// Reads the configuration again; an error says what is wrong with it.
pub type Reload = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Says why nothing can be received although the store is ready; `None` if something can.
pub(crate) type Unready = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What only a running service knows.
pub(crate) struct Running {
    pub(crate) history: Arc<History>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) unready: Unready,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) streams: Arc<Streams>,
    /// How long events are kept.
    pub(crate) retention: watch::Receiver<Retention>,
}

/// The probes of a running wilco.
pub(crate) trait Probing: Send + Sync {
    /// Opens a probe, unless another is open.
    fn open(&self, request: ProbeRequest) -> Result<Probe, Problem>;
    /// What arrived, in the order of the answers; `None` if the latest probe has another id.
    fn requests(&self, id: &str) -> Option<Vec<ProbedRequest>>;
    /// Closes the probe; `false` if the latest probe has another id.
    fn close(&self, id: &str) -> bool;
}

/// What the operations work on.
pub(crate) struct Backend {
    pub(crate) store: Arc<dyn AdminStore>,
    /// The current routes and destinations; an error says what is wrong with the configuration.
    pub(crate) routing: Box<dyn Fn() -> Result<Routing, String> + Send + Sync>,
    /// The current sources; an error says what is wrong with the configuration.
    pub(crate) sources: Box<dyn Fn() -> Result<Vec<Arc<Source>>, String> + Send + Sync>,
    /// `None` if wilco runs without a configuration file.
    pub(crate) reload: Option<Reload>,
    /// When the service started. `None` if no service uses the store.
    pub(crate) began_at: Option<Timestamp>,
    /// `None` if no service uses the store.
    pub(crate) probing: Option<Arc<dyn Probing>>,
    /// `None` if no service uses the store.
    pub(crate) backfill: Option<RunBackfill>,
    /// `None` if no service uses the store.
    pub(crate) send_test: Option<SendTest>,
    /// `None` if no service uses the store.
    pub(crate) running: Option<Running>,
    /// What is being carried out. A stop waits for it.
    pub(crate) actions: TaskTracker,
}

impl Backend {
    pub(super) fn routing(&self) -> Result<Routing, Problem> {
        (self.routing)().map_err(Problem::invalid_configuration)
    }
}

/// The source with this name; an error says which there are.
pub(crate) fn source_of<'s>(
    sources: &'s [Arc<Source>],
    name: &str,
) -> Result<&'s Arc<Source>, String> {
    sources.iter().find(|source| source.name.as_str() == name).ok_or_else(|| {
        let hint = known_instead(name, sources.iter().map(|source| source.name.as_str()));
        format!("source {name} not found{hint}")
    })
}
