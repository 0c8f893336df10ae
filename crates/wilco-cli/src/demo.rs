//! `wilco demo`: shows a newcomer the whole of wilco on loopback, in a second.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};
use wilco::{Event, EventId, Secret, Unsigned, freispace, freispace::Change, provider};
use wilco_server::{
    client::{Client, Trust},
    clock,
    config::{self, Address, Config},
    service::{Function, Service},
};
use wilco_store::{EventDetail, EventQuery, State};

use super::{Failure, Screen, Table, certificate_for, print, readable};

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
        let stage = Stage::open(folder.path()).await?;
        print(&stage.welcome())?;
        let acts = stage.play().await?;
        let results = stage.results(&acts).await?;
        let mut table = scenes();
        print(&table.draw(&results.iter().map(Scene::cells).collect::<Vec<_>>()))?;
        let are_handled = results.iter().all(Scene::is_as_expected);
        print(&stage.farewell(are_handled, self.once))?;
        if !self.once {
            tokio::select! {
                failed = stage.follow(&mut table, &acts) => failed?,
                () = signals.end() => {}
            }
        }
        let closed = stage.service.drain(DRAIN).await;
        closed.map_err(|error| Failure::failed(error.to_string()))?;
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
struct Act {
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
    Copy,
    /// A forgery.
    Refused,
}

/// A wilco on loopback, and a client that sends to it.
struct Stage {
    service: Arc<Service>,
    url: String,
    secret: Secret,
    secret_text: String,
}

