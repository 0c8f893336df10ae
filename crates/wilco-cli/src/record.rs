//! The record, as it can be had: from the running server, or from the store itself under its lock.

use std::{io::ErrorKind, path::PathBuf};

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use wilco::{EventId, freispace};
use wilco_server::{
    admin::{CancelRow, DestinationRow, EventRow, ReplayAsk, ReplayRow, ShownRow, WhyRow},
    client::Answer,
    clock,
    config::{self, Places},
    service,
};
use wilco_store::{
    ALERTS, AdminStore as _, EventQuery, OpenError, Options, SqliteStore, Store as _, StoreError,
};

use super::{Failure, File, Server, Times, detail, did_you_mean, instant};

/// Where the record is.
#[derive(Args)]
pub(crate) struct Place {
    #[command(flatten)]
    file: File,
    /// The store to use: the wilco that runs on it is asked, else it is opened [default: the store of
    /// the configuration]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Shows times in UTC [default: local time]
    #[arg(long)]
    utc: bool,
}

impl Place {
    pub(crate) fn times(&self) -> Times {
        Times::new(self.utc)
    }
}

/// Refuses a store that is not there or may not be read. SQLite does not say why it cannot open a file.
pub(super) fn require_store(path: PathBuf, is_named: bool, before: &str) -> Result<(), Failure> {
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(not_permitted(&format!("cannot open {}: {error}", path.display())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let shown = std::path::absolute(&path).unwrap_or(path);
            let shown = shown.display();
            Err(Failure::failed(if is_named {
                format!("there is no store {shown}; is --store misspelt?")
            } else {
                format!(
                    "{before}there is no store {shown}: name it with --store or the file with \
                     --config, or run this in the folder of wilco.toml"
                )
            }))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Which events.
#[derive(Args, Clone, Default)]
pub(crate) struct Filter {
    /// Only of this source
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Only of this name; booking.* means every event of bookings
    #[arg(long, value_name = "GLOB")]
    pub(crate) event: Option<String>,
    /// Only from this time on: 2026-11-24, 14:00, yesterday, 2026-11-24T08:00:00Z, 2h (ago)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) since: Option<Timestamp>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub(crate) until: Option<Timestamp>,
    /// Only with a delivery to this destination
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// Only with a delivery that is dead and was not replayed
    #[arg(long)]
    pub(crate) dead: bool,
}

/// A part of a listing: newest first, or oldest first from `after` on.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) after: Option<EventId>,
    pub(crate) before: Option<EventId>,
    pub(crate) limit: usize,
}

/// The record.
pub(crate) enum Record {
    Server(Server),
    Store(SqliteStore, File),
}

impl Record {
    /// For reading and writing: of a store without a server, the lock is taken.
    pub(crate) async fn open(place: &Place) -> Result<Self, Failure> {
        let open = |url: &str| SqliteStore::open(url, Options::default(), clock::now());
        Self::find(place, open).await
    }

    /// For reading only, which never keeps a server from starting.
    pub(crate) async fn open_read_only(place: &Place) -> Result<Self, Failure> {
        Self::find(place, SqliteStore::open_read_only).await
    }

    async fn find(
        place: &Place,
        open: impl FnOnce(&str) -> Result<SqliteStore, OpenError>,
    ) -> Result<Self, Failure> {
        let mut places = place.file.places()?;
        let other = place.store.clone().filter(|url| *url != places.store.url);
        let is_other = other.is_some();
        if let Some(url) = other {
            // Only the token beside a store proves that the wilco which answers is the one of it.
            places = Places { token: None, token_name: None, ..places };
            places.store.url = url;
        }
        let server = Server::find(&place.file, &places)?;
        let answers = match is_other {
            true => server.takes_token().await,
            false => server.is_there().await?,
        };
        if answers {
            return Ok(Self::Server(server));
        }
        let path = SqliteStore::path(&places.store.url)?;
        require_store(path, place.store.is_some(), "no wilco answers, and ")?;
        Ok(Self::Store(open(&places.store.url)?, place.file.clone()))
    }

    pub(crate) async fn events(
        &self,
        filter: &Filter,
        page: &Page,
    ) -> Result<Vec<EventRow>, Failure> {
        match self {
            Self::Server(server) => rows(&server.get(&uri(filter, page)).await?),
            Self::Store(store, _) => {
                let query = EventQuery {
                    source: filter.source.clone(),
                    name: filter.event.clone(),
                    since: filter.since,
                    until: filter.until,
                    destination: filter.destination.clone(),
                    is_dead: filter.dead,
                    after: page.after,
                    before: page.before,
                    limit: page.limit,
                };
                Ok(store.events(query).await?.into_iter().map(EventRow::from).collect())
            }
        }
    }

    pub(crate) async fn event(&self, id: EventId) -> Result<ShownRow, Failure> {
        match self {
            Self::Server(server) => rows(&server.get(&format!("/api/v1/events/{id}")).await?),
            Self::Store(store, _) => {
                store.event(id).await?.map(ShownRow::from).ok_or_else(|| no_such(id))
            }
        }
    }

    pub(crate) async fn body(&self, id: EventId) -> Result<Bytes, Failure> {
        match self {
            Self::Server(server) => {
                let answer = server.get(&format!("/api/v1/events/{id}/body")).await?;
                match answer.status {
                    StatusCode::OK => Ok(answer.body.into()),
                    _ => Err(Failure::failed(detail(&answer))),
                }
            }
            Self::Store(store, _) => {
                let shown = store.event(id).await?;
                shown.map(|shown| shown.event.body.contiguous()).ok_or_else(|| no_such(id))
            }
        }
    }

    pub(crate) async fn why(&self, id: EventId) -> Result<Vec<WhyRow>, Failure> {
        match self {
            Self::Server(server) => rows(&server.get(&format!("/api/v1/events/{id}/why")).await?),
            Self::Store(store, file) => {
                let shown = store.event(id).await?.ok_or_else(|| no_such(id))?;
                Ok(service::why(&file.load_without_secrets()?, &shown.event))
            }
        }
    }

    pub(crate) async fn replay(&self, ask: &ReplayAsk) -> Result<Vec<ReplayRow>, Failure> {
        match self {
            Self::Server(server) => rows(&server.post("/api/v1/replay", ask).await?),
            Self::Store(store, file) => {
                let ids = ask.ids.iter().map(|id| id.parse()).collect::<Result<Vec<EventId>, _>>();
                let ids = ids.map_err(|error| Failure::usage(error.to_string()))?;
                let config = file.load_without_secrets()?;
                Ok(service::replay(store, &config, &ids, ask).await?)
            }
        }
    }

    pub(crate) async fn cancel(
        &self,
        id: EventId,
        destination: Option<String>,
    ) -> Result<usize, Failure> {
        match self {
            Self::Server(server) => {
                let ask = json!({ "destination": destination });
                let answer = server.post(&format!("/api/v1/events/{id}/cancel"), &ask).await?;
                Ok(rows::<CancelRow>(&answer)?.cancelled)
            }
            Self::Store(store, _) => {
                store.event(id).await?.ok_or_else(|| no_such(id))?;
                Ok(store.cancel(id, destination, clock::now()).await?)
            }
        }
    }

    pub(crate) async fn destinations(&self) -> Result<Vec<DestinationRow>, Failure> {
        match self {
            Self::Server(server) => rows(&server.get("/api/v1/destinations").await?),
            Self::Store(store, file) => {
                Ok(service::destinations(store, &file.load_without_secrets()?).await?)
            }
        }
    }

    /// Whether a server answers.
    pub(crate) async fn answers(&self) -> bool {
        match self {
            Self::Server(server) => server.is_there().await.unwrap_or(false),
            Self::Store(..) => false,
        }
    }

    /// An error where there is no such destination, with the nearest that there is.
    pub(crate) async fn check_destination(&self, name: &str) -> Result<(), Failure> {
        let rows = self.destinations().await?;
        let known: Vec<_> = rows.iter().map(|row| row.destination.as_str()).collect();
        match known.contains(&name) {
            true => Ok(()),
            false => {
                let hint = did_you_mean(name, known);
                Err(Failure::failed(format!("there is no destination {name}{hint}")))
            }
        }
    }

    /// An error where nothing was found by a filter because a name in it is not known.
    pub(crate) async fn check_names(&self, filter: &Filter) -> Result<(), Failure> {
        if let Some(name) = &filter.destination {
            self.check_destination(name).await?;
        }
        if let Some(glob) = &filter.event {
            let known = || freispace::SAMPLES.iter().map(|(name, _)| *name);
            let begins = glob.trim_end_matches('*');
            let matches = |name: &str| match glob.ends_with('*') {
                true => name.starts_with(begins),
                false => name == glob,
            };
            if !known().any(matches) {
                let kinds = known().filter_map(|name| name.split_once('.'));
                let kinds: Vec<_> = kinds.map(|(kind, _)| format!("{kind}.*")).collect();
                let known = known().chain(kinds.iter().map(String::as_str));
                let hint = did_you_mean(glob, known);
                return Err(Failure::failed(format!("no event is named {glob}{hint}")));
            }
        }
        match &filter.source {
            Some(name) => self.check_source(name).await,
            None => Ok(()),
        }
    }

    async fn check_source(&self, name: &str) -> Result<(), Failure> {
        let file = match self {
            Self::Server(server) => &server.file,
            Self::Store(_, file) => file,
        };
        let mut known = match file.find() {
            Some(path) => config::source_names(&path),
            None => vec!["freispace".into()],
        };
        known.push(ALERTS.into());
        match known.iter().any(|known| known == name) {
            true => Ok(()),
            false => {
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                Err(Failure::failed(format!("there is no source {name}{hint}")))
            }
        }
    }

    pub(crate) async fn pause(&self, name: &str, is_paused: bool) -> Result<(), Failure> {
        self.check_destination(name).await?;
        match self {
            Self::Server(server) => {
                let verb = if is_paused { "pause" } else { "resume" };
                let path = format!("/api/v1/destinations/{}/{verb}", encode(name));
                let answer = server.post(&path, &json!({})).await?;
                match answer.status.is_success() {
                    true => Ok(()),
                    false => Err(Failure::failed(detail(&answer))),
                }
            }
            Self::Store(store, _) => Ok(store.pause(name, is_paused).await?),
        }
    }

    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Store(store, _) => Ok(store.close().await?),
            Self::Server(_) => Ok(()),
        }
    }
}

