//! What the fuzz targets share: a request as a text, and whose it is.

use jiff::Timestamp;
use wilco::{Arrival, Head, Headers, Key, Provider, Scheme, Secret, provider};

/// Nobody who does not know it can sign with it, and a fuzzer does not find it.
pub const SECRET: &str = "whsec_d2lsY28gZnV6ei4uLi4uLi4uLi4uLi4uLi4uLi4uLg==";

/// A provider by the first byte, and the rest.
pub fn provider_of(data: &[u8]) -> Option<(&'static Provider, &[u8])> {
    let (first, rest) = data.split_first()?;
    let all = provider::all();
    Some((&all[usize::from(*first) % all.len()], rest))
}

/// A request: a line `METHOD URL`, lines `name: value`, an empty line, the body.
pub fn request(data: &[u8]) -> Arrival {
    let (head, body) = match data.windows(2).position(|bytes| bytes == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &b""[..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, url) = first.split_once(' ').unwrap_or(("POST", &first));
    let fields = lines.filter_map(|line| {
        let at = line.windows(2).position(|bytes| bytes == b": ")?;
        Some((std::str::from_utf8(&line[..at]).ok()?, &line[at + 2..]))
    });
    Arrival {
        received_at: now(),
        head: Head {
            method: method.to_owned().into(),
            url: url.to_owned(),
            headers: Headers::from_pairs(fields),
        },
        body: body.to_vec().into(),
    }
}

/// The key for this scheme; none if it has public keys.
pub fn keys(scheme: &Scheme) -> Vec<Key> {
    secrets().iter().filter_map(|secret| scheme.key(secret).ok()).collect()
}

pub fn secrets() -> Vec<Secret> {
    Secret::new("fuzz", SECRET.into()).into_iter().collect()
}

/// The time of most vectors.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap_or_default()
}
