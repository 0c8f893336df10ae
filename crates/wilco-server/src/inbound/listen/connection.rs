//! One connection: its TLS handshake, its requests, and its end.

mod handshake;
mod http2;
mod timed_writes;
mod wire;

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    task::yield_now,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    inbound::{ALPN_HTTP2, CHALLENGE_PROTOCOL, Client, Inbound},
    sockets::Stream,
};
use handshake::Reason;
use timed_writes::TimedWrites;
use wire::{HeadVerdict, Wire};

/// Why a head was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadFault {
    /// Not HTTP/1, or to be read in more than one way.
    #[error("the request head is malformed or ambiguous")]
    Malformed = 1,
    /// Larger than 16 KiB, or more than [`HEADERS_MAX`] fields.
    #[error("the request head is too large")]
    TooLarge = 2,
    /// Begun, but not complete in time.
    #[error("the request head was not complete in time")]
    TooSlow = 3,
}

/// A connection, from its TLS handshake to its last byte.
pub(super) struct Connection {
    pub(super) inbound: Arc<Inbound>,
    pub(super) client: Client,
    pub(super) stop: CancellationToken,
}

impl Connection {
    pub(super) async fn run(&self, stream: Stream, tls: Option<TlsAcceptor>) {
        let is_http2_allowed = self.inbound.endpoints.load().http2;
        match (stream, tls) {
            // Boxed because it is large: connections without TLS need less memory.
            (Stream::Tcp(stream), Some(tls)) => Box::pin(self.serve_tls(stream, &tls)).await,
            (Stream::Tcp(stream), None) => {
                self.serve(TimedWrites::new(stream), is_http2_allowed).await;
            }
            (Stream::Unix(stream), _) => {
                self.serve(TimedWrites::new(stream), is_http2_allowed).await;
            }
        }
    }

    async fn serve_tls(&self, stream: TcpStream, tls: &TlsAcceptor) {
        let handshake = Box::pin(timeout(HANDSHAKE_TIMEOUT, self.handshake(stream, tls)));
        match handshake.await {
            Ok(Ok(mut stream)) if is_challenge(&stream) => {
                // The handshake was all that the authority wanted to see. It may have gone already.
                let _ = timeout(HANDSHAKE_TIMEOUT, stream.shutdown()).await;
            }
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2) => {
                let stream = TimedWrites::new(stream);
                Box::pin(self.serve_http2(stream, BytesMut::new())).await;
            }
            Ok(Ok(stream)) => self.serve(Box::new(TimedWrites::new(stream)), false).await,
            Ok(Err(error)) => self.log_failed_handshake(Reason::of(&error), &error),
            Err(late) => self.log_failed_handshake(Reason::TooSlow, &late.into()),
        }
    }

    /// To answer the first message of a client takes longer than anything else that an unknown client can ask for.
    /// So this is done in turns, and between two of them other tasks are polled: those that serve requests.
    async fn handshake(
        &self,
        stream: TcpStream,
        tls: &TlsAcceptor,
    ) -> io::Result<TlsStream<TcpStream>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let turn = self.inbound.handshakes.turn().await;
        let answered = hello.into_stream(Arc::clone(tls.config()));
        yield_now().await;
        drop(turn);
        answered.await
    }

    /// Counts every failure, but logs only some: ports on the internet are scanned all day.
    fn log_failed_handshake(&self, reason: Reason, error: &io::Error) {
        let (label, hint) = (reason.label(), reason.hint());
        self.inbound.metrics.failed_handshake(label);
        if self.inbound.connection_lines.allows("-", label, Instant::now()) {
            tracing::warn!(client = %self.client, reason = label, %error, hint, "TLS handshake failed");
        }
    }

    /// Waits for a request, serves it and those that follow closely, and waits again. hyper exists
    /// only while requests are served: its buffers would make idle connections expensive.
    async fn serve<S>(&self, stream: S, is_http2_allowed: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let verdict = Arc::new(HeadVerdict::default());
        let mut wire = Wire::new(stream, Arc::clone(&verdict), is_http2_allowed);
        // Whoever has just connected is about to send, and is served also at a stop.
        let mut grace = FIRST_REQUEST_GRACE;
        while wire.is_open()
            && let Some(true) = until_stopped(&self.stop, grace, wire.has_request()).await
        {
            if wire.is_http2() {
                let (stream, read) = wire.into_http2();
                return Box::pin(self.serve_http2(stream, read)).await;
            }
            wire = Box::pin(self.serve_requests(wire, &verdict)).await;
            grace = Duration::ZERO;
        }
        let mut lingering = pin!(linger(wire.close().await, &self.inbound));
        if self.stop.run_until_cancelled(&mut lingering).await.is_none() {
            // What is still unread then is answered with a reset.
            let _ = timeout(LINGER_AT_STOP, lingering).await;
        }
    }

    async fn serve_requests<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: Wire<S>,
        verdict: &Arc<HeadVerdict>,
    ) -> Wire<S> {
        let service = service_fn(|request: Request<Incoming>| async move {
            let mut response = match verdict.fault() {
                Some(fault) => self.inbound.refuse_head(fault, self.client).await,
                None => self.inbound.respond(request, self.client).await,
            };
            if verdict.is_last() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        });
        let mut connection = http1::Builder::new()
            .half_close(true)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(wire), service);
        let ended = tokio::select! {
            // First it reads its request: without one, a graceful shutdown would end it at once.
            biased;
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(client = %self.client, %error, "the connection ended early");
        }
        connection.into_parts().io.into_inner()
    }
}

