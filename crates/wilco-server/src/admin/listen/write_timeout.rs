//! A connection that fails when its client has taken nothing for too long.

use std::{
    io::{Error, ErrorKind, IoSlice, Result},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// A connection that fails when its client has taken nothing for too long.
pub(super) struct WithWriteTimeout<S> {
    stream: S,
    timeout: Duration,
    /// Set while the client takes nothing.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> WithWriteTimeout<S> {
    pub(super) fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout, end: None }
    }

    fn limit<T>(&mut self, written: Poll<Result<T>>, context: &mut Context<'_>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.end = None;
            return written;
        }
        let timeout = self.timeout;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(end.as_mut().poll(context));
        // In case it is polled again after the error.
        end.as_mut().reset(Instant::now() + timeout);
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client reads too slowly")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WithWriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WithWriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.limit(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.limit(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_fails_only_when_nothing_was_taken_for_the_whole_time() {
        let (client, server) = duplex(4);
        let mut server = WithWriteTimeout::new(server, Duration::from_secs(30));
        let (mut from_server, _to_server) = tokio::io::split(client);
        let take_slowly = async {
            let mut taken = [0; 4];
            for _ in 0..3 {
                sleep(Duration::from_secs(29)).await;
                from_server.read_exact(&mut taken).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(b"sixteen bytes it"), take_slowly);
        written.unwrap();
        let error = server.write_all(b"one more").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
