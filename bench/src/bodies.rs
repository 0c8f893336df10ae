//! What is sent: distinct bodies, signed beforehand, as complete requests in one long buffer.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use wilco::{Key, Provider, Secret, Unsigned, provider};

use crate::clock;

/// The secret that every body is signed with.
pub(crate) const SECRET: &str = "a-made-up-secret-for-the-bench";

/// The length of every body, in bytes.
pub(crate) const BODY_BYTES: usize = 1_000;

/// Signs as freispace does.
pub(crate) struct Signer {
    /// freispace.
    pub(crate) provider: &'static Provider,
    /// The one key.
    pub(crate) keys: [Key; 1],
    secret: Secret,
}

impl Signer {
    /// # Errors
    ///
    /// The library does not know freispace, or refuses the secret: a mistake in this program.
    pub(crate) fn new() -> io::Result<Self> {
        let provider = provider::find("freispace").ok_or_else(|| io::Error::other("no preset"))?;
        let secret = Secret::new("bench", SECRET.as_bytes().to_vec()).map_err(io::Error::other)?;
        let key = provider.scheme.key(&secret).map_err(io::Error::other)?;
        Ok(Self { provider, keys: [key], secret })
    }

    /// The header that signs a body: its name and value.
    ///
    /// # Errors
    ///
    /// freispace signs otherwise: a mistake in this program.
    pub(crate) fn sign(&self, body: &[u8]) -> io::Result<(String, String)> {
        let request = Unsigned::post(body, clock::now());
        let headers = self.provider.scheme.sign(&self.secret, &request);
        let header = headers.map_err(io::Error::other)?.pop();
        header.ok_or_else(|| io::Error::other("nothing is signed"))
    }
}

/// Requests of one length, one after another in one buffer.
pub(crate) struct Requests {
    buffer: Vec<u8>,
    length: usize,
}

impl Requests {
    /// Makes and signs `count` of them, about `subjects` bookings or about one booking each.
    ///
    /// # Errors
    ///
    /// The library does not know freispace, or refuses the secret: a mistake in this program.
    pub(crate) fn signed(count: usize, subjects: Option<u32>) -> io::Result<Self> {
        Self::signed_from(0, count, subjects)
    }

    /// The same with numbers from `first` on.
    ///
    /// # Errors
    ///
    /// Like [`signed`](Self::signed).
    pub(crate) fn signed_from(first: u64, count: usize, subjects: Option<u32>) -> io::Result<Self> {
        let signer = Signer::new()?;
        let mut requests = Self { buffer: Vec::new(), length: 0 };
        for number in (first..).take(count) {
            let subject = subjects.map_or(number, |subjects| number % u64::from(subjects));
            let body = body(number, subject);
            let (header, signature) = signer.sign(&body)?;
            write!(
                requests.buffer,
                "POST /webhook HTTP/1.1\r\nhost: localhost\r\nuser-agent: wilco-bench\r\n\
                 content-type: application/json\r\n{header}: {signature}\r\n\
                 content-length: {BODY_BYTES}\r\n\r\n"
            )?;
            requests.buffer.extend_from_slice(&body);
            if number == first {
                requests.length = requests.buffer.len();
                requests.buffer.reserve_exact(requests.length * (count - 1));
            }
        }
        Ok(requests)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.buffer.len().checked_div(self.length).unwrap_or(0)
    }
}

/// One round's way through the requests: each is handed out once, to one connection.
pub(crate) struct Queue {
    requests: Arc<Requests>,
    next: AtomicUsize,
}

impl Queue {
    /// Starts at the first request.
    pub(crate) fn new(requests: Arc<Requests>) -> Self {
        Self { requests, next: AtomicUsize::new(0) }
    }

    /// The next request; `None` once all are out, for none is ever sent twice.
    pub(crate) fn take(&self) -> Option<&[u8]> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) * self.requests.length;
        self.requests.buffer.get(start..start + self.requests.length)
    }
}

