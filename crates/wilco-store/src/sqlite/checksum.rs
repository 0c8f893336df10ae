//! The checksums of an event: whatever single byte of a record flips, they differ.

use jiff::Timestamp;
use wilco::{Body, Digest, Event, EventId};

/// All that a record holds besides headers and body.
pub(crate) struct Head<'a> {
    pub(super) id: EventId,
    pub(super) source: &'a str,
    pub(super) provider: &'a str,
    pub(super) name: &'a str,
    pub(super) subject: Option<&'a str>,
    pub(super) delivery_id: Option<&'a str>,
    pub(super) received_at: Timestamp,
    pub(super) secret_name: &'a str,
    pub(super) digest: Digest,
    pub(super) conflict: bool,
    pub(super) body_bytes: u64,
}

/// CRC-32 of a record: of its head, which is what a listing reads, and of all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksums {
    pub(super) head: u32,
    pub(super) whole: u32,
}

impl Checksums {
    pub(super) fn of(event: &Event, delivery_id: Option<&str>) -> Self {
        Self::with_content(event, delivery_id, &content(event.headers.as_bytes(), &event.body))
    }

    /// With the part that takes long, which may have been made elsewhere.
    pub(super) fn with_content(
        event: &Event,
        delivery_id: Option<&str>,
        content: &crc32fast::Hasher,
    ) -> Self {
        let mut sum = Head::of(event, delivery_id).hasher();
        let head = sum.clone().finalize();
        sum.combine(content);
        Self { head, whole: sum.finalize() }
    }
}

/// The part of a checksum that is about headers and body.
pub(crate) fn content(headers: &[u8], body: &Body) -> crc32fast::Hasher {
    let mut sum = crc32fast::Hasher::new();
    add(&mut sum, headers);
    // As `add` does, whatever the chunks are.
    sum.update(&body.len().to_be_bytes());
    body.chunks().for_each(|chunk| sum.update(chunk));
    sum
}

impl<'a> Head<'a> {
    fn of(event: &'a Event, delivery_id: Option<&'a str>) -> Self {
        Self {
            id: event.id,
            source: event.source.as_str(),
            provider: &event.provider,
            name: &event.name,
            subject: event.subject.as_deref(),
            delivery_id,
            received_at: event.received_at,
            secret_name: &event.secret_name,
            digest: event.digest,
            conflict: event.conflict,
            body_bytes: event.body.len() as u64,
        }
    }

    pub(super) fn checksum(&self) -> u32 {
        self.hasher().finalize()
    }

    fn hasher(&self) -> crc32fast::Hasher {
        let mut sum = crc32fast::Hasher::new();
        for part in [
            self.id.to_string().as_bytes(),
            self.source.as_bytes(),
            self.provider.as_bytes(),
            self.name.as_bytes(),
            self.subject.unwrap_or("\0").as_bytes(),
            self.delivery_id.unwrap_or("\0").as_bytes(),
            &self.received_at.as_millisecond().to_be_bytes(),
            self.secret_name.as_bytes(),
            &self.digest.0,
            &[u8::from(self.conflict)],
            &self.body_bytes.to_be_bytes(),
        ] {
            add(&mut sum, part);
        }
        sum
    }
}

/// The length first, so that no byte can move from one part to the next.
fn add(sum: &mut crc32fast::Hasher, part: &[u8]) {
    sum.update(&part.len().to_be_bytes());
    sum.update(part);
}
