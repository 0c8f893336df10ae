//! The HTTP client of destinations, of commands that ask a running wilco, and of `wilco send`.

mod payload;
mod retry_after;
mod status_line;

use std::{
    future::poll_fn,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::http1};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{HttpConnector, capture_connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    net::UnixStream,
    sync::Notify,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tower_service::Service as _;
use wilco::Body;

use payload::Payload;
pub use retry_after::retry_after;
use status_line::{Note, Noting};

/// A client that reuses connections, follows no redirects, and uses no proxy.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<Noting<HttpsConnector<HttpConnector>>, Payload>,
    connector: HttpsConnector<HttpConnector>,
}

/// Which certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of the certificate authorities of the system.
    System,
    /// Those of these authorities only, in DER.
    Authorities(Vec<Vec<u8>>),
    /// Any: for a self-signed certificate on loopback, where nobody can intercept the connection.
    Anybody,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers; empty if they cannot be read.
    pub headers: HeaderMap,
    /// As much of the body as arrived in time, up to a limit.
    pub body: Vec<u8>,
    /// Whether the body is complete: not too large, not too slow, and not cut off.
    pub is_whole: bool,
}

/// Why there was no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It did not arrive in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// It took too long to connect.
    #[error("no connection within {} s", .0.as_secs_f32())]
    NotConnected(Duration),
    /// The server sent only interim responses.
    #[error("more than {INTERIM_RESPONSES_MAX} interim (1xx) responses before the answer")]
    TooManyInterim,
    /// The connection failed, or could not be made.
    #[error("{0}")]
    Failed(String),
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(rustls::Error),
    /// The system has no certificate authorities.
    #[error(
        "found no certificate authorities to check https with; install ca-certificates, or set \
         SSL_CERT_FILE to a file with authorities"
    )]
    NoAuthorities,
}

impl Client {
    /// A client for the host of this URL.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up, or the system has no certificate authorities for an `https` URL.
    pub fn new(url: &Uri, trust: Trust) -> Result<Self, ClientError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Tls)?;
        let config = match trust {
            Trust::Anybody => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(BelievesAnybody(provider)))
                .with_no_client_auth(),
            Trust::System => {
                let mut roots = RootCertStore::empty();
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() && url.scheme_str() == Some("https") {
                    return Err(ClientError::NoAuthorities);
                }
                config.with_root_certificates(roots).with_no_client_auth()
            }
            Trust::Authorities(authorities) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(authorities.into_iter().map(Into::into));
                config.with_root_certificates(roots).with_no_client_auth()
            }
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(ANSWER_HEAD_BYTES_MAX)
            // The status decides, so a header that cannot be read must not hide it.
            .http1_ignore_invalid_headers_in_responses(true)
            .build(Noting(connector.clone()));
        Ok(Self { http, connector })
    }

    /// Makes a new connection, with TLS for `https`, and sends nothing.
    ///
    /// # Errors
    ///
    /// Why no connection was made within `timeout`.
    pub async fn connect(&self, url: &Uri, timeout: Duration) -> Result<(), ClientError> {
        let mut connector = self.connector.clone();
        let connected = async {
            poll_fn(|context| connector.poll_ready(context)).await?;
            connector.call(url.clone()).await
        };
        match timeout_at(Instant::now() + timeout, connected).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(ClientError::Failed(join(error.as_ref()))),
            Err(_) => Err(ClientError::NotConnected(timeout)),
        }
    }

    /// Sends a request and reads the answer, including at most `body_max` bytes of its body. This fails
    /// unless the status line of the answer arrives within `timeout`. The headers and the body may be
    /// missing or incomplete. The body is read for up to five seconds, and everything together takes no
    /// longer than `timeout`.
    ///
    /// # Errors
    ///
    /// Why no answer arrived.
    pub async fn send(
        &self,
        request: Request<Body>,
        timeout: Duration,
        body_max: usize,
    ) -> Result<Answer, ClientError> {
        let mut request = request.map(Payload::new);
        let end = Instant::now() + timeout;
        let flooded = stop_at_interim_flood(&mut request);
        let connection = capture_connection(&mut request);
        let answer = tokio::select! {
            biased;
            () = flooded.notified() => Err(ClientError::TooManyInterim),
            answer = timeout_at(end, self.http.request(request)) => match answer {
                Ok(answer) => answer.map_err(|error| ClientError::Failed(chain(&error))),
                Err(_) => Err(ClientError::TimedOut(timeout)),
            },
        };
        // The note is taken in any case, because the connection may be used for another request.
        let status = Note::of(&connection).and_then(|note| note.take());
        let answer = match (answer, status) {
            (Ok(answer), _) => answer,
            (Err(error), Some(status)) => {
                tracing::debug!(%status, %error, "cannot read the head of an answer");
                let (headers, body) = (HeaderMap::new(), Vec::new());
                return Ok(Answer { status, headers, body, is_whole: false });
            }
            (Err(error), None) => return Err(error),
        };
        let (head, rest) = answer.into_parts();
        let mut body = Vec::new();
        let end = end.min(Instant::now() + ANSWER_BODY_TIMEOUT);
        let is_whole = timeout_at(end, read(rest, &mut body, body_max)).await.unwrap_or(false);
        Ok(Answer { status: head.status, headers: head.headers, body, is_whole })
    }

    /// Sends a request and reads the head of the answer. The body is read by the caller, as it arrives.
    ///
    /// # Errors
    ///
    /// Why no answer arrived.
    pub async fn open(
        &self,
        request: Request<Body>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, ClientError> {
        let answer = self.http.request(request.map(Payload::new));
        match timeout_at(Instant::now() + timeout, answer).await {
            Ok(answer) => answer.map_err(|error| ClientError::Failed(chain(&error))),
            Err(_) => Err(ClientError::TimedOut(timeout)),
        }
    }
}

