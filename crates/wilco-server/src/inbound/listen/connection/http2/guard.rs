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

use crate::inbound::listen::connection::WRITE_TIMEOUT;
use frames::{FrameFault, Frames};

/// A stream whose frames are followed.
pub(super) struct Guard<S> {
    stream: S,
    /// What was read before it was known to be HTTP/2.
    read: BytesMut,
    frames: Frames,
    alarm: Pin<Box<Sleep>>,
    write_alarm: Pin<Box<Sleep>>,
    is_writing: bool,
    fault: Arc<OnceLock<&'static str>>,
}

impl<S> Guard<S> {
    pub(super) fn new(stream: S, read: BytesMut) -> Self {
        Self {
            stream,
            read,
            frames: Frames::new(Instant::now()),
            alarm: Box::pin(sleep(Duration::ZERO)),
            write_alarm: Box::pin(sleep(Duration::ZERO)),
            is_writing: false,
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

    /// Fails a write once the client has read nothing for [`WRITE_TIMEOUT`].
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_writing = false;
            return written;
        }
        if !self.is_writing {
            self.is_writing = true;
            self.write_alarm.as_mut().reset(Instant::now() + WRITE_TIMEOUT);
        }
        ready!(self.write_alarm.as_mut().poll(cx));
        self.fail(FrameFault::NotReading)
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
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, closed)
    }
}
