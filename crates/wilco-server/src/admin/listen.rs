//! The connections of the admin listener, with separate limits.

mod write_timeout;

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use crate::{
    metrics::Metrics,
    sockets::{Listener, Stream},
};
use write_timeout::WithWriteTimeout;

/// Serves until `stop`, then finishes the requests under way.
pub(super) async fn serve(
    listener: Listener,
    router: Router,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let refused = metrics.counter(
        "admin_connections_refused",
        "Connections of the admin listener closed at once because there were too many",
    );
    let mut open = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        while open.try_join_next().is_some() {}
        match accepted {
            Ok(_) if open.len() >= ADMIN_CONNECTIONS_MAX => {
                refused.inc();
            }
            Ok((Stream::Tcp(stream), _)) => {
                // A machine that is gone, such as a laptop that sleeps, would keep its stream for a quarter of an
                // hour. It fails if the client has left already, which the first read will find out.
                let _ = set_tcp_user_timeout(&stream, ADMIN_ABSENCE_MAX_MS);
                open.spawn(serve_connection(stream, router.clone(), stop.clone()));
            }
            Ok((Stream::Unix(stream), _)) => {
                open.spawn(serve_connection(stream, router.clone(), stop.clone()));
            }
            Err(error) => {
                // Usually the file descriptors have run out, and other connections will end.
                tracing::warn!(%error, "an admin connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while open.join_next().await.is_some() {}
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    router: Router,
    stop: CancellationToken,
) {
    let stream = WithWriteTimeout::new(stream, ADMIN_WRITE_TIMEOUT);
    let service = service_fn(|request| router.clone().call(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

/// Open connections; one more is closed at once.
const ADMIN_CONNECTIONS_MAX: usize = 128;
/// From the last answer of a connection, or its start, to the end of the next head.
const ADMIN_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Without a byte that the client takes of an answer, which may be a stream that never ends.
const ADMIN_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Milliseconds in which nothing that was sent reaches the machine of the client.
const ADMIN_ABSENCE_MAX_MS: u32 = 30_000;
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
