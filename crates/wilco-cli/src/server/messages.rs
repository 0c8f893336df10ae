//! The messages of a stream of the admin API: server-sent events.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{task::JoinSet, time::timeout};
use wilco_server::client::ClientError;

/// The messages of a stream, as they arrive.
pub(crate) struct Messages {
    body: Incoming,
    /// What drives the connection, if its client does not.
    _connection: JoinSet<()>,
    received: Vec<u8>,
    /// No message ends in this many bytes at its beginning.
    looked: usize,
}

/// One message of a stream.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Message {
    /// Where a stream goes on that begins behind this message.
    pub(crate) id: String,
    /// What it is about; empty if it only has an id.
    pub(crate) kind: String,
    pub(crate) data: String,
}

impl Messages {
    pub(super) fn new(body: Incoming, connection: JoinSet<()>) -> Self {
        Self { body, _connection: connection, received: Vec::new(), looked: 0 }
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// Why the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Message, ClientError> {
        loop {
            if let Some(message) = take(&mut self.received, self.looked) {
                self.looked = 0;
                return Ok(message);
            }
            // The last byte may be the first half of an end.
            self.looked = self.received.len().saturating_sub(1);
            if self.received.len() > MESSAGE_BYTES_MAX {
                return Err(ClientError::Failed("a message of the stream is too long".into()));
            }
            let frame = timeout(SILENCE_MAX, self.body.frame()).await;
            let frame = frame.map_err(|_| ClientError::TimedOut(SILENCE_MAX))?;
            let frame = frame.ok_or_else(|| ClientError::Failed("the stream ended".into()))?;
            let frame = frame.map_err(|error| ClientError::Failed(error.to_string()))?;
            self.received.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
    }
}

/// Takes the first complete message of what was received. None ends before `looked`.
fn take(received: &mut Vec<u8>, looked: usize) -> Option<Message> {
    let end = looked + received[looked..].windows(2).position(|end| end == b"\n\n")?;
    let text: Vec<u8> = received.drain(..end + 2).collect();
    let mut message = Message::default();
    for line in String::from_utf8_lossy(&text).lines() {
        match line.split_once(": ") {
            Some(("id", value)) => message.id = value.into(),
            Some(("event", value)) => message.kind = value.into(),
            Some(("data", value)) => message.data = value.into(),
            _ => {}
        }
    }
    Some(message)
}

/// wilco sends its position every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_when_it_is_complete() {
        let mut received =
            b"retry: 1000\nid: a\n\n:\nid: b\n\nid: c\nevent: event\ndata: {\"a\": ".to_vec();
        let position = |id: &str| Message { id: id.into(), ..Message::default() };
        assert_eq!(take(&mut received, 0), Some(position("a")));
        assert_eq!(take(&mut received, 0), Some(position("b")));
        let looked = received.len() - 1;
        assert_eq!(take(&mut received, 0), None);
        received.extend_from_slice(b"\"x: y\"}\n\nid");
        let data = "{\"a\": \"x: y\"}".into();
        assert_eq!(
            take(&mut received, looked),
            Some(Message { id: "c".into(), kind: "event".into(), data })
        );
        assert_eq!((take(&mut received, 0), received.as_slice()), (None, &b"id"[..]));
    }
}
