//! Connections, from the socket to the requests that are read off them within their bounds.

mod bind;
mod handshake;
mod limits;
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

use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Inbound, Peer};
use handshake::Reason;
use wire::{HEADERS_MAX, Verdict, Wire};

pub use bind::BindError;
pub(crate) use bind::{Bound, bind, has_port_twice};
pub(super) use limits::ConnectionLimits;
pub(crate) use limits::raise_file_limit;
pub(crate) use wire::HeadFault;

impl Bound {
    /// Takes connections until `stop`. Those that are open then answer what is under way; they are
    /// tracked by `open`.
    pub(crate) async fn serve(
        self,
        inbound: Arc<Inbound>,
        tls: Option<TlsAcceptor>,
        open: TaskTracker,
        stop: CancellationToken,
    ) {
        let mut look = interval(LEFT_OUT_LOOK);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                _ = look.tick() => {
                    inbound.tell_left_out();
                    continue;
                }
                accepted = self.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: others will close theirs.
                    inbound.tell_not_accepted(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(slot) = inbound.connections.take(peer.into()) else {
                inbound.metrics.refused_connection();
                inbound.tell_refused_connection(peer);
                continue;
            };
            let connection = Connection { inbound: Arc::clone(&inbound), peer, stop: stop.clone() };
            let tls = tls.clone();
            open.spawn(async move {
                connection.run(stream, tls).await;
                drop(slot);
            });
        }
        if let Self::Unix(_, file) = &self {
            file.remove();
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                // It fails where the peer has gone already, which reading tells; all else is served.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Peer::Ip(address.ip())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Local))
            }
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

struct Connection {
    inbound: Arc<Inbound>,
    peer: Peer,
    stop: CancellationToken,
}

impl Connection {
    async fn run(&self, stream: Stream, tls: Option<TlsAcceptor>) {
        let _counted = self.inbound.metrics.connected();
        match (stream, tls) {
            // It is large, which connections without it need not be.
            (Stream::Tcp(stream), Some(tls)) => Box::pin(self.serve_tls(stream, &tls)).await,
            (Stream::Tcp(stream), None) => self.serve(stream).await,
            (Stream::Unix(stream), _) => self.serve(stream).await,
        }
    }

    async fn serve_tls(&self, stream: TcpStream, tls: &TlsAcceptor) {
        let handshake = Box::pin(timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)));
        match handshake.await {
            Ok(Ok(stream)) => self.serve(Box::new(stream)).await,
            Ok(Err(error)) => self.tell_failed_handshake(Reason::of(&error), &error),
            Err(late) => self.tell_failed_handshake(Reason::TooSlow, &late.into()),
        }
    }

    /// Counts it, and logs it once in a while: ports on the internet are scanned all day.
    fn tell_failed_handshake(&self, reason: Reason, error: &io::Error) {
        let (label, hint) = (reason.label(), reason.hint());
        self.inbound.metrics.failed_handshake(label);
        if self.inbound.connection_lines.allows("-", label, Instant::now()) {
            tracing::warn!(client = %self.peer, reason = label, %error, hint, "TLS handshake failed");
        }
    }

    /// Waits for a request, serves it and those that follow, and waits again once none comes for a
    /// moment: a connection that waits needs little memory, and one that is served some buffers.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let verdict = Arc::new(Verdict::default());
        let mut wire = Wire::new(stream, Arc::clone(&verdict));
        while wire.is_open()
            && let Some(true) = self.stop.run_until_cancelled(wire.has_request()).await
        {
            wire = Box::pin(self.serve_requests(wire, &verdict)).await;
        }
        let mut lingering = pin!(linger(wire.close().await, &self.inbound));
        if self.stop.run_until_cancelled(&mut lingering).await.is_none() {
            // What is not read by then is reset.
            let _ = timeout(LINGER_AT_STOP, lingering).await;
        }
    }

    async fn serve_requests<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        wire: Wire<S>,
        verdict: &Arc<Verdict>,
    ) -> Wire<S> {
        let service = service_fn(|request: Request<Incoming>| async move {
            let mut answer = match verdict.fault() {
                Some(fault) => self.inbound.refuse_head(fault, self.peer).await,
                None => self.inbound.respond(request, self.peer).await,
            };
            if verdict.is_last() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, Infallible>(answer)
        });
        let mut connection = http1::Builder::new()
            .half_close(true)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(wire), service);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "the connection ended early");
        }
        connection.into_parts().io.into_inner()
    }
}

/// Reads on for a while what the peer still sends. To close a socket with unread bytes resets it, and
/// the reset can overtake the answer that was just written (RFC 9112, section 9.6). Many clients send
/// all of their request before they look for an answer.
async fn linger<S: AsyncRead + Unpin>(mut stream: S, inbound: &Inbound) {
    let drain = async {
        let mut left = LINGER_BYTES;
        while left > 0 {
            match timeout(LINGER_IDLE, discard(&mut stream)).await {
                Ok(Ok(read @ 1..)) => {
                    left = left.saturating_sub(read);
                    inbound.wait_for_discarded(read).await;
                }
                Ok(Ok(0) | Err(_)) | Err(_) => break,
            }
        }
    };
    // Past the time or the bytes it is closed all the same.
    let _ = timeout(LINGER, drain).await;
}

/// Reads into memory that is there only while it reads, and not while it waits.
async fn discard<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut waste = [MaybeUninit::uninit(); 16 << 10];
        let mut waste = ReadBuf::uninit(&mut waste);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut waste))?;
        Poll::Ready(Ok(waste.filled().len()))
    })
    .await
}

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether log lines were left out.
const LEFT_OUT_LOOK: Duration = Duration::from_secs(1);
/// How long is read on behind a last answer.
const LINGER: Duration = Duration::from_secs(30);
/// How long is waited there for more.
const LINGER_IDLE: Duration = Duration::from_secs(2);
/// How long is read on while wilco stops.
const LINGER_AT_STOP: Duration = Duration::from_millis(500);
/// How many bytes are read and thrown away there.
const LINGER_BYTES: usize = 128 << 20;
const BUFFER_BYTES: usize = 64 << 10;
