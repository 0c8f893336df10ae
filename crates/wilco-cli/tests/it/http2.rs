//! HTTP/2, frame by frame, and with curl as a second implementation.

mod frames;
mod limits;

use std::{fs, process::Command, thread};

use crate::world::{World, booking, sign};
use frames::{Client, GOAWAY, HEADERS, frames};

#[test]
fn each_frame_gets_what_the_protocol_says() {
    let world = http2().start();
    let cases: Vec<_> =
        CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(cases.len() >= 120, "{}", cases.len());
    let wrong: Vec<_> = thread::scope(|scope| {
        let runs = cases.chunks(cases.len().div_ceil(4)).map(|part| {
            scope.spawn(|| part.iter().filter_map(|case| run(&world, case)).collect::<Vec<_>>())
        });
        let runs: Vec<_> = runs.collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(wrong.concat(), "");
    assert_eq!(world.recorded(), 1, "the signed ones are about one event");
}

/// What is wrong with the result of a case.
fn run(world: &World, case: &str) -> Option<String> {
    let parts: Vec<_> = case.split(" | ").collect();
    let [section, name, sent, expected] = parts[..] else { return Some(format!("{case}\n")) };
    let next = "HEADERS 05 1001 8286<:path: /none><:authority: a>";
    let mut client = Client::begin(world, &[frames(sent), frames(next)].concat());
    let mut found = None;
    while let Some(frame) = client.next().unwrap() {
        let is_next = frame.kind == HEADERS && frame.stream == 1001;
        if is_next && expected.contains("ignored") {
            found = Some("ignored".to_owned());
        } else if frame.stream == 1 || frame.kind == GOAWAY {
            found = frame.outcome();
        }
        if found.is_some() {
            break;
        }
    }
    let found = found.unwrap_or_else(|| "closed".into());
    let is_right = expected.split(" / ").any(|expected| expected == found);
    (!is_right).then(|| format!("{section} {name}: {found}, and not {expected}\n"))
}

#[test]
fn it_is_spoken_only_where_it_is_allowed() {
    let world = World::plan().start();
    let mut client = Client::begin(&world, b"");
    assert!(client.next_of(HEADERS).is_none(), "the preface is malformed HTTP/1");
    let world = http2().start();
    for protocol in ["--http1.1", "--http1.0", "--http2", "--http2-prior-knowledge"] {
        // Without TLS it is spoken only by clients that know it beforehand.
        let expected = match protocol {
            "--http2-prior-knowledge" => "200 2",
            "--http1.0" => "200 1",
            _ => "200 1.1",
        };
        let found = curl(&world, "http", protocol, &booking("b-1", "A"));
        assert_eq!(found, expected, "{protocol}");
    }
    assert_eq!(world.recorded(), 1);
}

#[test]
fn over_tls_it_is_offered_beside_http_1() {
    for (lines, protocol, expected) in [
        ("http2 = true", "--http2", "200 2"),
        ("http2 = true", "--http1.1", "200 1.1"),
        ("", "--http2", "200 1.1"),
    ] {
        let plan = World::plan().listen(lines).tls("tls = \"self-signed\"");
        let found = curl(&plan.start(), "https", protocol, &booking("b-1", "A"));
        assert_eq!(found, expected, "{lines} {protocol}");
    }
}

#[test]
fn a_refusal_reaches_a_sender_that_is_still_sending() {
    let body = "x".repeat(12 << 20);
    let plain = http2().start();
    let tls = http2().tls("tls = \"self-signed\"").start();
    for (path, status) in [("webhook", 413), ("elsewhere", 404)] {
        let to = |world: &World, scheme: &str, protocol: &str| {
            let url = format!("{scheme}://{}/{path}", world.address);
            curl_to(world, &url, protocol, &body)
        };
        assert_eq!(to(&plain, "http", "--http2-prior-knowledge"), format!("{status} 2"));
        assert_eq!(to(&tls, "https", "--http2"), format!("{status} 2"));
    }
}

#[test]
fn an_event_is_stored_with_the_host_that_http_1_would_have() {
    let world = http2().start();
    assert_eq!(curl(&world, "http", "--http2-prior-knowledge", &booking("b-1", "A")), "200 2");
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    let shown = world.run_verb(&["events", "show", &id, "--json"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("\"host\""), "{shown}");
    assert!(shown.contains(&world.address.to_string()), "{shown}");
}

fn http2() -> crate::world::Plan {
    World::plan().listen("http2 = true")
}

/// Sends a signed body with curl, and gives the status and the version of HTTP.
fn curl(world: &World, scheme: &str, protocol: &str, body: &str) -> String {
    curl_to(world, &format!("{scheme}://{}/webhook", world.address), protocol, body)
}

fn curl_to(world: &World, url: &str, protocol: &str, body: &str) -> String {
    let file = world.path("body");
    fs::write(&file, body).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sk", protocol, url, "--max-time", "60", "-o", "/dev/null"]);
    curl.args(["-w", "%{http_code} %{http_version}", "--data-binary"]);
    curl.arg(format!("@{}", file.display()));
    curl.args(["-H", &format!("x-freispace-signature: {}", sign(body.as_bytes()))]);
    String::from_utf8(curl.output().unwrap().stdout).unwrap()
}

const CASES: &str = include_str!("http2/cases.txt");
