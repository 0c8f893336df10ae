//! Providers besides freispace, from outside: what they send is verified, named and recognised.

use wilco::{Secret, Unsigned, provider};

use crate::world::{SECRET, World};

const GITHUB: &str = "[source.code]\nprovider = \"github\"\npath = \"/code\"\n\
                      secrets = [{ env = \"FREISPACE_SECRET\" }]\n\
                      [destination.p]\ntype = \"print\"\n\
                      [[route]]\nevents = [\"pull_request.*\"]\nto = [\"p\"]\n";

fn signature(body: &str) -> String {
    let secret = Secret::new("test", SECRET.into()).unwrap();
    let request = Unsigned::post(body.as_bytes(), jiff::Timestamp::now());
    let scheme = &provider::find("github").unwrap().scheme;
    scheme.sign(&secret, &request).unwrap().pop().unwrap().1
}

#[test]
fn a_github_event_is_named_by_header_and_action_and_identified_by_its_delivery_id() {
    let world = World::plan().and(GITHUB).start();
    let body = r#"{"action":"opened","repository":{"full_name":"nordlicht/cut"}}"#;
    let signature = signature(body);
    let headers = [
        ("x-github-event", "pull_request"),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let first = world.post_to("/code", body, &headers);
    assert_eq!(first.status, 200, "{}", first.body);
    let again = world.post_to("/code", body, &headers);
    assert_eq!(again.header("x-wilco-event"), first.header("x-wilco-event"));
    assert_eq!(again.header("x-wilco-duplicate"), Some("true"));
    world.eventually("it is delivered", |world| {
        world.events()[0]["deliveries"][0]["state"] == "delivered"
    });
    let event = world.events().remove(0);
    assert_eq!(event["event"], "pull_request.opened");
    assert_eq!(event["subject"], "nordlicht/cut");
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_request_that_github_did_not_sign_is_refused_in_the_same_words() {
    let world = World::plan().and(GITHUB).start();
    let right = signature("{}");
    let short = &right[..70];
    for (headers, status, message) in [
        (vec![], 400, "Missing signature"),
        (vec![("x-hub-signature-256", right.trim_start_matches("sha256="))], 403, "Invalid"),
        (vec![("x-hub-signature-256", short)], 403, "Invalid"),
        (vec![("x-hub-signature", right.as_str())], 400, "Missing signature"),
        (vec![("x-hub-signature-256", right.as_str()); 2], 403, "Invalid"),
    ] {
        let reply = world.post_to("/code", "{}", &headers);
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(reply.body.contains(message), "{headers:?}: {}", reply.body);
    }
    assert_eq!(world.post_to("/code", "{}", &[("x-hub-signature-256", &right)]).status, 200);
}
