//! The bytes of a connection on their way to hyper, and what is not let through.
//!
//! hyper takes some requests that can be read in two ways: a length beside a chunked body, two hosts,
//! bare line feeds. Where a proxy in front reads them the other way, one request hides in another
//! (RFC 9112, section 11.2). So each head is held here until it is whole, checked strictly, and only
//! then handed on; and no byte behind a request is handed on before its length is known. A head that
//! fails is replaced by an empty request, and the [`Verdict`] that goes with it is answered like any
//! other refusal, after which the connection ends.

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
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// A connection that hands on one checked request after another.
pub(super) struct Wire<S> {
    stream: S,
    phase: Phase,
    unread: BytesMut,
    cleared: usize,
    verdict: Arc<Verdict>,
    /// Whether a byte of the head that is read now has come.
    is_begun: bool,
    /// Whether it was preceded by the one empty line that is allowed.
    had_empty_line: bool,
    service: Service,
    due: Instant,
    alarm: Pin<Box<Sleep>>,
    writing_since: Option<Instant>,
}

/// What is read next.
enum Phase {
    /// A head, or nothing while the connection idles.
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// A chunked body. Where it ends only hyper knows, so the connection ends with it.
    LastBody,
    /// Nothing any more.
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

/// What was wrong with a head, for the service that answers in its place.
#[derive(Default)]
pub(super) struct Verdict {
    fault: AtomicU8,
    is_last: AtomicU8,
}

/// Why a head was not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadFault {
    /// Not HTTP/1, or to be read in more than one way.
    Malformed = 1,
    /// Larger than [`HEAD_BYTES_MAX`], or more than [`HEADERS_MAX`] fields.
    TooLarge = 2,
    /// Begun and not ended within [`HEAD_TIMEOUT`].
    TooSlow = 3,
}

impl Verdict {
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
    pub(super) fn new(stream: S, verdict: Arc<Verdict>) -> Self {
        let due = Instant::now() + HEAD_TIMEOUT;
        Self {
            stream,
            phase: Phase::Head,
            unread: BytesMut::new(),
            cleared: 0,
            verdict,
            is_begun: false,
            had_empty_line: false,
            service: Service::Waiting,
            due,
            alarm: Box::pin(sleep_until(due)),
            writing_since: None,
        }
    }

    /// Whether more requests may come when hyper is done with it.
    pub(super) fn is_open(&self) -> bool {
        self.service != Service::Serving
    }

