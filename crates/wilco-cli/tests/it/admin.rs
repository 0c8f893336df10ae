//! The admin listener: who may use it, and how it refuses.

mod actions;
mod pages;
mod roles;

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use serde_json::Value;

use crate::{
    generated::check_file,
    world::{World, booking},
};

#[test]
fn without_a_configured_token_one_is_made_that_the_commands_find() {
    let world = World::plan().start();
    let path = world.path("wilco.db.token");
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(token.trim().len() >= 40, "it cannot be guessed");
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    assert_eq!(world.events().len(), 1);
    assert!(!world.log().contains(token.trim()));
    let world = world.restart();
    assert_eq!(fs::read_to_string(&path).unwrap(), token, "it is the same after a restart");
    fs::remove_file(&path).unwrap();
    let output = world.run_verb(&["events", "list"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("wilco.db.token cannot be read"), "{said}");
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
fn every_path_but_health_and_metrics_requires_the_token_even_on_loopback() {
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
        ("GET", "/api/v1/rejections".into()),
        ("GET", "/api/v1/rejections/rej_01M89FXQAS000XWFNKEM3JNBGP".into()),
        ("GET", "/api/v1/rejections/rej_01M89FXQAS000XWFNKEM3JNBGP/body".into()),
        ("POST", "/api/v1/rejections/rej_01M89FXQAS000XWFNKEM3JNBGP/accept".into()),
        ("GET", "/api/v1/routes".into()),
        ("GET", "/api/v1/destinations".into()),
        ("POST", "/api/v1/destinations/x/pause".into()),
        ("POST", "/api/v1/destinations/x/resume".into()),
        ("POST", "/api/v1/reload".into()),
        ("GET", "/api/v1/secrets".into()),
        ("GET", "/api/openapi.json".into()),
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
fn a_page_in_a_browser_cannot_read_the_metrics() {
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
    let json = ("content-type", "application/json");
    let large = format!("{{\"ids\":[],\"reason\":\"{}\"}}", "x".repeat(64 << 10));
    let many =
        format!("{{\"ids\":[{}]}}", vec!["\"evt_01M89FXQAS000XWFNKEM3JNBGP\""; 501].join(","));
    for (method, path, header, body, status, detail) in [
        ("GET", "/nowhere", json, "", 404, "there is nothing at this path"),
        ("GET", "/api/v1/events?limit=abc", json, "", 400, "invalid limit: "),
        ("GET", "/api/v1/events?limit=1001", json, "", 400, "invalid limit: "),
        ("GET", "/api/v1/events?cursor=abc", json, "", 400, "invalid cursor \"abc\": "),
        ("GET", "/api/v1/events?nope=1", json, "", 400, "invalid nope: unknown field"),
        ("GET", "/api/v1/events?state=dead&state=dead", json, "", 400, "state is given twice"),
        (
            "GET",
            "/api/v1/events/not-an-id",
            json,
            "",
            400,
            "invalid id: invalid event id \"not-an-id\"",
        ),
        (
            "GET",
            "/api/v1/events/evt_01M89FXQAS000XWFNKEM3JNBGP",
            json,
            "",
            404,
            "event evt_01m89fxqas000xwfnkem3jnbgp not found",
        ),
        ("DELETE", "/api/v1/events", json, "", 405, "this path does not support the method"),
        ("GET", "/api/v1/reload", json, "", 405, "this path does not support the method"),
        ("POST", "/livez", json, "", 405, "this path does not support the method"),
        ("POST", "/api/v1/destinations/x/pause", json, "", 404, "destination x not found"),
        ("POST", "/api/v1/replay", ("content-type", "text/plain"), "{}", 415, "expected a body of"),
        ("POST", "/api/v1/replay", json, "{", 400, "invalid body: "),
        ("POST", "/api/v1/replay", json, "{\"limit\":\"x\"}", 422, "invalid body: unknown field"),
        (
            "POST",
            "/api/v1/replay",
            json,
            "{\"ids\":[\"x\"]}",
            422,
            "invalid body: invalid event id \"x\"",
        ),
        ("POST", "/api/v1/replay", json, &many, 422, "too many ids: 501"),
        ("POST", "/api/v1/replay", json, &large, 413, "more than 65536 bytes"),
    ] {
        let token = world.authorization();
        let reply = world.ask(method, path, &[("authorization", &token), header], body);
        assert_eq!(reply.status, status, "{method} {path} {}", reply.body);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{path}");
        let problem: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(problem["status"], status, "{path}");
        assert_eq!(problem["type"], "about:blank", "{path}");
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{path}");
        let said = problem["detail"].as_str().unwrap();
        assert!(said.to_lowercase().contains(detail), "{method} {path} {said}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{path}");
    }
}

#[test]
fn an_error_about_a_name_that_does_not_exist_says_which_one_was_meant_or_which_there_are() {
    let tables = "[destination.crm]\ntype = \"print\"\n[destination.erp]\ntype = \"print\"\n";
    let world = World::plan().and(tables).start();
    let token = world.authorization();
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    for (method, path, body, status, expected) in [
        ("POST", "destinations/crn/pause", "", 404, "destination crn not found; did you mean crm?"),
        ("POST", "destinations/no/resume", "", 404, "destination no not found; known: crm, erp"),
        (
            "POST",
            "replay",
            r#"{"ids": [], "destination": "nowhere"}"#,
            422,
            "destination nowhere not found; known: crm, erp",
        ),
        (
            "POST",
            "failures/retry",
            r#"{"destination": "crn"}"#,
            422,
            "destination crn not found; did you mean crm?",
        ),
        ("GET", "sources/freispac/sample", "", 404, "source freispac not found; did you mean"),
        ("POST", "sources/no/test", "{}", 404, "source no not found; known: freispace"),
        ("POST", "probes", r#"{"source": "no"}"#, 422, "source no not found; known: freispace"),
    ] {
        let reply = world.ask(method, &format!("/api/v1/{path}"), &headers, body);
        let problem: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(reply.status, status, "{path} {problem}");
        assert!(problem["detail"].as_str().unwrap().starts_with(expected), "{path} {problem}");
    }
}

#[test]
fn the_pages_of_a_listing_follow_each_other_without_a_gap() {
    let world = World::plan()
        .and(
            "[destination.one]\ntype = \"print\"\n[destination.two]\ntype = \"print\"\n\
             [destination.three]\ntype = \"print\"\n",
        )
        .start();
    let sent: Vec<_> = (0..7)
        .map(|n| {
            let reply = world.send(&booking(&format!("b-{n}"), "Grade"));
            reply.header("x-wilco-event").unwrap().to_owned()
        })
        .collect();
    let newest: Vec<_> = sent.iter().rev().cloned().collect();
    let zero = "evt_00000000000000000000000000";
    let destinations = ["one", "three", "two"].map(str::to_owned);
    for (path, key, expected) in [
        ("/api/v1/events?limit=3".to_owned(), "id", &newest[..]),
        ("/api/v1/events?limit=7".to_owned(), "id", &newest),
        (format!("/api/v1/events?limit=2&after={zero}"), "id", &sent),
        (format!("/api/v1/events?limit=6&after={}", sent[2]), "id", &sent[3..]),
        ("/api/v1/events?event=offer.*&limit=1".to_owned(), "id", &[]),
        ("/api/v1/destinations?limit=2".to_owned(), "destination", &destinations),
    ] {
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page: Value =
                serde_json::from_str(&world.get(&format!("{path}{next}")).body).unwrap();
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item[key].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{path}");
    }
}

#[test]
fn the_manual_has_the_openapi_document_that_wilco_serves() {
    let world = World::plan().start();
    let reply = world.get("/api/openapi.json");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    check_file("docs/openapi.json", &reply.body);
    let document: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let manual = include_str!("../../../../docs/metrics.md");
    for (path, methods) in document["paths"].as_object().unwrap() {
        let method = methods.as_object().unwrap().keys().next().unwrap().to_uppercase();
        let is_documented = manual.contains(&format!("`{method} {path}`"))
            || path.ends_with("/resume") && manual.contains("`/resume`");
        assert!(is_documented, "docs/metrics.md has no row for {method} {path}");
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

#[test]
fn the_overview_says_what_happens_what_waits_and_what_is_wrong() {
    let world = World::plan()
        .source("expect_every = \"3 days\"")
        .and("[destination.crm]\ntype = \"command\"\ncommand = [\"false\"]\nretry = { first = \"100 ms\", give_up_after = \"200 ms\" }\n[[route]]\nto = [\"crm\"]")
        .start();
    let overview =
        || -> Value { serde_json::from_str(&world.get("/api/v1/overview").body).unwrap() };
    let before = overview();
    assert_eq!(before["ready"], true, "{before}");
    assert_eq!(before["sources"][0]["silent"], false);
    assert_eq!(before["sources"][0]["last_event_at"], Value::Null);
    assert_eq!(before["last_minute"]["ack"], Value::Null);
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    assert_eq!(world.post(&booking("b-2", "A"), &[]).status, 400);
    world.eventually("a dead delivery", |_| overview()["destinations"][0]["dead"] == 1);
    let after = overview();
    assert_eq!(after["version"], env!("CARGO_PKG_VERSION"));
    for activity in [&after["last_minute"], &after["last_hour"], &after["minutes"][0]] {
        assert_eq!(activity["events"], 1, "{activity}");
        assert_eq!(activity["requests"]["recorded"], 1, "{activity}");
        assert_eq!(activity["requests"]["duplicate"], 1, "{activity}");
        assert_eq!(activity["ack"]["count"], 2, "{activity}");
        let (p50, p99) = (activity["ack"]["p50_ms"].as_f64(), activity["ack"]["p99_ms"].as_f64());
        assert!(p50 > Some(0.0) && p99 >= p50, "{activity}");
        assert_eq!(activity["attempts"]["dead"], 1, "{activity}");
        assert!(activity["commits"].as_u64() > Some(0), "{activity}");
    }
    assert_eq!(after["destinations"][0]["destination"], "crm");
    assert_ne!(after["sources"][0]["last_event_at"], Value::Null, "{after}");
    assert_eq!(after["sources"][0]["expect_every_secs"], 3 * 86_400);
    assert!(after["store"]["store_bytes"].as_u64() > Some(0), "{after}");
    assert!(after["store"]["free_bytes"].as_u64() > Some(0), "{after}");
}
