//! The door: sockets, connections, and requests read off them within their bounds.

mod wire;

use std::{
    collections::HashMap,
    convert::Infallible,
    fs::Permissions,
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wilco::{Arrival, Headers};

use super::{BODY_TIMEOUT, Inbound, Peer, Refusal};
use crate::{clock, config::Address};
use wire::{HEADERS_MAX, Verdict, Wire};

pub(super) use wire::HeadFault;

/// A socket that listens.
pub(crate) enum Bound {
    /// For connections over IP.
    Tcp(TcpListener, SocketAddr),
    /// For connections on this machine; the file is removed at the end.
    Unix(UnixListener, PathBuf),
}

/// Binds an address, so that what is wrong with it is known before anything else starts.
pub(crate) async fn bind(address: &Address) -> io::Result<Bound> {
    match address {
        Address::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let local = listener.local_addr()?;
            Ok(Bound::Tcp(listener, local))
        }
        Address::Unix(path) => {
            // A socket that nobody answers on is left from a process that was killed.
            if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            // The proxy is another user; who sends is told by the signature.
            std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
            Ok(Bound::Unix(listener, path.clone()))
        }
    }
}

impl Bound {
    /// The address as it came to be, port included.
    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Tcp(_, address) => Address::Tcp(*address),
            Self::Unix(_, path) => Address::Unix(path.clone()),
        }
    }

    /// Takes connections until `stop`. Those that are open then answer what is under way; they are
    /// tracked by `open`.
    pub(crate) async fn serve(
        self,
        inbound: Arc<Inbound>,
        tls: Option<TlsAcceptor>,
        open: TaskTracker,
        stop: CancellationToken,
    ) {
        let places = Arc::new(Places::default());
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: others will close theirs.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = places.take(peer) else {
                inbound.metrics.refused_connection();
                continue;
            };
            let connection = Connection { inbound: Arc::clone(&inbound), peer, stop: stop.clone() };
            let tls = tls.clone();
            open.spawn(async move {
                connection.run(stream, tls).await;
                drop(place);
            });
        }
        if let Self::Unix(_, path) = &self {
            // It is gone already where somebody tidied up.
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
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
    Unix(tokio::net::UnixStream),
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
            (Stream::Tcp(stream), Some(tls)) => {
                match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => self.serve(stream).await,
                    Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "no handshake"),
                    Err(_) => tracing::debug!(peer = %self.peer, "the handshake took too long"),
                }
            }
            (Stream::Tcp(stream), None) => self.serve(stream).await,
            (Stream::Unix(stream), _) => self.serve(stream).await,
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let verdict = Arc::new(Verdict::default());
        let wire = TokioIo::new(Wire::new(stream, Arc::clone(&verdict)));
        let service = service_fn(|request: Request<Incoming>| {
            let verdict = Arc::clone(&verdict);
            async move {
                let mut answer = match verdict.fault() {
                    Some(fault) => self.inbound.refuse_head(fault),
                    None => self.inbound.respond(request, self.peer).await,
                };
                if verdict.is_last() {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut connection = http1::Builder::new()
            .half_close(true)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(wire, service);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, %error, "the connection ended early");
        }
        linger(connection.into_parts().io.into_inner().into_inner()).await;
    }
}

/// Reads on for a moment what the peer still sends. To close a socket with unread bytes resets it,
/// and the reset can overtake the answer that was just written (RFC 9112, section 9.6).
async fn linger<S: AsyncRead + Unpin>(mut stream: S) {
    let mut waste = [0; 4096];
    let drain = async {
        for _ in 0..LINGER_BYTES / waste.len() {
            match stream.read(&mut waste).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
    };
    // Past the time or the bytes it is closed all the same.
    let _ = timeout(LINGER, drain).await;
}

/// Places for connections, in all and for each address.
#[derive(Default)]
struct Places(Mutex<HashMap<Option<IpAddr>, usize>>);

struct Place {
    places: Arc<Places>,
    address: Option<IpAddr>,
}

impl Places {
    fn take(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let address = match peer {
            Peer::Ip(ip) => Some(ip),
            Peer::Local => None,
        };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let here = taken.entry(address).or_default();
        if all >= CONNECTIONS_MAX || *here >= CONNECTIONS_PER_ADDRESS_MAX {
            return None;
        }
        *here += 1;
        Some(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = taken.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// How many bytes the body will have, as far as the head tells; at the most the limit.
pub(super) fn expected_bytes<B: Body>(
    request: &Request<B>,
    limit: usize,
) -> Result<usize, Refusal> {
    let hint = request.body().size_hint();
    match usize::try_from(hint.lower()) {
        Ok(least) if least <= limit => {
            Ok(hint.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(limit))
        }
        _ => Err(Refusal::TooLarge { limit }),
    }
}

/// Reads the body, to its limit and within its time, and makes an arrival of the request.
pub(super) async fn read<B>(request: Request<B>, limit: usize) -> Result<Arrival, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let (head, body) = request.into_parts();
    let read = timeout(BODY_TIMEOUT, read_body(body, limit));
    let body = read.await.map_err(|_| Refusal::TooSlow)??;
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Ok(Arrival { received_at: clock::now(), headers: Headers::from_pairs(fields), body })
}

async fn read_body<B>(mut body: B, limit: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    // A frame is a piece of hyper's buffer and would keep all of that in memory with the event.
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut whole = Vec::with_capacity(expected.min(limit));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue }; // trailers say nothing that is signed
        if whole.len() + data.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

/// Open connections in all; one more is closed at once.
const CONNECTIONS_MAX: usize = 8_192;
/// Open connections from one address.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 2_048;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;
const BUFFER_BYTES: usize = 64 << 10;
