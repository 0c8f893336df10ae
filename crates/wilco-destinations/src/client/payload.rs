//! The body of a request as hyper sends it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use wilco::Body;

/// Sends a body chunk by chunk. Its length is known, so that it goes out with `content-length`, and its
/// bytes are shared with the event and not copied.
pub(super) struct Payload {
    chunks: vec::IntoIter<Bytes>,
    bytes_left: u64,
}

impl Payload {
    pub(super) fn new(body: &Body) -> Self {
        // An empty chunk would end a body early.
        let chunks: Vec<_> = body.chunks().filter(|chunk| !chunk.is_empty()).cloned().collect();
        Self { chunks: chunks.into_iter(), bytes_left: body.len() as u64 }
    }
}

impl HttpBody for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.chunks.next();
        self.bytes_left -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn the_chunks_of_a_body_are_sent_without_being_copied() {
        let body: Body = [&b"can"[..], b"", b"ary"].into_iter().map(Bytes::from).collect();
        let mut payload = Payload::new(&body);
        assert_eq!(payload.size_hint().exact(), Some(6));
        let mut sent = Vec::new();
        while let Some(frame) = payload.frame().await {
            sent.push(frame.unwrap().into_data().unwrap());
        }
        let expected: Vec<_> = body.chunks().filter(|chunk| !chunk.is_empty()).collect();
        let place = |chunk: &Bytes| (chunk.as_ptr(), chunk.len());
        assert!(sent.iter().map(place).eq(expected.into_iter().map(place)));
        assert!(payload.is_end_stream());
    }
}
