//! A process of `wilco serve`: a service, and what becomes of it with each signal.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use wilco_server::{
    admin::Reload,
    config::Config,
    service::{Certificate, PassedSockets, Service, StartError},
};

use super::{Predecessor, Reloader, Successor, Upgrade, log_startup, status};
use crate::{Failure, InstantAcme};

/// What all services of this process have in common. There is a second one only after a hand-over that
/// has failed.
pub(super) struct Run {
    reloader: Arc<Reloader>,
    certificate: Option<Arc<Certificate>>,
    signals: Signals,
    upgrade: Upgrade,
    drain: Duration,
    /// The service that the admin API reloads.
    current: Arc<Mutex<Weak<Service>>>,
}

/// How a service has ended.
pub(super) enum End {
    /// The process ends as well.
    Exit,
    /// Another service has to be started with these sockets, because a hand-over failed.
    Resume(PassedSockets),
}

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Reloads, too, for people who are used to adnanh/webhook.
    usr1: Signal,
    /// Hands over to a new process, as in nginx.
    usr2: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }
}

impl Run {
    pub(super) fn new(
        reloader: Arc<Reloader>,
        certificate: Option<Arc<Certificate>>,
        signals: Signals,
        upgrade: Upgrade,
        drain: Duration,
    ) -> Self {
        Self { reloader, certificate, signals, upgrade, drain, current: Arc::default() }
    }

    /// Starts a service, and lets the predecessor of this process end.
    pub(super) async fn start(
        &self,
        config: Config,
        passed: PassedSockets,
        predecessor: Option<Predecessor>,
    ) -> Result<Arc<Service>, Failure> {
        let path = self.reloader.path.as_deref();
        let reload = path.map(|_| -> Reload {
            let (current, reloader) = (Arc::clone(&self.current), Arc::clone(&self.reloader));
            Arc::new(move || {
                let service = current.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
                reloader.reload(&*service.ok_or("wilco is still starting; try again")?)
            })
        });
        let manager = &self.reloader.manager;
        // systemd listens to the predecessor until that names this process.
        let starting = predecessor.is_none().then(|| manager.starting());
        let (certificate, acme) = (self.certificate.clone(), Some(Arc::new(InstantAcme) as _));
        let service = Service::start(config, certificate, acme, reload, passed).await;
        drop(starting);
        let service = service.map_err(|error| not_started(error, path.is_some()))?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&service);
        log_startup(&service, path);
        if let Some(confinement) = &self.reloader.confinement {
            tracing::info!(writes = confinement.folders(), "restricted by Landlock");
        }
        match predecessor {
            Some(predecessor) => predecessor.release().await,
            None => manager.ready(&status(&service)),
        }
        Ok(service)
    }

    /// Lets a service run until it is asked to stop or has handed over.
    pub(super) async fn until_end(&mut self, service: &Arc<Service>) -> Result<End, Failure> {
        let reloader = Arc::clone(&self.reloader);
        let Signals { terminate, interrupt, hangup, usr1, usr2 } = &mut self.signals;
        let mut watching = pin!(reloader.manager.watch(service));
        let mut successor = None;
        let has_failed = loop {
            tokio::select! {
                never = &mut watching => match never {},
                _ = terminate.recv() => break false,
                _ = interrupt.recv() => break false,
                () = service.failed() => break true,
                // The result is logged; a signal has no caller to return it to.
                _ = hangup.recv() => drop(reloader.reload(service)),
                _ = usr1.recv() => drop(reloader.reload(service)),
                _ = usr2.recv(), if successor.is_none() => {
                    successor = start_successor(&self.upgrade);
                }
                prepared = prepared(&mut successor) => match (prepared, successor.take()) {
                    (Ok(()), Some(successor)) => return self.hand_over(service, successor).await,
                    (Err(why), _) => log_kept(&why),
                    (Ok(()), None) => {}
                }
            }
        };
        drop(successor);
        tracing::info!(within = ?self.drain, "stopping");
        reloader.manager.stopping(self.drain);
        let closed = tokio::select! {
            closed = service.drain(self.drain) => closed,
            _ = terminate.recv() => return Err(Failure::failed("stopped by a second signal")),
            _ = interrupt.recv() => return Err(Failure::failed("stopped by a second signal")),
        };
        if has_failed {
            return Err(Failure::failed("the store stopped after an error; see the log"));
        }
        closed?;
        tracing::info!("stopped");
        Ok(End::Exit)
    }

    /// Stops this service and lets the successor serve with its sockets.
    async fn hand_over(
        &mut self,
        service: &Service,
        mut successor: Successor,
    ) -> Result<End, Failure> {
        let process = successor.id();
        tracing::info!(process, within = ?self.drain, "handing over to a new process");
        let (sockets, status) = (service.take_sockets(), status(service));
        let handing_over = async {
            if let Err(error) = service.drain(self.drain).await {
                tracing::error!(%error, "cannot close the store");
            }
            successor.take_over(&sockets).await
        };
        let stopped = || Err(Failure::failed("stopped by a signal during a hand-over"));
        let handed_over = tokio::select! {
            handed_over = handing_over => handed_over,
            // It may take longer than the watchdog waits.
            never = self.reloader.manager.watch(service) => match never {},
            _ = self.signals.terminate.recv() => return stopped(),
            _ = self.signals.interrupt.recv() => return stopped(),
        };
        match handed_over {
            Ok(()) => {
                sockets.leave();
                self.reloader.manager.replaced(process, &status);
                tracing::info!(process, "handed over");
                Ok(End::Exit)
            }
            Err(why) => {
                log_kept(&why);
                Ok(End::Resume(sockets))
            }
        }
    }
}

fn not_started(error: StartError, has_file: bool) -> Failure {
    match error {
        StartError::Listen { ref address, .. } if !has_file && address.contains("[admin]") => {
            Failure::failed(format!(
                "{error}; a second wilco needs a file with a different [admin] address; `wilco init` \
                 writes one"
            ))
        }
        _ => error.into(),
    }
}

fn start_successor(upgrade: &Upgrade) -> Option<Successor> {
    upgrade.start().inspect_err(|why| log_kept(why)).ok()
}

async fn prepared(successor: &mut Option<Successor>) -> Result<(), String> {
    match successor {
        Some(successor) => successor.prepared().await,
        None => pending().await,
    }
}

fn log_kept(why: &str) {
    tracing::error!("not handed over, this process keeps serving: {why}");
}
