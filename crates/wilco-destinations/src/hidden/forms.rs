//! The forms in which a secret may be repeated: literally, with escapes (`%2F`, `\/`, `\u00e9`, `&#x2F;`),
//! or in Base64, alone or after other bytes, as in Basic authorization.

use std::ops::Range;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};

/// Bytes to look for.
pub(super) struct Needle {
    bytes: Vec<u8>,
    is_base64: bool,
}

/// The byte strings by which a secret is found.
pub(super) fn needles(secret: &[u8]) -> Vec<Needle> {
    let plain = [secret.to_vec(), Text::of(secret).unescaped(Escapes::Url).bytes];
    let base64 = (0..3).map(|before| inner_base64(secret, before));
    let url_safe = base64.clone().map(|text| text.replace('+', "-").replace('/', "_"));
    let base64 = base64.chain(url_safe).map(String::into_bytes);
    let mut needles: Vec<_> =
        plain.into_iter().map(|bytes| Needle { bytes, is_base64: false }).collect();
    needles.extend(base64.map(|bytes| Needle { bytes, is_base64: true }));
    needles.retain(|needle| needle.bytes.len() > EDGE_BYTES_MIN);
    needles.dedup_by(|a, b| a.bytes == b.bytes);
    needles
}

/// The characters of the Base64 that depend only on the secret, if `before` bytes come before it in its
/// group of three.
fn inner_base64(secret: &[u8], before: usize) -> String {
    let text = BASE64_STANDARD_NO_PAD.encode([&[0; 3][..before], secret].concat());
    let whole = (before + secret.len()) * 8 / 6;
    text[(before * 8).div_ceil(6)..whole].to_owned()
}

/// An output as it is, and with its escapes decoded.
pub(super) struct Output {
    readings: Vec<Text>,
    /// Whether the output was truncated.
    is_cut: bool,
}

impl Output {
    pub(super) fn new(output: &[u8], is_cut: bool) -> Self {
        let mut readings = vec![Text::of(output)];
        let mut from = 0;
        // JSON in a query string is escaped twice.
        for _ in 0..ESCAPED_MAX {
            let last = &readings[from..];
            let further: Vec<_> = last.iter().flat_map(Text::other_readings).collect();
            from = readings.len();
            readings.extend(further);
        }
        Self { readings, is_cut }
    }

    /// Where the secret occurs, including a part of it at an edge that was cut off.
    pub(super) fn find(&self, needle: &Needle) -> Vec<Range<usize>> {
        let found = self.readings.iter().flat_map(|text| {
            let mut found = text.find(&needle.bytes);
            if self.is_cut {
                found.extend(text.at_edges(&needle.bytes));
            }
            found.into_iter().map(|range| match needle.is_base64 {
                true => text.place(text.run_around(range)),
                false => text.place(range),
            })
        });
        found.collect()
    }
}

/// Decoded bytes, each with its place in the output.
struct Text {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    /// The length of the output.
    whole: usize,
}

impl Text {
    fn of(output: &[u8]) -> Self {
        let places = (0..output.len()).map(|at| at..at + 1).collect();
        Self { bytes: output.to_vec(), places, whole: output.len() }
    }

    /// The text decoded as a URL, as JSON and as HTML, if that differs.
    fn other_readings(&self) -> impl Iterator<Item = Self> {
        let kinds = [Escapes::Url, Escapes::Json, Escapes::Html].into_iter();
        let readings = kinds.map(|kind| self.unescaped(kind));
        readings.filter(|text| text.bytes.len() < self.bytes.len())
    }

    fn unescaped(&self, kind: Escapes) -> Self {
        let mut text = Self { bytes: Vec::new(), places: Vec::new(), whole: self.whole };
        let mut at = 0;
        while at < self.bytes.len() {
            let escaped = kind.read(&self.bytes[at..]);
            let (length, unit) = escaped.unwrap_or((1, Unit::Byte(self.bytes[at])));
            let place = self.places[at].start..self.places[at + length - 1].end;
            let mut buffer = [0; 4];
            let bytes = match unit {
                Unit::Byte(byte) => &[byte][..],
                Unit::Char(c) => c.encode_utf8(&mut buffer).as_bytes(),
            };
            text.bytes.extend_from_slice(bytes);
            text.places.extend(bytes.iter().map(|_| place.clone()));
            at += length;
        }
        text
    }

