//! The byte stream between a socket and hyper: it hands hyper one checked request after another.
//!
//! Each head is held here until it is complete and has passed the check in `head.rs`; only then
//! does hyper get it. No byte behind a request is handed on before the length of that request is
//! known. A head that fails is replaced by an empty request. The service answers that with the
//! fault that the [`HeadVerdict`] holds, like any other refusal, and then the connection ends.

mod head;

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{HTTP2_PREFACE, HeadFault, IDLE_TIMEOUT};
use head::{Framing, examine};

/// A stream that hands on one checked request after another.
pub(super) struct Wire<S> {
    stream: S,
    phase: Phase,
    unread: BytesMut,
    cleared: usize,
    verdict: Arc<HeadVerdict>,
    /// Whether the connection may begin with the preface of HTTP/2.
    is_http2_allowed: bool,
    /// Whether a byte of the current head has arrived.
    is_begun: bool,
    /// Whether it was preceded by the one empty line that is allowed.
    had_empty_line: bool,
    service: Service,
    due: Instant,
    alarm: Pin<Box<Sleep>>,
}

/// What is read next.
enum Phase {
    /// A head, or nothing while the connection idles.
    Head,
    /// A body of which this many bytes are left.
    Body(u64),
    /// A chunked body. Only hyper knows where it ends, so it is the last of its connection.
    LastBody,
    /// Nothing: the request was refused.
    Refused,
}

/// What hyper has to do with the connection.
#[derive(PartialEq, Eq)]
enum Service {
    /// Nothing, until there is a request.
    Waiting,
    /// It serves requests.
    Serving,
    /// It was told that no more requests come, so that it ends and its buffers are freed.
    Rested,
}

/// What the service has to know about the current head: its fault, and whether it is the last.
#[derive(Default)]
pub(super) struct HeadVerdict {
    fault: AtomicU8,
    is_last: AtomicU8,
}

impl HeadVerdict {
    /// The fault of the request that is served now.
    pub(super) fn fault(&self) -> Option<HeadFault> {
        match self.fault.load(Ordering::Acquire) {
            1 => Some(HeadFault::Malformed),
            2 => Some(HeadFault::TooLarge),
            3 => Some(HeadFault::TooSlow),
            _ => None,
        }
    }

