//! The streams of a connection: each counts like a connection, and ends when its client does not take
//! the answer.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Sleep, sleep},
};

use crate::inbound::{
    Client, Inbound,
    listen::{CountedStream, connection::WRITE_TIMEOUT},
};

/// Takes the streams that hyper starts, for the task of their connection. There are no more than the
/// streams that a connection may have.
#[derive(Clone)]
pub(super) struct Executor<'a> {
    started: UnboundedSender<Stream<'a>>,
    answered: Answered,
}

impl<'a> Executor<'a> {
    pub(super) fn new() -> (Self, UnboundedReceiver<Stream<'a>>) {
        let (started, streams) = unbounded_channel();
        (Self { started, answered: Answered::default() }, streams)
    }

    /// What a stream sets when its answer is known.
    pub(super) fn answered(&self) -> Answered {
        self.answered.clone()
    }
}

impl<'a, F: Future<Output = ()> + Send + 'a> hyper::rt::Executor<F> for Executor<'a> {
    fn execute(&self, future: F) {
        let (future, answered) = (Box::pin(future), self.answered.clone());
        let stream = Stream { future, answered, is_unread: false, is_ended: false, due: None };
        // It fails if the connection has ended already.
        let _ = self.started.send(stream);
    }
}

/// Whether the stream that is polled now has just got its answer. The streams of a connection are
/// polled one after the other.
#[derive(Clone, Default)]
pub(super) struct Answered(Arc<AtomicU8>);

impl Answered {
    /// The answer is known, and the body of the request may be unread.
    pub(super) fn set(&self, is_unread: bool) {
        self.0.store(1 + u8::from(is_unread), Ordering::Relaxed);
    }

    /// Whether the body may be unread; `None` without an answer.
    fn take(&self) -> Option<bool> {
        match self.0.swap(0, Ordering::Relaxed) {
            0 => None,
            answered => Some(answered > 1),
        }
    }
}

/// A stream, until its answer is sent.
pub(super) struct Stream<'a> {
    future: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    answered: Answered,
    is_unread: bool,
    /// Whether the answer is sent.
    is_ended: bool,
    /// Until when the client has to take the answer, or may stop sending.
    due: Option<Pin<Box<Sleep>>>,
}

/// The client did not take an answer in time.
pub(super) struct Stalled;

impl Future for Stream<'_> {
    type Output = Result<(), Stalled>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_ended {
            self.is_ended = self.future.as_mut().poll(cx).is_ready();
            if let Some(is_unread) = self.answered.take() {
                self.is_unread = is_unread;
                self.due = Some(Box::pin(sleep(WRITE_TIMEOUT)));
            }
            if self.is_ended {
                if !self.is_unread {
                    return Poll::Ready(Ok(()));
                }
                // Dropping the future resets the stream. Some clients lose an answer that a reset
                // follows at once, though it says that there was no error (RFC 9113, section 8.1).
                self.due = Some(Box::pin(sleep(HTTP2_RESET_DELAY)));
            }
        }
        let Some(due) = &mut self.due else { return Poll::Pending };
        ready!(due.as_mut().poll(cx));
        Poll::Ready(if self.is_ended { Ok(()) } else { Err(Stalled) })
    }
}

/// The slots of a connection's streams: its own for one of them, and a further one for each other.
#[derive(Default)]
pub(super) struct StreamSlots {
    is_own_taken: AtomicBool,
}

/// The slot of one stream.
pub(super) enum StreamSlot {
    /// That of the connection.
    Own(Arc<StreamSlots>),
    Further(#[expect(dead_code, reason = "it is held until it is dropped")] CountedStream),
}

impl StreamSlots {
    /// `None` when a limit on connections is reached.
    pub(super) fn take(self: &Arc<Self>, inbound: &Inbound, client: Client) -> Option<StreamSlot> {
        if !self.is_own_taken.swap(true, Ordering::Relaxed) {
            return Some(StreamSlot::Own(Arc::clone(self)));
        }
        inbound.count_stream(client).map(StreamSlot::Further)
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        if let Self::Own(slots) = self {
            slots.is_own_taken.store(false, Ordering::Relaxed);
        }
    }
}

/// The body of an answer, which holds the slot of its stream.
pub(super) struct Answer {
    body: Full<Bytes>,
    _slot: Option<StreamSlot>,
}

impl Answer {
    pub(super) fn new(body: Full<Bytes>, slot: StreamSlot) -> Self {
        Self { body, _slot: Some(slot) }
    }

    pub(super) fn without_slot(body: Full<Bytes>) -> Self {
        Self { body, _slot: None }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// From the answer to a request whose body was not read to the reset of its stream.
const HTTP2_RESET_DELAY: Duration = Duration::from_secs(1);
