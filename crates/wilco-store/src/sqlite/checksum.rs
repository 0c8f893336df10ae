//! The checksums of an event: whatever single byte of a record flips, they differ.

use std::io;

use jiff::Timestamp;
use wilco::{Digest, Event, EventId, Origin};

/// All that a record holds besides headers and body, but for what is known only when it is written:
/// its id, and whether it conflicts with an earlier one.
pub(crate) struct Head<'a> {
    pub(super) source: &'a str,
    pub(super) provider: &'a str,
    pub(super) name: &'a str,
    pub(super) subject: Option<&'a str>,
    pub(super) delivery_id: Option<&'a str>,
    pub(super) received_at: Timestamp,
    pub(super) secret_name: &'a str,
    pub(super) origin: Origin,
    pub(super) digest: Digest,
    pub(super) body_bytes: u64,
}

/// CRC-32 of a record: of its head, which is what a listing reads, and of all of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksums {
    pub(super) head: u32,
    pub(super) whole: u32,
}

/// The checksums of a record that has no id yet: most of the work, done before the record is written.
pub(crate) struct Unsealed {
    head: crc32fast::Hasher,
    whole: crc32fast::Hasher,
}

impl Unsealed {
    /// Of an event whose id and conflict do not count yet.
    pub(super) fn of(event: &Event, delivery_id: Option<&str>) -> io::Result<Self> {
        let mut unsealed = Self::without_body(event, delivery_id, event.body.len() as u64);
        for chunk in event.body.chunks() {
            unsealed.add_body(&chunk?);
        }
        Ok(unsealed)
    }

    /// The same, before any of its body of this length.
    pub(super) fn without_body(event: &Event, delivery_id: Option<&str>, body_bytes: u64) -> Self {
        let head = Head {
            source: event.source.as_str(),
            provider: &event.provider,
            name: &event.name,
            subject: event.subject.as_deref(),
            delivery_id,
            received_at: event.received_at,
            secret_name: &event.secret_name,
            origin: event.origin,
            digest: event.digest,
            body_bytes,
        };
        let head = head.hasher();
        let mut whole = head.clone();
        add(&mut whole, event.headers.as_bytes());
        // Its length is in the head.
        Self { head, whole }
    }

    /// Adds the next part of the body.
    pub(super) fn add_body(&mut self, part: &[u8]) {
        self.whole.update(part);
    }

    pub(super) fn seal(&self, id: EventId, conflict: bool) -> Checksums {
        let [head, whole] = [&self.head, &self.whole].map(|sum| seal(sum.clone(), id, conflict));
        Checksums { head, whole }
    }
}

impl Head<'_> {
    pub(super) fn checksum(&self, id: EventId, conflict: bool) -> u32 {
        seal(self.hasher(), id, conflict)
    }

    fn hasher(&self) -> crc32fast::Hasher {
        let mut sum = crc32fast::Hasher::new();
        for part in [
            self.source.as_bytes(),
            self.provider.as_bytes(),
            self.name.as_bytes(),
            self.subject.unwrap_or("\0").as_bytes(),
            self.delivery_id.unwrap_or("\0").as_bytes(),
            &self.received_at.as_millisecond().to_be_bytes(),
            self.secret_name.as_bytes(),
            self.origin.as_str().as_bytes(),
            &self.digest.0,
            &self.body_bytes.to_be_bytes(),
        ] {
            add(&mut sum, part);
        }
        sum
    }
}

fn seal(mut sum: crc32fast::Hasher, id: EventId, conflict: bool) -> u32 {
    sum.update(&id.to_bits().to_be_bytes());
    sum.update(&[u8::from(conflict)]);
    sum.finalize()
}

/// The length first, so that no byte can move from one part to the next.
fn add(sum: &mut crc32fast::Hasher, part: &[u8]) {
    sum.update(&part.len().to_be_bytes());
    sum.update(part);
}
