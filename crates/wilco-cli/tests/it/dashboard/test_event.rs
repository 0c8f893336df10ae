//! Test events that are sent from the dashboard and by the API.

use serde_json::{Value, json};

use super::{act, form_token, sign_in, visit, with_destination};
use crate::world::{World, booking};

#[test]
fn a_test_event_is_verified_recorded_and_delivered_and_its_page_says_that_it_is_a_test() {
    let world = with_destination().start();
    let cookie = sign_in(&world, "operator");
    let page = |path: &str| visit(&world, path, &[("cookie", &cookie)]).body;
    for (path, link) in [("/", "/events/test?source=freispace"), ("/events", "/events/test")] {
        assert!(page(path).contains(&format!("href=\"{link}\"")), "{path}");
    }
    let form = page("/events/test?event=booking.updated");
    assert!(form.contains("&#34;event&#34;: &#34;booking.updated&#34;"), "{form}");
    let sent = send(&world, &cookie, &booking("t-1", "Try"));
    for expected in ["was received and recorded", "<span class=\"badge\">test</span>"] {
        assert!(sent.contains(expected), "{expected}: {sent}");
    }
    let delivered = "SELECT count(*) FROM delivery WHERE state = 'delivered'";
    world.eventually("the delivery", |world| world.count(delivered) == 1);
    let event = &world.events()[0];
    assert_eq!(
        (&event["event"], &event["subject"]),
        (&json!("booking.updated"), &json!("booking/t-1"))
    );
    let again = send(&world, &cookie, &booking("t-1", "Try"));
    assert!(again.contains("It is a duplicate of this event"), "{again}");
    assert_eq!(world.recorded(), 1);
    assert!(page("/audit").contains("send test event"));
}

#[test]
fn a_test_event_that_is_refused_says_why_and_what_was_written_stays() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "operator");
    let headers =
        [("cookie", cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let token = form_token(&world, &cookie);
    let form = format!("token={token}&source=freispace&event=booking.created&body=not+%3Cjson%3E");
    let reply = world.ask("POST", "/events/test", &headers, &form);
    assert_eq!(reply.status, 422, "{}", reply.body);
    for expected in [
        "the signature is valid, but the body is not a JSON object",
        "\nnot &#60;json&#62;</textarea>",
    ] {
        assert!(reply.body.contains(expected), "{expected}: {}", reply.body);
    }
    assert_eq!(world.recorded(), 0);
    world.eventually("the rejection", |world| world.count("SELECT count(*) FROM rejection") == 1);
}

#[test]
fn every_source_whose_requests_wilco_can_sign_takes_a_test_event_of_its_provider() {
    let world = World::plan().and(SOURCES).env("DISCORD_KEY", PUBLIC_KEY).start();
    let authorization = world.authorization();
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    for (source, request, status, expected) in [
        ("freispace", json!({}), 200, "booking.created"),
        ("freispace", json!({"event": "booking.deleted"}), 200, "booking.deleted"),
        ("github", json!({"event": "pull_request.opened"}), 200, "pull_request.opened"),
        ("github", json!({"event": "push", "body": "{}"}), 200, "push"),
        ("github", json!({"event": "push", "body": "[]"}), 422, "not a JSON object"),
        ("stripe", json!({"event": "invoice.paid"}), 200, "invoice.paid"),
        ("discord", json!({}), 409, "only Discord itself can sign"),
        ("nobody", json!({}), 404, "source nobody not found"),
        ("github", json!({"source": "stripe"}), 422, "unknown field"),
    ] {
        for _ in 0..2 {
            let path = format!("/api/v1/sources/{source}/test");
            let reply = world.ask("POST", &path, &headers, &request.to_string());
            assert_eq!(reply.status, status, "{source} {request}: {}", reply.body);
            let answer: Value = serde_json::from_str(&reply.body).unwrap();
            if status != 200 {
                let detail = answer["detail"].as_str().unwrap();
                assert!(detail.contains(expected), "{source} {request}: {detail}");
                continue;
            }
            assert_eq!(answer["duplicate"], false, "{source} {request}");
            let id = answer["event_id"].as_str().unwrap();
            let event = world.get(&format!("/api/v1/events/{id}"));
            let event: Value = serde_json::from_str(&event.body).unwrap();
            assert_eq!((&event["source"], &event["event"]), (&json!(source), &json!(expected)));
        }
    }
    let cookie = sign_in(&world, "operator");
    let page = visit(&world, "/events/test?source=discord", &[("cookie", &cookie)]);
    assert!(page.body.contains("only Discord itself can sign"), "{}", page.body);
    assert!(!page.body.contains("<textarea"), "{}", page.body);
}

#[test]
fn a_reader_looks_at_the_sample_and_cannot_send_it() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "reader");
    let page = visit(&world, "/events/test", &[("cookie", &cookie)]).body;
    assert!(page.contains("booking.created") && !page.contains("<textarea"), "{page}");
    assert!(!visit(&world, "/", &[("cookie", &cookie)]).body.contains("/events/test"));
}

/// Sends a body with the form, and follows to the page of the event.
fn send(world: &World, cookie: &str, body: &str) -> String {
    let body: String = body.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let token = form_token(world, cookie);
    let form = format!("token={token}&source=freispace&event=booking.created&body={body}");
    act(world, cookie, "/events/test", &form).body
}

/// A valid key, whose private half wilco does not have.
const PUBLIC_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// One that only some networks may send to, and one whose requests only the provider can sign.
const SOURCES: &str = r#"
[source.github]
provider = "github"
path = "/github"
secrets = [{ env = "FREISPACE_SECRET" }]
allow_from = ["203.0.113.0/24"]
[source.stripe]
provider = "stripe"
path = "/stripe"
secrets = [{ env = "FREISPACE_SECRET" }]
[source.discord]
provider = "discord"
path = "/discord"
secrets = [{ env = "DISCORD_KEY" }]
"#;
