//! An event as a line of JSON, for stdout and files.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;
use wilco::Event;

/// The line of an event, with its line break. A JSON body becomes `body`, as it was sent except for the
/// white space between its tokens: JSON allows line breaks only there, so the result is one line. Any other
/// body becomes `text`, or `base64` if it is not UTF-8.
pub(crate) fn json_line(event: &Event) -> String {
    let whole = event.body.contiguous();
    let text = std::str::from_utf8(&whole).ok();
    // A text that is not JSON must not be minified: `1 2` would become the number 12.
    let is_json = serde_json::from_slice::<&RawValue>(&whole).is_ok();
    let json = text.filter(|_| is_json);
    let json = json.and_then(|text| RawValue::from_string(minify(text)).ok());
    let line = Line {
        id: event.delivered_id(),
        item: event.item,
        source: event.source.as_str(),
        event: &event.name,
        subject: event.subject.as_deref(),
        received_at: event.received_at.to_string(),
        text: text.filter(|_| json.is_none()),
        base64: text.is_none().then(|| BASE64_STANDARD.encode(&whole)),
        body: json.as_deref(),
    };
    let mut line = serde_json::to_string(&line).unwrap_or_default();
    line.push('\n');
    line
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

/// Removes the white space between the tokens of a JSON text, and nothing else: numbers and repeated
/// members stay as they were sent.
fn minify(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for c in json.chars() {
        if is_in_string || !matches!(c, ' ' | '\t' | '\r' | '\n') {
            out.push(c);
        }
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_in_string => is_escaped = true,
            '"' => is_in_string = !is_in_string,
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use wilco::{Digest, EventId, Headers, Origin, SourceName};

    use super::*;

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
            let line = json_line(&event);
            let head = "{\"id\":\"evt_00000000000000000000000007\",\"source\":\"freispace\",\
                        \"event\":\"booking.updated\",\"subject\":null,\
                        \"received_at\":\"1970-01-01T00:00:00Z\",";
            assert_eq!(line, format!("{head}{expected}\n"));
        }
    }
}
