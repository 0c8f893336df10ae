//! The requests to an authority, with the HTTP client that wilco has anyway.

use std::{
    fs,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use wilco_server::{
    client::{Answer, Client, Trust, retry_after},
    clock,
    config::Acme,
};

/// A client for one authority.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl Http {
    pub(super) fn new(acme: &Acme) -> Result<Self, Error> {
        let client = client(acme).map_err(|why| Error::Other(why.into()))?;
        Ok(Self { client, retry_after: Arc::default() })
    }

    /// How long the authority asked to wait when it last refused something.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (mut head, body) = request.into_parts();
        let uri = head.uri.clone();
        let agent = concat!("wilco/", env!("CARGO_PKG_VERSION"), " instant-acme");
        head.headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        #[expect(clippy::disallowed_methods, reason = "the body was made here")]
        let Ok(body) = body.collect().await;
        let request = Request::from_parts(head, body.to_bytes().into());
        let failed = |what: String| Error::Other(format!("{uri}: {what}").into());
        let answer = self.client.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
        let Answer { status, headers, body, is_whole } =
            answer.map_err(|error| failed(error.to_string()))?;
        if !is_whole {
            return Err(failed("the answer is cut off, or larger than 1 MiB".into()));
        }
        if status.is_client_error() || status.is_server_error() {
            let asked = retry_after(&headers, clock::now());
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = asked;
            let kind = headers.get(header::CONTENT_TYPE);
            if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json")) {
                return Err(failed(format!("status {}", status.as_u16())));
            }
        }
        let mut response = Response::new(BodyWrapper::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response.into())
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// Asks for the directory of an authority, and looks whether it is one.
pub(crate) async fn check_directory(acme: &Acme) -> Result<(), String> {
    let request = Request::get(&acme.directory).body(wilco::Body::default());
    let request = request.map_err(|error| error.to_string())?;
    let answer = client(acme)?.send(request, TIMEOUT, ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let directory: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match answer.status.as_u16() {
        200 if directory["newOrder"].is_string() => Ok(()),
        200 => Err("the answer is not an ACME directory".into()),
        status => Err(format!("status {status}")),
    }
}

fn client(acme: &Acme) -> Result<Client, String> {
    let uri = acme.directory.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let trust = match &acme.ca {
        None => Trust::System,
        Some(path) => {
            let failed = |why: String| format!("{}: {why}", path.display());
            let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
            let roots = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            let roots = roots.map_err(|error| failed(error.to_string()))?;
            Trust::Authorities(roots.iter().map(|root| root.to_vec()).collect())
        }
    };
    Client::new(&uri, trust).map_err(|error| error.to_string())
}

/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
