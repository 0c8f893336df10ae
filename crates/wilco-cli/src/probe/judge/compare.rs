//! What was changed between the sender and wilco, in words.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use wilco::{Digest, counted};
use wilco_server::admin::{ProbedBody, ProbedRequest};

use super::super::{Case, Finding, Sent};
use crate::visible;

/// The differences between a request as it was sent and as it arrived.
pub(super) fn differences(sent: &Sent, arrived: &ProbedRequest) -> Vec<Finding> {
    let mut found = Vec::new();
    if arrived.method != "POST" {
        let text = format!("the method became {}", visible(&arrived.method));
        found.push(Finding::new("method", text, "let the proxy forward POST as it is"));
    }
    found.extend(url(&sent.target, &arrived.url));
    found.extend(arrived.body.as_ref().and_then(|body| self::body(&sent.case, body)));
    for name in sent.names() {
        let values = |headers: &mut dyn Iterator<Item = (&str, &str)>| -> Vec<String> {
            headers.filter(|(n, _)| *n == name).map(|(_, value)| value.to_owned()).collect()
        };
        let before = values(&mut sent.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let mut headers = arrived.headers.iter();
        let after =
            values(&mut headers.by_ref().map(|field| (field.name.as_str(), field.value.as_str())));
        let is_unpacked = name == "content-encoding" && after.is_empty();
        if !is_unpacked || !found.iter().any(|finding| finding.about == UNPACKED) {
            found.extend(header(name, &before, &after));
        }
    }
    found
}

/// Headers that the way has added.
pub(super) fn added<'a>(sent: &Sent, arrived: &'a ProbedRequest) -> Vec<&'a str> {
    let known: Vec<_> = sent.names().collect();
    let names = arrived.headers.iter().map(|field| field.name.as_str());
    names.filter(|name| !known.contains(name) && !BY_HOP.contains(name)).collect()
}

fn url(sent: &str, arrived: &str) -> Option<Finding> {
    if is_same_url(sent, arrived) {
        return None;
    }
    let (shown_sent, shown) = (visible(sent), visible(arrived));
    let path = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
    let (before, after) = (path(sent), path(arrived));
    if before == after {
        let text = format!("the query was changed: {shown_sent} became {shown}");
        return Some(Finding::new("query", text, KEEP_URL));
    }
    let text = if format!("{before}/") == after {
        format!("the path got a slash: {before} became {}", visible(&after))
    } else if before == format!("{after}/") {
        format!("the path lost its slash: {before} became {}", visible(&after))
    } else {
        format!("the path was changed: {before} became {}", visible(&after))
    };
    Some(Finding::new("path", text, KEEP_URL))
}

/// Whether two URLs are equal, as far as the report shows the second.
fn is_same_url(sent: &str, arrived: &str) -> bool {
    let is_same = |(sent, arrived): (&str, &str)| {
        let name = sent.split('=').next().unwrap_or_default();
        sent == arrived || arrived.strip_suffix(REDACTED) == Some(&format!("{name}="))
    };
    let (sent, arrived) = (sent.split(['?', '&']), arrived.split(['?', '&']));
    sent.clone().count() == arrived.clone().count() && sent.zip(arrived).all(is_same)
}

fn header(name: &str, before: &[String], after: &[String]) -> Option<Finding> {
    if before == after || BY_HOP.contains(&name) {
        return None;
    }
    if after.is_empty() {
        let text = format!("the header {name} was dropped");
        return Some(Finding::new("dropped", text, KEEP_HEADERS));
    }
    // A value that must not be shown arrived, which is all that is known about it.
    if after.iter().all(|value| value == REDACTED) && after.len() == before.len() {
        return None;
    }
    let text = if before.len() > 1 && after.len() == 1 {
        let joined: Vec<_> = after[0].split(',').map(str::trim).collect();
        match before.iter().eq(joined) {
            true => format!("{} headers {name} were merged into one", before.len()),
            false => {
                let value = visible(&after[0]);
                format!("of {} headers {name}, only {value} arrived", before.len())
            }
        }
    } else if after.len() > before.len() {
        format!("a header {name} was added to that of the sender")
    } else {
        let (before, after) = (before.join(", "), visible(&after.join(", ")));
        format!("the header {name} was changed: {before} became {after}")
    };
    Some(Finding::new("header", text, KEEP_HEADERS))
}

