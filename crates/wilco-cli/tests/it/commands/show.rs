//! `wilco events show`, and the ways to name an event.

use std::{process::Output, time::Duration};

use serde_json::Value;

use super::text;
use crate::world::{World, booking, sign};

#[test]
fn an_event_is_shown_completely_with_its_exact_body() {
    let world = World::plan().start();
    let long = format!("{{\"a\":\"{}\"}}\r\n\r\n", "Größe \u{1f3ac} ".repeat(9_000));
    assert!(long.len() > 100_000);
    let odd =
        "{\"type\":\"booking\",\"id\":\"b\u{202e}-2\",\"n\":1.10,\"n\":2,  \"e\":\"\\u001b[31m\"}";
    for body in [booking("b-1", "Größe").as_str(), &long, odd, "{}", "\t{ }\n"] {
        let id = world.send(body).header("x-wilco-event").unwrap().to_owned();
        let raw = run(&world, &["events", "show", &id, "--raw"]);
        assert!(raw.status.success() && raw.stdout == body.as_bytes(), "{body:.90}");
        let json = text(&run(&world, &["events", "show", &id, "--json"]).stdout);
        let shown: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((json.lines().count(), shown["body"].as_str()), (1, Some(body)));
        let headers = shown["headers"].as_array().unwrap();
        let signature = sign(body.as_bytes());
        let signature = serde_json::json!({ "name": "x-freispace-signature", "value": signature });
        assert!(headers.contains(&signature), "{json}");
        let picture = text(&run(&world, &["events", "show", &id]).stdout);
        for part in [&id, "signed by  env:FREISPACE_SECRET", "headers\n", "deliveries\n", "body\n"]
        {
            assert!(picture.contains(part), "{part} {picture}");
        }
    }
    for (id, code, said) in [
        ("evt_00000000000000000000000000", 1, "wilco: event evt_0000"),
        ("evt_", 2, "expected one like evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF"),
        ("../../etc/passwd", 2, "invalid value '../../etc/passwd' for '<ID>'"),
        ("evt_nosuch", 2, "invalid value 'evt_nosuch' for '<ID>'"),
        ("NoSuch", 2, "invalid value 'NoSuch' for"),
    ] {
        let output = run(&world, &["events", "show", id]);
        assert_eq!(output.status.code(), Some(code), "{id}");
        assert!(text(&output.stderr).contains(said), "{id} {}", text(&output.stderr));
    }
}

#[test]
fn a_credential_in_a_header_is_never_shown() {
    let world = World::plan().start();
    let body = booking("b-1", "A");
    let headers = [
        ("x-freispace-signature", sign(body.as_bytes())),
        ("authorization", "Bearer canary".into()),
        ("proxy-authorization", "Basic canary".into()),
        ("cookie", "a=canary".into()),
        ("x-gitlab-token", "canary".into()),
        ("x-api-key", "canary".into()),
        ("x-other", "shown".into()),
    ];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(world.post(&body, &headers).status, 200);
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    for said in [
        text(&run(&world, &["events", "show", &id]).stdout),
        text(&run(&world, &["events", "show", &id, "--json"]).stdout),
        world.get(&format!("/api/v1/events/{id}")).body,
    ] {
        assert!(said.contains("x-api-key") && said.contains("(redacted)"), "{said}");
        assert!(said.contains("shown") && !said.contains("canary"), "{said}");
    }
}

#[test]
fn text_from_a_sender_never_controls_the_terminal() {
    let world = World::plan().start();
    let body = "{\"type\":\"a\\u001b[2J\\u0007\\u202e\\u2066\\u200b\",\"id\":\"b\",\"event\":\"x\\u001b]0;t\\u0007y\\u009bz\"}";
    let signature = sign(body.as_bytes());
    let headers = [("x-evil", "a\u{9b}31m\u{e9}"), ("x-freispace-signature", &signature)];
    let id = world.post(body, &headers).header("x-wilco-event").unwrap().to_owned();
    world.post(body, &[("x-freispace-signature", "\u{9b}31m")]);
    let dry_run = ["events", "replay", &id, "--dry-run"];
    for arguments in
        [&["events", "list"][..], &["events", "show", &id], &["events", "why", &id], &dry_run]
    {
        let said = text(&run(&world, arguments).stdout);
        let is_command = |c: &char| {
            c.is_control() && !"\n\t".contains(*c) || "\u{202e}\u{2066}\u{200b}".contains(*c)
        };
        let commands = said.chars().filter(is_command);
        assert_eq!(commands.collect::<String>(), "", "{said:?}");
        assert!(said.contains('\u{fffd}'), "{said:?}");
    }
    let in_log = |c: char| c.is_control() && c != '\n';
    assert!(!world.log().contains(in_log), "{:?}", world.log());
}

#[test]
fn an_event_is_named_by_its_id_its_beginning_or_latest() {
    let world = World::plan().start();
    let id = world.send(&booking("b-1", "A")).header("x-wilco-event").unwrap().to_owned();
    std::thread::sleep(Duration::from_millis(5));
    let other = world.send(&booking("b-2", "A")).header("x-wilco-event").unwrap().to_owned();
    world.eventually("both are routed", |w| w.events().iter().all(|e| e["routed"] == true));
    let unknown = "evt_7ZZZ0000000000000000000000";
    let first_line = |arguments: &[&str]| {
        let output = run(&world, arguments);
        assert!(output.status.success(), "{arguments:?} {output:?}");
        text(&output.stdout).lines().next().unwrap_or_default().to_owned()
    };
    for (which, expected) in [
        (id.as_str(), &id),
        (&id[4..], &id),
        (&id[..20], &id),
        (&id[4..18], &id),
        ("latest", &other),
    ] {
        assert_eq!(&first_line(&["events", "show", which]), expected);
        assert!(first_line(&["events", "why", which]).starts_with(expected.as_str()));
    }
    assert_eq!(first_line(&["events", "cancel", "latest"]), "no delivery was pending");
    for (which, said) in [
        (&id[..8], format!("several ids begin with {}: {id} booking.updated, {other}", &id[..8])),
        ("7ZZZ", "no event has an id that begins with evt_7ZZZ".into()),
        (unknown, format!("event {unknown} not found")),
    ] {
        for verb in ["show", "why", "cancel", "replay"] {
            let output = run(&world, &["events", verb, which]);
            assert_eq!(output.status.code(), Some(1), "{verb} {which} {output:?}");
            assert!(text(&output.stderr).contains(&said), "{verb} {which} {output:?}");
        }
    }
}

fn run(world: &World, arguments: &[&str]) -> Output {
    world.run_verb(arguments)
}
