//! What an endpoint answers: the table that senders can rely on.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::world::{Reply, World, booking, sign};

#[test]
fn a_signed_event_is_acknowledged_recorded_and_named() {
    let world = World::plan().start();
    let reply = world.send(&booking("b-1", "Grade"));
    assert_eq!((reply.status, reply.message().as_str()), (200, "Webhook processed successfully"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let events = world.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["id"].as_str(), reply.header("x-wilco-event"));
}

#[test]
fn health_path_answers_checks_of_load_balancers_and_nothing_else() {
    let world = World::plan().listen("health_path = \"/up\"").start();
    let ask = |line: &str, rest: &str| {
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{rest}\r\n");
        let mut stream = world.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new(); // a reply to HEAD has the length of a body, and no body
        stream.read_to_string(&mut reply).unwrap();
        reply.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok())
    };
    for (line, status) in [
        ("GET /up", 200),
        ("HEAD /up", 200),
        ("GET /up?from=balancer", 200),
        ("DELETE /up", 404),
        ("GET /up/", 404),
        ("GET /healthz", 404),
        ("GET /webhook", 405),
    ] {
        assert_eq!(ask(line, ""), Some(status), "{line}");
    }
    assert_eq!(ask("GET /up", "content-length: 1\r\n\r\nx"), Some(404), "a check has no body");
    let body = booking("b-1", "Grade");
    let signature = sign(body.as_bytes());
    let posted = world.post_to("/up", &body, &[("x-freispace-signature", &signature)]);
    assert_eq!((posted.status, world.recorded()), (404, 0), "an event is not a check");
    world.reconfigure(|text| text.replace("\"/up\"", "\"/healthz\""));
    assert!(world.run_verb(&["reload"]).status.success());
    assert_eq!(
        (ask("GET /up", ""), ask("GET /healthz", "")),
        (Some(404), Some(200)),
        "after a reload"
    );
    world.reconfigure(|text| text.replace("\"/healthz\"", "\"/webhook\""));
    let refused = world.run_verb(&["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("[listen] health_path is /webhook too"), "{said}");
}

#[test]
fn a_duplicate_is_acknowledged_as_such_with_the_id_of_the_first() {
    let world = World::plan().start();
    let first = world.send(&booking("b-1", "Grade"));
    let second = world.send(&booking("b-1", "Grade"));
    assert_eq!((second.status, second.message()), (200, first.message()));
    assert_eq!(second.header("x-wilco-event"), first.header("x-wilco-event"));
    assert_eq!(first.header("x-wilco-duplicate"), None);
    assert_eq!(second.header("x-wilco-duplicate"), Some("true"));
    assert_eq!(world.recorded(), 1);
}

#[test]
fn every_other_request_is_answered_as_documented_and_not_recorded() {
    let world = World::plan().listen("max_body = \"1 kB\"").start();
    let body = booking("b-1", "Grade");
    let right = format!("x-freispace-signature: {}\r\n", sign(body.as_bytes()));
    let wrong = format!("x-freispace-signature: {}\r\n", "0".repeat(64));
    let (list, text, huge) = ("[1]", "\u{fffd}", format!("{{\"a\":\"{}\"}}", "x".repeat(1_000)));
    let signed = |body: &str| format!("x-freispace-signature: {}\r\n", sign(body.as_bytes()));
    let sig = "Missing signature";
    for (request, status, message) in [
        (post("/webhook", "", &body), 400, sig),
        (post("/webhook", "x-freispace-signature:\r\n", &body), 400, sig),
        (post("/webhook", "x-freispace-signature:  \r\n", &body), 400, sig),
        (post("/webhook", &wrong, &body), 403, "Invalid signature"),
        (post("/webhook", "x-freispace-signature: abc\r\n", &body), 403, "Invalid signature"),
        (post("/webhook", &right.repeat(2), &body), 403, "Invalid signature"),
        (post("/webhook", &right, &body.replace("Grade", "grade")), 403, "Invalid signature"),
        (post("/webhook", &right.to_uppercase(), &body), 403, "Invalid signature"),
        (post("/webhook", &signed(list), list), 400, "Invalid JSON payload"),
        (post("/webhook", &signed(text), text), 400, "Invalid JSON payload"),
        (post("/webhook", &signed(""), ""), 400, "Invalid JSON payload"),
        (post("/webhook", &signed("{\"a\":1} x"), "{\"a\":1} x"), 400, "Invalid JSON payload"),
        (post("/webhook", &signed(&huge), &huge), 413, "Request body too large"),
        (post("/webhook/", &right, &body), 404, "Not found"),
        (post("/Webhook", &right, &body), 404, "Not found"),
        (post("//webhook", &right, &body), 404, "Not found"),
        (post("/%77ebhook", &right, &body), 404, "Not found"),
        (post("/", &right, &body), 404, "Not found"),
        (post("/api/v1/events", &right, &body), 404, "Not found"),
        (post("/metrics", &right, &body), 404, "Not found"),
        (post("/webhook", "x: a\0b\r\n", &body), 400, "Malformed request"),
        (post("/webhook", &"x: a\r\n".repeat(101), &body), 431, "Request head too large"),
    ] {
        let replies = world.exchange(request.as_bytes());
        let [reply] = &replies[..] else { panic!("{request}\n{replies:?}") };
        assert_eq!((reply.status, reply.message().as_str()), (status, message), "{request}");
        check_form(reply);
        assert_eq!((reply.header("allow"), reply.header("retry-after")), (None, None), "{request}");
        assert_eq!(reply.header("x-wilco-event"), None, "{request}");
    }
    assert_eq!(world.recorded(), 0);
    world.log_with("which [listen] max_body allows");
}

#[test]
fn every_other_method_than_post_is_refused_with_the_allowed_one() {
    let world = World::plan().start();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post", "WEBHOOK"] {
        let request = post("/webhook", "", "{}").replacen("POST", method, 1);
        let reply = world.raw(request.as_bytes());
        let message = reply.message();
        assert_eq!((reply.status, message.as_str()), (405, "Method not allowed"), "{method}");
        assert_eq!(reply.header("allow"), Some("POST"), "{method}");
        check_form(&reply);
    }
    // An answer to HEAD has no body, but the content-length of the answer to GET.
    let mut stream = world.connect();
    stream.write_all(b"HEAD /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let text = std::io::read_to_string(stream).unwrap();
    assert!(text.starts_with("HTTP/1.1 405") && text.ends_with("\r\n\r\n"), "{text}");
    assert_eq!(world.recorded(), 0);
}

#[test]
fn a_body_over_the_limit_is_refused_before_the_rest_is_sent() {
    let world = World::plan().listen("max_body = \"64 KiB\"").start();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for rest in [
        "content-length: 65537\r\n\r\n".to_owned(),
        "content-length: 9000000000\r\n\r\n{\"a\":".to_owned(),
        "content-length: 9000000000\r\nexpect: 100-continue\r\n\r\n".to_owned(),
        format!("transfer-encoding: chunked\r\n\r\n{chunk}1\r\nx\r\n"),
        "transfer-encoding: chunked\r\n\r\nfffffffff\r\n".to_owned() + &"x".repeat(70_000),
    ] {
        let began = Instant::now();
        let mut stream = world.connect();
        write!(stream, "POST /webhook HTTP/1.1\r\nhost: a\r\n{rest}").unwrap();
        let replies = Reply::read_all(stream);
        let [reply] = &replies[..] else { panic!("{replies:?}") };
        let message = reply.message();
        assert_eq!((reply.status, message.as_str()), (413, "Request body too large"), "{rest:.90}");
        assert_eq!(reply.header("connection"), Some("close"), "{rest:.90}");
        assert!(began.elapsed() < Duration::from_secs(5), "{rest:.90}");
    }
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(65_536 - 8));
    assert_eq!((body.len(), world.send(&body).status), (65_536, 200));
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_slow_request_gets_408_is_closed_and_delays_no_other() {
    let world = World::plan().start();
    let head = "POST /webhook HTTP/1.1\r\nhost: a\r\n";
    let began_body = format!("{head}content-length: 90\r\n\r\n{{");
    let began_chunk = format!("{head}transfer-encoding: chunked\r\n\r\n5a\r\n{{");
    let began_extension = format!("{head}transfer-encoding: chunked\r\n\r\n5a;");
    thread::scope(|scope| {
        for (begin, drip, status, seconds) in [
            ("P", "", 408, 10),
            (head, "", 408, 10),
            ("POST /webhook HTTP/1.1\r\nx: ", "y", 408, 10),
            (&began_body, "", 408, 10),
            (&began_body, "x", 408, 10),
            (&began_chunk, "x", 408, 10),
            (&began_extension, "x", 408, 10),
            ("\r\nP", "", 408, 10),
            ("\r\n", "", 0, 10),
            ("", "", 0, 10),
        ] {
            let stream = world.connect();
            scope.spawn(move || {
                let (replies, took) = drip_into(stream, begin, drip);
                let expected = Duration::from_secs(seconds);
                let is_right = expected - SLACK / 4 < took && took < expected + SLACK;
                assert!(is_right, "{begin:?} {drip:?} {took:?} {replies:?}");
                let Some(reply) = replies.first().filter(|_| replies.len() == 1) else {
                    return assert_eq!((replies.len(), status), (0, 0), "{begin:?} {drip:?}");
                };
                assert_eq!((reply.status, reply.header("connection")), (status, Some("close")));
                assert_eq!(reply.message(), "Request took too long");
                check_form(reply);
            });
        }
        for number in 0..40 {
            let began = Instant::now();
            assert_eq!(world.send(&booking(&format!("b-{number}"), "Grade")).status, 200);
            assert!(began.elapsed() < Duration::from_secs(2));
        }
    });
    assert_eq!(world.recorded(), 40);
}

#[test]
fn only_allowed_addresses_may_send_and_only_a_trusted_proxy_is_believed() {
    for (allow_from, trusted, forwarded, status) in [
        ("127.0.0.0/8", "", "", 200),
        ("203.0.113.0/24", "", "", 403),
        ("203.0.113.0/24", "", "203.0.113.9", 403),
        ("203.0.113.0/24", "127.0.0.1", "203.0.113.9", 200),
        ("203.0.113.0/24", "127.0.0.1", "203.0.113.9, 198.51.100.1", 403),
        ("203.0.113.0/24", "127.0.0.1", "198.51.100.1, 203.0.113.9", 200),
        ("203.0.113.0/24", "127.0.0.1", "203.0.113.9:61598", 200),
        ("127.0.0.0/8", "127.0.0.1", "198.51.100.1:61598", 403),
        ("203.0.113.0/24", "127.0.0.1", "203.0.113.9, nonsense", 403),
        ("127.0.0.0/8", "127.0.0.1", "203.0.113.9, unknown", 403),
        ("127.0.0.0/8", "127.0.0.1", "", 200),
        ("127.0.0.1", "127.0.0.1", "203.0.113.9", 403),
    ] {
        let trusted = match trusted {
            "" => String::new(),
            proxy => format!("trusted_proxies = [\"{proxy}\"]"),
        };
        let plan = World::plan().listen(&trusted);
        let world = plan.source(&format!("allow_from = [\"{allow_from}\"]")).start();
        let body = booking("b-1", "Grade");
        let signature = sign(body.as_bytes());
        let headers = [("x-forwarded-for", forwarded), ("x-freispace-signature", &signature)];
        let reply = world.post(&body, &headers[usize::from(forwarded.is_empty())..]);
        let row = format!("{allow_from} {trusted} {forwarded}");
        assert_eq!(reply.status, status, "{row}");
        assert_eq!(world.recorded(), i64::from(status == 200), "{row}");
        if status == 403 {
            assert_eq!(reply.message(), "Address not allowed", "{row}");
            check_form(&reply);
        }
    }
}

#[test]
fn with_less_free_space_than_the_reserve_it_answers_503_with_retry_after() {
    let store = "[store]\nurl = \"sqlite:FOLDER/wilco.db\"\nreserve = \"900 TiB\"\n";
    let world = World::plan().and(store).start();
    let reply = world.send(&booking("b-1", "Grade"));
    let message = reply.message();
    assert_eq!((reply.status, message.as_str()), (503, "Not recorded, try again later"));
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    check_form(&reply);
    assert_eq!(world.get("/readyz").status, 503);
    assert_eq!(world.get("/healthz").status, 503);
    assert_eq!(world.get("/livez").status, 200);
    assert_eq!(world.recorded(), 0);
    assert_eq!(world.post("{}", &[]).status, 400, "an unsigned request is told so too");
    world.log_with("which [store] reserve keeps; free some space");
}

#[test]
fn the_log_has_a_line_for_each_event_and_each_refusal_with_sender_and_reason() {
    let world = World::plan().start();
    let body = booking("b-1", "Grade");
    let first = world.send(&body);
    world.send(&body);
    let request = post("/h\u{1b}ook?secret=canary", "", &body).replace('\u{1b}', "%1b");
    world.exchange(request.as_bytes());
    world.exchange(post(&format!("/{}", "x".repeat(5_000)), "", &body).as_bytes());
    world.exchange(post("/webhook", "x-freispace-signature: abc\r\n", &body).as_bytes());
    let logged = |line: &serde_json::Value, message: &str| {
        line["message"].as_str().is_some_and(|found| found.starts_with(message))
    };
    world.eventually("the last line", |world| world.log().matches("refused:").count() == 3);
    let log = world.log();
    let lines: Vec<serde_json::Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for message in ["event recorded", "duplicate event"] {
        let found: Vec<_> = lines.iter().filter(|line| logged(line, message)).collect();
        let [line] = found[..] else { panic!("{message}: {log}") };
        assert_eq!(line["level"], "INFO");
        assert_eq!(
            (&line["source"], &line["event"]),
            (&"freispace".into(), &"booking.updated".into())
        );
        assert_eq!(line["id"].as_str(), first.header("x-wilco-event"));
        assert_eq!(line["bytes"], body.len());
        assert!(line["millis"].is_u64(), "{line}");
    }
    let refused: Vec<_> = lines.iter().filter(|line| logged(line, "refused:")).collect();
    assert_eq!(refused.len(), 3, "{log}");
    assert!(refused.iter().all(|line| line["client"] == "127.0.0.1"), "{log}");
    assert_eq!(refused[0]["message"], "refused: no source has the path /h%1book");
    let cut = format!("refused: no source has the path /{}…", "x".repeat(199));
    assert_eq!(refused[1]["message"], cut.as_str());
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn a_refused_request_is_stored_with_credentials_only_if_it_may_be_accepted() {
    let world = World::plan().start();
    let body = booking("b-1", "Grade");
    let credentials = "authorization: Bearer canary-1\r\ncookie: id=canary-2\r\n\
                       x-gitlab-token: canary-3\r\nproxy-authorization: Basic canary-4\r\n";
    let wrong = format!("{credentials}x-freispace-signature: {}\r\n", "0".repeat(64));
    world.exchange(post("/webhook", &wrong, &body).as_bytes());
    world.exchange(post("/webhook", credentials, &body).as_bytes());
    world.send("[1]");
    world.eventually("three rejections", |w| w.count("SELECT count(*) FROM rejection") == 3);
    for (what, expected) in [
        ("reason = 'wrong_signature' AND message LIKE '%no secret of this source%'", 1),
        ("reason = 'missing_signature' AND message LIKE '%missing or empty%'", 1),
        (
            "reason = 'invalid_body' \
             AND message LIKE '%the signature is valid, but the body is not a JSON object%'",
            1,
        ),
        ("complete", 2),
        ("source = 'freispace' AND client = '127.0.0.1' AND method = 'POST'", 3),
        ("CAST(body AS TEXT) LIKE '%Grade%'", 2),
        ("CAST(headers AS TEXT) LIKE '%canary%'", 1),
        ("complete AND CAST(headers AS TEXT) LIKE '%canary-1%canary-2%canary-3%canary-4%'", 1),
        ("CAST(headers AS TEXT) LIKE '%authorization: (redacted)%cookie: (redacted)%'", 1),
        ("CAST(headers AS TEXT) LIKE '%x-freispace-signature: 0000%'", 1),
    ] {
        let found = world.count(&format!("SELECT count(*) FROM rejection WHERE {what}"));
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(world.recorded(), 0);
    assert!(!world.log().contains("canary"));
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Every answer is JSON with a single message.
#[track_caller]
fn check_form(reply: &Reply) {
    assert_eq!(reply.header("content-type"), Some("application/json"), "{reply:?}");
    let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert!(body.as_object().unwrap().keys().eq(["message"]), "{reply:?}");
}

/// Writes a beginning and then a few bytes every half second, until the other side has closed.
fn drip_into(mut stream: TcpStream, begin: &str, drip: &str) -> (Vec<Reply>, Duration) {
    let began = Instant::now();
    stream.write_all(begin.as_bytes()).unwrap();
    let reader = BufReader::new(stream.try_clone().unwrap());
    let replies = thread::spawn(move || {
        let replies = Reply::read_all(reader.into_inner());
        (replies, began.elapsed())
    });
    while !replies.is_finished() {
        // It may be closed by now.
        let _ = stream.write_all(drip.as_bytes());
        thread::sleep(Duration::from_millis(500));
    }
    replies.join().unwrap()
}

/// How late something may be on a busy machine.
const SLACK: Duration = Duration::from_secs(4);
