//! The byte stream between a socket and hyper: it fails when the client is too slow or floods.

mod frames;

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use frames::{FrameFault, Frames};

/// A stream whose frames are followed.
pub(super) struct Guard<S> {
    stream: S,
    /// What was read before it was known to be HTTP/2.
    read: BytesMut,
    frames: Frames,
    alarm: Pin<Box<Sleep>>,
    fault: Arc<OnceLock<&'static str>>,
}

impl<S> Guard<S> {
    pub(super) fn new(stream: S, read: BytesMut) -> Self {
        Self {
            stream,
            read,
            frames: Frames::new(Instant::now()),
            alarm: Box::pin(sleep(Duration::ZERO)),
            fault: Arc::default(),
        }
    }

    /// Where the reason will be, if the client is the reason that the connection ends.
    pub(super) fn fault(&self) -> Arc<OnceLock<&'static str>> {
        Arc::clone(&self.fault)
    }

    fn fail<T>(&self, fault: FrameFault) -> Poll<io::Result<T>> {
        // The first fault is the reason.
        let _ = self.fault.set(fault.label());
        Poll::Ready(Err(io::Error::other(fault)))
    }

    /// Notes the fault if a write failed because the client reads nothing.
    fn note(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::TimedOut {
            let _ = self.fault.set(FrameFault::NotReading.label());
        }
        error
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.read.is_empty() {
            let read = Pin::new(&mut self.stream).poll_read(cx, buf)?;
            if read.is_pending() {
                let Some(due) = self.frames.due() else { return Poll::Pending };
                if self.alarm.deadline() != due {
                    self.alarm.as_mut().reset(due);
                }
                ready!(self.alarm.as_mut().poll(cx));
                return self.fail(FrameFault::TooSlow);
            }
        } else {
            let take = self.read.len().min(buf.remaining());
            buf.put_slice(&self.read[..take]);
            self.read.advance(take);
        }
        match self.frames.follow(&buf.filled()[before..], Instant::now()) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(fault) => self.fail(fault),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        written.map_err(|error| self.note(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        flushed.map_err(|error| self.note(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        closed.map_err(|error| self.note(error))
    }
}