    fn find(&self, needle: &[u8]) -> Vec<Range<usize>> {
        let found = memchr::memmem::find_iter(&self.bytes, needle);
        found.map(|at| at..at + needle.len()).collect()
    }

    /// Finds the beginning of the secret at the end of the text, and its end at the beginning.
    fn at_edges(&self, needle: &[u8]) -> Vec<Range<usize>> {
        let bytes = &self.bytes;
        // An escape may have been cut in two.
        let half = bytes.iter().rposition(|byte| ESCAPES.contains(byte));
        let half = half.filter(|at| bytes.len() - at < ESCAPE_BYTES_MAX);
        let lengths = || (EDGE_BYTES_MIN..needle.len()).rev();
        let ends = [Some(bytes.len()), half].into_iter().flatten();
        let last = ends.filter_map(|end| {
            let length = lengths().find(|length| bytes[..end].ends_with(&needle[..*length]))?;
            Some(end - length..bytes.len())
        });
        let first = (0..ESCAPE_BYTES_MAX.min(bytes.len())).find_map(|start| {
            let rest = &bytes[start..];
            let length =
                lengths().find(|length| rest.starts_with(&needle[needle.len() - length..]));
            Some(0..start + length?)
        });
        last.chain(first).collect()
    }

    /// The run of Base64 that contains this range.
    fn run_around(&self, range: Range<usize>) -> Range<usize> {
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
        let before = self.bytes[..range.start].iter().rev().take_while(|byte| is_base64(byte));
        let behind = self.bytes[range.end..].iter().take_while(|byte| is_base64(byte));
        range.start - before.count()..range.end + behind.count()
    }

    /// The place of a range in the output.
    fn place(&self, range: Range<usize>) -> Range<usize> {
        let is_to_the_end = range.end == self.bytes.len();
        let end = if is_to_the_end { self.whole } else { self.places[range.end - 1].end };
        self.places[range.start].start..end
    }
}

/// Ways to escape a character.
#[derive(Clone, Copy)]
enum Escapes {
    /// `%2F`
    Url,
    /// `\/`, `\u002f`, and `\x2f` as scripts print it
    Json,
    /// `&#x2F;`, `&amp;`
    Html,
}

enum Unit {
    Byte(u8),
    Char(char),
}

impl Escapes {
    /// Decodes an escape at the beginning of a text, and returns its length.
    fn read(self, text: &[u8]) -> Option<(usize, Unit)> {
        match (self, text) {
            (Self::Url, [b'%', rest @ ..]) => Some((3, Unit::byte(hex(rest.get(..2)?)?)?)),
            (Self::Json, [b'\\', b'u', rest @ ..]) => {
                Some((6, Unit::Char(char::from_u32(hex(rest.get(..4)?)?)?)))
            }
            (Self::Json, [b'\\', b'x', rest @ ..]) => Some((4, Unit::byte(hex(rest.get(..2)?)?)?)),
            (Self::Json, [b'\\', c, ..]) => {
                let c = match c {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'/' | b'\\' | b'"' | b'\'' => *c,
                    _ => return None,
                };
                Some((2, Unit::Byte(c)))
            }
            (Self::Html, [b'&', rest @ ..]) => {
                let end = rest.iter().take(ESCAPE_BYTES_MAX).position(|byte| *byte == b';')?;
                Some((end + 2, Unit::Char(entity(&rest[..end])?)))
            }
            _ => None,
        }
    }
}

impl Unit {
    fn byte(code: u32) -> Option<Self> {
        u8::try_from(code).ok().map(Self::Byte)
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn entity(name: &[u8]) -> Option<char> {
    match name {
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(hex(digits)?),
        [b'#', digits @ ..] => char::from_u32(std::str::from_utf8(digits).ok()?.parse().ok()?),
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => None,
    }
}

/// The characters that escapes begin with.
const ESCAPES: &[u8] = b"%\\&";
const ESCAPE_BYTES_MAX: usize = 8;
/// How many times a text may be escaped.
const ESCAPED_MAX: usize = 2;
/// Of a secret that was cut off, fewer bytes than this may be shown.
const EDGE_BYTES_MIN: usize = 4;
