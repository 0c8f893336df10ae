//! The connections of a probe: one for each request, without redirects and without a proxy of the
//! environment, as a provider makes them.

mod certificates;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{Answer, Exchange, Presented, Sent};
use crate::Failure;
use certificates::Recorder;

/// How the public address is reached.
pub(super) struct Wire {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>, Arc<Recorder>)>,
}

impl Wire {
    pub(super) fn new(url: &Uri) -> Result<Self, Failure> {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = if is_tls {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| Failure::usage(format!("invalid host {host:?}")))?;
            let recorder = Recorder::new().map_err(Failure::failed)?;
            let config = recorder.config().map_err(Failure::failed)?;
            Some((TlsConnector::from(Arc::new(config)), name, recorder))
        } else {
            None
        };
        Ok(Self { host, port, tls })
    }

    /// The certificates that the first connection showed.
    pub(super) fn certificates(&self) -> Option<Presented> {
        let (_, _, recorder) = self.tls.as_ref()?;
        recorder.presented()
    }

    /// Sends a request on a new connection, and waits for its answer.
    pub(super) async fn exchange(&self, sent: &Sent) -> Exchange {
        let began = Instant::now();
        let stream = match timeout(TIMEOUT, self.connect()).await {
            Ok(stream) => stream,
            Err(_) => Err(format!("no connection within {} s", TIMEOUT.as_secs())),
        };
        let connected = began.elapsed();
        let began = Instant::now();
        let answer = match stream {
            Err(error) => Err(error),
            Ok(stream) => match timeout(TIMEOUT, send(stream, sent)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
            },
        };
        Exchange { answer, connected, took: began.elapsed() }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        // If it cannot be set, the request is sent a little later.
        let _ = stream.set_nodelay(true);
        let Some((connector, name, _)) = &self.tls else { return Ok(Box::new(stream)) };
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(format!("no TLS connection: {error}")),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn send(stream: Box<dyn Stream>, sent: &Sent) -> Result<Answer, String> {
    let request = request(sent).map_err(|error| error.to_string())?;
    let connection = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connection.map_err(|error| error.to_string())?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(|error| text_of(&error))?;
        let (head, mut rest) = answer.into_parts();
        let mut body = Vec::new();
        // The beginning is enough to tell who answered.
        while body.len() < ANSWER_BYTES_MAX
            && let Some(Ok(frame)) = rest.frame().await
        {
            body.extend(frame.into_data().unwrap_or_default());
        }
        let text = |name| {
            let value = head.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Answer {
            status: head.status.as_u16(),
            location: text(header::LOCATION),
            server: text(header::SERVER),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    // The connection ends after the answer, when its sender is dropped; the answer has its error.
    tokio::join!(answer, connection).0
}

fn request(sent: &Sent) -> Result<Request<BoxBody<Bytes, Infallible>>, http::Error> {
    let request = Request::post(&sent.target);
    let request = sent
        .headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value.as_bytes()));
    let body = sent.case.body.clone();
    let body = if sent.case.is_chunked {
        let third = (body.len() / 3).max(1);
        let parts: Vec<_> = body.chunks(third).map(|part| body.slice_ref(part)).collect();
        let frames = parts.into_iter().map(|part| Ok(Frame::data(part)));
        StreamBody::new(stream::iter(frames)).boxed()
    } else {
        Full::new(body).boxed()
    };
    request.body(body)
}

/// The text of an error with its cause, because hyper's own says only that something failed.
fn text_of(error: &hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// How long a connection may take, and then an answer.
const TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_BYTES_MAX: usize = 64 << 10;
