//! `wilco serve`: runs the service until it is asked to stop.

mod hand_over;
mod run;
mod service_manager;

use std::{
    net::UdpSocket,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use wilco::Secret;
use wilco_server::{
    config::{self, Address, Config, DestinationConfig, Diagnostics},
    service::{Certificate, KINDS, PassedSockets, Service, raise_file_limit},
};

pub(crate) use hand_over::{Predecessor, Successor, Upgrade, launcher};
use run::{End, Run, Signals};
use service_manager::ServiceManager;

use super::{
    ConfigArgs, Confinement, Failure, LogFormat, certificate_for, certificate_for_file, draw,
};

/// Run the service: receive, record, acknowledge and deliver webhooks
///
/// Without a configuration file, it takes the secret from FREISPACE_SECRET, listens on
/// https://127.0.0.1:8443/webhook with a self-signed certificate, records in ./wilco.db, and prints
/// every event as a line of JSON. With --domain, it listens on port 443 instead, with a certificate
/// from Let's Encrypt, whose terms of service you agree to by using it.
#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,

    #[command(flatten)]
    without_file: WithoutFile,

    /// How long to wait for running attempts after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = config::duration)]
    drain: Duration,

    /// Write only to the folders of the configuration, and start no programs
    #[arg(long)]
    landlock: bool,

    #[arg(skip)]
    confinement: Option<Confinement>,

    /// Format of the log [default: text on a terminal, else json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

#[derive(Args)]
struct WithoutFile {
    /// Without a file: address to listen on, such as 127.0.0.1:8443
    #[arg(long, value_name = "ADDR", conflicts_with = "config", value_parser = config::address)]
    listen: Option<Address>,

    /// Without a file: domain of a certificate from Let's Encrypt; several as --domain A --domain B
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "no_tls"], value_parser = config::domain)]
    domain: Vec<String>,

    /// With --domain: directory of another ACME authority, or staging for trials
    #[arg(long, value_name = "URL", requires = "domain", value_parser = config::directory)]
    acme_directory: Option<String>,

    /// Without a file: plain HTTP, if a proxy in front handles TLS
    #[arg(long, conflicts_with = "config")]
    no_tls: bool,

    /// Without a file: store to record in, such as sqlite:wilco.db
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    store: Option<String>,

    /// Without a file: program that gets every event on stdin (run without a shell)
    #[arg(long, value_name = "'CMD ARG'", conflicts_with = "config")]
    exec: Option<String>,

    /// Without a file: HTTP service that gets every event by POST
    #[arg(long, value_name = "URL", conflicts_with = "config", value_parser = config::url)]
    forward: Option<http::Uri>,
}

impl Serve {
    /// Restricts the process, if that is asked for. Has to be called before anything starts a thread.
    pub(crate) fn confine(&mut self) -> Result<(), Failure> {
        if self.landlock {
            let config = match self.config.find() {
                Some(path) => config::load(&path, KINDS)?.0,
                None => self.without_file.config()?,
            };
            self.confinement = Some(Confinement::enter(&config)?);
        }
        Ok(())
    }

    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let mut predecessor = Predecessor::find().await?;
        let mut upgrade = Upgrade::new();
        let passed = PassedSockets::from_environment().map_err(Failure::failed)?;
        let path = self.config.find();
        if let (Some(path), true) = (&path, self.without_file.is_asked_for()) {
            return Err(Failure::usage(format!(
                "{} exists, and --listen, --domain, --no-tls, --store, --exec and --forward are only \
                 for use without a file; write the settings into it, or start in another folder",
                path.display()
            )));
        }
        let (config, certificate) = self.load(path.as_deref())?;
        upgrade.had_file_limit(raise_file_limit());
        // First, because a signal without a handler would end the process at once.
        let signals = Signals::listen()?;
        let manager = ServiceManager::find();
        let reloader = Reloader { path, confinement: self.confinement, manager };
        let reloader = Arc::new(reloader);
        let mut run = Run::new(reloader, certificate, signals, upgrade, self.drain);
        let passed = match &mut predecessor {
            Some(predecessor) => predecessor.sockets().await?,
            None => passed,
        };
        let mut service = run.start(config, passed, predecessor).await?;
        loop {
            match run.until_end(&service).await? {
                End::Exit => return Ok(ExitCode::SUCCESS),
                End::Resume(sockets) => {
                    service = run.start(service.config(), sockets, None).await?;
                }
            }
        }
    }

    /// What the file says, or the arguments if there is none.
    fn load(&self, path: Option<&Path>) -> Result<(Config, Option<Arc<Certificate>>), Failure> {
        let Some(path) = path else {
            let config = self.without_file.config()?;
            let certificate = certificate_for(&config)?;
            return Ok((config, certificate));
        };
        let (config, warnings) = config::load(path, KINDS)?;
        // A certificate and key that are just being renewed will soon match, so another start may
        // succeed. Exit code 78 would keep systemd from trying.
        let (certificate, warnings) = certificate_for_file(&config, warnings)
            .map_err(|found| Failure { code: 1, ..found.into() })?;
        warn(&warnings);
        Ok((config, certificate))
    }
}

