//! A client of the admin API of a running wilco.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use wilco::{Body, Secret};
use wilco_server::{
    admin::{self, Problem, ProblemType},
    client::{Answer, Client, ClientError, Trust, send_to_socket},
    config::{Address, Places},
};
use wilco_store::SqliteStore;

use super::Failure;

/// The admin listener of a running wilco.
pub(crate) struct Server {
    address: Address,
    token: Option<Secret>,
    /// Where the token is, or should be.
    token_place: String,
    client: Client,
}

impl Server {
    /// Uses the token of the configuration, else the one that the server keeps next to its store.
    pub(crate) fn find(places: &Places) -> Result<Self, Failure> {
        let client = client_for(&http::Uri::from_static("http://localhost/"))?;
        let store = SqliteStore::path(&places.store.url)?;
        let (token_place, token) = match &places.token_name {
            Some(name) => (name.clone(), places.token.clone()),
            None => {
                let path = admin::token_path(&store).display().to_string();
                (path, admin::read_token(&store).ok().flatten())
            }
        };
        Ok(Self { address: places.address.clone(), token, token_place, client })
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
        let answer = self.exchange(method, path, body).await.map_err(|error| {
            let address = &self.address;
            Failure::failed(format!("no answer from wilco at {address}: {error}; is it running?"))
        })?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let (address, place) = (&self.address, &self.token_place);
        Err(Failure::failed(match &self.token {
            Some(_) => format!(
                "the wilco at {address} refuses the token from {place}; is it the one that the \
                 server was started with?"
            ),
            None => format!(
                "the wilco at {address} requires its token, and {place} cannot be read; run this as \
                 the user of that wilco, with its --config, or with the --store that it was started \
                 with"
            ),
        }))
    }

    /// Where a browser on this machine reaches it; `None` for a Unix socket.
    pub(crate) fn origin(&self) -> Option<String> {
        self.host().map(|host| format!("http://{host}"))
    }

    fn host(&self) -> Option<String> {
        match &self.address {
            Address::Tcp(address) if address.ip().is_unspecified() => {
                Some(SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())).to_string())
            }
            Address::Tcp(address) => Some(address.to_string()),
            Address::Unix(_) => None,
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let host = self.host().unwrap_or_else(|| "localhost".into());
        let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
        request = request.header(header::HOST, host);
        if let Some(token) = &self.token {
            let value = [b"Bearer ", token.expose()].concat();
            request = request.header(header::AUTHORIZATION, value);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| ClientError::Failed(error.to_string()))?;
        let answer = match &self.address {
            Address::Tcp(_) => self.client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await?,
            Address::Unix(path) => send_to_socket(path, request, TIMEOUT, ANSWER_BYTES_MAX).await?,
        };
        match answer.is_whole {
            true => Ok(answer),
            false => Err(ClientError::Failed("its response was cut off".into())),
        }
    }
}

/// The failure that a response of the API explains.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice(body) {
        Ok(Problem { kind: ProblemType::InvalidConfiguration, detail, .. }) => {
            Failure::configuration(detail)
        }
        Ok(Problem { detail, .. }) => Failure::failed(detail),
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

const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest response is an event's body in JSON.
const ANSWER_BYTES_MAX: usize = 256 << 20;
