//! `wilco demo`: shows a newcomer the whole of wilco on loopback, in a second.

mod row;
mod setup;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use wilco::{Body, Event, EventId, Secret, Unsigned, freispace, provider};
use wilco_server::{
    admin::Role,
    client::{Client, Trust},
    clock,
    config::{Address, Places},
    service::{Function, PassedSockets, Service},
};
use wilco_store::EventQuery;

use super::{Failure, Server, Table, certificate_for, login_link, print};

use row::{Row, is_handled, table};
use setup::{config, made_up_secret, note, provision};

/// Show the whole of wilco on this machine: an endpoint, signed events, handlers, results
///
/// Leaves nothing behind: the secret is made up, and the store is in a temporary folder.
#[derive(Args)]
pub(crate) struct Demo {
    /// Exit as soon as every event is handled: with 0, or with 1 if one was not
    #[arg(long)]
    once: bool,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        // From here on no signal ends the process before the temporary folder is removed.
        let mut signals = Signals::listen()?;
        let folder = tempfile::Builder::new().prefix("wilco-demo-").tempdir()?;
        let loopback = Loopback::open(folder.path()).await?;
        print(&loopback.welcome())?;
        let steps = loopback.send_all().await?;
        let results = loopback.results(&steps).await?;
        let mut table = table();
        print(&table.draw(&results.iter().map(Row::cells).collect::<Vec<_>>()))?;
        let are_handled = results.iter().all(Row::is_as_expected);
        let dashboard = if self.once { None } else { Some(loopback.dashboard().await?) };
        print(&loopback.farewell(are_handled, dashboard.as_deref()))?;
        if !self.once {
            tokio::select! {
                failed = loopback.follow(&mut table, &steps) => failed?,
                () = signals.end() => {}
            }
        }
        loopback.service.drain(DRAIN).await?;
        Ok(if are_handled { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The signals that end a demo: Ctrl-C, SIGTERM, or closing the terminal.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> Result<Self, Failure> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn end(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// A request to send, and the expected result.
struct Step {
    label: &'static str,
    body: Bytes,
    /// The headers that sign it.
    signed: Vec<(String, String)>,
    expected: Expected,
    answer: StatusCode,
    took: Duration,
    event_id: Option<EventId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Handled,
    /// A duplicate: acknowledged like the first, and not handled again.
    Duplicate,
    /// A forgery.
    Refused,
}

/// A wilco on loopback, and a client that sends to it.
struct Loopback {
    service: Arc<Service>,
    url: String,
    secret: Secret,
    secret_text: String,
}

impl Loopback {
    async fn open(folder: &Path) -> Result<Self, Failure> {
        let secret_text = made_up_secret()?;
        let secret =
            Secret::new("demo", secret_text.clone().into_bytes()).map_err(Failure::failed)?;
        let projects = folder.join("projects");
        std::fs::create_dir(&projects)?;
        let functions = [
            Function::new(|event: Event| async move { note(&event) }),
            Function::new(move |event: Event| {
                let projects = projects.clone();
                async move { provision(&event, &projects) }
            }),
        ];
        let config = config(folder, secret.clone(), functions)?;
        let certificate = certificate_for(&config)?;
        let service =
            Service::start(config, certificate, None, None, PassedSockets::default()).await?;
        let address = match service.addresses() {
            [Address::Tcp(address), ..] => *address,
            _ => return Err(Failure::failed("the demo has no address")),
        };
        Ok(Self { service, url: format!("https://{address}/webhook"), secret, secret_text })
    }

    fn welcome(&self) -> String {
        format!(
            "\n  wilco: verify, record, acknowledge, then act.\n\n  A post house plans a series. freispace \
             sends signed webhooks about it\n  to {}, with a made-up secret.\n\n",
            self.url
        )
    }

    /// A link that signs in to the dashboard of the demo.
    async fn dashboard(&self) -> Result<String, Failure> {
        let store = self.service.config().store;
        let address = self.service.admin_address().cloned();
        let address = address.ok_or_else(|| Failure::failed("the demo has no dashboard"))?;
        let server = Server::find(&Places { address, token: None, token_name: None, store })?;
        login_link(&server, Role::Operator).await
    }

    fn farewell(&self, are_handled: bool, dashboard: Option<&str>) -> String {
        let verdict = match are_handled {
            true => "Every event was verified, recorded, acknowledged, and then handled.",
            false => "Not every event was handled. Please report this as a bug.",
        };
        let Some(dashboard) = dashboard else { return format!("\n  {verdict}\n") };
        let program = program();
        format!(
            "\n  {verdict}\n\n  The endpoint stays up until Ctrl-C. Look at it in a browser; the link works \
             once,\n  within 5 minutes:\n\n    {dashboard}\n\n  Send it more from another \
             terminal:\n\n    export FREISPACE_SECRET={}\n    {program} send booking.created --to \
             {}\n    {program} send booking.created --to {} --tamper\n\n  To run your own: \
             {program} init, then {program} serve.\n\n",
            self.secret_text, self.url, self.url
        )
    }

    /// Sends the sample events in their order, then a duplicate of one and a forgery.
    async fn send_all(&self) -> Result<Vec<Step>, Failure> {
        let mut steps = Vec::new();
        for (name, body) in freispace::SAMPLES {
            steps.push(self.step(name, body.as_bytes(), Expected::Handled)?);
        }
        let moved = freispace::sample("booking.deleted").unwrap_or_default();
        steps.push(self.step("(a duplicate)", moved.as_bytes(), Expected::Duplicate)?);
        let mut forged = self.step("(a forgery)", moved.as_bytes(), Expected::Refused)?;
        forged.body = moved.replacen("deleted", "created", 1).into();
        steps.push(forged);
        // The first request includes the TLS handshake, so it would distort the times.
        let warm_up = Request::get(&self.url).body(Body::default())?;
        let client = Client::new(warm_up.uri(), Trust::Anybody)?;
        client.send(warm_up, TIMEOUT, ANSWER_BYTES_MAX).await?;
        for step in &mut steps {
            self.send(&client, step).await?;
        }
        Ok(steps)
    }

    fn step(
        &self,
        label: &'static str,
        body: &'static [u8],
        expected: Expected,
    ) -> Result<Step, Failure> {
        let freispace = provider::find("freispace")
            .ok_or_else(|| Failure::failed("this wilco was built without freispace"))?;
        let scheme = &freispace.scheme;
        let signed = scheme.sign(&self.secret, &Unsigned::post(body, clock::now()));
        let signed = signed.map_err(Failure::failed)?;
        Ok(Step {
            label,
            body: Bytes::from_static(body),
            signed,
            expected,
            answer: StatusCode::default(),
            took: Duration::ZERO,
            event_id: None,
        })
    }

    async fn send(&self, client: &Client, step: &mut Step) -> Result<(), Failure> {
        let request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        let request = step
            .signed
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
            .body(Body::from(step.body.clone()))?;
        let began = Instant::now();
        let answer = client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await?;
        step.took = began.elapsed();
        step.answer = answer.status;
        let id = answer.headers.get("x-wilco-event").and_then(|id| id.to_str().ok());
        step.event_id = id.and_then(|id| id.parse().ok());
        Ok(())
    }

    /// Waits, up to a limit, until every event is handled.
    async fn results(&self, steps: &[Step]) -> Result<Vec<Row>, Failure> {
        let until = Instant::now() + PATIENCE;
        let mut results = Vec::new();
        for step in steps {
            let mut shown = None;
            while let Some(id) = step.event_id {
                shown = self.service.store().event(id).await?;
                if shown.as_ref().is_some_and(is_handled) || Instant::now() > until {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            results.push(Row::of(step, shown.as_ref()));
        }
        Ok(results)
    }
}

impl Loopback {
    /// Adds a row for every further event once it is handled.
    async fn follow(&self, table: &mut Table, steps: &[Step]) -> Result<(), Failure> {
        let mut after = steps.iter().filter_map(|step| step.event_id).max();
        let store = self.service.store();
        loop {
            tokio::time::sleep(FOLLOW).await;
            let after_that = after.unwrap_or(EventId::from_bits(0));
            let query = EventQuery { after: Some(after_that), limit: 1, ..EventQuery::default() };
            let Some(listed) = store.events(query).await?.events.pop() else { continue };
            let Some(shown) = store.event(listed.id).await? else { continue };
            if is_handled(&shown) {
                print(&table.draw(&[Row::of_another(&shown).cells()]))?;
                after = Some(listed.id);
            }
        }
    }
}

/// How this program was called, so that the suggested commands can be typed as shown.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.contains('/') { called } else { "wilco".into() }
}

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// How long the demo waits for its handlers.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);
/// How often the demo looks for further events.
const FOLLOW: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(5);
