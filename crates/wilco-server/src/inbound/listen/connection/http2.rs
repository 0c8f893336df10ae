//! HTTP/2: an option of the listener. hyper and h2 speak the protocol; what is here bounds it.
//!
//! Everything of a connection runs in its task: the bytes that arrived are read, and then the streams
//! that they are for. So no more than one window of each connection waits to be charged to a budget.

mod guard;
mod head;
mod streams;

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response, header};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc::UnboundedReceiver,
    time::{Instant, Sleep, sleep},
};

use super::{Connection, IDLE_TIMEOUT};
use guard::Guard;
use streams::{Answer, Executor, Stream, StreamSlots};

impl Connection {
    /// Serves HTTP/2 over a connection of which `read` was read already.
    pub(super) async fn serve_http2<S>(&self, stream: S, read: BytesMut)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let guard = Guard::new(stream, read);
        let fault = guard.fault();
        let slots = Arc::new(StreamSlots::default());
        let (executor, incoming) = Executor::new();
        let answered = executor.answered();
        let service = service_fn(move |request| {
            let (slots, answered) = (Arc::clone(&slots), answered.clone());
            async move {
                let answer = self.answer(request, &slots).await;
                // `connection: close` is how a response of HTTP/1 announces an unread body.
                answered.set(answer.headers().contains_key(header::CONNECTION));
                Ok::<_, Infallible>(answer)
            }
        });
        let io = TokioIo::new(guard);
        let connection = pin!(builder(executor).serve_connection(io, service));
        let mut running = Running {
            connection,
            incoming,
            streams: FuturesUnordered::new(),
            alarm: Box::pin(sleep(IDLE_TIMEOUT)),
            is_idle: true,
            is_closing: false,
            stalled: 0,
        };
        let mut stopped = pin!(self.stop.cancelled());
        let ended = poll_fn(|cx| {
            if !running.is_closing && stopped.as_mut().poll(cx).is_ready() {
                running.go_away();
            }
            running.poll(cx)
        });
        let ended = ended.await;
        if running.stalled > 0 {
            self.inbound.closed_http2(self.client, "stalled");
        }
        match (fault.get(), ended) {
            (Some(reason), _) => self.inbound.closed_http2(self.client, reason),
            (None, Err(error)) => {
                tracing::debug!(client = %self.client, %error, "the connection ended early");
            }
            (None, Ok(())) => {}
        }
    }

    /// The answer to a request, which keeps the slot of its stream until it is sent.
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        slots: &Arc<StreamSlots>,
    ) -> Response<Answer> {
        let Some(slot) = slots.take(&self.inbound, self.client) else {
            return self.inbound.refuse_stream(self.client).map(Answer::without_slot);
        };
        let response = match head::check(&mut request) {
            Err(fault) => self.inbound.refuse_head(fault, self.client).await,
            Ok(()) => self.inbound.respond(request, self.client).await,
        };
        response.map(|body| Answer::new(body, slot))
    }
}

/// A connection and its streams.
struct Running<'c, 's, C> {
    connection: Pin<&'c mut C>,
    incoming: UnboundedReceiver<Stream<'s>>,
    streams: FuturesUnordered<Stream<'s>>,
    /// When a connection without streams is closed.
    alarm: Pin<Box<Sleep>>,
    is_idle: bool,
    is_closing: bool,
    /// How many streams were ended because their client did not take the answer.
    stalled: usize,
}

/// What is needed of hyper's connection, whose type has too many parameters.
trait Http2Connection: Future<Output = hyper::Result<()>> {
    fn go_away(self: Pin<&mut Self>);
}

impl<I, B, S, E> Http2Connection for http2::Connection<I, S, E>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn go_away(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<C: Http2Connection> Running<'_, '_, C> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        loop {
            if let Poll::Ready(ended) = self.connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            while let Poll::Ready(Some(stream)) = self.incoming.poll_recv(cx) {
                self.streams.push(stream);
            }
            while let Poll::Ready(Some(ended)) = self.streams.poll_next_unpin(cx) {
                self.stalled += usize::from(ended.is_err());
            }
            let was_idle = std::mem::replace(&mut self.is_idle, self.streams.is_empty());
            if !self.is_idle {
                return Poll::Pending;
            }
            if !was_idle {
                self.set_alarm();
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.is_closing {
                return Poll::Ready(Ok(())); // the client does not close its side
            }
            self.go_away();
        }
    }

    /// Tells the client to send no more requests. Those under way are answered.
    fn go_away(&mut self) {
        self.connection.as_mut().go_away();
        self.is_closing = true;
        self.set_alarm();
    }

    fn set_alarm(&mut self) {
        let wait = if self.is_closing { HTTP2_CLOSE_TIMEOUT } else { IDLE_TIMEOUT };
        self.alarm.as_mut().reset(Instant::now() + wait);
    }
}

fn builder(executor: Executor<'_>) -> http2::Builder<Executor<'_>> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADER_LIST_BYTES_MAX)
        .header_table_size(HTTP2_HEADER_TABLE_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .initial_stream_window_size(HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_WINDOW_BYTES)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_STREAM_ERRORS_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

/// Streams of one connection at once. RFC 9113, section 6.5.2, recommends no fewer.
const HTTP2_STREAMS_MAX: u32 = 100;
/// The fields of a request, each with 32 bytes for its overhead.
const HTTP2_HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// What header compression remembers.
const HTTP2_HEADER_TABLE_BYTES: u32 = 4 << 10;
/// The smallest value that HTTP/2 allows.
const HTTP2_FRAME_BYTES_MAX: u32 = 16 << 10;
/// What a client may send before it is read, on a stream and on all streams of a connection: the
/// smallest value that HTTP/2 allows for a connection.
const HTTP2_WINDOW_BYTES: u32 = (64 << 10) - 1;
/// Streams that the client reset before they were accepted.
const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Malformed requests in the life of a connection.
const HTTP2_STREAM_ERRORS_MAX: usize = 100;
/// Bytes of an answer that wait to be sent.
const HTTP2_SEND_BYTES_MAX: usize = 64 << 10;
/// How often a client has to show that it is still there.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to do that.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection whose streams have ended stays open for the client to close it.
const HTTP2_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
