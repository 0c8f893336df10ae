//! An event as a line of JSON, for stdout and files.

use std::{
    io::{self, BufReader, Write},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD, write::EncoderWriter};
use serde::{Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use wilco::Event;

/// The line of an event, with its line break. A JSON body becomes `body`, as it was sent except for the
/// white space between its tokens: JSON allows line breaks only there, so the result is one line. Any other
/// body becomes `text`, or `base64` if it is not UTF-8.
pub(crate) enum JsonLine {
    InMemory(String),
    /// The event has a stored body, and its line is written chunk by chunk.
    Streamed(Arc<Event>),
}

impl JsonLine {
    pub(crate) fn of(event: &Arc<Event>) -> Self {
        match event.body.is_stored() {
            true => Self::Streamed(Arc::clone(event)),
            false => {
                let whole = event.body.contiguous(usize::MAX).unwrap_or_default();
                Self::InMemory(json_line(event, &whole))
            }
        }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::InMemory(line) => Ok(line.len() as u64),
            Self::Streamed(_) => {
                let mut counter = Counter(0);
                self.write_to(&mut counter)?;
                Ok(counter.0)
            }
        }
    }

    /// Writes it.
    pub(crate) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::InMemory(line) => out.write_all(line.as_bytes()),
            Self::Streamed(event) => stream(event, out),
        }
    }
}

/// Counts the bytes that are written.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json_line(event: &Event, whole: &[u8]) -> String {
    let text = std::str::from_utf8(whole).ok();
    // A text that is not JSON must not be minified: `1 2` would become the number 12.
    let is_json = serde_json::from_slice::<&RawValue>(whole).is_ok();
    let json = text.filter(|_| is_json);
    let json = json.and_then(|text| RawValue::from_string(minify(text)).ok());
    let line = Line {
        text: text.filter(|_| json.is_none()),
        base64: text.is_none().then(|| BASE64_STANDARD.encode(whole)),
        body: json.as_deref(),
        ..Line::without_body(event)
    };
    let mut line = serde_json::to_string(&line).unwrap_or_default();
    line.push('\n');
    line
}

/// The same of a stored body.
fn stream(event: &Event, out: &mut impl Write) -> io::Result<()> {
    let body = &event.body;
    let mut head = serde_json::to_string(&Line::without_body(event)).unwrap_or_default();
    head.pop(); // its last brace
    out.write_all(head.as_bytes())?;
    if !body.is_utf8()? {
        out.write_all(b",\"base64\":\"")?;
        let mut encoder = EncoderWriter::new(&mut *out, &BASE64_STANDARD);
        io::copy(&mut body.reader(), &mut encoder)?;
        return encoder.finish()?.write_all(b"\"}\n");
    }
    let mut piece = Vec::new();
    let syntax = serde_json::from_reader::<_, IgnoredAny>(BufReader::new(body.reader()));
    let is_json = match syntax {
        Err(error) if error.is_io() => return Err(error.into()),
        syntax => syntax.is_ok(),
    };
    out.write_all(if is_json { b",\"body\":" } else { b",\"text\":\"" })?;
    let mut minifier = Minifier::default();
    for chunk in body.chunks() {
        piece.clear();
        match is_json {
            true => minifier.minify(&chunk?, &mut piece),
            false => escape(&chunk?, &mut piece),
        }
        out.write_all(&piece)?;
    }
    out.write_all(if is_json { b"}\n" } else { b"\"}\n" })
}

/// A part of a text as it is written in a JSON string. It may end within a character.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            // Each of these is a character.
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' | 0..0x20 => {
                let escaped = serde_json::to_string(&char::from(*byte)).unwrap_or_default();
                out.extend_from_slice(escaped.trim_matches('"').as_bytes());
            }
            _ => out.push(*byte),
        }
    }
}