    /// Whether the connection ends with the request that is served now.
    pub(super) fn is_last(&self) -> bool {
        self.is_last.load(Ordering::Acquire) != 0
    }
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, verdict: Arc<HeadVerdict>, is_http2_allowed: bool) -> Self {
        let due = Instant::now() + HEAD_TIMEOUT;
        Self {
            stream,
            phase: Phase::Head,
            unread: BytesMut::new(),
            cleared: 0,
            verdict,
            is_http2_allowed,
            is_begun: false,
            had_empty_line: false,
            service: Service::Waiting,
            due,
            alarm: Box::pin(sleep_until(due)),
        }
    }

    /// Whether more requests may come after hyper has ended.
    pub(super) fn is_open(&self) -> bool {
        self.service != Service::Serving
    }

    /// Whether the client speaks HTTP/2 without having asked: it knows that this is allowed.
    pub(super) fn is_http2(&self) -> bool {
        self.is_http2_allowed && self.unread.starts_with(HTTP2_PREFACE)
    }

    /// The stream, and what was read of it.
    pub(super) fn into_http2(self) -> (S, BytesMut) {
        (self.stream, self.unread)
    }

    /// Looks for a complete head in the bytes read so far, and decides how far hyper may read.
    fn examine(&mut self) {
        while self.unread.starts_with(b"\r\n") {
            // RFC 9112, section 2.2: "at least one empty line" before a request is ignored. Nobody
            // sends more than one by mistake.
            if self.had_empty_line {
                return self.refuse(HeadFault::Malformed);
            }
            self.had_empty_line = true;
            self.unread.advance(2);
        }
        match examine(&self.unread) {
            Ok(None) => {}
            Ok(Some((length, framing))) => {
                self.cleared = length;
                self.phase = match framing {
                    Framing::Length(0) => self.next_head(),
                    Framing::Length(bytes) => Phase::Body(bytes),
                    Framing::Chunked => {
                        self.verdict.is_last.store(1, Ordering::Release);
                        Phase::LastBody
                    }
                };
            }
            Err(fault) => self.refuse(fault),
        }
    }

    fn next_head(&mut self) -> Phase {
        self.is_begun = false;
        self.had_empty_line = false;
        self.due = Instant::now() + REST_AFTER;
        Phase::Head
    }

    /// Sets the deadline of a head at its first byte; later bytes do not extend it.
    fn begin_head(&mut self) {
        if !self.is_begun {
            self.is_begun = true;
            self.due = Instant::now() + HEAD_TIMEOUT;
        }
    }

    fn refuse(&mut self, fault: HeadFault) {
        self.verdict.fault.store(fault as u8, Ordering::Release);
        self.verdict.is_last.store(1, Ordering::Release);
        self.phase = Phase::Refused;
        self.unread.clear();
        self.unread.extend_from_slice(STAND_IN);
        self.cleared = STAND_IN.len();
    }

    /// Hands on the bytes that were cleared, and the part of a body that was read.
    fn hand_on(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let before = buf.filled().len();
        self.give(buf, self.cleared);
        if self.cleared == 0 {
            match self.phase {
                Phase::Body(left) => {
                    let given = self.give(buf, usize::try_from(left).unwrap_or(usize::MAX));
                    self.pass_body(given);
                }
                Phase::LastBody => {
                    self.give(buf, usize::MAX);
                }
                Phase::Head | Phase::Refused => {}
            }
        }
        buf.filled().len() > before
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>, at_most: usize) -> usize {
        let take = at_most.min(self.unread.len()).min(buf.remaining());
        buf.put_slice(&self.unread[..take]);
        self.unread.advance(take);
        self.cleared = self.cleared.saturating_sub(take);
        if self.unread.is_empty() {
            self.unread = BytesMut::new(); // an idle connection holds no buffer
        }
        take
    }

    fn pass_body(&mut self, bytes: usize) {
        if let Phase::Body(left) = &mut self.phase {
            *left = left.saturating_sub(bytes as u64);
            if *left == 0 {
                self.phase = self.next_head();
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Waits until there is a request for hyper, possibly one to be refused. `false` if none comes.
    pub(super) async fn has_request(&mut self) -> bool {
        if self.service == Service::Rested {
            self.due = Instant::now() + (IDLE_TIMEOUT - REST_AFTER);
        }
        self.service = Service::Waiting;
        let has_request = poll_fn(|cx| {
            loop {
                if self.is_http2() {
                    return Poll::Ready(true);
                }
                // What may still become the preface is not yet a malformed head.
                if !(self.is_http2_allowed && HTTP2_PREFACE.starts_with(&self.unread)) {
                    self.examine();
                }
                if self.cleared > 0 {
                    return Poll::Ready(true);
                }
                if !matches!(ready!(self.poll_head(cx)), Ok(true)) {
                    return Poll::Ready(false);
                }
            }
        });
        let has_request = has_request.await;
        self.service = Service::Serving;
        self.is_http2_allowed &= self.is_http2();
        has_request
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.unread.is_empty() {
            self.begin_head(); // it arrived together with the request before it
        }
        let mut part = [MaybeUninit::uninit(); READ_BYTES];
        let mut part = ReadBuf::uninit(&mut part);
        if Pin::new(&mut self.stream).poll_read(cx, &mut part)?.is_ready() {
            if part.filled().is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.unread.extend_from_slice(part.filled());
            self.begin_head();
            return Poll::Ready(Ok(true));
        }
        if self.is_begun && self.alarm.deadline() > self.due {
            let due = self.due;
            self.alarm.as_mut().reset(due);
        }
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            // For an idle connection the alarm is reset when it fires, not at every request.
            if self.alarm.deadline() < self.due {
                let due = self.due;
                self.alarm.as_mut().reset(due);
                continue;
            }
            if self.service == Service::Serving && !self.is_begun {
                self.service = Service::Rested;
                return Poll::Ready(Ok(false));
            }
            if self.unread.is_empty() {
                return Poll::Ready(Ok(false)); // nothing arrived, except perhaps an empty line
            }
            self.refuse(HeadFault::TooSlow);
            return Poll::Ready(Ok(true));
        }
    }

    /// Reads a body directly into hyper's buffer, no further than its end. `unread` is empty then.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = match self.phase {
            Phase::Body(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Phase::Head | Phase::LastBody | Phase::Refused => usize::MAX,
        };
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(left.min(buf.remaining())));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        self.pass_body(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.cleared == 0 && matches!(self.phase, Phase::Head) {
                self.examine();
            }
            if self.hand_on(buf) {
                return Poll::Ready(Ok(()));
            }
            match self.phase {
                Phase::Head => {
                    if !ready!(self.poll_head(cx))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Phase::Body(_) | Phase::LastBody => return self.poll_body(cx, buf),
                Phase::Refused => return Poll::Pending,
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Closes the writing side. The stream that is returned is only for reading.
    pub(super) async fn close(mut self) -> S {
        // It fails if the client has gone already.
        let _ = self.stream.shutdown().await;
        self.stream
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Leaves the connection open for the next request. [`Wire::close`] closes it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// What hyper reads in place of a head that was refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: wilco\r\nconnection: close\r\n\r\n";
/// From the first byte of a head, or from the start of the connection, to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection idles until its buffers are freed.
const REST_AFTER: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 4 << 10;
