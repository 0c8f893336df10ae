//! The certificate of an authority: obtained by ACME (RFC 8555), kept next to the store, and renewed in
//! time. Whatever fails, the certificate in use stays in use.

mod client;
mod folder;
mod http;
mod issued;
mod schedule;

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use wilco_delivery::AlertPolicy;
use wilco_store::{OutboundStore, SqliteStore};

use crate::{
    clock,
    config::{Acme, Config, Tls},
    inbound::{Certificate, Challenges},
    metrics::Metrics,
    outbound::{Plan, record_alert},
    sockets::Listener,
};
use issued::{Usable, stored};
use schedule::{InUse, Window, ask_again_after, retry_wait};

pub use client::{AcmeAccount, AcmeClient, AcmeError, AcmeOrder, Issued, Suggestion};
pub(crate) use folder::Folder;

/// What wilco will do about the certificate of a configuration, in a sentence; `None` unless an authority
/// issues it.
pub fn certificate_plan(config: &Config) -> Option<String> {
    let Tls::Acme(acme) = &config.listen.tls else { return None };
    let challenge = if acme.http_address.is_some() { "http-01" } else { "tls-alpn-01" };
    let from = format!(
        "certificate for {} from {} by {challenge}",
        acme.domains.join(", "),
        acme.directory,
    );
    let folder = Folder::of(&SqliteStore::path(&config.store.url).ok()?);
    let stored = folder.read(CERTIFICATE).ok().flatten();
    let then = match stored.and_then(|stored| Usable::read(&stored).ok()) {
        None => "it is obtained at the start".into(),
        Some(usable) => {
            let in_use = InUse::new(&usable, acme);
            let ends = in_use.ends;
            match in_use.is_as_configured {
                true => format!(
                    "it ends at {ends}, and is renewed from {} on",
                    in_use.renew_at(None, 0.0)
                ),
                false => {
                    format!("the stored one, until {ends}, is another, and replaced at the start")
                }
            }
        }
    };
    Some(format!("{from}: {then}"))
}

/// What obtains the certificate and renews it.
pub(crate) struct Renewal {
    pub(crate) acme: Acme,
    pub(crate) client: Arc<dyn AcmeClient>,
    pub(crate) folder: Folder,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) challenges: Arc<Challenges>,
    pub(crate) missing: Arc<Missing>,
    pub(crate) store: Arc<dyn OutboundStore>,
    pub(crate) metrics: Arc<Metrics>,
    /// Where http-01 is answered.
    pub(crate) http: Option<Listener>,
}

/// Why the certificate is still missing.
#[derive(Default)]
pub(crate) struct Missing(Mutex<Option<String>>);

/// The certificate in use, and what the authority says about it.
pub(crate) struct Held {
    in_use: InUse,
    /// The certificate itself, in DER.
    der: Vec<u8>,
    window: Option<Window>,
    /// Chooses a time in the window.
    chance: f64,
    /// When the authority is asked about the window.
    ask_at: Timestamp,
}