    /// Looks for a whole head in what was read, and decides how far hyper may read on.
    fn examine(&mut self) {
        while self.unread.starts_with(b"\r\n") {
            // RFC 9112, section 2.2: "at least one empty line" before a request is ignored. More
            // than one nobody sends by mistake.
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

    /// The first byte of a head sets its time, and nothing that is sent later sets it again.
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

    /// Hands on what was cleared, and of a body what is there.
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
            self.unread = BytesMut::new(); // who idles holds no buffer
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
    /// Waits until there is a request for hyper, be it one that is refused. `false` where none comes.
    pub(super) async fn has_request(&mut self) -> bool {
        if self.service == Service::Rested {
            self.due = Instant::now() + (IDLE_TIMEOUT - REST_AFTER);
        }
        self.service = Service::Waiting;
        let has_request = poll_fn(|cx| {
            loop {
                self.examine();
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
        has_request
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.unread.is_empty() {
            self.begin_head(); // it came together with the request before it
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
            // While a connection idles the alarm is set anew when it rings, not at every request.
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
                return Poll::Ready(Ok(false)); // nothing came, or nothing but an empty line
            }
            self.refuse(HeadFault::TooSlow);
            return Poll::Ready(Ok(true));
        }
    }

    /// Reads a body past the buffer, which is empty: straight to hyper, no further than its end.
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
    /// A peer that takes no answer for [`WRITE_TIMEOUT`] is let go.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing_since = None;
            return written;
        }
        let since = *self.writing_since.get_or_insert_with(Instant::now);
        let due = since + WRITE_TIMEOUT;
        if self.alarm.deadline() != due {
            self.alarm.as_mut().reset(due);
        }
        ready!(self.alarm.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Tells the peer that nothing more is written. What comes back is only for reading.
    pub(super) async fn close(mut self) -> S {
        let closed = poll_fn(|cx| {
            let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
            self.watch(cx, closed)
        });
        // It fails where the peer has gone already.
        let _ = closed.await;
        self.stream
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    /// Leaves the connection as it is: it may go on when hyper is done. [`Wire::close`] ends it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// How the end of a body is told.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// The length of the head that `bytes` begins with, once it is whole, and what follows it.
fn examine(bytes: &[u8]) -> Result<Option<(usize, Framing)>, HeadFault> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooLarge),
        Err(_) => return Err(HeadFault::Malformed),
    };
    let mut lines = bytes[..length].split(|&b| b == b'\n');
    let last = lines.next_back();
    if last != Some(b"") || lines.any(|line| !line.ends_with(b"\r")) {
        return Err(HeadFault::Malformed);
    }
    let target: Result<http::Uri, _> = request.path.unwrap_or_default().parse();
    if target.is_err() {
        return Err(HeadFault::Malformed);
    }
    framing(&request).map(|framing| Some((length, framing))).ok_or(HeadFault::Malformed)
}

/// RFC 9112, sections 3.2 and 6: one host, and one way to tell where the body ends.
fn framing(request: &httparse::Request<'_, '_>) -> Option<Framing> {
    let is_1_1 = request.version == Some(1);
    let (mut hosts, mut length, mut chunked) = (0, None, false);
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            if !field.value.iter().all(|&byte| is_of_a_host(byte)) {
                return None;
            }
        } else if field.name.eq_ignore_ascii_case("content-length") {
            let digits = std::str::from_utf8(field.value).ok()?;
            if length.is_some() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            length = Some(digits.parse().ok().filter(|&bytes| bytes <= LENGTH_MAX)?);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !is_1_1 || !field.value.eq_ignore_ascii_case(b"chunked") {
                return None;
            }
            chunked = true;
        }
    }
    if hosts > 1 || (is_1_1 && hosts == 0) {
        return None;
    }
    match (length, chunked) {
        (Some(_), true) => None,
        (None, true) => Some(Framing::Chunked),
        (length, false) => Some(Framing::Length(length.unwrap_or(0))),
    }
}

/// Whether a host and port may hold this byte (RFC 3986, section 3.2.2).
fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

/// What hyper reads in place of a head that was refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: wilco\r\nconnection: close\r\n\r\n";
/// The largest length that is understood. hyper keeps the last few numbers for itself and answers
/// them in its own way.
const LENGTH_MAX: u64 = u64::MAX >> 1;
/// The largest head, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most header fields of a request.
pub(super) const HEADERS_MAX: usize = 100;
/// From the first byte of a head, or from the start of the connection, to its last.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a peer may take nothing of an answer.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection idles until its buffers are freed.
const REST_AFTER: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str) -> Result<Option<Framing>, HeadFault> {
        examine(head.as_bytes()).map(|found| found.map(|(_, framing)| framing))
    }

    #[test]
    fn a_plain_head_tells_how_long_the_body_is() {
        for (fields, expected) in [
            ("Host: a\r\n", Framing::Length(0)),
            ("Host: a\r\nContent-Length: 17\r\n", Framing::Length(17)),
            ("Host: a\r\nTransfer-Encoding: Chunked\r\n", Framing::Chunked),
        ] {
            let head = format!("POST /webhook HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(check(&head), Ok(Some(expected)), "{head}");
            for end in 0..head.len() {
                assert_eq!(check(&head[..end]), Ok(None), "{:?}", &head[..end]);
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        for fields in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a b\r\n",
            "Host: a@b\r\n",
            "Host: a/b\r\n",
            "Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
            "Host: a\r\nContent-Length: 3, 3\r\n",
            "Host: a\r\nContent-Length: +3\r\n",
            "Host: a\r\nContent-Length: -1\r\n",
            "Host: a\r\nContent-Length: 0x3\r\n",
            "Host: a\r\nContent-Length: 99999999999999999999\r\n",
            "Host: a\r\nContent-Length: 18446744073709551615\r\n",
            "Host: a\r\nContent-Length:\r\n",
            "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: identity\r\n",
            "Host: a\nContent-Length: 3\r\n",
            "Host: a\r\nX: a\rb\r\n",
            "Host: a\r\nX : a\r\n",
            "Host: a\r\n folded\r\n",
            "Host: a\r\nX: a\0b\r\n",
            "Host: a\r\n: no name\r\n",
        ] {
            let head = format!("POST /webhook HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(check(&head), Err(HeadFault::Malformed), "{head:?}");
        }
    }

    #[test]
    fn a_first_line_that_is_not_http_1_is_malformed() {
        for line in [
            "POST /webhook HTTP/2.0",
            "POST /webhook HTTP/1.2",
            "POST  /webhook HTTP/1.1",
            "POST /web hook HTTP/1.1",
            "POST /webhook",
            "POST /webhook HTTP/1.1 ",
            "PRI * HTTP/2.0",
            "P\u{0}ST / HTTP/1.1",
            "\u{16}\u{3}\u{1}",
        ] {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(check(&head), Err(HeadFault::Malformed), "{head:?}");
        }
    }

    #[test]
    fn an_old_client_needs_no_host_and_may_not_chunk() {
        assert_eq!(check("POST / HTTP/1.0\r\n\r\n"), Ok(Some(Framing::Length(0))));
        let head = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(check(head), Err(HeadFault::Malformed));
    }

    #[test]
    fn a_head_past_the_limits_is_too_large() {
        let long = format!("POST / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(check(&long), Err(HeadFault::TooLarge));
        let many = format!("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(HEADERS_MAX));
        assert_eq!(check(&many), Err(HeadFault::TooLarge));
    }
}
