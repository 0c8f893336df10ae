//! An HTTP service as a destination: what it is sent, and what its answers mean.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};

use super::{BRIEF, RETRY, delivery, it, named, results, shown};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{World, booking},
};

/// `webhook-signature` as the specification of Standard Webhooks says.
fn signature(key: &[u8], caught: &Caught) -> String {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    let (id, timestamp) = (caught.header("webhook-id"), caught.header("webhook-timestamp"));
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&caught.body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.sign()))
}

#[test]
fn a_header_from_a_reference_is_sent_unchanged_and_never_shown() {
    let catcher = Catcher::new();
    let world = World::plan()
        .and(&it(&format!(
            "type = \"http\"\nurl = {:?}\n\
             headers = {{ authorization = {{ env = \"ERP_TOKEN\" }}, x-name = \"{{{{ data.name }}}}\" }}",
            catcher.url()
        )))
        .env("ERP_TOKEN", "Bearer {{ canary }}")
        .env("RUST_LOG", "trace")
        .start();
    world.send(&booking("b-1", "Grade"));
    let caught = catcher.wait_for(1).swap_remove(0);
    assert_eq!(caught.header("authorization"), "Bearer {{ canary }}", "it is not a template");
    assert_eq!(caught.header("x-name"), "Grade");
    assert!(!world.log().contains("canary"), "{}", world.log());
}

#[test]
fn a_post_has_the_exact_body_and_is_signed() {
    let key = b"twenty-four bytes of key";
    let encoded = format!("whsec_{}", BASE64_STANDARD.encode(key));
    let rows = [
        ("encoded", "secret = { env = \"ENCODED\" }", Some(&key[..])),
        ("unpadded", "secret = { env = \"UNPADDED\" }", Some(&b"made up, so 25 bytes long"[..])),
        ("raw", "secret = { env = \"RAW\" }", Some(b"no base64, just bytes")),
        ("unsigned", "", None),
    ]
    .map(|row| (row, Catcher::new()));
    let mut tables = String::new();
    for ((name, secret, _), catcher) in &rows {
        let url = catcher.url();
        tables.push_str(&format!(
            "[destination.{name}]\ntype = \"http\"\nurl = \"{url}\"\n{secret}\n\
             [[route]]\nto = [\"{name}\"]\n"
        ));
    }
    let unpadded = format!("whsec_{}", BASE64_STANDARD_NO_PAD.encode(b"made up, so 25 bytes long"));
    let plan = World::plan().and(&tables).env("UNPADDED", &unpadded);
    let world = plan.env("ENCODED", &encoded).env("RAW", "no base64, just bytes").start();
    let long = booking("b-1", &"Färberhof 😀".repeat(50_000));
    for body in [long.as_str(), "{ \"n\":12345678901234567890123,\r\n\"n\":1.0 }\n\n"] {
        let reply = world.send(body);
        for ((name, _, key), catcher) in &rows {
            let number = if body.len() > 100 { 1 } else { 2 };
            let caught = catcher.wait_for(number).swap_remove(number - 1);
            assert!(caught.body == body.as_bytes(), "{name}: {} bytes", caught.body.len());
            assert_eq!((caught.method.as_str(), caught.path.as_str()), ("POST", "/hook?a=1"));
            assert_eq!(caught.header("host"), catcher.address.to_string());
            assert_eq!(caught.header("content-type"), "application/json");
            assert_eq!(caught.header("webhook-id"), reply.header("x-wilco-event").unwrap());
            let event = if number == 1 { "booking.updated" } else { "unknown" };
            assert_eq!(caught.header("x-wilco-event-name"), event);
            assert_eq!(caught.header("x-wilco-attempt"), "1");
            assert!(
                !caught.has("x-freispace-signature"),
                "a signature over nothing it could check"
            );
            let at: u64 = caught.header("webhook-timestamp").parse().unwrap();
            assert!(unix_now().abs_diff(at) < 10, "{at}");
            match key {
                Some(key) => {
                    assert_eq!(
                        caught.header("webhook-signature"),
                        signature(key, &caught),
                        "{name}"
                    );
                }
                None => assert!(!caught.has("webhook-signature")),
            }
        }
    }
}

#[test]
fn an_event_name_loses_the_characters_that_no_header_can_hold() {
    let catcher = Catcher::new();
    let world =
        World::plan().and(&it(&format!("type = \"http\"\nurl = \"{}\"", catcher.url()))).start();
    world.send(&named("böse\\r\\nx-injected: 1\\u0000", "1"));
    let caught = catcher.wait_for(1).swap_remove(0);
    assert_eq!(caught.header("x-wilco-event-name"), "bsex-injected: 1");
    assert!(!caught.has("x-injected"));
}