impl Missing {
    /// `None` if there is a certificate.
    pub(crate) fn why(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

impl Renewal {
    /// Uses the certificate that was obtained before, if there is one. The authority is not asked.
    pub(crate) fn load(&self) -> Option<Held> {
        let held = self.read();
        let path = self.folder.path(CERTIFICATE);
        match &held {
            Ok(Some(held)) => {
                let (until, file) = (held.in_use.ends, path.display());
                tracing::info!(%until, %file, "certificate read");
            }
            Ok(None) => self.missing.set(Some("it is being obtained".into())),
            Err(error) => {
                tracing::warn!(file = %path.display(), error, "the stored certificate cannot be used");
                self.missing.set(Some(format!("cannot use {}: {error}", path.display())));
            }
        }
        held.ok().flatten()
    }

    fn read(&self) -> Result<Option<Held>, String> {
        let stored = self.folder.read(CERTIFICATE).map_err(|error| error.to_string())?;
        let Some(stored) = stored else { return Ok(None) };
        let mut held = self.install(Usable::read(&stored)?)?;
        // A restart asks nobody.
        held.ask_at = clock::now() + ASK_AFTER_START;
        Ok(Some(held))
    }

    /// Keeps a certificate in use until `stop`.
    pub(crate) async fn run(
        mut self,
        held: Option<Held>,
        plan: watch::Receiver<Arc<Plan>>,
        stop: CancellationToken,
    ) {
        let listener = self.http.take();
        let challenges = Arc::clone(&self.challenges);
        let answer = async {
            match listener {
                Some(listener) => http::serve(listener, challenges).await,
                None => pending().await,
            }
        };
        stop.run_until_cancelled(async { tokio::join!(answer, self.keep(held, &plan)) }).await;
    }

    async fn keep(&self, mut held: Option<Held>, plan: &watch::Receiver<Arc<Plan>>) {
        let last_failure: Gauge = self.metrics.register(
            "acme_last_failure_timestamp_seconds",
            "When the certificate could last not be obtained, in Unix time; 0 after a success",
        );
        let mut failures: u32 = 0;
        loop {
            let now = clock::now();
            let renew_at = held.as_ref().map(|held| held.in_use.renew_at(held.window, held.chance));
            match (&mut held, renew_at) {
                (Some(held), Some(renew_at)) if now < renew_at => {
                    if now >= held.ask_at {
                        self.ask(held).await;
                        continue;
                    }
                    let wait = renew_at.min(held.ask_at).duration_since(now);
                    // Not longer, because the clock may be set meanwhile.
                    sleep(wait.unsigned_abs().min(LOOK_AGAIN)).await;
                }
                (_, _) => match self.obtain(held.as_ref()).await {
                    Ok(obtained) => {
                        held = Some(obtained);
                        failures = 0;
                        last_failure.set(0);
                    }
                    Err(error) => {
                        failures = failures.saturating_add(1);
                        last_failure.set(clock::now().as_second());
                        let wait = retry_wait(failures, error.retry_after, chance());
                        let alerts = plan.borrow().alerts.clone();
                        self.report(&error, failures, held.as_ref(), wait, alerts).await;
                        sleep(wait).await;
                    }
                },
            }
        }
    }

    /// Obtains a certificate, and uses it from now on.
    async fn obtain(&self, before: Option<&Held>) -> Result<Held, AcmeError> {
        let (domains, directory) = (self.acme.domains.join(" "), &self.acme.directory);
        tracing::info!(domains, directory, "obtaining a certificate");
        let order = self.order(before);
        let obtained = timeout(OBTAIN_MAX, self.client.obtain(&order)).await;
        self.challenges.clear();
        let Issued { chain, key } = obtained.unwrap_or_else(|_| {
            Err(AcmeError::new("the authority took longer than 15 minutes to issue it"))
        })?;
        let text = stored(directory, &key, &chain);
        let unusable = |why: String| AcmeError::new(format!("what was issued is unusable: {why}"));
        let usable = Usable::read(&text).map_err(unusable)?;
        if !usable.is_as_configured(&self.acme) {
            return Err(unusable(format!("it is for {}", usable.names.join(", "))));
        }
        let mut held = self.install(usable).map_err(unusable)?;
        held.in_use.obtained = Some(clock::now());
        if let Err(error) = self.folder.write(CERTIFICATE, &text) {
            // It is used anyway. After a restart it has to be obtained again.
            let file = self.folder.path(CERTIFICATE);
            tracing::error!(%error, file = %file.display(), "cannot store the certificate");
        }
        let until = held.in_use.ends;
        tracing::info!(domains, %until, "certificate obtained");
        Ok(held)
    }

    fn install(&self, usable: Usable) -> Result<Held, String> {
        let in_use = InUse::new(&usable, &self.acme);
        let Usable { chain, key, .. } = usable;
        let der = chain.first().map(|first| first.to_vec()).unwrap_or_default();
        self.certificate.replace(chain, key).map_err(|error| error.to_string())?;
        self.metrics.certificate_ends(self.certificate.ends());
        self.missing.set(None);
        Ok(Held { in_use, der, window: None, chance: chance(), ask_at: clock::now() })
    }

    /// Asks the authority when to renew.
    async fn ask(&self, held: &mut Held) {
        let order = self.order(Some(held));
        let asked = timeout(ASK_MAX, self.client.suggestion(&order)).await;
        let again = match asked.unwrap_or_else(|_| Err(AcmeError::new("no answer within 1 min"))) {
            Ok(Some(Suggestion { start, end, ask_again_after: again })) => {
                tracing::debug!(%start, %end, "the authority suggests when to renew");
                held.window = Some(Window { start, end });
                ask_again_after(again)
            }
            Ok(None) => {
                held.window = None;
                ASK_AGAIN
            }
            Err(error) => {
                tracing::debug!(%error, "cannot ask the authority when to renew");
                ASK_AGAIN
            }
        };
        held.ask_at = clock::now() + again;
    }

    fn order<'a>(&'a self, replaces: Option<&'a Held>) -> AcmeOrder<'a> {
        AcmeOrder {
            acme: &self.acme,
            account: AcmeAccount(&self.folder),
            replaces: replaces.map(|held| held.der.as_slice()),
            challenges: &self.challenges,
        }
    }

    async fn report(
        &self,
        error: &AcmeError,
        failures: u32,
        held: Option<&Held>,
        wait: Duration,
        alerts: Option<AlertPolicy>,
    ) {
        let domains = self.acme.domains.join(", ");
        let next = clock::now().checked_add(wait).unwrap_or(Timestamp::MAX);
        let until = held.map(|held| held.in_use.ends);
        let in_use = until.map(|until| until.to_string());
        tracing::warn!(domains, %error, failures, %next, in_use_until = in_use, "cannot obtain a certificate");
        if held.is_none() {
            self.missing.set(Some(format!("{error}; the next attempt is at {next}")));
        }
        if let Some(alerts) = alerts.filter(|_| failures >= ALERT_FAILURES) {
            let alert = alerts.certificate_not_obtained(&domains, &error.message, until);
            record_alert(&*self.store, alert).await;
        }
    }
}

impl InUse {
    fn new(usable: &Usable, acme: &Acme) -> Self {
        let is_as_configured = usable.is_as_configured(acme);
        Self { begins: usable.begins, ends: usable.ends, obtained: None, is_as_configured }
    }
}

fn chance() -> f64 {
    // Without randomness every wait is the longest, which is correct, but has no jitter.
    getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX))
}

const CERTIFICATE: &str = "certificate.pem";
/// How long an authority may take for a certificate.
const OBTAIN_MAX: Duration = Duration::from_secs(900);
/// How long it may take to say when to renew.
const ASK_MAX: Duration = Duration::from_secs(60);
/// When it is first asked after a start.
const ASK_AFTER_START: SignedDuration = SignedDuration::from_hours(1);
/// When it is asked again if it did not say when.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 3_600);
/// How often the clock is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);
/// Failures in a row after which an alert is sent: one failure is often gone with the next attempt.
const ALERT_FAILURES: u32 = 2;
