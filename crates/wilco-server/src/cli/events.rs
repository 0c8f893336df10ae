//! `wilco events`: what was recorded, and what became of it.

use std::{io::Write as _, process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use jiff::Timestamp;
use wilco::EventId;
use wilco_store::{EventQuery, OpenError, Options, SqliteStore, Store};

use super::{Failure, File, Server, detail, print, readable, table};
use crate::{
    admin::{EventRow, ShownRow},
    client::Answer,
    clock, config,
};

/// Looks at recorded events
#[derive(Args)]
pub(super) struct Events {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    List(List),
    Show(Show),
    Tail(Tail),
}

/// Lists events, newest first, with the state of their deliveries
#[derive(Args)]
struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// All of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Shows one event: its headers, its body, and every attempt to deliver it
#[derive(Args)]
struct Show {
    #[command(flatten)]
    place: Place,
    /// The event's id: evt_…
    #[arg(value_name = "ID")]
    id: EventId,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Writes the body and nothing else, to the byte
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Follows events as they come in
#[derive(Args)]
struct Tail {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Begins with so many that are there already
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
}

#[derive(Args)]
struct Place {
    #[command(flatten)]
    file: File,
    /// The store to open where no server answers; the configuration's unless it is said
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

#[derive(Args, Clone, Default)]
struct Filter {
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only of this name; booking.* stands for all of bookings
    #[arg(long, value_name = "GLOB")]
    event: Option<String>,
    /// Only from this time on: 2026-11-24T08:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only with a delivery to this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only with a delivery that is dead and was not replayed
    #[arg(long)]
    dead: bool,
}

impl Events {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.what {
            What::List(list) => list.run().await,
            What::Show(show) => show.run().await,
            What::Tail(tail) => tail.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open(&self.place).await?;
        let mut left = if self.all { usize::MAX } else { self.limit };
        let mut before = None;
        let mut is_first = true;
        while left > 0 {
            let page = Page { before: before.take(), after: None, limit: left.min(PAGE) };
            let rows = record.events(&self.filter, &page).await?;
            let Some(last) = rows.last() else { break };
            left = left.saturating_sub(rows.len());
            before = Some(last.id.clone());
            let is_last = rows.len() < page.limit;
            show_rows(&rows, self.json, is_first)?;
            is_first = false;
            if is_last {
                break;
            }
        }
        if is_first && !self.json {
            print("no events\n")?;
        }
        record.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Tail {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open(&self.place).await?;
        if matches!(record, Record::Store(_)) {
            record.close().await;
            let text = "no wilco is running here, so nothing comes in; see `wilco events list`";
            return Err(Failure::failed(text.into()));
        }
        let latest = Page { before: None, after: None, limit: self.lines.clamp(1, PAGE) };
        let mut rows = record.events(&self.filter, &latest).await?;
        let mut after = rows.first().map(|row| row.id.clone());
        rows.reverse();
        if self.lines == 0 {
            rows.clear();
        }
        show_rows(&rows, self.json, true)?;
        loop {
            tokio::time::sleep(TAIL_PAUSE).await;
            let start = || EventId::from_bits(0).to_string();
            let page = Page {
                after: Some(after.clone().unwrap_or_else(start)),
                before: None,
                limit: PAGE,
            };
            let rows = record.events(&self.filter, &page).await?;
            if let Some(last) = rows.last() {
                after = Some(last.id.clone());
                show_rows(&rows, self.json, false)?;
            }
        }
    }
}

impl Show {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open(&self.place).await?;
        if self.raw {
            let body = record.body(self.id).await?;
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&body)?;
            stdout.flush()?;
        } else {
            let shown = record.event(self.id).await?;
            print(&if self.json { json_line(&shown)? } else { picture(&shown) })?;
        }
        record.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// The record, as it can be had: from the running server, or from the store itself.
enum Record {
    Server(Server),
    Store(SqliteStore),
}

struct Page {
    after: Option<String>,
    before: Option<String>,
    limit: usize,
}

impl Record {
    async fn open(place: &Place) -> Result<Self, Failure> {
        let server = Server::find(&place.file)?;
        if place.store.is_none() && server.is_there().await? {
            return Ok(Self::Server(server));
        }
        let configured = || -> Result<String, Failure> {
            match place.file.find() {
                Some(path) => Ok(config::places(&path)?.1.url),
                None => Ok("sqlite:wilco.db".into()),
            }
        };
        let url = place.store.clone().map_or_else(configured, Ok)?;
        let path = SqliteStore::path(&url).map_err(|error| failed(&error))?;
        if !path.exists() {
            let text = format!("no wilco answers, and there is no store {}", path.display());
            return Err(Failure::failed(text));
        }
        let opened = SqliteStore::open(&url, Options::default(), clock::now());
        opened.map(Self::Store).map_err(|error| failed(&error))
    }

    async fn events(&self, filter: &Filter, page: &Page) -> Result<Vec<EventRow>, Failure> {
        match self {
            Self::Server(server) => {
                let answer = server.ask(Method::GET, &uri(filter, page)).await?;
                server_rows(&answer)
            }
            Self::Store(store) => {
                let id = |id: &Option<String>| id.as_ref().and_then(|id| id.parse().ok());
                let query = EventQuery {
                    source: filter.source.clone(),
                    name: filter.event.clone(),
                    since: filter.since,
                    until: filter.until,
                    destination: filter.destination.clone(),
                    is_dead: filter.dead,
                    after: id(&page.after),
                    before: id(&page.before),
                    limit: page.limit,
                };
                let listed = store.events(query).await.map_err(|error| failed(&error))?;
                Ok(listed.into_iter().map(EventRow::from).collect())
            }
        }
    }

    async fn event(&self, id: EventId) -> Result<ShownRow, Failure> {
        match self {
            Self::Server(server) => {
                let path = format!("/api/v1/events/{id}");
                server_rows(&server.ask(Method::GET, &path).await?)
            }
            Self::Store(store) => {
                let shown = store.event(id).await.map_err(|error| failed(&error))?;
                shown.map(ShownRow::from).ok_or_else(|| no_such(id))
            }
        }
    }

    async fn body(&self, id: EventId) -> Result<Bytes, Failure> {
        match self {
            Self::Server(server) => {
                let answer = server.ask(Method::GET, &format!("/api/v1/events/{id}/body")).await?;
                match answer.status {
                    StatusCode::OK => Ok(answer.body.into()),
                    _ => Err(Failure::failed(detail(&answer))),
                }
            }
            Self::Store(store) => {
                let shown = store.event(id).await.map_err(|error| failed(&error))?;
                shown.map(|shown| shown.event.body).ok_or_else(|| no_such(id))
            }
        }
    }

    async fn close(self) {
        if let Self::Store(store) = self {
            // It was only read; there is nothing to lose.
            let _ = store.close().await;
        }
    }
}

fn server_rows<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    if answer.status != StatusCode::OK {
        return Err(Failure::failed(detail(answer)));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::failed(format!("wilco answered something else: {error}")))
}

fn uri(filter: &Filter, page: &Page) -> String {
    let limit = page.limit.to_string();
    let [since, until] = [filter.since, filter.until].map(|at| at.map(|at| at.to_string()));
    let query: Vec<_> = [
        ("source", &filter.source),
        ("event", &filter.event),
        ("since", &since),
        ("until", &until),
        ("destination", &filter.destination),
        ("dead", &filter.dead.then(|| "true".into())),
        ("after", &page.after),
        ("before", &page.before),
        ("limit", &Some(limit)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(format!("{name}={}", encode(value.as_ref()?))))
    .collect();
    format!("/api/v1/events?{}", query.join("&"))
}

/// Percent-encodes all but what RFC 3986, section 2.3, calls unreserved.
fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn show_rows(rows: &[EventRow], json: bool, with_header: bool) -> Result<(), Failure> {
    if json {
        let lines = rows.iter().map(json_line).collect::<Result<String, _>>()?;
        return print(&lines);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = table(&["received", "event", "about", "id", "deliveries"]);
    for row in rows {
        let received = row.received_at.to_string();
        let received = received.split('.').next().unwrap_or_default().trim_end_matches('Z');
        table.add_row([
            &received.replace('T', " "),
            &visible(&row.event),
            &visible(row.subject.as_deref().unwrap_or("-")),
            &row.id,
            &deliveries(row),
        ]);
    }
    let text = table.trim_fmt();
    let text = match with_header {
        true => text,
        false => text.split_once('\n').map_or(String::new(), |(_, rows)| rows.into()),
    };
    print(&format!("{text}\n"))
}

fn deliveries(row: &EventRow) -> String {
    if row.deliveries.is_empty() {
        return if row.routed { "skipped".into() } else { "recorded".into() };
    }
    let of = |delivery: &crate::admin::DeliveryRow| {
        let tries = match delivery.attempts {
            0 | 1 => String::new(),
            tries => format!(" ({tries})"),
        };
        format!("{} {}{tries}", delivery.destination, delivery.state)
    };
    row.deliveries.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn picture(shown: &ShownRow) -> String {
    let event = &shown.event;
    let mut text = format!(
        "{}\n  event      {}\n  source     {}\n  about      {}\n  received   {}\n  signed by  {}\n  \
         body       {} bytes, sha256 {}\n",
        event.id,
        visible(&event.event),
        event.source,
        visible(event.subject.as_deref().unwrap_or("-")),
        event.received_at,
        event.secret,
        event.bytes,
        event.sha256,
    );
    if shown.conflict {
        text.push_str(
            "  conflict   the provider sent this delivery id before, with another body\n",
        );
    }
    text.push_str("\nheaders\n");
    for (name, value) in &shown.headers {
        text.push_str(&format!("  {name}: {}\n", visible(value)));
    }
    text.push_str("\ndeliveries\n");
    if event.deliveries.is_empty() {
        text.push_str(&format!("  {}\n", deliveries(event)));
    }
    for delivery in &event.deliveries {
        text.push_str(&format!("  {}: {}", delivery.destination, delivery.state));
        if let Some(due) = delivery.due_at {
            text.push_str(&format!(", due {due}"));
        }
        text.push('\n');
        for (number, attempt) in (1..).zip(&delivery.history) {
            let took = readable(Duration::from_secs_f64(attempt.took_ms / 1_000.0));
            let at = attempt.started_at;
            text.push_str(&format!("    {number}. {at}  {took}  {}\n", visible(&attempt.result)));
            for line in attempt.output.lines() {
                text.push_str(&format!("       | {}\n", visible(line)));
            }
        }
    }
    text.push_str("\nbody\n");
    match &shown.body {
        Some(body) => {
            for line in body.lines() {
                text.push_str(&format!("  {}\n", visible(line)));
            }
        }
        None => text.push_str("  not text; see it with --raw\n"),
    }
    text
}

/// A stranger's text, with nothing in it that a terminal would obey.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn json_line<T: serde::Serialize>(row: &T) -> Result<String, Failure> {
    let line = serde_json::to_string(row).map_err(|error| failed(&error))?;
    Ok(format!("{line}\n"))
}

/// A time, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = config::duration(text) {
        return clock::now().checked_sub(ago).map_err(|error| error.to_string());
    }
    let wrong = "write it like 2026-11-24T08:00:00Z, or 2h for two hours ago";
    text.parse().map_err(|_| format!("{text:?} is no time; {wrong}"))
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::failed(error.to_string())
}

fn no_such(id: EventId) -> Failure {
    Failure::failed(format!("there is no event {id}"))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        failed(&error)
    }
}

const PAGE: usize = 500;
const TAIL_PAUSE: Duration = Duration::from_millis(300);