impl Server {
    async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    async fn post(&self, path: &str, ask: &(impl Serialize + Sync)) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(ask).map_err(|error| Failure::failed(error.to_string()))?;
        self.ask(Method::POST, path, body.into()).await
    }
}

fn rows<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    if answer.status != StatusCode::OK {
        return Err(Failure::failed(detail(answer)));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::failed(format!("wilco answered something else: {error}")))
}

fn uri(filter: &Filter, page: &Page) -> String {
    let [since, until] = [filter.since, filter.until].map(|at| at.map(|at| at.to_string()));
    let [after, before] = [page.after, page.before].map(|id| id.map(|id| id.to_string()));
    let query: Vec<_> = [
        ("source", &filter.source),
        ("event", &filter.event),
        ("since", &since),
        ("until", &until),
        ("destination", &filter.destination),
        ("dead", &filter.dead.then(|| "true".into())),
        ("after", &after),
        ("before", &before),
        ("limit", &Some(page.limit.to_string())),
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

fn no_such(id: EventId) -> Failure {
    Failure::failed(format!("there is no event {id}"))
}

fn not_permitted(text: &str) -> Failure {
    let user = rustix::process::geteuid().as_raw();
    let hint = "run this as the user of the service, such as sudo -u wilco";
    Failure::failed(format!("{text}: this is user {user}; {hint}"))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match text.contains("Permission denied") {
            true => not_permitted(&text),
            false => Self::failed(text),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Events in one part of a listing.
pub(crate) const PAGE: usize = 500;