/// The number that a body was made with; `None` where it was not made here.
pub(crate) fn number(body: &[u8]) -> Option<u64> {
    let place = body.windows(NUMBER_MARK.len()).position(|part| part == NUMBER_MARK)?;
    let digits = body.get(place + NUMBER_MARK.len()..)?.get(..NUMBER_DIGITS)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// A `booking.updated` as freispace sends it, padded to [`BODY_BYTES`] in its description.
pub(crate) fn body(number: u64, subject: u64) -> Vec<u8> {
    let id = uuid(subject);
    let before = format!(
        concat!(
            r#"{{"id":"{id}","type":"booking","event":"booking.updated","#,
            r#""url":"https://app.freispace.com/dashboard?booking={id}","#,
            r#""data":{{"id":"{id}","name":"EP03 - Colour Grade {number:016}","#,
            r#""start":"2026-03-02T08:30:00","start_timezone":"Europe/Vienna","#,
            r#""end":"2026-03-02T17:00:00","end_timezone":"Europe/Vienna","#,
            r##""all_day":false,"byline":"with DP","color":"#1f6feb","optional":false,"##,
            r#""status":{{"id":"b393586c-a18d-4c05-8be3-7df3e9e4c8e8","name":"Pencilled","#,
            r##""description":null,"icon":"question-mark","color":"#b45309"}},"##,
            r#""project":{{"id":"c9375d6d-9193-4ccc-8f07-d990252c3c6f","name":"EP03","#,
            r#""byline":null,"number":"N204-3"}},"#,
            r#""resources":{{"suites":[],"resources":[]}},"description":""#,
        ),
        id = id,
        number = number,
    );
    let after = "\"}}";
    let padding = BODY_BYTES.saturating_sub(before.len() + after.len());
    let mut body = before.into_bytes();
    body.resize(body.len() + padding, b'.');
    body.extend_from_slice(after.as_bytes());
    body
}

/// What stands before the number of a body, and how long that is.
const NUMBER_MARK: &[u8] = b"Colour Grade ";
const NUMBER_DIGITS: usize = 16;

/// A UUID that looks random and is the same in every run.
fn uuid(number: u64) -> String {
    let (high, low) = (scatter(number), scatter(!number));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff
    )
}

/// SplitMix64: neighbours in, strangers out.
fn scatter(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ids(subjects: Option<u32>) -> (usize, usize) {
        let requests = Requests::signed(200, subjects).unwrap();
        let queue = Queue::new(Arc::new(requests));
        let bodies: HashSet<_> = std::iter::from_fn(|| queue.take())
            .map(|request| request[request.len() - BODY_BYTES..].to_vec())
            .collect();
        let ids: HashSet<_> = bodies
            .iter()
            .map(|body| serde_json::from_slice::<serde_json::Value>(body).unwrap())
            .map(|body| body["id"].as_str().unwrap().to_owned())
            .collect();
        (bodies.len(), ids.len())
    }

    #[test]
    fn every_body_is_json_of_the_same_length_and_none_comes_twice() {
        assert_eq!(ids(None), (200, 200));
    }

    #[test]
    fn a_body_is_known_by_its_number() {
        assert_eq!(number(&body(4_711, 1)), Some(4_711));
        assert_eq!(number(b"{}"), None);
    }

    #[test]
    fn bodies_are_spread_over_the_wanted_bookings() {
        assert_eq!(ids(Some(7)), (200, 7));
    }

    #[test]
    fn what_is_taken_out_is_counted_and_comes_to_an_end() {
        let requests = Requests::signed(2, None).unwrap();
        assert_eq!(requests.count(), 2);
        let queue = Queue::new(Arc::new(requests));
        assert!(queue.take().is_some_and(|request| request.starts_with(b"POST /webhook ")));
        assert!(queue.take().is_some());
        assert!(queue.take().is_none());
    }
}