impl WithoutFile {
    fn is_asked_for(&self) -> bool {
        let Self { listen, domain, acme_directory: _, no_tls, store, exec, forward } = self;
        let is_about_tls = !domain.is_empty() || *no_tls;
        listen.is_some() || is_about_tls || store.is_some() || exec.is_some() || forward.is_some()
    }

    fn usual_address(&self) -> &'static str {
        match self.domain.is_empty() {
            true => "127.0.0.1:8443",
            false if has_ipv6() => "[::]:443",
            false => "0.0.0.0:443",
        }
    }

    fn config(&self) -> Result<Config, Failure> {
        let secret = Secret::from_env("FREISPACE_SECRET").map_err(Failure::configuration)?;
        let mut destinations = vec![DestinationConfig::print("print")];
        if let Some(line) = &self.exec {
            let words = config::command_line(line).map_err(Failure::usage)?;
            destinations.push(DestinationConfig::command("exec", words));
        }
        if let Some(url) = self.forward.clone() {
            destinations.push(DestinationConfig::http("forward", url));
        }
        let to = destinations.iter().map(|destination| destination.name.clone()).collect();
        let route = config::Route::new("*", to).ok_or_else(|| unlikely("glob"))?;
        let usual = || config::address(self.usual_address()).map_err(Failure::usage);
        let address = self.listen.clone().map_or_else(usual, Ok)?;
        let source = config::Source::new("freispace", "/webhook", None, vec![secret]);
        let mut config = Config::of(source.map_err(|_| unlikely("preset"))?, vec![address]);
        if !self.domain.is_empty() {
            let mut acme = config::Acme::new(self.domain.clone());
            if let Some(directory) = &self.acme_directory {
                acme.directory.clone_from(directory);
            }
            config.listen.tls = config::Tls::Acme(acme);
        } else if !self.no_tls {
            let domains = vec!["localhost".into(), "127.0.0.1".into()];
            config.listen.tls = config::Tls::SelfSigned { domains };
        }
        if let Some(url) = &self.store {
            config.store.url = url.clone();
        }
        config.admin = Some(config::Admin::default());
        config.destinations = destinations;
        config.routes = vec![route];
        Ok(config)
    }
}

/// Whether this machine has IPv6. A kernel without it has no such sockets.
fn has_ipv6() -> bool {
    UdpSocket::bind("[::]:0").is_ok()
}

/// Something that is compiled in is invalid; tests rule this out.
fn unlikely(what: &str) -> Failure {
    Failure::failed(format!("this wilco was built without its {what}"))
}

fn log_startup(service: &Service, path: Option<&Path>) {
    let config = service.config();
    let scheme = if config.listen.tls == config::Tls::Off { "http" } else { "https" };
    for address in service.addresses() {
        for source in &config.sources {
            let url = match address {
                Address::Tcp(address) => format!("{scheme}://{address}{}", source.path),
                Address::Unix(_) => format!("{address} {}", source.path),
            };
            tracing::info!(source = %source.name, provider = source.provider.name, url, "listening");
        }
    }
    if let Some(address) = service.admin_address() {
        let url = match address {
            Address::Tcp(address) => format!("http://{address}"),
            Address::Unix(_) => address.to_string(),
        };
        tracing::info!(url, "admin listener");
    }
    match path {
        Some(path) => tracing::info!(file = %path.display(), "configuration read"),
        None => tracing::info!("running without a configuration file; `wilco init` writes one"),
    }
}

/// One line for `systemctl status`.
fn status(service: &Service) -> String {
    let addresses: Vec<_> = service.addresses().iter().map(ToString::to_string).collect();
    format!("listening on {}", addresses.join(", "))
}

fn warn(warnings: &Diagnostics) {
    for line in warnings.lines() {
        tracing::warn!("{line}");
    }
}

/// Applies the file again while the service runs.
struct Reloader {
    path: Option<PathBuf>,
    confinement: Option<Confinement>,
    manager: ServiceManager,
}

impl Reloader {
    fn reload(&self, service: &Service) -> Result<(), String> {
        self.manager.reloading();
        let reloaded = self.try_reload(service);
        match &reloaded {
            Ok(()) => self.manager.ready(&status(service)),
            Err(why) => {
                tracing::error!("the old configuration stays in use: {why}");
                self.manager.ready("a reload was refused, the old configuration stays in use");
            }
        }
        reloaded
    }

    fn try_reload(&self, service: &Service) -> Result<(), String> {
        let path = self.path.as_ref().ok_or("wilco was started without a configuration file")?;
        let (config, warnings) =
            config::load(path, KINDS).map_err(|diagnostics| draw(&diagnostics, false))?;
        let (_, warnings) = certificate_for_file(&config, warnings)
            .map_err(|diagnostics| draw(&diagnostics, false))?;
        if let Some(confinement) = &self.confinement {
            confinement.check(&config)?;
        }
        warn(&warnings);
        service.reload(config).map_err(|error| error.to_string())?;
        tracing::info!(file = %path.display(), "configuration reloaded");
        Ok(())
    }
}
