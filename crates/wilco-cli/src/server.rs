//! A client of the admin API of a running wilco.

mod messages;
mod remote;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::{task::JoinSet, time::timeout};
use wilco::{Body, Secret};
use wilco_server::{
    admin::{self, Problem, ProblemType},
    client::{Answer, Client, ClientError, Trust, open_on_socket},
    config::{Address, Places},
};
use wilco_store::SqliteStore;

use super::{Failure, ReadApi, visible_lines};

pub(crate) use messages::Messages;
pub(crate) use remote::RemoteArgs;

/// The admin listener of a running wilco.
pub(crate) struct Server {
    /// Its address or URL, as it is shown.
    shown: String,
    /// What is before the path in a URL.
    base: String,
    /// Where to connect to instead of the host of the URL.
    socket: Option<PathBuf>,
    token: Option<Secret>,
    /// Where the token is, or should be.
    token_place: String,
    client: Client,
}

impl Server {
    /// Uses the token of the configuration, else the one that the server keeps next to its store.
    pub(crate) fn find(places: &Places) -> Result<Self, Failure> {
        let store = SqliteStore::path(&places.store.url)?;
        let (token_place, token) = match &places.token_name {
            Some(name) => (name.clone(), places.token.clone()),
            None => {
                let path = admin::token_path(&store).display().to_string();
                (path, admin::read_token(&store).ok().flatten())
            }
        };
        let (base, socket) = match &places.address {
            Address::Tcp(address) if address.ip().is_unspecified() => {
                let here = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
                (format!("http://{here}"), None)
            }
            Address::Tcp(address) => (format!("http://{address}"), None),
            Address::Unix(path) => ("http://localhost".into(), Some(path.into())),
        };
        let client = client_for(&http::Uri::from_static("http://localhost/"))?;
        let shown = places.address.to_string();
        Ok(Self { shown, base, socket, token, token_place, client })
    }

    /// The wilco at this URL, with this token.
    pub(crate) fn at(url: &http::Uri, token: Secret) -> Result<Self, Failure> {
        let base = url.to_string().trim_end_matches('/').to_owned();
        let (client, token_place) = (client_for(url)?, token.name().to_owned());
        let (shown, token) = (base.clone(), Some(token));
        Ok(Self { shown, base, socket: None, token, token_place, client })
    }

    /// Its address or URL.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    pub(crate) async fn is_there(&self) -> Result<bool, Failure> {
        match self.exchange(Method::GET, "/livez", Bytes::new()).await {
            Ok(answer) => Ok(answer.status.is_success()),
            Err(ClientError::Failed(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a server accepts this token, and so has the store that the token belongs to.
    pub(crate) async fn takes_token(&self) -> bool {
        let asked = self.exchange(Method::GET, "/api/v1/destinations", Bytes::new());
        self.token.is_some() && asked.await.is_ok_and(|answer| answer.status.is_success())
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let answer = self.exchange(method, path, body).await;
        let answer = answer.map_err(|error| Failure::failed(self.unanswered(&error)))?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized());
        }
        Ok(answer)
    }

    /// Opens a stream. An error inside says why it cannot be opened now.
    pub(crate) async fn messages(&self, path: &str) -> Result<Result<Messages, String>, Failure> {
        let opened = self.open(Method::GET, path, Bytes::new()).await;
        let (response, connection) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(self.unanswered(&error))),
        };
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(Ok(Messages::new(body, connection)));
        }
        if head.status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized());
        }
        let refused = refusal(head.status, &read(body).await.unwrap_or_default());
        match head.status.is_server_error() {
            true => Ok(Err(refused.text)),
            false => Err(refused),
        }
    }

    fn unanswered(&self, error: &ClientError) -> String {
        format!("no answer from wilco at {}: {error}; is it running?", self.shown)
    }

    fn unauthorized(&self) -> Failure {
        let (address, place) = (&self.shown, &self.token_place);
        Failure::failed(match &self.token {
            Some(_) => format!(
                "the wilco at {address} refuses the token from {place}; is it the one that the \
                 server was started with?"
            ),
            None => format!(
                "the wilco at {address} requires its token, and {place} cannot be read; run this as \
                 the user of that wilco, with its --config, or with the --store that it was started \
                 with"
            ),
        })
    }

    /// Where a browser on this machine reaches it; `None` for a Unix socket.
    pub(crate) fn origin(&self) -> Option<&str> {
        self.socket.is_none().then_some(&self.base)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let (response, _connection) = self.open(method, path, body).await?;
        let (head, body) = response.into_parts();
        let body = read(body).await?;
        Ok(Answer { status: head.status, headers: head.headers, body, is_whole: true })
    }

    /// Sends a request, and gives the response with what drives its connection, if the client does not.
    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, JoinSet<()>), ClientError> {
        let request = self.request(method, path, body)?;
        match &self.socket {
            None => Ok((self.client.open(request, TIMEOUT).await?, JoinSet::new())),
            Some(socket) => open_on_socket(socket, request, TIMEOUT).await,
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Body>, ClientError> {
        let (_, host) = self.base.split_once("://").unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header(header::HOST, host);
        if let Some(token) = &self.token {
            let value = [b"Bearer ", token.expose()].concat();
            request = request.header(header::AUTHORIZATION, value);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Body::from(body)).map_err(|error| ClientError::Failed(error.to_string()))
    }
}

impl ReadApi for Server {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.ask(Method::GET, path, Bytes::new()).await?;
        match answer.status.is_success() {
            true => Ok(serde_json::from_slice(&answer.body)?),
            false => Err(refusal(answer.status, &answer.body)),
        }
    }
}

/// Reads the body of a response for as long as more of it arrives: the line may be slow, and the body large.
async fn read(mut body: Incoming) -> Result<Vec<u8>, ClientError> {
    let mut received = Vec::new();
    loop {
        let frame = timeout(TIMEOUT, body.frame()).await;
        let Some(frame) = frame.map_err(|_| ClientError::TimedOut(TIMEOUT))? else {
            return Ok(received);
        };
        let frame = frame
            .map_err(|error| ClientError::Failed(format!("its response was cut off: {error}")))?;
        received.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if received.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::Failed("its response is too large".into()));
        }
    }
}

/// The failure that a response of the API explains.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice(body) {
        Ok(Problem { kind: ProblemType::InvalidConfiguration, detail, .. }) => {
            Failure::configuration(visible_lines(&detail))
        }
        Ok(Problem { detail, .. }) => Failure::failed(visible_lines(&detail)),
        Err(_) => Failure::failed(format!("wilco answered {status}")),
    }
}

/// A client for this URL. On loopback it accepts any certificate: nobody can be in between, and a
/// wilco that is being tried out has a self-signed one.
pub(crate) fn client_for(url: &http::Uri) -> Result<Client, Failure> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let ip: Option<IpAddr> = host.parse().ok();
    let is_here = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
    Ok(Client::new(url, if is_here { Trust::Anybody } else { Trust::System })?)
}

/// For the head of a response, and for each further part of it.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest response is an event's body in JSON.
const ANSWER_BYTES_MAX: usize = 256 << 20;