#[test]
fn the_response_decides_about_the_delivery() {
    let elsewhere = Catcher::new();
    let location: &'static str = format!("location: {}\r\n", elsewhere.url()).leak();
    let moved: &'static str = format!(
        "301 Moved Permanently: redirects are not followed, this one is to {}",
        elsewhere.url()
    )
    .leak();
    let long_head: &'static str =
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(400_000)).leak();
    let many_fields: &'static str =
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200)).leak();
    let catcher = Catcher::start(move |_, caught| match caught.header("x-wilco-event-name") {
        "moved" => Act::With(301, location),
        "see-other" => Act::With(307, location),
        "reset" => Act::Reset,
        "cut-off" => Act::Write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
        "cut-off-failure" => Act::Write("HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\nhalf"),
        "no-chunk" => Act::Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhalf"),
        "half-chunk" => {
            Act::Write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf")
        }
        "odd-header" => Act::Write("HTTP/1.1 200 OK\r\nodd header\u{1}: x\r\n\r\n"),
        "no-status" => Act::Write("HTTP/1.1 200 O"),
        "no-head" => Act::Write("HTTP/1.1 200 OK\r\ncontent-le"),
        "no-head-failure" => Act::Write("HTTP/1.1 500 X\r\ncontent-le"),
        "zero" => Act::Write("HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n"),
        "folded" => Act::Write("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n"),
        "odd-length" => Act::Write("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"),
        "two-lengths" => {
            Act::Write("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")
        }
        "old-chunked" => Act::Write("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        "many-fields" => Act::Write(many_fields),
        "long-head" => Act::Write(long_head),
        "hints" => Act::Write(
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
             HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
        ),
        "interim" => Act::Interim,
        "hang" => Act::Hang,
        "drip" => Act::Drip,
        "flood" => Act::Flood,
        status => Act::Answer(status.parse().unwrap()),
    });
    let lines = format!(
        "type = \"http\"\nurl = \"{}\"\ntimeout = \"500 ms\"\nconcurrency = 32\n{BRIEF}",
        catcher.url()
    );
    let world = World::plan().and(&it(&lines)).start();
    let rows = [
        ("200", "delivered", "200 OK", 1..=1),
        ("201", "delivered", "201 Created", 1..=1),
        ("204", "delivered", "204 No Content", 1..=1),
        ("299", "delivered", "299", 1..=1),
        ("flood", "delivered", "200 OK", 1..=1),
        ("410", "dead", "410 Gone", 1..=1),
        ("moved", "dead", moved, 6..=60),
        ("see-other", "dead", "307 Temporary Redirect: ", 6..=60),
        ("400", "dead", "400 Bad Request", 6..=60),
        ("404", "dead", "404 Not Found", 6..=60),
        ("500", "dead", "500 Internal Server Error", 6..=60),
        ("reset", "dead", "", 6..=60),
        ("hang", "dead", "no answer within 0.5 s", 6..=60),
        // The status decides, whatever happens to the body.
        ("drip", "delivered", "200 OK", 1..=1),
        ("cut-off", "delivered", "200 OK", 1..=1),
        ("cut-off-failure", "dead", "500 Internal Server Error", 6..=60),
        ("no-chunk", "delivered", "200 OK", 1..=1),
        ("half-chunk", "delivered", "200 OK", 1..=1),
        ("odd-header", "delivered", "200 OK", 1..=1),
        // The rest of the head does not matter either.
        ("no-status", "dead", "", 6..=60),
        ("no-head", "delivered", "200 OK", 1..=1),
        ("no-head-failure", "dead", "500 Internal Server Error", 6..=60),
        ("long-head", "delivered", "200 OK", 1..=1),
        ("zero", "delivered", "200 OK", 1..=1),
        ("folded", "delivered", "200 OK", 1..=1),
        ("odd-length", "delivered", "200 OK", 1..=1),
        ("two-lengths", "delivered", "200 OK", 1..=1),
        ("old-chunked", "delivered", "200 OK", 1..=1),
        ("many-fields", "delivered", "200 OK", 1..=1),
        ("hints", "delivered", "202 Accepted", 1..=1),
        ("interim", "dead", "more than 32 interim (1xx) responses", 6..=60),
    ];
    let sent = rows.map(|row| (world.send(&named(row.0, row.0)), row));
    for (reply, (event, state, result, attempts)) in sent {
        let delivery = delivery(&world, &reply, state);
        let results = results(&delivery);
        assert!(attempts.contains(&results.len()), "{event}: {results:?}");
        assert!(results.iter().all(|one| one.starts_with(result)), "{event}: {results:?}");
        let caught = catcher.caught();
        let caught = caught.iter().filter(|c| c.header("x-wilco-event-name") == event).count();
        assert_eq!(caught, results.len(), "{event}");
        let output = delivery["history"][0]["output"].as_str();
        match event {
            "flood" => assert_eq!(output.unwrap(), "x".repeat(64 << 10)),
            "cut-off" | "half-chunk" => assert_eq!(output, Some("half"), "{event}"),
            _ => {}
        }
    }
    assert!(elsewhere.caught().is_empty(), "a redirect was followed");
}