/// Whether a certificate authority has connected in order to see a challenge answered.
fn is_challenge(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(CHALLENGE_PROTOCOL)
}

/// What a future returns, unless it takes until `grace` after a stop.
pub(super) async fn until_stopped<T>(
    stop: &CancellationToken,
    grace: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let late = async {
        stop.cancelled().await;
        sleep(grace).await;
    };
    tokio::select! {
        biased;
        output = future => Some(output),
        () = late => None,
    }
}

/// Keeps reading for a while what the client still sends. Closing a socket with unread bytes resets
/// it, and the reset can overtake the response that was just written (RFC 9112, section 9.6). Many
/// clients send their whole request before they look for a response.
async fn linger<S: AsyncRead + Unpin>(mut stream: S, inbound: &Inbound) {
    let drain = async {
        let mut left = LINGER_BYTES;
        let (mut window_ends, mut in_window) = (Instant::now() + LINGER_WINDOW, 0);
        while left > 0 {
            match timeout_at(window_ends, discard(&mut stream)).await {
                Ok(Ok(read @ 1..)) => {
                    left = left.saturating_sub(read);
                    in_window += read;
                    inbound.wait_for_discarded(read).await;
                }
                Ok(Ok(0) | Err(_)) => break,
                Err(_) if in_window < LINGER_WINDOW_BYTES_MIN => break,
                Err(_) => (window_ends, in_window) = (Instant::now() + LINGER_WINDOW, 0),
            }
        }
    };
    // After that time, or that many bytes, the connection is closed anyway.
    let _ = timeout(LINGER, drain).await;
}

/// Reads into a buffer that exists only during the read, not while waiting for it.
async fn discard<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut waste = [MaybeUninit::uninit(); 16 << 10];
        let mut waste = ReadBuf::uninit(&mut waste);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut waste))?;
        Poll::Ready(Ok(waste.filled().len()))
    })
    .await
}

/// Whether this is a host with or without a port (RFC 3986, sections 3.2.2 and 3.2.3). It may be
/// empty.
fn is_host(value: &[u8]) -> bool {
    let is_of_a_name =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let is_of_an_ipv6 = |byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(byte);
    let (has_host, after) = match value.strip_prefix(b"[") {
        None => {
            let end = value.iter().position(|&byte| byte == b':').unwrap_or(value.len());
            (value[..end].iter().all(is_of_a_name), &value[end..])
        }
        Some(rest) => match rest.iter().position(|&byte| byte == b']') {
            Some(end) => (end > 0 && rest[..end].iter().all(is_of_an_ipv6), &rest[end + 1..]),
            None => return false,
        },
    };
    let port = after.strip_prefix(b":");
    has_host && port.map_or(after.is_empty(), |port| port.iter().all(u8::is_ascii_digit))
}

/// How long a connection may take to send its first request after wilco was asked to stop.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is read after its last response.
const LINGER: Duration = Duration::from_secs(30);
/// In this time, [`LINGER_WINDOW_BYTES_MIN`] have to arrive meanwhile, as of a body.
const LINGER_WINDOW: Duration = Duration::from_secs(10);
const LINGER_WINDOW_BYTES_MIN: usize = 10 << 10;
/// How long it is read while wilco stops.
const LINGER_AT_STOP: Duration = Duration::from_millis(500);
/// How many bytes are discarded after the last response.
const LINGER_BYTES: usize = 128 << 20;
const BUFFER_BYTES: usize = 64 << 10;
/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may read nothing of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a client of HTTP/2 sends first.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most header fields of a request.
const HEADERS_MAX: usize = 100;