fn body(case: &Case, arrived: &ProbedBody) -> Option<Finding> {
    let sent = &case.body;
    if arrived.bytes == sent.len() as u64 && arrived.sha256 == Digest::of(sent).to_string() {
        return None;
    }
    let start = BASE64_STANDARD.decode(&arrived.start_base64).unwrap_or_default();
    let at = sent.iter().zip(&start).take_while(|(a, b)| a == b).count();
    if case.unpacked == Some(&start[..]) {
        return Some(Finding::new(UNPACKED, "the body was decompressed", KEEP_COMPRESSED));
    }
    if at == start.len() && arrived.bytes < sent.len() as u64 {
        let all = counted(sent.len(), "byte", "bytes");
        let text = format!("the body was cut: {} of {all} arrived", arrived.bytes);
        return Some(Finding::new("cut", text, RAISE_LIMIT));
    }
    let replaced = |from: &str, to: &str| String::from_utf8_lossy(sent).replace(from, to);
    let text = if start == replaced("\r\n", "\n").as_bytes() {
        "line breaks were changed: CRLF became LF".to_owned()
    } else if !sent.contains(&b'\r') && start == replaced("\n", "\r\n").as_bytes() {
        "line breaks were changed: LF became CRLF".to_owned()
    } else if sent.starts_with(MARK) && start == sent[MARK.len()..] {
        "the byte order mark was removed".to_owned()
    } else if is_json(sent) && is_json(&start) {
        match became(sent, &start, at) {
            Some(tokens) => format!("the JSON was written again: {tokens}"),
            None => "the JSON was written again, with other white space".to_owned(),
        }
    } else {
        let part = |bytes: &[u8]| {
            let part = &bytes[at.min(bytes.len())..(at + SHOWN_BYTES).min(bytes.len())];
            format!("\"{}\"", part.escape_ascii())
        };
        format!("the body was changed from byte {at}: {} became {}", part(sent), part(&start))
    };
    Some(Finding::new("body", text, KEEP_BODY))
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok()
}

/// The first difference: `1.0 became 1`. `None` if that is in white space.
fn became(sent: &[u8], arrived: &[u8], at: usize) -> Option<String> {
    let byte = |bytes: &[u8]| bytes.get(at).is_some_and(u8::is_ascii_whitespace);
    if byte(sent) || byte(arrived) {
        return None;
    }
    let is_end = |byte: &u8| b",:{}[] \t\r\n".contains(byte);
    let start = sent[..at].iter().rposition(is_end).map_or(0, |before| before + 1);
    let token = |bytes: &[u8]| {
        let rest = bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(is_end).unwrap_or(rest.len()).min(TOKEN_BYTES_MAX);
        visible(&String::from_utf8_lossy(&rest[..length]))
    };
    let (before, after) = (token(sent), token(arrived));
    (!before.is_empty() && !after.is_empty()).then(|| format!("{before} became {after}"))
}

/// Headers of a connection, which every hop writes itself, and `host`, which proxies set.
const BY_HOP: [&str; 7] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "accept-encoding",
];
const UNPACKED: &str = "compression";
/// What the report has in place of a credential.
const REDACTED: &str = "(redacted)";
/// A byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
const SHOWN_BYTES: usize = 16;
const TOKEN_BYTES_MAX: usize = 40;

const KEEP_BODY: &str = "signatures cover the exact bytes, so pass bodies on as they are: switch off what \
    reads and rewrites them, such as request transformation in an API gateway, a Cloudflare Worker that \
    calls JSON.stringify, or a Traefik plugin";
const KEEP_COMPRESSED: &str = "pass the compressed body on with its content-encoding: switch off the \
    decompression of requests, such as SetInputFilter INFLATE in Apache or the decompressor filter of \
    Envoy for requests";
const RAISE_LIMIT: &str = "raise the limit on bodies to that of wilco: client_max_body_size in nginx, \
    request_body max_size in Caddy, maxRequestBodyBytes of the buffering middleware in Traefik";
const KEEP_URL: &str = "pass the URL on as it is: proxy_pass without a path in nginx, handle instead of \
    handle_path in Caddy, no stripPrefix in Traefik, no URL normalization or rewrite rule in Cloudflare";
const KEEP_HEADERS: &str = "pass headers on as they are: look for proxy_set_header in nginx, header_up in \
    Caddy, customRequestHeaders in Traefik, transform rules in Cloudflare";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_json_is_described_by_its_first_difference() {
        for (sent, arrived, expected) in [
            (r#"{"a":1.0}"#, r#"{"a":1}"#, Some("1.0 became 1")),
            (r#"{"a":1E5,"b":1}"#, r#"{"a":100000.0,"b":1}"#, Some("1E5 became 100000.0")),
            (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#, Some(r#""b" became "a""#)),
            (r#"{"a": 1}"#, r#"{"a":1}"#, None),
            (r#"["\u00e4"]"#, "[\"\u{e4}\"]", Some("\"\\u00e4\" became \"\u{e4}\"")),
        ] {
            let (sent, arrived) = (sent.as_bytes(), arrived.as_bytes());
            let at = sent.iter().zip(arrived).take_while(|(a, b)| a == b).count();
            assert_eq!(became(sent, arrived, at).as_deref(), expected);
        }
    }

    #[test]
    fn a_changed_url_is_described() {
        for (sent, arrived, expected) in [
            ("/a", "/a/", "the path got a slash: /a became /a/"),
            ("/a/", "/a", "the path lost its slash: /a/ became /a"),
            ("/a?b=%20", "/a?b=+", "the query was changed: /a?b=%20 became /a?b=+"),
            ("/x/a", "/a", "the path was changed: /x/a became /a"),
        ] {
            assert_eq!(url(sent, arrived).unwrap().text, expected);
        }
        for (sent, arrived) in [("/a?b", "/a?b"), ("/a?b=1&key=x", "/a?b=1&key=(redacted)")] {
            assert!(url(sent, arrived).is_none(), "{sent}");
        }
    }
}
