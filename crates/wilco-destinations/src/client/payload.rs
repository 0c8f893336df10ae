//! The body of a request as hyper sends it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinHandle;
use wilco::Body;

use crate::stored_body::{begin_to_read_at, joined};

/// Sends a body chunk by chunk. Its length is known, so that it goes out with `content-length`. The bytes
/// of a body in memory are shared with the event and not copied; of a stored one, one chunk is read at a
/// time.
pub(super) struct Payload {
    body: Body,
    sent: usize,
    /// The next chunk of a stored body, while it is read.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Payload {
    pub(super) fn new(body: Body) -> Self {
        Self { body, sent: 0, reading: None }
    }
}

impl HttpBody for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let chunk = if self.body.is_stored() {
            let Self { body, sent, reading } = &mut *self;
            let running = reading.get_or_insert_with(|| begin_to_read_at(body, *sent));
            let read = ready!(Pin::new(running).poll(context));
            *reading = None;
            joined(read)?
        } else {
            self.body.read_at(self.sent)?
        };
        self.sent += chunk.len();
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.body.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.body.len() - self.sent) as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_chunks_of_a_body_are_sent_without_being_copied() {
        let body: Body = [&b"can"[..], b"", b"ary"].into_iter().map(Bytes::from).collect();
        let mut payload = Payload::new(body.clone());
        assert_eq!(payload.size_hint().exact(), Some(6));
        let mut sent = Vec::new();
        while let Some(frame) = payload.frame().await {
            sent.push(frame.unwrap().into_data().unwrap());
        }
        let expected = body.chunks().map(Result::unwrap).filter(|chunk| !chunk.is_empty());
        let place = |chunk: Bytes| (chunk.as_ptr(), chunk.len());
        assert!(sent.into_iter().map(place).eq(expected.map(place)));
        assert!(payload.is_end_stream());
    }
}
