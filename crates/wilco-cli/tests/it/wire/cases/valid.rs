//! Unambiguous requests: unusual forms that are served, and those that ask for something else.

use super::{BODY, Case, signature};

pub(super) fn answered() -> Vec<Case> {
    let rest = format!("{}content-length: {}\r\n", signature(), BODY.len());
    let mut cases: Vec<_> = SERVED
        .iter()
        .map(|head| {
            let request = format!("{head}\r\n{rest}connection: close\r\n\r\n{BODY}");
            Case::new(format!("{head:?}"), request, 200)
        })
        .collect();
    cases.extend(OTHERS.iter().map(|(line, status)| {
        let request = format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        Case::new(*line, request, *status)
    }));
    let with = |name: &str, fields: &str| {
        let head = "POST /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
        Case::new(name, format!("{head}{fields}\r\n{BODY}"), 200)
    };
    let signature = signature();
    cases.extend([
        with("tabs and spaces", &rest.replace(": ", ": \t ").replace("\r\n", "\t \r\n")),
        with("no spaces", &rest.replace(": ", ":")),
        with("upper case", &rest.replace("content-length", "CONTENT-LENGTH").replace('x', "X")),
        with("a zero before the length", &format!("{signature}content-length: 02\r\n")),
        with("zeros before the length", &format!("{signature}content-length: {:050}\r\n", 2)),
        with("a large head", &format!("{rest}x: {}\r\n", "y".repeat(15_000))),
        with("many fields", &format!("{rest}{}", "x: \u{e9}\r\n".repeat(96))),
    ]);
    // HTTP/1.0, as older senders write it: no host is needed, and the connection ends.
    for fields in ["", "host: a\r\n", "user-agent: a\r\naccept: */*\r\n", "host:\r\n"] {
        let request = format!("POST /webhook HTTP/1.0\r\n{fields}{rest}\r\n{BODY}");
        cases.push(Case::new(format!("HTTP/1.0 {fields:?}"), request, 200));
    }
    let unsized_body = format!("POST /webhook HTTP/1.0\r\n{signature}\r\n{BODY}");
    cases.push(Case::new("HTTP/1.0 without a length has no body", unsized_body, 403));
    cases
}

/// Heads of signed requests.
const SERVED: &[&str] = &[
    "POST /webhook HTTP/1.1\r\nhost: a",
    "\r\nPOST /webhook HTTP/1.1\r\nhost: a",
    "POST /webhook? HTTP/1.1\r\nhost: a",
    "POST /webhook?a=b&c=%20 HTTP/1.1\r\nhost: a",
    "POST /webhook?a=\u{e9} HTTP/1.1\r\nhost: a",
    "POST http://hooks.example.com/webhook HTTP/1.1\r\nhost: a",
    "POST http://hooks.example.com:80/webhook HTTP/1.1\r\nhost: hooks.example.com:80",
    "POST HTTPS://[::1]/webhook HTTP/1.1\r\nhost: [::1]",
    // Hosts.
    "POST /webhook HTTP/1.1\r\nhost:",
    "POST /webhook HTTP/1.1\r\nHOST:a",
    "POST /webhook HTTP/1.1\r\nhost: a:",
    "POST /webhook HTTP/1.1\r\nhost: a:80",
    "POST /webhook HTTP/1.1\r\nhost: 203.0.113.9:8080",
    "POST /webhook HTTP/1.1\r\nhost: [::1]",
    "POST /webhook HTTP/1.1\r\nhost: [2001:db8::203.0.113.9]:8080",
    "POST /webhook HTTP/1.1\r\nhost: a_b.example.com.",
    // Values of any kind.
    "POST /webhook HTTP/1.1\r\nhost: a\r\nx:",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nx: a\tb",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nx: \u{e9}",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nx!#$%&'*+-.^_`|~0: 1",
    "POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip",
    "POST /webhook HTTP/1.1\r\nhost: a\r\ncontent_length: 5",
    "POST /webhook HTTP/1.1\r\nhost: a\r\ntransfer_encoding: chunked",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nx-http-method-override: DELETE",
    // What a sender may ask for and does not get.
    "POST /webhook HTTP/1.1\r\nhost: a\r\nexpect: 200-ok",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade, http2-settings\r\n\
         http2-settings: AAMAAABkAAQCAAAAAAIAAAAA",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nte: trailers, chunked",
    "POST /webhook HTTP/1.1\r\nhost: a\r\ntrailer: x",
    "POST /webhook HTTP/1.1\r\nhost: a\r\nkeep-alive: timeout=600",
];

/// Other methods and paths.
const OTHERS: &[(&str, u16)] = &[
    ("GET /webhook", 405),
    ("PUT /webhook", 405),
    ("post /webhook", 405),
    ("P!ST /webhook", 405),
    ("TRACE /webhook", 405),
    ("OPTIONS /webhook", 405),
    ("CONNECT /webhook", 405),
    ("OPTIONS *", 404),
    ("POST /", 404),
    ("POST //webhook", 404),
    ("POST //a/webhook", 404),
    ("POST /./webhook", 404),
    ("POST /a/../webhook", 404),
    ("POST /webhook/", 404),
    ("POST /WEBHOOK", 404),
    ("POST /web%68ook", 404),
    ("POST /webhook%00", 404),
    ("POST /webhook%0d%0a", 404),
    ("POST /webhook;a", 404),
    ("POST /web\\hook", 404),
    ("POST http://a", 404),
];
