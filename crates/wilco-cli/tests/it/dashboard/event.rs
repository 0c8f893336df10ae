//! The page about one event.

use super::{act, form_token, handled, sign_in, visit, with_destination};
use crate::world::{World, booking, sign};

#[test]
fn the_page_tells_what_happened_to_the_event_in_its_order() {
    let world = World::plan()
        .and(
            "[destination.out]\ntype = \"print\"\n[destination.broken]\ntype = \"command\"\n\
             command = [\"/bin/sh\", \"-c\", \"echo no such table >&2; exit 3\"]\n\
             [[route]]\nevents = [\"booking.*\"]\nto = [\"out\", \"broken\"]\n\
             [[route]]\nevents = [\"offer.*\"]\nto = [\"out\"]\n",
        )
        .start();
    assert_eq!(world.send(&booking("b-1", "Grade")).status, 200);
    world.eventually("both attempts", |world| world.count("SELECT count(*) FROM attempt") == 2);
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    let page = visit(&world, &format!("/events/{id}"), &[("cookie", &sign_in(&world, "operator"))]);
    let mut rest = page.body.as_str();
    for step in [
        "Received",
        "by source <strong>freispace</strong>",
        "Verified",
        "env:FREISPACE_SECRET",
        "Recorded and acknowledged",
        "Routed",
        "takes it",
        "Route 1 to out, broken",
        "takes booking.*; the event is booking.updated",
        "does not",
        "Route 2 to out",
        "offer.*",
        "Attempt 1",
        "exit 3",
        "<summary>Request</summary>",
        "command: /bin/sh",
        "no such table",
        "<h2 id=\"about-title\">",
        &id,
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("{step} is missing in {rest}"));
        rest = &rest[at + step.len()..];
    }
}

#[test]
fn a_delivery_that_is_due_says_what_it_waits_for() {
    let world = World::plan()
        .and(
            "[destination.out]\ntype = \"print\"\n[destination.stopped]\ntype = \"command\"\n\
             command = [\"/bin/sh\", \"-c\", \"exit 3\"]\n\
             retry = { first = \"10 ms\", max = \"10 ms\" }\n\
             breaker = { failures = 1, probe_after = \"5 min\" }\n\
             [[route]]\nto = [\"out\", \"stopped\"]\n",
        )
        .start();
    assert!(world.run_verb(&["destinations", "pause", "out"]).status.success());
    let sent = world.send(&booking("b-1", "Grade"));
    let cookie = sign_in(&world, "operator");
    let path = format!("/events/{}", sent.header("x-wilco-event").unwrap());
    let page = || visit(&world, &path, &[("cookie", &cookie)]).body;
    for why in ["</time>: out is paused.", "</time>: stopped keeps failing; its circuit breaker"] {
        world.eventually(why, |_| page().contains(why));
    }
}

#[test]
fn a_body_is_shown_as_it_was_sent() {
    let world = with_destination().start();
    let cookie = sign_in(&world, "reader");
    let shown = |body: &str, headers: &[(&str, &str)]| {
        let sign = sign(body.as_bytes());
        let headers = [headers, &[("x-freispace-signature", &*sign)]].concat();
        let reply = world.post(body, &headers);
        let id = reply.header("x-wilco-event").unwrap().to_owned();
        visit(&world, &format!("/events/{id}"), &[("cookie", &cookie)]).body
    };
    let body =
        r#"{"z":1.10,"a":100000000000000000001,"z":"\u00e4<b>","id":"1","type":"x","event":"x.y"}"#;
    let page = shown(body, &[("authorization", "Bearer hide-me"), ("x-note", "<i>")]);
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(place(">1.10<") < place(">100000000000000000001<"));
    assert!(place(">100000000000000000001<") < place("\\u00e4&#60;b&#62;"));
    assert!(!page.contains("hide-me") && page.contains("(redacted)"), "{page}");
    assert!(page.contains("&#60;i&#62;") && !page.contains("<i>"), "{page}");
    let quote = "{\"id\":\"2\",\"type\":\"x\",\"event\":\"x.y\",\"data\":\"it's\"}";
    let page = shown(quote, &[]);
    assert!(page.contains("it&#39;\\&#39;&#39;s"), "one word of a shell: {page}");
}

#[test]
fn what_a_reader_must_not_do_has_no_button() {
    let world = handled();
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    for path in ["/events".to_owned(), format!("/events/{id}")] {
        for (role, has_button) in [("operator", true), ("reader", false)] {
            let page = visit(&world, &path, &[("cookie", &sign_in(&world, role))]).body;
            assert_eq!(page.contains("/replay\""), has_button, "{role} {path}");
        }
    }
}

#[test]
fn a_pending_delivery_is_cancelled_and_a_done_one_is_not() {
    let world = with_destination().start();
    assert!(world.run_verb(&["destinations", "pause", "out"]).status.success());
    let reply = world.send(&booking("b-1", "Grade"));
    let id = reply.header("x-wilco-event").unwrap().to_owned();
    world.eventually("the delivery", |world| world.count("SELECT count(*) FROM delivery") == 1);
    let cookie = sign_in(&world, "operator");
    let token = form_token(&world, &cookie);
    let path = format!("/events/{id}/cancel");
    for (destination, said) in [
        ("other", "Nothing was cancelled"),
        ("out", "Cancelled 1 delivery."),
        ("out", "Nothing was cancelled"),
    ] {
        let page = act(&world, &cookie, &path, &format!("token={token}&destination={destination}"));
        assert!(page.body.contains(said), "{destination} {}", page.body);
    }
    let unknown = "/events/evt_01M89FXQAS000XWFNKEM3JNBGP";
    assert_eq!(visit(&world, unknown, &[("cookie", &cookie)]).status, 404);
    assert_eq!(visit(&world, "/events/%3Cx%3E", &[("cookie", &cookie)]).status, 404);
}

#[test]
fn all_but_the_last_of_many_attempts_are_folded() {
    let retry =
        "retry = { first = \"10 ms\", max = \"10 ms\" }\nbreaker = { failures = 1000000 }\n";
    let failing = "[destination.crm]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n";
    let world = World::plan().and(&format!("{failing}{retry}[[route]]\nto = [\"crm\"]\n")).start();
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    let attempts = "SELECT count(*) FROM attempt";
    world.eventually("attempts", |world| world.count(attempts) >= 5);
    let path = format!("/events/{}", world.events()[0]["id"].as_str().unwrap());
    let page = visit(&world, &path, &[("cookie", &sign_in(&world, "reader"))]).body;
    let place = |text| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
    assert!(place(" earlier attempts</summary>") < place("Attempt 1</span>"), "{page}");
    assert!(place("Attempt 1</span>") < place("</ol></details></li>"), "{page}");
    assert!(place("</ol></details></li>") < place("</section>"), "{page}");
}
