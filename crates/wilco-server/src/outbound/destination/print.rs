//! A line of JSON on stdout for each event.

use std::io::Write as _;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::value::RawValue;
use wilco::Event;
use wilco_store::Claim;

use super::{Destination, Reply};

pub(super) struct Print;

#[async_trait]
impl Destination for Print {
    async fn deliver(&self, claim: &Claim) -> Reply {
        let line = line(claim.event());
        // A pipe that nobody reads blocks, so this does not run where requests are served.
        let printed = tokio::task::spawn_blocking(move || {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
        });
        match printed.await {
            Ok(Ok(())) => Reply::delivered(),
            Ok(Err(error)) => Reply::failed(format!("cannot write to stdout: {error}")),
            Err(error) => Reply::failed(error.to_string()),
        }
    }
}

#[derive(Serialize)]
struct Line<'e> {
    id: String,
    source: &'e str,
    event: &'e str,
    subject: Option<&'e str>,
    received_at: String,
    body: &'e RawValue,
}

fn line(event: &Event) -> String {
    let body = RawValue::from_string(minify(&String::from_utf8_lossy(&event.body)));
    let line = Line {
        id: event.id.to_string(),
        source: event.source.as_str(),
        event: &event.name,
        subject: event.subject.as_deref(),
        received_at: event.received_at.to_string(),
        body: body.as_deref().unwrap_or(RawValue::NULL),
    };
    let mut text = serde_json::to_string(&line).unwrap_or_default();
    text.push('\n');
    text
}

/// Takes the white space between the tokens of a JSON text away, and nothing else: numbers and
/// repeated members stay as they were sent.
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
}
