//! The admin listener: who may ask it, and how it says no.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use crate::world::{World, booking};

#[test]
fn without_a_token_in_the_file_one_is_made_that_the_verbs_find() {
    let world = World::plan().start();
    let path = world.path("wilco.db.token");
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(token.trim().len() >= 40, "it cannot be guessed");
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    assert_eq!(world.events().len(), 1);
    assert!(!world.log().contains(token.trim()));
    let world = world.restart();
    assert_eq!(fs::read_to_string(&path).unwrap(), token, "it is the same over a restart");
    fs::remove_file(&path).unwrap();
    let output = world.run_verb(&["events", "list"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("wilco.db.token is not there for you"), "{said}");
}

#[test]
fn idle_and_half_sent_admin_connections_are_bounded_and_closed_after_a_while() {
    let world = World::plan().start();
    let connect = |sent: &str| {
        let mut stream = TcpStream::connect(world.admin).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream
    };
    let mut held: Vec<_> = ["", "GET /livez HTTP/1.1\r\nhost: a\r\n"].repeat(80);
    let mut held: Vec<_> = held.drain(..).map(connect).collect();
    // The first 128 are open and the last is not.
    let last = held.pop().unwrap().read_to_end(&mut Vec::new());
    assert!(last.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |read| read == 0));
    for mut stream in held.drain(..2) {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(world.metric("wilco_admin_connections_refused_total"), 32.0);
    assert_eq!(world.ask("GET", "/readyz", &[], "").status, 200);
}

#[test]
fn every_page_but_health_and_metrics_wants_the_token_also_on_loopback() {
    let world = World::plan().start();
    let token = fs::read_to_string(world.path("wilco.db.token")).unwrap();
    let right = format!("Bearer {}", token.trim());
    let id = "evt_01M89FXQAS000XWFNKEM3JNBGP";
    let pages = [
        ("GET", "/api/v1/events".to_owned()),
        ("GET", format!("/api/v1/events/{id}")),
        ("GET", format!("/api/v1/events/{id}/body")),
        ("GET", format!("/api/v1/events/{id}/why")),
        ("POST", format!("/api/v1/events/{id}/cancel")),
        ("POST", "/api/v1/replay".into()),
        ("GET", "/api/v1/destinations".into()),
        ("POST", "/api/v1/destinations/x/pause".into()),
        ("POST", "/api/v1/destinations/x/resume".into()),
        ("POST", "/api/v1/reload".into()),
        ("GET", "/".into()),
        ("GET", "/nowhere".into()),
    ];
    for (method, page) in &pages {
        let half = &right[..right.len() - 1];
        for shown in ["", "Bearer ", "Bearer x", half, token.trim()] {
            let reply = world.ask(method, page, &[("authorization", shown)], "");
            assert_eq!(reply.status, 401, "{method} {page} {shown:?}");
            assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        }
        let reply = world.ask(method, page, &[("authorization", &right)], "");
        assert_ne!(reply.status, 401, "{method} {page}");
    }
    for page in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(world.ask("GET", page, &[], "").status, 200, "{page}");
    }
}

#[test]
fn a_page_in_a_browser_reads_no_metrics() {
    let world = World::plan().start();
    let port = world.admin.port();
    for (headers, status) in [
        (vec![("host", format!("127.0.0.1:{port}"))], 200),
        (vec![("host", format!("localhost:{port}"))], 200),
        (vec![("host", format!("[::1]:{port}"))], 200),
        (vec![("host", "evil.example".into())], 403),
        (vec![("host", format!("127.0.0.1.evil.example:{port}"))], 403),
        (vec![("origin", "https://evil.example".into())], 403),
        (vec![("origin", "null".into())], 403),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(world.ask("GET", "/metrics", &headers, "").status, status, "{headers:?}");
    }
}

#[test]
fn every_error_is_problem_json() {
    let world = World::plan().start();
    let token = fs::read_to_string(world.path("wilco.db.token")).unwrap();
    let token = format!("Bearer {}", token.trim());
    let json = ("content-type", "application/json");
    for (method, path, header, body, status) in [
        ("GET", "/nowhere", json, "", 404),
        ("GET", "/api/v1/events?limit=abc", json, "", 400),
        ("GET", "/api/v1/events/not-an-id", json, "", 400),
        ("GET", "/api/v1/events/evt_01M89FXQAS000XWFNKEM3JNBGP", json, "", 404),
        ("DELETE", "/api/v1/events", json, "", 405),
        ("GET", "/api/v1/reload", json, "", 405),
        ("POST", "/livez", json, "", 405),
        ("POST", "/api/v1/replay", ("content-type", "text/plain"), "{}", 415),
        ("POST", "/api/v1/replay", json, "{", 400),
        ("POST", "/api/v1/replay", json, "{\"limit\":\"x\"}", 422),
    ] {
        let reply = world.ask(method, path, &[("authorization", &token), header], body);
        assert_eq!(reply.status, status, "{method} {path} {}", reply.body);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
        let problem: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(problem["status"], status, "{path}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{path}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{path}");
    }
}

#[test]
fn the_manual_has_every_metric_with_its_type() {
    let world = World::plan().start();
    assert_eq!(world.send(&booking("b-1", "Grade")).status, 200);
    let manual = include_str!("../../../../docs/metrics.md");
    let text = world.get("/metrics").body;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut metrics = 0;
    for (name, kind) in types {
        let suffix = if kind == "counter" { "_total" } else { "" };
        let row = format!("| `{name}{suffix}` | {kind} |");
        assert!(manual.contains(&row), "docs/metrics.md has no row {row}");
        metrics += 1;
    }
    assert!(metrics > 12, "{text}");
    assert_eq!(world.metric("wilco_body_bytes_count"), 1.0);
}
