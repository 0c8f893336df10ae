//! The requests of a probe: bodies that something on the way may change, and requests that must be refused.

use bytes::Bytes;

use super::{Case, Expected, Signature};

/// Every request, the plainest first.
pub(super) fn all(max_body: u64) -> Vec<Case> {
    let mut cases: Vec<_> = BODIES.iter().map(|(name, body)| case(name, body.as_bytes())).collect();
    cases.extend([
        Case { content_type: "application/x-www-form-urlencoded", ..case("form", FORM) },
        Case {
            content_type: "application/octet-stream",
            ..case("every byte", &(0..=255).collect::<Vec<u8>>())
        },
        Case {
            headers: vec![("content-encoding", "gzip")],
            unpacked: Some(UNPACKED),
            ..case("compressed", GZIP)
        },
        Case { is_chunked: true, ..case("chunked", CHUNKED) },
        Case { query: Some("b=%2F+%20&a=1"), ..case("query", PLAIN.as_bytes()) },
        Case {
            headers: vec![("x-wilco-probe-twice", "1"), ("x-wilco-probe-twice", "2")],
            ..case("headers", PLAIN.as_bytes())
        },
        case("largest body", &of_length(max_body)),
        Case {
            signature: Signature::None,
            expected: Expected::Refused,
            ..case("no signature", PLAIN.as_bytes())
        },
        Case {
            signature: Signature::Wrong,
            expected: Expected::Refused,
            ..case("wrong signature", PLAIN.as_bytes())
        },
        Case { expected: Expected::TooLarge, ..case("too large", &of_length(max_body + 1)) },
    ]);
    cases
}

fn case(name: &'static str, body: &[u8]) -> Case {
    Case {
        name,
        body: Bytes::copy_from_slice(body),
        content_type: "application/json",
        headers: Vec::new(),
        is_chunked: false,
        query: None,
        unpacked: None,
        signature: Signature::Right,
        expected: Expected::Accepted,
    }
}

/// A JSON object of this length.
fn of_length(bytes: u64) -> Vec<u8> {
    let (begin, end) = (&br#"{"event":"probe","filler":""#[..], &b"\"}"[..]);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let filler = bytes.saturating_sub(begin.len() + end.len());
    let mut body = [begin, &vec![b'x'; filler], end].concat();
    body.truncate(bytes);
    body
}

const PLAIN: &str = r#"{"event":"probe"}"#;
/// Each has something that a program which reads JSON and writes it again does not keep.
const BODIES: [(&str, &str); 8] = [
    ("plain", PLAIN),
    ("text", "{\"text\":\"\u{e4} e\u{301} \u{1f600} \\u00e4 \\ud83d\\ude00 \\/ / <&> \u{2028}\"}"),
    ("numbers", r#"{"one":1.0,"exp":1E5,"big":12345678901234567890123,"zero":-0.0}"#),
    ("white space", "\t{ \"b\" : 1 ,\n\n  \"a\" : [ ] }  \n"),
    ("line breaks", "{\r\n  \"event\": \"probe\"\r\n}\r\n"),
    ("byte order mark", "\u{feff}{\"event\":\"probe\"}"),
    ("same keys", r#"{"b":1,"a":2,"b":3}"#),
    ("one byte", "7"),
];
const FORM: &[u8] = b"payload=%7B%22a%22%3A1%7D&b=a+b%20c&empty=&b=%E2%82%AC";
const CHUNKED: &[u8] = br#"{"event":"probe","about":"a body in several chunks"}"#;
const UNPACKED: &[u8] = br#"{"event":"probe","about":"a compressed body"}"#;
/// [`UNPACKED`], compressed by gzip.
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xabVJ-K\xcd+Q\xb2R*(\xcaOJU\xd2QJL\xca/\x05\xf1\
    \x13\x15\x92\xf3s\x0b\x8aR\x8b\x8bSS\x14\x92\xf2S*\x95j\x01@\x03\xae!-\x00\x00\x00";
