//! The record, as the admin API gives it: over the listener of the running wilco, or in process
//! over a store that no wilco uses.

mod filter;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use wilco::EventId;
use wilco_server::{
    admin::{
        self, Api, DestinationStatus, EventDetail, EventSummary, FollowChanges, ListEvents,
        ListRejections, Page, RejectionSummary,
    },
    clock,
    config::Places,
    service,
};
use wilco_store::{OpenError, Options, SqliteStore, Store as _};

use super::{
    ConfigArgs, Failure, Messages, Pages, ReadApi, Server, StoreArgs, instant, known_instead,
    refusal, require_store,
};

pub(crate) use filter::Filter;

/// The record.
pub(crate) struct Record {
    api: Connection,
    config: ConfigArgs,
}

enum Connection {
    /// The running wilco.
    Server(Box<Server>),
    /// The store, opened by this process.
    Store(Arc<SqliteStore>, Api),
}

impl Record {
    /// Runs work that only reads; it never prevents a wilco from starting.
    pub(crate) async fn read<T>(
        store: &StoreArgs,
        work: impl AsyncFnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let open = |url: &str| SqliteStore::open_read_only(url, clock::system());
        Self::with(Self::connect(store, open).await?, work).await
    }

    /// Runs work that also writes. If no wilco runs, this takes the lock of the store.
    pub(crate) async fn write<T>(
        store: &StoreArgs,
        work: impl AsyncFnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let open = |url: &str| SqliteStore::open(url, Options::default(), clock::system());
        Self::with(Self::connect(store, open).await?, work).await
    }

    async fn with<T>(
        record: Self,
        work: impl AsyncFnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let done = work(&record).await;
        if let Connection::Store(store, _) = &record.api {
            store.close().await?;
        }
        done
    }

    async fn connect(
        args: &StoreArgs,
        open: impl FnOnce(&str) -> Result<SqliteStore, OpenError>,
    ) -> Result<Self, Failure> {
        let config = args.config.clone();
        let mut places = config.places()?;
        let other = args.url.clone().filter(|url| *url != places.store.url);
        let is_other = other.is_some();
        if let Some(url) = other {
            // Only the token next to a store proves that the wilco which answers runs on that
            // store.
            places = Places { token: None, token_name: None, ..places };
            places.store.url = url;
        }
        let server = Server::find(&places)?;
        let answers = match is_other {
            true => server.takes_token().await,
            false => server.is_there().await?,
        };
        if answers {
            return Ok(Self { api: Connection::Server(Box::new(server)), config });
        }
        let path = SqliteStore::path(&places.store.url)?;
        require_store(path, args.url.is_some(), "no wilco answers here, and ")?;
        let store = Arc::new(open(&places.store.url)?);
        let (outline, whole) = (config.clone(), config.clone());
        let api = service::api(
            store.clone(),
            move || outline.outline().map_err(|failure| failure.text),
            move || whole.load().map_err(|failure| failure.text),
        );
        Ok(Self { api: Connection::Store(store, api), config })
    }

    /// Whether a wilco runs on the store.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.api, Connection::Server(_))
    }

    /// Whether that wilco still answers.
    pub(crate) async fn answers(&self) -> bool {
        match &self.api {
            Connection::Server(server) => server.is_there().await.unwrap_or(false),
            Connection::Store(..) => false,
        }
    }

    pub(crate) async fn events(&self, query: &ListEvents) -> Result<Page<EventSummary>, Failure> {
        self.get(&with_query("/api/v1/events", query)?).await
    }

    /// Opens a stream of what happens. An error inside says why it cannot be opened now.
    pub(crate) async fn messages(
        &self,
        query: &FollowChanges,
    ) -> Result<Result<Messages, String>, Failure> {
        match &self.api {
            Connection::Server(server) => {
                server.messages(&with_query("/api/v1/stream", query)?).await
            }
            Connection::Store(..) => Ok(Err("no wilco is running here".into())),
        }
    }

    pub(crate) async fn rejections(
        &self,
        query: &ListRejections,
    ) -> Result<Page<RejectionSummary>, Failure> {
        self.get(&with_query("/api/v1/rejections", query)?).await
    }

    pub(crate) async fn event(&self, id: EventId) -> Result<EventDetail, Failure> {
        self.get(&format!("/api/v1/events/{id}")).await
    }

    /// Every destination.
    pub(crate) async fn destinations(&self) -> Result<Vec<DestinationStatus>, Failure> {
        Ok(Pages::of(self, "/api/v1/destinations", &(), usize::MAX)?.collect().await?.0)
    }

    /// The same with a query.
    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Failure> {
        self.get(&with_query(path, query)?).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(request)?;
        read(&self.ask(Method::POST, path, body.into()).await?)
    }

    /// The status and the body of the answer, which may be an error.
    pub(crate) async fn try_post(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let body = serde_json::to_vec(request)?;
        self.exchange(Method::POST, path, body.into()).await
    }

    /// The body of the answer, if it is not an error.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        let (status, body) = self.exchange(method, path, body).await?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failure> {
        Ok(match &self.api {
            Connection::Server(server) => {
                let answer = server.ask(method, path, body).await?;
                (answer.status, Bytes::from(answer.body))
            }
            Connection::Store(_, api) => {
                let request = Request::builder().method(method).uri(path);
                let request = request.header(header::CONTENT_TYPE, "application/json");
                let answer = api.call(request.body(body)?).await;
                (answer.status(), answer.into_body())
            }
        })
    }

    /// An error if there is no such destination, with the most similar name.
    pub(crate) async fn check_destination(&self, name: &str) -> Result<(), Failure> {
        let known = self.destinations().await?;
        if known.iter().any(|known| known.destination == name) {
            return Ok(());
        }
        let hint = known_instead(name, known.iter().map(|known| known.destination.as_str()));
        Err(Failure::failed(format!("destination {name} not found{hint}")))
    }
}

impl ReadApi for Record {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        read(&self.ask(Method::GET, path, Bytes::new()).await?)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::failed(format!("unexpected answer from wilco: {error}")))
}

fn with_query(path: &str, query: &impl Serialize) -> Result<String, Failure> {
    Ok(format!("{path}?{}", admin::query(query)?))
}