#[derive(Serialize)]
struct Line<'e> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u32>,
    source: &'e str,
    event: &'e str,
    subject: Option<&'e str>,
    received_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'e RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'e> Line<'e> {
    fn without_body(event: &'e Event) -> Self {
        Self {
            id: event.delivered_id(),
            item: event.item,
            source: event.source.as_str(),
            event: &event.name,
            subject: event.subject.as_deref(),
            received_at: event.received_at.to_string(),
            body: None,
            text: None,
            base64: None,
        }
    }
}

fn minify(json: &str) -> String {
    let mut out = Vec::with_capacity(json.len());
    Minifier::default().minify(json.as_bytes(), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Removes the white space between the tokens of a JSON text, and nothing else: numbers and repeated
/// members stay as they were sent.
#[derive(Default)]
struct Minifier {
    is_in_string: bool,
    is_escaped: bool,
}

impl Minifier {
    /// Takes the next part of the text, which may end anywhere.
    fn minify(&mut self, json: &[u8], out: &mut Vec<u8>) {
        for byte in json {
            if self.is_in_string || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                out.push(*byte);
            }
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wilco::{Body, Digest, EventId, Headers, Origin, SourceName, StoredBytes};

    use super::*;

    struct InPieces {
        body: &'static [u8],
        size: usize,
    }

    impl StoredBytes for InPieces {
        fn len(&self) -> usize {
            self.body.len()
        }

        fn read_at(&self, start: usize) -> io::Result<Bytes> {
            let end = self.body.len().min(start + self.size);
            Ok(Bytes::from_static(&self.body[start..end]))
        }
    }

    #[test]
    fn minifying_changes_nothing_but_the_space_between_tokens() {
        for (given, expected) in [
            ("{\n \"a\" : 1 ,\r\n\t\"a\": 1.0e+2 }", r#"{"a":1,"a":1.0e+2}"#),
            (
                r#"{"a b": "c \" d \\", "e": 12345678901234567890123}"#,
                r#"{"a b":"c \" d \\","e":12345678901234567890123}"#,
            ),
        ] {
            assert_eq!(minify(given), expected);
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_text_or_base64_and_always_one_line() {
        for (body, expected) in [
            (&b"{ \"a\":\n1 }\n"[..], r#""body":{"a":1}}"#),
            (b"[1,\r\n2.0]", r#""body":[1,2.0]}"#),
            (b"1 2", r#""text":"1 2"}"#),
            (b"a=b\nc", r#""text":"a=b\nc"}"#),
            (b"\\\"\x01\t\xc3\xa4\x7f", "\"text\":\"\\\\\\\"\\u0001\\t\u{e4}\u{7f}\"}"),
            (b"", r#""text":""}"#),
            (b"{\"a\":\"\xff\"}", r#""base64":"eyJhIjoi/yJ9"}"#),
        ] {
            let event = Event {
                id: EventId::from_bits(7),
                source: SourceName::new("freispace").unwrap(),
                provider: "freispace".into(),
                name: "booking.updated".into(),
                subject: None,
                received_at: jiff::Timestamp::UNIX_EPOCH,
                secret_name: String::new(),
                digest: Digest::of(body),
                conflict: false,
                origin: Origin::Webhook,
                item: None,
                headers: Headers::from_pairs::<&str, &str>([]),
                body: body.to_vec().into(),
            };
            let line = json_line(&event, body);
            let head = "{\"id\":\"evt_00000000000000000000000007\",\"source\":\"freispace\",\
                        \"event\":\"booking.updated\",\"subject\":null,\
                        \"received_at\":\"1970-01-01T00:00:00Z\",";
            assert_eq!(line, format!("{head}{expected}\n"));
            for size in 1..=body.len().max(1) {
                let stored = Body::stored(Arc::new(InPieces { body, size }));
                let event = Event { body: stored, ..event.clone() };
                let streamed = JsonLine::of(&Arc::new(event));
                let mut written = Vec::new();
                streamed.write_to(&mut written).unwrap();
                assert_eq!(String::from_utf8(written).unwrap(), line, "in pieces of {size}");
                assert_eq!(streamed.len().unwrap(), line.len() as u64);
            }
        }
    }
}
