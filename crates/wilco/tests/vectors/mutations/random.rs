//! Changes a request at random.

use super::{Case, Request};

/// A generator that makes the same of the same seed (xorshift).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // A seed of few bits would begin with small numbers.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }

    pub(super) fn change(&mut self, request: &mut Request, cases: &[Case]) {
        let at = self.below(request.headers.len());
        match self.below(12) {
            0..=5 if !request.headers.is_empty() => {
                let mut value = std::mem::take(&mut request.headers[at].1);
                self.bytes(&mut value);
                request.headers[at].1 = value;
            }
            6 | 7 => self.bytes(&mut request.body),
            8 => {
                let mut url = std::mem::take(&mut request.url).into_bytes();
                self.bytes(&mut url);
                request.url = String::from_utf8_lossy(&url).into_owned();
            }
            9 => request.method = ["GET", "post", "PUT", "POST", ""][self.below(5)].into(),
            10 if !request.headers.is_empty() => self.lines(request, at),
            _ => {
                let other = self.below(cases.len());
                self.borders(request, &cases[other].request);
            }
        }
    }

    /// Changes bytes.
    fn bytes(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let more: &[u8] = PIECES[self.below(PIECES.len())].as_bytes();
        match self.below(10) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, more.iter().copied())),
            4 => bytes.extend(more),
            5 => drop(bytes.splice(0..0, more.iter().copied())),
            6 => {
                let end = at + self.below(bytes.len() - at);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            7 => bytes[at..].make_ascii_uppercase(),
            8 => bytes[at..].make_ascii_lowercase(),
            _ if !bytes.is_empty() => {
                let other = self.below(bytes.len());
                bytes.swap(at, other);
            }
            _ => {}
        }
    }

    /// Changes lines of the head.
    fn lines(&mut self, request: &mut Request, at: usize) {
        let line = request.headers[at].clone();
        let other = self.below(request.headers.len());
        match self.below(6) {
            0 => request.headers.push(line),
            1 => drop(request.headers.remove(at)),
            2 => request.headers.insert(0, (line.0, PIECES[self.below(PIECES.len())].into())),
            3 => request.headers[at].1 = request.headers[other].1.clone(),
            4 => request.headers[at].0.make_ascii_uppercase(),
            _ => request.headers.swap(at, other),
        }
    }

    /// Moves bytes from one part into another, or takes a part of another request.
    fn borders(&mut self, request: &mut Request, other: &Request) {
        let at = self.below(request.headers.len());
        let bytes = self.below(4) + 1;
        match self.below(5) {
            0 => request.body = other.body.clone(),
            1 => request.url = other.url.clone(),
            2 if !request.headers.is_empty() && bytes < request.body.len() => {
                let moved = request.body.drain(..bytes);
                request.headers[at].1.extend(moved);
            }
            3 if request.headers.get(at).is_some_and(|(_, value)| value.len() > bytes) => {
                let value = &mut request.headers[at].1;
                let moved = value.split_off(value.len() - bytes);
                request.body.splice(0..0, moved);
            }
            _ => {
                let name = request.headers.get(at).map(|(name, _)| name.clone());
                let same = other.headers.iter().find(|(header, _)| Some(header) == name.as_ref());
                if let Some((_, value)) = same {
                    request.headers[at].1 = value.clone();
                }
            }
        }
    }
}

/// What changes insert.
const PIECES: &[&str] = &[
    "",
    "0",
    "00",
    "=",
    "==",
    "a",
    "A",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    ",",
    ";",
    ".",
    "..",
    "-",
    "+",
    "_",
    "/",
    "%",
    "%00",
    "%3d",
    "&",
    "&a=1",
    "?",
    "#",
    ":",
    ":443",
    ":80",
    "\"",
    "{",
    "}",
    "[]",
    "null",
    "v1=",
    "v1,",
    "v0=",
    "t=",
    "t=0,",
    "v1=00,",
    "v1,AAAA ",
    "sha256=",
    "sha1=",
    "Bearer ",
    "Basic ",
    "e0",
    ".0",
    "\u{663}",
    "\u{ff11}",
    "\u{feff}",
    "\u{200b}",
    "\u{a0}",
    "none",
    "eyJhbGciOiJub25lIn0.",
    ",\"a\":1",
    "9999999999",
    "http://",
    "https://a@",
];