#[test]
fn a_response_on_a_reused_connection_is_not_that_to_the_previous_request() {
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n";
    let catcher = Catcher::start(move |_, caught| match caught.header("x-wilco-event-name") {
        "whole" => Act::Answer(200),
        "broken" => Act::Write(broken),
        _ => Act::Reset,
    });
    let lines = format!("type = \"http\"\nurl = \"{}\"\nconcurrency = 1\n{BRIEF}", catcher.url());
    let world = World::plan().and(&it(&lines)).start();
    for (number, (event, state)) in
        [("whole", "delivered"), ("broken", "delivered"), ("whole", "delivered"), ("none", "dead")]
            .into_iter()
            .enumerate()
    {
        let reply = world.send(&named(event, &number.to_string()));
        let delivery = delivery(&world, &reply, state);
        let results = results(&delivery);
        assert_eq!(results.len() == 1, state == "delivered", "{event}: {results:?}");
        assert!(state == "delivered" || !results[0].contains("200"), "{results:?}");
    }
}

#[test]
fn a_header_that_can_never_be_sent_is_dead_at_once() {
    let catcher = Catcher::new();
    let lines = format!(
        "type = \"http\"\nurl = \"{}\"\nheaders = {{ x-title = \"{{{{ data.name }}}}\" }}\n{RETRY}",
        catcher.url()
    );
    let world = World::plan().and(&it(&lines)).start();
    for name in ["two\\nlines", "a\\rreturn", "a\\u0000zero", "a\\u007fdelete"] {
        let reply = world.send(&booking(name, name));
        let delivery = delivery(&world, &reply, "dead");
        let results = results(&delivery);
        let expected = "the header x-title would hold a line break or a control character";
        assert!(results.len() == 1 && results[0].starts_with(expected), "{name}: {results:?}");
    }
    let reply = world.send(&booking("b-1", "Färberhof\\t2"));
    delivery(&world, &reply, "delivered");
    assert_eq!(catcher.caught().len(), 1);
}

#[test]
fn a_url_by_reference_and_the_target_of_its_redirect_are_not_shown() {
    let secret = "/hooks/canary-in-the-path";
    let body = format!("content-length: {}\r\n\r\nno {secret} here", secret.len() + 8);
    let moved: &'static str =
        format!("location: https://new.example{secret}/canary\r\n{body}").leak();
    let echo: &'static str = body.leak();
    for (act, state, result) in [
        (Act::With(200, echo), "delivered", "200 OK"),
        (
            Act::With(308, moved),
            "dead",
            "308 Permanent Redirect: redirects are not followed, this one is to https://new.example/…",
        ),
        (Act::Reset, "dead", ""),
    ] {
        let catcher = Catcher::of(&[act]);
        let lines = it(&format!("type = \"http\"\nurl = {{ env = \"URL\" }}\n{BRIEF}"));
        let url = format!("http://{}{secret}?sig=canary-in-the-query", catcher.address);
        let world = World::plan().and(&lines).env("URL", &url).start();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, state);
        assert!(results(&delivery)[0].starts_with(result), "{delivery}");
        let shown = shown(&world, &reply).to_string();
        assert!(!shown.contains("canary"), "{shown}");
        assert!(!world.log().contains("canary"), "{}", world.log());
    }
}

#[test]
fn a_delivery_is_tried_until_it_succeeds() {
    let catcher = Catcher::of(&[Act::Answer(500), Act::Reset, Act::Hang, Act::Answer(200)]);
    let lines = format!(
        "type = \"http\"\nurl = \"{}\"\ntimeout = \"500 ms\"\n\
         secret = {{ env = \"RAW\" }}\n{RETRY}",
        catcher.url()
    );
    let world = World::plan().and(&it(&lines)).env("RAW", "a secret in plain text").start();
    let reply = world.send(&booking("b-1", "Grade"));
    let delivery = delivery(&world, &reply, "delivered");
    assert_eq!(results(&delivery).len(), 4);
    assert!(delivery.get("last_error").is_none(), "{delivery}");
    for (number, caught) in catcher.caught().iter().enumerate() {
        assert_eq!(caught.header("x-wilco-attempt"), (number + 1).to_string());
        assert_eq!(caught.header("webhook-id"), reply.header("x-wilco-event").unwrap());
        assert_eq!(
            caught.header("webhook-signature"),
            signature(b"a secret in plain text", caught)
        );
    }
}

#[test]
fn retry_after_is_waited_for_with_429_and_503() {
    // Each has its own destination, because the wait holds back everything that goes there.
    for (status, is_waited_for) in [(429, true), (503, true), (500, false)] {
        let catcher = Catcher::of(&[Act::With(status, "retry-after: 2\r\n"), Act::Answer(200)]);
        let lines = format!("type = \"http\"\nurl = \"{}\"\n{RETRY}", catcher.url());
        let world = World::plan().and(&it(&lines)).start();
        delivery(&world, &world.send(&named("a", "a")), "delivered");
        let caught = catcher.caught();
        let waited = caught[1].at - caught[0].at;
        assert_eq!(waited >= Duration::from_secs(2), is_waited_for, "{status}: {waited:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "what the test holds the timestamp against")]
fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
