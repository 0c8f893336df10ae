//! Listeners: they accept connections within their limits, and each connection reads its requests.

mod bind;
mod connection;
mod limits;

use std::{io, sync::Arc, time::Duration};

use tokio::time::interval;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Client, Inbound};
use connection::{Connection, Stream};

pub use bind::BindError;
pub(crate) use bind::{Bound, bind, prepare};
pub(crate) use connection::HeadFault;
pub(super) use limits::ConnectionLimits;
pub(crate) use limits::raise_file_limit;

impl Bound {
    /// Accepts connections until `stop`. Those that are open then finish their current requests;
    /// `open` tracks them.
    pub(crate) async fn serve(
        self,
        inbound: Arc<Inbound>,
        tls: Option<TlsAcceptor>,
        open: TaskTracker,
        stop: CancellationToken,
    ) {
        let mut suppressed_interval = interval(SUPPRESSED_INTERVAL);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                _ = suppressed_interval.tick() => {
                    inbound.log_suppressed();
                    continue;
                }
                accepted = self.accept() => accepted,
            };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Usually the file descriptors have run out, and other connections will end.
                    inbound.log_not_accepted(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(slot) = inbound.connections.take(client.into()) else {
                inbound.counters.connections_refused.inc();
                inbound.log_refused_connection(client);
                continue;
            };
            let connection =
                Connection { inbound: Arc::clone(&inbound), client, stop: stop.clone() };
            let tls = tls.clone();
            open.spawn(async move {
                connection.run(stream, tls).await;
                drop(slot);
            });
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Client)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept().await?;
                // It fails if the client has gone already, which the first read will find out.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Client::Ip(address.ip())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Client::Local))
            }
        }
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often suppressed log lines are counted in the log.
const SUPPRESSED_INTERVAL: Duration = Duration::from_secs(1);