/// Sends a request to a server that listens on a Unix socket, as [`Client::open`] does. The connection lasts
/// as long as the task that drives it.
///
/// # Errors
///
/// Why no answer arrived.
pub async fn open_on_socket(
    path: &Path,
    request: Request<Body>,
    timeout: Duration,
) -> Result<(Response<Incoming>, JoinSet<()>), ClientError> {
    let opened = async {
        let stream = UnixStream::connect(path).await.map_err(|error| failed(&error))?;
        let connection = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connection.map_err(|error| failed(&error))?;
        let mut driver = JoinSet::new();
        // Its result can be ignored, because an error is in the answer already.
        driver.spawn(async { drop(connection.await) });
        let answer = sender.send_request(request.map(Payload::new)).await;
        Ok((answer.map_err(|error| failed(&error))?, driver))
    };
    timeout_at(Instant::now() + timeout, opened)
        .await
        .unwrap_or(Err(ClientError::TimedOut(timeout)))
}

fn failed(error: &dyn std::error::Error) -> ClientError {
    ClientError::Failed(error.to_string())
}

/// Reads a body up to the limit, and returns whether it is complete. A body of a gigabyte is not read to
/// its end.
async fn read(mut rest: Incoming, body: &mut Vec<u8>, body_max: usize) -> bool {
    while let Some(frame) = rest.frame().await {
        let Ok(frame) = frame else { return false };
        let data = frame.into_data().unwrap_or_default();
        let room = body_max - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return false;
        }
    }
    true
}

/// Counts the interim responses to this request, and wakes the waiting task when there are too many: hyper
/// itself skips any number of them.
fn stop_at_interim_flood(request: &mut Request<Payload>) -> Arc<Notify> {
    let flooded = Arc::new(Notify::new());
    let (notify, count) = (Arc::clone(&flooded), AtomicUsize::new(0));
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == INTERIM_RESPONSES_MAX {
            notify.notify_one();
        }
    });
    flooded
}

/// An error of hyper with its causes, because its own text says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    join(error.source().unwrap_or(error))
}

/// The text of an error and of its causes.
fn join(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Checks that the server has the key of its certificate, but not who it belongs to.
#[derive(Debug)]
struct BelievesAnybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for BelievesAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the body of an answer is read after its head has arrived.
const ANSWER_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest head of an answer, in bytes. This is approximate: hyper checks it only when its buffer may
/// already be twice as large.
const ANSWER_HEAD_BYTES_MAX: usize = 64 << 10;
/// How many interim responses (1xx, such as `100 Continue`) may come before the answer.
const INTERIM_RESPONSES_MAX: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
