//! Notes the status line of an answer when it arrives, before hyper has read the whole head. If the head
//! is malformed, too long or cut off, hyper returns none of it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;
use http::{StatusCode, Uri};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected, Connection};
use tower_service::Service;

/// Makes connections that note the status lines of their answers.
#[derive(Clone)]
pub(super) struct Noting<C>(pub(super) C);

impl<C> Service<Uri> for Noting<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
{
    type Response = Noted<C::Response>;
    type Error = C::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = self.0.call(uri);
        Box::pin(async move { Ok(Noted { io: connected.await?, note: Note::default() }) })
    }
}

/// A connection with a note of its next answer.
pub(super) struct Noted<T> {
    io: T,
    note: Note,
}

impl<T: Connection> Connection for Noted<T> {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.note.clone())
    }
}

impl<T: Read + Unpin> Read for Noted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut to: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut part = [0; PART_BYTES];
        let length = to.remaining().min(PART_BYTES);
        let mut part = ReadBuf::new(&mut part[..length]);
        ready!(Pin::new(&mut self.io).poll_read(context, part.unfilled()))?;
        self.note.lines().arrived(part.filled());
        to.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Noted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.note.lines().begin();
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note.lines().begin();
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }
}

/// The answer of a connection to its current request.
#[derive(Clone, Default)]
pub(super) struct Note(Arc<Mutex<Lines>>);

impl Note {
    /// The note of the connection that the request was sent on, if it was sent.
    pub(super) fn of(captured: &CaptureConnection) -> Option<Self> {
        let mut extras = http::Extensions::new();
        captured.connection_metadata().as_ref()?.get_extras(&mut extras);
        extras.remove()
    }

    /// The status of the answer, once its status line has arrived. Nothing more is noted until the next
    /// request.
    pub(super) fn take(&self) -> Option<StatusCode> {
        match std::mem::take(&mut *self.lines()) {
            Lines::Status(status) => Some(status),
            Lines::Idle | Lines::First(_) | Lines::Interim { .. } | Lines::Odd => None,
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the lines of an answer have arrived.
#[derive(Default)]
enum Lines {
    /// No request is waiting for an answer.
    #[default]
    Idle,
    /// A part of the status line.
    First(Vec<u8>),
    /// The head of an interim response (1xx), which another response follows.
    Interim {
        is_line_empty: bool,
    },
    Status(StatusCode),
    /// It is not HTTP/1.
    Odd,
}

impl Lines {
    /// Notes that a request is being written.
    fn begin(&mut self) {
        if matches!(self, Self::Idle) {
            *self = Self::First(Vec::new());
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self {
                Self::First(line) if *byte == b'\n' => {
                    if line.trim_ascii().is_empty() {
                        line.clear();
                        continue;
                    }
                    *self = match status(line.trim_ascii_end()) {
                        Some(status) if status.is_informational() => {
                            Self::Interim { is_line_empty: true }
                        }
                        Some(status) => Self::Status(status),
                        None => Self::Odd,
                    };
                }
                Self::First(line) if line.len() < STATUS_LINE_BYTES_MAX => line.push(*byte),
                Self::First(_) => *self = Self::Odd,
                Self::Interim { is_line_empty: true } if *byte == b'\n' => {
                    *self = Self::First(Vec::new());
                }
                Self::Interim { is_line_empty } => {
                    *is_line_empty = *byte == b'\n' || *is_line_empty && *byte == b'\r';
                }
                Self::Idle | Self::Status(_) | Self::Odd => return,
            }
        }
    }
}

/// `HTTP/1.1 200 OK`
fn status(line: &[u8]) -> Option<StatusCode> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', code @ ..] = rest else { return None };
    let (code, rest) = code.split_at_checked(3)?;
    let is_over = rest.first().is_none_or(|byte| *byte == b' ');
    StatusCode::from_bytes(code).ok().filter(|_| is_over)
}

const PART_BYTES: usize = 8 << 10;
const STATUS_LINE_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Note {
        let note = Note::default();
        note.lines().begin();
        note
    }

    #[test]
    fn a_status_counts_once_its_line_is_complete() {
        for (arrived, expected) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 204\n", Some(204)),
            ("\r\nHTTP/1.1 410 \r\nx", Some(410)),
            ("HTTP/1.1 200 OK", None),
            ("HTTP/1.1 2000 OK\r\n", None),
            ("HTTP/1.1 20\r\n", None),
            ("HTTP/2 200 OK\r\n", None),
            ("ICY 200 OK\r\nHTTP/1.1 200 OK\r\n", None),
            ("HTTP/1.1 100 Continue\r\n", None),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n", Some(201)),
            ("HTTP/1.1 103 X\r\na: b\r\n\r\nHTTP/1.1 102 Y\n\nHTTP/1.1 500 Z\r\n", Some(500)),
            ("HTTP/1.1 103 X\r\nHTTP/1.1 200 OK\r\n", None),
        ] {
            let (whole, parts) = (asked(), asked());
            whole.lines().arrived(arrived.as_bytes());
            arrived.bytes().for_each(|byte| parts.lines().arrived(&[byte]));
            let expected = expected.map(|code| StatusCode::from_u16(code).unwrap());
            assert_eq!([whole.take(), parts.take()], [expected; 2], "{arrived:?}");
            whole.lines().arrived(b"HTTP/1.1 200 OK\r\n");
            assert_eq!(whole.take(), None, "that answers no request");
        }
        let note = asked();
        note.lines().arrived(&b"x".repeat(1 << 20));
        assert!(matches!(*note.lines(), Lines::Odd));
    }
}
