//! What never arrived: stand-ins for the APIs of Stripe, GitHub and GitLab, built from their descriptions, that
//! know what they sent. After an outage all of it is there, and none of it twice.

mod github;
mod gitlab;
mod stripe;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    catcher::{Act, Catcher},
    world::{Plan, World},
};

/// A source of this provider at `/in` that asks this stand-in.
fn plan(provider: &str, api: &Catcher, more: &str) -> Plan {
    let address = api.address;
    World::plan().env("TOKEN", "a-made-up-token").and(&format!(
        "[source.in]\nprovider = \"{provider}\"\npath = \"/in\"\n\
         secrets = [{{ env = \"FREISPACE_SECRET\" }}]\n\
         backfill = {{ token = {{ env = \"TOKEN\" }}, url = \"http://{address}/\", every = \"10 s\"{more} }}\n\
         [destination.missed]\ntype = \"file\"\npath = \"FOLDER/missed\"\n\
         [destination.alerts]\ntype = \"file\"\npath = \"FOLDER/alerts\"\n\
         [alerts]\nto = \"alerts\"\n\
         [[route]]\nfrom = \"in\"\nwhen = 'event.backfilled'\nto = \"missed\"\n"
    ))
}

/// The status of the source, as `wilco backfill --status` prints it.
fn status(world: &World) -> Value {
    let output = world.run_verb(&["backfill", "--status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a round by hand, and waits for its end.
fn backfill(world: &World) {
    let output = world.run_verb(&["backfill"]);
    assert!(output.status.success(), "{output:?}");
}

/// Waits until the destination for what was missed has this many events, all different.
#[track_caller]
fn expect_missed(world: &World, count: usize) {
    let lines = || std::fs::read_to_string(world.path("missed")).unwrap_or_default();
    world.eventually("what was missed", |_| lines().lines().count() >= count);
    let text = lines();
    let different: BTreeSet<_> = text.lines().collect();
    assert_eq!((text.lines().count(), different.len()), (count, count));
}

#[test]
fn an_error_of_the_api_is_shown_and_one_that_lasts_is_an_alert() {
    for (act, expected, is_alert) in [
        (Act::Answer(401), "status 401; check the token, and what it may read", true),
        (Act::With(429, "retry-after: 3600\r\n"), "status 429", false),
        // One that asks to wait does not say that the token is wrong.
        (Act::With(403, "retry-after: 3600\r\n"), "status 403", false),
        (Act::With(403, "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n"), "status 403", false),
        (Act::Body(200, "", "[]".into()), "the answer is not a list of events", false),
        (Act::Reset, "GET /v1/events", false),
    ] {
        let api = Catcher::of(&[act]);
        let world = plan("stripe", &api, "").start();
        let output = world.run_verb(&["backfill"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected) && !said.contains("a-made-up-token"), "{said}");
        assert_eq!(said.contains("check the token"), is_alert, "{said}");
        assert!(status(&world)["error"].as_str().unwrap().contains(expected));
        if is_alert {
            world.eventually("an alert", |world| {
                std::fs::read_to_string(world.path("alerts"))
                    .is_ok_and(|text| text.contains("alert.backfill"))
            });
        }
        assert!(!world.log().contains("a-made-up-token"));
    }
}

#[test]
fn a_round_by_hand_needs_a_running_wilco_and_the_status_does_not() {
    let api = Catcher::of(&[Act::Body(200, "", r#"{"data":[],"has_more":false}"#.into())]);
    let mut world = plan("stripe", &api, "").start();
    backfill(&world);
    assert_eq!(status(&world)["taken_in"], 0);
    world.stop();
    assert_eq!(status(&world)["source"], "in");
    let output = world.run_verb(&["backfill"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected =
        "wilco: only a running wilco takes in what never arrived; start it with `wilco serve`\n";
    assert_eq!(said, expected);
}

#[test]
fn a_backfill_that_cannot_work_is_reported() {
    let api = Catcher::new();
    for (provider, tail, expected) in [
        ("freispace", "every = \"10 s\"", "wilco cannot ask freispace for what never arrived"),
        ("github", "every = \"10 s\"", "hook"),
        ("github", "hook = \"repos/a/../hooks/1\"", "invalid hook"),
        ("github", "hook = \"orgs/a/hooks/x\"", "invalid hook"),
        ("gitlab", "hook = \"orgs/a/hooks/1\"", "invalid hook"),
        ("gitlab", "every = \"10 s\"", "hook"),
        ("stripe", "hook = \"orgs/a/hooks/1\"", "Stripe has no hook"),
        ("stripe", "every = \"1 s\"", "every is shorter than 10 s"),
    ] {
        let world = plan("stripe", &api, "").start();
        let (from, to) = ("provider = \"stripe\"", format!("provider = \"{provider}\""));
        world.reconfigure(|text| text.replace(from, &to).replace("every = \"10 s\"", tail));
        let output = world.run_verb(&["reload"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn a_token_is_only_sent_encrypted() {
    let api = Catcher::new();
    let world = plan("stripe", &api, "").start();
    let url = format!("http://{}/", api.address);
    world.reconfigure(|text| text.replace(&url, "http://api.example.com"));
    let output = world.run_verb(&["reload"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the token would be sent without encryption"), "{said}");
}

#[test]
fn the_error_of_a_source_whose_backfill_was_removed_is_forgotten() {
    let api = Catcher::of(&[Act::Answer(401)]);
    let world = plan("stripe", &api, "").start();
    world.eventually("an error", |world| {
        status_of_all(world).iter().any(|status| status["error"].is_string())
    });
    world.reconfigure(|text| {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("backfill"));
        lines.map(|line| format!("{line}\n")).collect()
    });
    assert!(world.run_verb(&["reload"]).status.success());
    world.eventually("no error", |world| {
        status_of_all(world).iter().all(|status| status.get("error").is_none())
    });
}

fn status_of_all(world: &World) -> Vec<Value> {
    let output = world.run_verb(&["backfill", "--status", "--json"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
