//! Starts the tasks that run as long as the service does.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wilco_store::{Retention, Store};

use crate::{
    acme::{Missing, Renewal},
    admin::{Access, Admin, Api, Running, Streams, Unready},
    backfill::{self, Backfiller, Trigger},
    history::History,
    inbound::{Certificate, Inbound},
    metrics::Metrics,
    outbound::{Outbound, Plan},
    retention::{Counters, Pruner},
    sockets::{Listener, Socket},
    supervise::Tasks,
};

/// What the tasks of a service share, and those that it has started.
pub(super) struct Starter {
    pub(super) inbound: Arc<Inbound>,
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    /// The threads of everything but the path to a 2xx.
    pub(super) on: Handle,
    pub(super) stop: CancellationToken,
    /// Ends the outbound half, before `stop` ends the rest.
    pub(super) stop_delivering: CancellationToken,
    pub(super) tasks: Tasks,
    /// What a stop waits for, so that requests under way are answered.
    pub(super) open: TaskTracker,
}

impl Starter {
    /// Starts the outbound half. The tracker is done when that has ended.
    pub(super) fn deliver(&mut self, plan: watch::Receiver<Arc<Plan>>) -> TaskTracker {
        let delivering = TaskTracker::new();
        let (store, metrics) = (self.store.clone(), Arc::clone(&self.metrics));
        let stop = self.stop_delivering.clone();
        let outbound = Outbound { store, metrics, plan }.run(stop.clone());
        let outbound = delivering.track_future(outbound);
        self.tasks.spawn("the outbound half", stop, &self.on, outbound);
        delivering
    }

    /// Starts the backfill, and returns what asks for a round of it.
    pub(super) fn backfill(&mut self, plan: watch::Receiver<Arc<backfill::Plan>>) -> Arc<Trigger> {
        let trigger = Arc::<Trigger>::default();
        let backfiller =
            Backfiller { store: self.store.clone(), plan, trigger: Arc::clone(&trigger) };
        self.spawn("the backfill", backfiller.run(self.stop.clone()));
        trigger
    }

    /// Starts to remove what is older than it is to be kept.
    pub(super) fn prune(&mut self, retention: watch::Receiver<Retention>) {
        let counters = Counters::new(&self.metrics);
        let pruner = Pruner { store: self.store.clone(), retention, counters };
        self.spawn("the retention", pruner.run(self.stop.clone()));
    }

    /// Reads the certificate that was obtained before, and starts to renew it. Returns what says why there is
    /// none.
    pub(super) fn renew(
        &mut self,
        renewal: Renewal,
        plan: watch::Receiver<Arc<Plan>>,
    ) -> Arc<Missing> {
        let (held, missing) = (renewal.load(), Arc::clone(&renewal.missing));
        self.spawn("the certificate renewal", renewal.run(held, plan, self.stop.clone()));
        missing
    }

    /// Starts to accept connections, on the threads of the path to a 2xx.
    pub(super) fn listen(
        &mut self,
        socket: &Socket,
        listener: Listener,
        acceptor: Option<TlsAcceptor>,
    ) {
        let name = format!("the listener on {}", socket.address());
        let inbound = Arc::clone(&self.inbound);
        let serve = inbound.listen(listener, acceptor, self.open.clone(), self.stop.clone());
        let serve = self.open.track_future(serve);
        self.tasks.spawn(name, self.stop.clone(), &Handle::current(), serve);
    }

    /// Starts to take samples of the metrics, for the admin API.
    pub(super) fn observe(
        &mut self,
        missing: Option<Arc<Missing>>,
        access: &Access,
        retention: watch::Receiver<Retention>,
    ) -> Running {
        let history = History::new(Arc::clone(&self.metrics));
        self.spawn("the history", Arc::clone(&history).run(self.stop.clone()));
        let unready = Arc::new(move || missing.as_ref().and_then(|missing| missing.why()));
        let sessions = Arc::clone(&access.sessions);
        let metrics = Arc::clone(&self.metrics);
        let streams = Arc::new(Streams::new(&metrics, self.stop.clone()));
        Running { history, metrics, unready, sessions, streams, retention }
    }

    /// Starts the admin listener.
    pub(super) fn administer(
        &mut self,
        socket: &Socket,
        listener: Listener,
        access: Access,
        api: Api,
        unready: Unready,
        streams: Arc<Streams>,
    ) {
        let admin = Admin {
            store: self.store.clone(),
            api,
            metrics: Arc::clone(&self.metrics),
            access,
            unready,
            streams,
            is_local: socket.address().is_local(),
        };
        let serve = self.open.track_future(admin.serve(listener, self.stop.clone()));
        self.spawn("the admin listener", serve);
    }

    /// Starts to export traces, if the environment asks for that. A stop waits until what is left was sent.
    #[cfg(feature = "otlp")]
    pub(super) fn export_traces(&mut self) {
        if let Some(exporter) = crate::trace::Exporter::from_environment(&self.metrics) {
            let export = self.open.track_future(exporter.run(self.stop.clone()));
            self.spawn("the export of traces", export);
        }
    }

    /// Starts to look for changes of the certificate's files.
    pub(super) fn watch(&mut self, certificate: &Arc<Certificate>) {
        self.metrics.certificate_ends(certificate.ends());
        let watch = watch(Arc::clone(certificate), Arc::clone(&self.metrics), self.stop.clone());
        self.spawn("the certificate watch", watch);
    }

    fn spawn(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(name, self.stop.clone(), &self.on, task);
    }
}

/// Reloads the certificate whenever its files change.
async fn watch(certificate: Arc<Certificate>, metrics: Arc<Metrics>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(CERTIFICATE_LOOK)).await.is_some() {
        match certificate.refresh() {
            Ok(false) => {}
            Ok(true) => {
                metrics.certificate_ends(certificate.ends());
                tracing::info!("certificate reloaded");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot reload the certificate; the old one stays in use");
            }
        }
    }
}

const CERTIFICATE_LOOK: Duration = Duration::from_secs(5);
