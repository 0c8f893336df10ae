//! The service: puts together both halves, the store between them, and the admin listener.

mod administration;
mod open;
mod start;

use std::{
    ffi::OsString,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use wilco_destinations::{SUPERVISOR_VERB, supervisor_main};
use wilco_store::{Retention, Store, StoreError};

use crate::{
    backfill,
    config::{Address, Config},
    inbound::{self, Endpoints, Inbound},
    metrics::Metrics,
    outbound::Plan,
    sockets::Socket,
    supervise::Tasks,
    threads::Threads,
};

pub use crate::{
    acme::{AcmeAccount, AcmeClient, AcmeError, AcmeOrder, Issued, Suggestion, certificate_plan},
    admin::Reload,
    inbound::{Certificate, Challenges, SelfSigned, TlsError},
    sockets::{BindError, PassedSocketError, PassedSockets},
};
pub use administration::api;
pub use open::StartError;

use administration::api_of;
use open::Opened;
use start::Starter;

pub use wilco_destinations::{Function, KINDS};

/// A running wilco.
pub struct Service {
    inbound: Arc<Inbound>,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    certificate: Option<Arc<Certificate>>,
    plan: watch::Sender<Arc<Plan>>,
    backfills: watch::Sender<Arc<backfill::Plan>>,
    retention: watch::Sender<Retention>,
    config: Mutex<Config>,
    addresses: Vec<Address>,
    admin_address: Option<Address>,
    /// Closed when it stops.
    sockets: Mutex<Vec<Socket>>,
    open: TaskTracker,
    stop: CancellationToken,
    /// Cancelled first, while requests are still accepted.
    stop_delivering: CancellationToken,
    /// Done when the outbound half has ended.
    delivering: TaskTracker,
    /// Aborts every task that still runs, when it is dropped.
    supervisor: Mutex<Option<AbortOnDropHandle<Tasks>>>,
    threads: Threads,
}

/// Why a new configuration was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// This key of the file is fixed until a restart.
    #[error("{0} changed, which requires a restart")]
    NeedsRestart(&'static str),
    /// The certificate cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

impl Service {
    /// Opens and recovers the store, and only then the listeners, of which some may have been passed to
    /// this process. `acme` obtains the certificate if the configuration wants one from an authority. The
    /// admin listener calls `reload` when it is asked to read the configuration again; `None` if wilco runs
    /// without a file.
    ///
    /// # Errors
    ///
    /// What could not be opened; nothing runs then.
    pub async fn start(
        config: Config,
        certificate: Option<Arc<Certificate>>,
        acme: Option<Arc<dyn AcmeClient>>,
        reload: Option<Reload>,
        passed: PassedSockets,
    ) -> Result<Arc<Self>, StartError> {
        let opened = Opened::open(&config, certificate, acme, passed).await?;
        let endpoints = Endpoints::new(&config.listen, &config.sources);
        let inbound =
            Arc::new(Inbound::new(endpoints, opened.store.clone(), Arc::clone(&opened.metrics)));
        inbound.set_secrets();
        let (plan, planned) = watch::channel(Arc::new(Plan::new(&config)));
        let (backfills, planned_backfills) = watch::channel(Arc::new(backfill::Plan::new(&config)));
        let (retention, kept) = watch::channel(config.store.retention);
        let (stop, stop_delivering) = (CancellationToken::new(), CancellationToken::new());
        let mut starter = Starter {
            inbound: Arc::clone(&inbound),
            store: opened.store.clone(),
            metrics: Arc::clone(&opened.metrics),
            on: opened.threads.handle().clone(),
            stop: stop.clone(),
            stop_delivering: stop_delivering.clone(),
            tasks: Tasks::default(),
            open: TaskTracker::new(),
        };
        let delivering = starter.deliver(planned.clone());
        let trigger = starter.backfill(planned_backfills);
        starter.prune(kept.clone());
        // Before the listeners start, so that the first handshake finds the certificate.
        let missing = opened.renewal.map(|renewal| starter.renew(renewal, planned.clone()));
        #[cfg(feature = "otlp")]
        starter.export_traces();
        let mut sockets = Vec::new();
        for (socket, listener) in opened.public {
            starter.listen(&socket, listener, opened.acceptor.clone());
            sockets.push(socket);
        }
        let addresses = sockets.iter().map(Socket::address).cloned().collect();
        let mut admin_address = None;
        if let Some((socket, listener, access)) = opened.admin {
            let running = starter.observe(missing, &access, kept);
            let (unready, streams) = (Arc::clone(&running.unready), Arc::clone(&running.streams));
            let (store, actions) = (opened.store.clone(), starter.open.clone());
            let api = api_of(&inbound, store, planned, reload, trigger, running, actions);
            starter.administer(&socket, listener, access, api, unready, streams);
            admin_address = Some(socket.address().clone());
            sockets.push(socket);
        }
        sockets.extend(opened.http_socket);
        opened.certificate.iter().for_each(|certificate| starter.watch(certificate));
        let tasks = supervise(starter.tasks, Arc::clone(&opened.store), stop.clone());
        Ok(Arc::new(Self {
            inbound,
            store: opened.store,
            metrics: opened.metrics,
            certificate: opened.certificate,
            plan,
            backfills,
            retention,
            config: Mutex::new(config),
            addresses,
            admin_address,
            sockets: Mutex::new(sockets),
            open: starter.open,
            stop,
            stop_delivering,
            delivering,
            supervisor: Mutex::new(Some(AbortOnDropHandle::new(spawn(tasks)))),
            threads: opened.threads,
        }))
    }

    /// Applies a checked configuration. Sources, routes and destinations are replaced at once; the store
    /// and the listeners stay as they are.
    ///
    /// # Errors
    ///
    /// It requires a restart, or the certificate cannot be read; the old configuration stays in use then.
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let mut current = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = config.restart_for(&current) {
            return Err(ReloadError::NeedsRestart(part));
        }
        if let Some(certificate) = &self.certificate {
            certificate.refresh()?;
            self.metrics.certificate_ends(certificate.ends());
        }
        self.inbound.replace(&config.listen, &config.sources);
        self.plan.send_replace(Arc::new(Plan::new(&config)));
        self.backfills.send_replace(Arc::new(backfill::Plan::new(&config)));
        self.retention.send_replace(config.store.retention);
        *current = config;
        Ok(())
    }

    /// Lets running attempts end, while requests are still accepted, for as long as `within`. Then it
    /// stops accepting, answers the requests under way and closes the store. Attempts that are cut off
    /// are repeated at the next start.
    ///
    /// # Errors
    ///
    /// The store could not write the last outcomes.
    pub async fn drain(&self, within: Duration) -> Result<(), StoreError> {
        let until = Instant::now() + within;
        let is_broken = matches!(self.store.ready(), Err(StoreError::Latched(_)));
        if is_broken {
            self.stop.cancel();
        }
        self.stop_delivering.cancel();
        self.delivering.close();
        if timeout_at(until, self.delivering.wait()).await.is_err() {
            tracing::warn!("attempts were cut off and will be repeated at the next start");
        }
        self.stop.cancel();
        // Where connections wait in the socket for a successor, one slow request must not hold up all.
        let requests_until = Instant::now() + REQUESTS_GRACE;
        let requests_until = match self.close_sockets() {
            true => requests_until,
            false => requests_until.max(until),
        };
        self.open.close();
        if timeout_at(requests_until, self.open.wait()).await.is_err() {
            tracing::warn!(open = self.open.len(), "connections were cut off");
        }
        drop(self.supervisor.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.threads.end().await;
        self.store.close().await
    }

    /// Closes the sockets here. Whether one of them stays open elsewhere.
    fn close_sockets(&self) -> bool {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        // They have been taken by [`Service::take_sockets`], or systemd has them.
        let is_kept = sockets.is_empty() || sockets.iter().any(Socket::is_passed);
        sockets.clear();
        is_kept
    }

    /// Takes the sockets, so that they stay open when this service stops.
    pub fn take_sockets(&self) -> PassedSockets {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        PassedSockets::new(std::mem::take(&mut sockets))
    }

    /// The configuration that it uses.
    pub fn config(&self) -> Config {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when the store has stopped for good.
    pub async fn failed(&self) {
        self.store.wakers().failed().notified().await;
    }

    /// Waits until the store and the threads for deliveries get to this call. If one of them hangs,
    /// it never returns.
    pub async fn respond(&self) {
        self.store.respond().await;
        let mut there = JoinSet::new();
        there.spawn_on(async {}, self.threads.handle());
        there.join_next().await;
    }

    pub(crate) fn inbound(&self) -> &Arc<Inbound> {
        &self.inbound
    }

    /// Where events are recorded.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The addresses it listens on, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The address of the admin listener, if there is one.
    pub fn admin_address(&self) -> Option<&Address> {
        self.admin_address.as_ref()
    }
}

/// A dropped service stops and closes its store.
impl Drop for Service {
    fn drop(&mut self) {
        self.stop_delivering.cancel();
        self.stop.cancel();
    }
}

/// The result of checking a destination.
#[derive(Debug)]
pub struct CheckedDestination {
    /// Its name.
    pub name: String,
    /// Its kind, as `type` calls it.
    pub kind: &'static str,
    /// What was found, or what is wrong with it.
    pub result: Result<String, String>,
}

/// Checks whether events can be delivered to the destinations of a configuration, without
/// delivering one.
pub async fn check_destinations(config: &Config) -> Vec<CheckedDestination> {
    let checks = config.destinations.iter().map(|destination| async {
        let (name, kind) = (destination.name.clone(), destination.settings.kind());
        CheckedDestination { name, kind, result: wilco_destinations::check(destination).await }
    });
    join_all(checks).await
}

/// Raises the soft limit on open files, and returns the previous one, if there was one. Programs that
/// destinations start get the previous limit.
pub fn raise_file_limit() -> Option<u64> {
    inbound::raise_file_limit().inspect(|&soft| wilco_destinations::keep_file_limit(soft))
}

/// A service starts its own program again as the supervisor of each command that it runs. If this process
/// is such a supervisor, this function does its work and returns the exit code. The `main` of a program
/// with command destinations calls it first, with the arguments after the program's name.
pub fn child_supervisor(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    arguments.next().is_some_and(|verb| verb == SUPERVISOR_VERB).then(|| supervisor_main(arguments))
}

/// Watches the tasks until `stop`. If one ends before that, the store stops, so that nothing more is
/// acknowledged, and the process ends.
async fn supervise(mut tasks: Tasks, store: Arc<dyn Store>, stop: CancellationToken) -> Tasks {
    tokio::select! {
        () = stop.cancelled() => {}
        ended = tasks.failed() => store.latch(&format!("{ended}, though it has to run")),
    }
    tasks
}

#[expect(clippy::disallowed_methods, reason = "kept in Service::supervisor, which aborts it")]
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// How long requests under way may take at a stop while others wait for a successor.
const REQUESTS_GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::runtime::Handle;
    use wilco_store::{MemoryStore, StoreStatus as _};

    use super::*;
    use crate::clock;

    #[tokio::test]
    async fn a_task_that_ends_stops_the_store_and_one_that_was_asked_to_does_not() {
        for (is_asked, expected) in
            [(false, Err("routing panicked, though it has to run".to_owned())), (true, Ok(()))]
        {
            let (store, stop) =
                (Arc::new(MemoryStore::new(clock::system())), CancellationToken::new());
            let (mut tasks, on) = (Tasks::default(), Handle::current());
            tasks.spawn("the listener", stop.clone(), &on, pending());
            if is_asked {
                stop.cancel();
            } else {
                tasks.spawn("routing", stop.clone(), &on, async { panic!("planted") });
            }
            supervise(tasks, store.clone(), stop).await;
            let ready = store.ready().map_err(|error| match error {
                StoreError::Latched(cause) => cause,
                other => other.to_string(),
            });
            assert_eq!(ready, expected);
        }
    }
}
