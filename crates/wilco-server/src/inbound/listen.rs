//! Listeners: they accept connections within their limits, and each connection reads its requests.

mod connection;
mod handshakes;
mod limits;
mod proxy_header;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, interval};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Client, Inbound};
use crate::sockets::{Listener, Stream};
use connection::{Connection, FIRST_REQUEST_GRACE, until_stopped};
use limits::Slot;
use proxy_header::{Origin, ProxyHeaderError};

pub(crate) use connection::HeadFault;
pub(super) use handshakes::Handshakes;
pub(super) use limits::ConnectionLimits;
pub(crate) use limits::raise_file_limit;

/// A stream of HTTP/2 that counts like a connection until it is dropped.
struct CountedStream {
    _slot: Slot,
}

impl Inbound {
    /// Counts a stream. `None` when a limit on connections is reached.
    fn count_stream(&self, client: Client) -> Option<CountedStream> {
        let mut slot = self.connections.take()?;
        self.counts(&mut slot, client).then_some(CountedStream { _slot: slot })
    }

    fn counts(&self, slot: &mut Slot, client: Client) -> bool {
        let network = client.into();
        slot.count_for(network, self.known.contains(network))
    }

    /// Accepts connections until `stop`. Those that are open then finish their current requests;
    /// `open` tracks them.
    pub(crate) async fn listen(
        self: Arc<Self>,
        listener: Listener,
        tls: Option<TlsAcceptor>,
        open: TaskTracker,
        stop: CancellationToken,
    ) {
        let mut suppressed_interval = interval(SUPPRESSED_INTERVAL);
        loop {
            // While handshakes wait, new connections wait in the system, where they cost nothing.
            if stop.run_until_cancelled(self.handshakes.turn()).await.is_none() {
                break;
            }
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                _ = suppressed_interval.tick() => {
                    self.log_suppressed();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (stream, client) = match accepted {
                Ok((stream, ip)) => (stream, ip.map_or(Client::Local, Client::Ip)),
                Err(error) => {
                    // Usually the file descriptors have run out, and other connections will end.
                    self.log_not_accepted(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Some(admitted) = Admitted::new(&self, client, &stop) {
                let tls = tls.clone();
                open.spawn(admitted.serve(stream, tls));
            }
        }
    }
}

/// A connection that is within the limits, and comes from a proxy if it has to.
struct Admitted {
    inbound: Arc<Inbound>,
    /// Who is at the other end.
    client: Client,
    /// Whether that is a proxy, which first says with the PROXY protocol who the client is.
    is_proxied: bool,
    slot: Slot,
    stop: CancellationToken,
}

impl Admitted {
    fn new(inbound: &Arc<Inbound>, client: Client, stop: &CancellationToken) -> Option<Self> {
        let endpoints = inbound.endpoints.load();
        let is_proxied = endpoints.proxy_protocol;
        if is_proxied && !client.is_trusted(&endpoints.trusted_proxies) {
            inbound.refuse_proxy(client, &ProxyHeaderError::Untrusted);
            return None;
        }
        let mut slot = inbound.connections.take();
        // The network of a proxy's client is known only later.
        let is_within =
            slot.as_mut().is_some_and(|slot| is_proxied || inbound.counts(slot, client));
        let Some(slot) = slot.filter(|_| is_within) else {
            inbound.refuse_connection(client);
            return None;
        };
        Some(Self { inbound: Arc::clone(inbound), client, is_proxied, slot, stop: stop.clone() })
    }

    async fn serve(mut self, mut stream: Stream, tls: Option<TlsAcceptor>) {
        let _counted = self.inbound.counters.connected();
        if self.is_proxied {
            let stop = self.stop.clone();
            let identified = until_stopped(&stop, FIRST_REQUEST_GRACE, self.identify(&mut stream));
            if identified.await != Some(true) {
                return;
            }
        }
        let Self { inbound, client, slot, stop, .. } = self;
        Connection { inbound, client, stop }.run(stream, tls).await;
        drop(slot);
    }

    /// Reads which client the proxy names. `false` if the connection has to be closed.
    async fn identify(&mut self, stream: &mut Stream) -> bool {
        let origin = match stream {
            Stream::Tcp(stream) => proxy_header::read(stream).await,
            Stream::Unix(stream) => proxy_header::read(stream).await,
        };
        match origin {
            Ok(Origin::Client(ip)) => self.client = Client::Ip(ip),
            Ok(Origin::Proxy) => {}
            Err(error) => {
                self.inbound.refuse_proxy(self.client, &error);
                return false;
            }
        }
        let is_within = self.inbound.counts(&mut self.slot, self.client);
        if !is_within {
            self.inbound.refuse_connection(self.client);
        }
        is_within
    }
}

impl Inbound {
    /// Counts and logs a connection that does not begin as a proxy would begin it.
    fn refuse_proxy(&self, client: Client, error: &ProxyHeaderError) {
        let (label, hint) = (error.label(), error.hint());
        self.counters.failed_proxy_header(label);
        if self.connection_lines.allows("proxy", label, Instant::now()) {
            tracing::warn!(%client, reason = label, hint, "connection closed: {error}");
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often suppressed log lines are counted in the log.
const SUPPRESSED_INTERVAL: Duration = Duration::from_secs(1);