impl Stage {
    async fn open(folder: &Path) -> Result<Self, Failure> {
        let secret_text = made_up_secret()?;
        let secret = Secret::new("demo", secret_text.clone().into_bytes())
            .map_err(|error| Failure::failed(error.to_string()))?;
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
        let service = Service::start(config, certificate, None).await?;
        let address = match service.addresses() {
            [Address::Tcp(address), ..] => *address,
            _ => return Err(Failure::failed("the demo has no address".into())),
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

    fn farewell(&self, are_handled: bool, is_over: bool) -> String {
        let verdict = match are_handled {
            true => "Every event was verified, recorded, acknowledged, and then handled.",
            false => "Not every event was handled. Please report this as a bug.",
        };
        if is_over {
            return format!("\n  {verdict}\n");
        }
        let program = program();
        format!(
            "\n  {verdict}\n\n  The endpoint stays up until Ctrl-C. Send it more from another \
             terminal:\n\n    export FREISPACE_SECRET={}\n    {program} send booking.created --to \
             {}\n    {program} send booking.created --to {} --tamper\n\n  To run your own: \
             {program} init, then {program} serve.\n\n",
            self.secret_text, self.url, self.url
        )
    }

    /// Sends the sample events in their order, then a duplicate of one and a forgery.
    async fn play(&self) -> Result<Vec<Act>, Failure> {
        let mut acts = Vec::new();
        for (name, body) in freispace::SAMPLES {
            acts.push(self.act(name, body.as_bytes(), Expected::Handled)?);
        }
        let moved = freispace::sample("booking.deleted").unwrap_or_default();
        acts.push(self.act("(a duplicate)", moved.as_bytes(), Expected::Copy)?);
        let mut forged = self.act("(a forgery)", moved.as_bytes(), Expected::Refused)?;
        forged.body = moved.replacen("deleted", "created", 1).into();
        acts.push(forged);
        // The first request includes the TLS handshake, so it would distort the times.
        let warm_up = Request::get(&self.url).body(Full::default());
        let warm_up = warm_up.map_err(|error| Failure::failed(error.to_string()))?;
        let client = Client::new(warm_up.uri(), Trust::Anybody)?;
        client.send(warm_up, TIMEOUT, ANSWER_BYTES_MAX).await?;
        for act in &mut acts {
            self.send(&client, act).await?;
        }
        Ok(acts)
    }

    fn act(
        &self,
        label: &'static str,
        body: &'static [u8],
        expected: Expected,
    ) -> Result<Act, Failure> {
        let freispace = provider::find("freispace")
            .ok_or_else(|| Failure::failed("this wilco was built without freispace".into()))?;
        let scheme = &freispace.scheme;
        let signed = scheme.sign(&self.secret, &Unsigned::post(body, clock::now()));
        let signed = signed.map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Act {
            label,
            body: Bytes::from_static(body),
            signed,
            expected,
            answer: StatusCode::default(),
            took: Duration::ZERO,
            event_id: None,
        })
    }

    async fn send(&self, client: &Client, act: &mut Act) -> Result<(), Failure> {
        let request = Request::post(&self.url).header(header::CONTENT_TYPE, "application/json");
        let request = act
            .signed
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
            .body(Full::new(act.body.clone()))
            .map_err(|error| Failure::failed(error.to_string()))?;
        let began = Instant::now();
        let answer = client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await?;
        act.took = began.elapsed();
        act.answer = answer.status;
        let id = answer.headers.get("x-wilco-event").and_then(|id| id.to_str().ok());
        act.event_id = id.and_then(|id| id.parse().ok());
        Ok(())
    }

    /// Waits until every event is handled, for a limited time.
    async fn results(&self, acts: &[Act]) -> Result<Vec<Scene>, Failure> {
        let until = Instant::now() + PATIENCE;
        let mut results = Vec::new();
        for act in acts {
            let mut shown = None;
            while let Some(id) = act.event_id {
                let seen = self.service.store().event(id).await;
                shown = seen.map_err(|error| Failure::failed(error.to_string()))?;
                if shown.as_ref().is_some_and(is_handled) || Instant::now() > until {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            results.push(Scene::of(act, shown.as_ref()));
        }
        Ok(results)
    }
}

impl Stage {
    /// Adds a row for every further event once it is handled.
    async fn follow(&self, table: &mut Table, acts: &[Act]) -> Result<(), Failure> {
        let mut after = acts.iter().filter_map(|act| act.event_id).max();
        let store = self.service.store();
        let failed = |error: wilco_store::StoreError| Failure::failed(error.to_string());
        loop {
            tokio::time::sleep(FOLLOW).await;
            let after_that = after.unwrap_or(EventId::from_bits(0));
            let query = EventQuery { after: Some(after_that), limit: 1, ..EventQuery::default() };
            let Some(listed) = store.events(query).await.map_err(failed)?.pop() else { continue };
            let Some(shown) = store.event(listed.id).await.map_err(failed)? else { continue };
            if is_handled(&shown) {
                print(&table.draw(&[Scene::of_another(&shown).cells()]))?;
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

/// A line of the table.
struct Scene {
    label: String,
    about: String,
    answer: String,
    handled: String,
    after: String,
    is_as_expected: bool,
}

impl Scene {
    fn of(act: &Act, shown: Option<&EventDetail>) -> Self {
        let is_handled = shown.is_some_and(is_handled);
        let took = readable(act.took);
        let status = act.answer.as_u16();
        let (handled, after, is_as_expected) = match (act.expected, shown) {
            (Expected::Handled, Some(shown)) => {
                (said(shown), after(shown), is_handled && act.answer.is_success())
            }
            (Expected::Copy, _) => ("not repeated".into(), "-".into(), act.answer.is_success()),
            (Expected::Refused, _) => {
                let is_refused = act.answer == StatusCode::FORBIDDEN;
                ("not recorded".into(), "-".into(), is_refused)
            }
            (Expected::Handled, None) => ("missing".into(), "-".into(), false),
        };
        Self {
            label: act.label.into(),
            about: about(&act.body),
            answer: format!("{status} in {took}"),
            handled,
            after,
            is_as_expected,
        }
    }

    /// An event that the demo did not send itself.
    fn of_another(shown: &EventDetail) -> Self {
        Self {
            label: shown.event.name.clone(),
            about: about(&shown.event.body.contiguous()),
            answer: "200".into(),
            handled: said(shown),
            after: after(shown),
            is_as_expected: true,
        }
    }

    fn cells(&self) -> Vec<String> {
        let sign = if self.is_as_expected { '✓' } else { '✗' };
        vec![
            format!("  {}", self.label),
            self.about.clone(),
            self.answer.clone(),
            format!("{sign} {}", self.handled),
            self.after.clone(),
        ]
    }

    fn is_as_expected(&self) -> bool {
        self.is_as_expected
    }
}

fn is_handled(shown: &EventDetail) -> bool {
    let is_delivered = |delivery: &wilco_store::Delivery| delivery.state == State::Delivered;
    shown.is_routed && shown.deliveries.iter().all(is_delivered)
}

/// Which handlers handled the event.
fn said(shown: &EventDetail) -> String {
    let of = |delivery: &wilco_store::Delivery| match delivery.state {
        State::Delivered => delivery.destination.clone(),
        state => format!("{} {state}", delivery.destination),
    };
    shown.deliveries.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// From the last byte of the request to the end of the last handler.
fn after(shown: &EventDetail) -> String {
    let attempts = shown.deliveries.iter().flat_map(|delivery| &delivery.history);
    let ended = attempts.map(|attempt| {
        let began = attempt.started_at.duration_since(shown.event.received_at);
        Duration::try_from(began).unwrap_or_default() + attempt.took
    });
    ended.max().map_or_else(|| "-".into(), readable)
}

/// The name that people use for what the event is about.
fn about(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let data = &body["data"];
    let names = [&data["name"], &data["subject"], &data["storage"]["name"]];
    let name = names.iter().find_map(|name| name.as_str()).unwrap_or("-");
    name.into()
}

fn scenes() -> Table {
    let columns =
        [("  event", 12), ("about", 10), ("answered", 14), ("handled by", 14), ("after", 7)];
    Table::new(&columns, Screen::stdout())
}

/// Logs what a message to a chat would say, read from the typed event.
fn note(event: &Event) -> Result<(), wilco::DataError> {
    let note = match Change::of(event)? {
        Change::Booking(booking) => format!("{} is {:?}", booking.name, booking.period()),
        Change::Project(project) => format!("{} has number {:?}", project.name, project.number),
        Change::Offer(offer) => format!("{} over {:?}", offer.subject, offer.total_sum_gross),
        _ => event.name.clone(),
    };
    tracing::info!(event = event.name, note);
    Ok(())
}

/// Makes a folder for each new project.
fn provision(event: &Event, projects: &Path) -> Result<(), std::io::Error> {
    let project: freispace::Project = event.data().map_err(std::io::Error::other)?;
    let number: String =
        project.number.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    std::fs::create_dir_all(projects.join(number).join("footage"))
}

fn config(folder: &Path, secret: Secret, functions: [Function; 2]) -> Result<Config, Failure> {
    let route = |glob: &str, to: &str| {
        let route = config::Route::new(glob, vec![to.into()]);
        route.ok_or_else(|| Failure::failed(format!("invalid glob {glob:?}")))
    };
    let source = config::Source::new("freispace", "/webhook", vec![secret]);
    let source = source.map_err(|error| Failure::failed(error.to_string()))?;
    let loopback = config::address("127.0.0.1:0").map_err(Failure::failed)?;
    let mut config = Config::of(source, vec![loopback]);
    config.listen.tls = config::Tls::SelfSigned { domains: vec!["127.0.0.1".into()] };
    config.store.url = format!("sqlite:{}", folder.join("wilco.db").display());
    config.store.reserve = 0;
    let [note, folders] = functions;
    config.destinations = vec![
        config::Destination::function("crew-note", note),
        config::Destination::function("folders", folders),
    ];
    config.routes = vec![route("*", "crew-note")?, route("project.created", "folders")?];
    Ok(config)
}

fn made_up_secret() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// How long the demo waits for its handlers.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(2);
/// How often the demo looks for further events.
const FOLLOW: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(5);
