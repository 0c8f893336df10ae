//! `wilco events diff`: what another configuration would deliver about recorded events.

use std::{fs, process::Output};

use serde_json::{Value, json};

use super::text;
use crate::world::World;

/// The destinations of these tests. Nothing listens at their URLs.
const TABLES: &str = r#"
[destination.crew]
type = "discord"
url = { env = "CREW_URL" }
text = "{{ data.name }} is {{ data.status }}"
[destination.erp]
type = "http"
url = "http://127.0.0.1:9/hook"
headers = { authorization = { env = "ERP_TOKEN" }, x-status = "{{ data.status }}" }
[destination.log]
type = "file"
path = "FOLDER/events.jsonl"
[[route]]
to = ["crew"]
[[route]]
events = ["booking.*"]
to = ["erp", "log"]
"#;

fn world() -> World {
    let world = World::plan()
        .and(TABLES)
        .env("CREW_URL", "http://127.0.0.1:9/canary-crew")
        .env("ERP_TOKEN", "canary-token")
        .start();
    for (event, status) in [("booking.created", "new"), ("booking.updated", "done"), ("x", "odd")] {
        let body =
            json!({ "id": event, "event": event, "data": { "name": "A", "status": status } });
        world.send(&body.to_string());
    }
    world
}

/// Runs the command with a changed copy of the configuration as the candidate.
fn diff(world: &World, change: impl FnOnce(String) -> String, arguments: &[&str]) -> Output {
    let current = fs::read_to_string(world.path("wilco.toml")).unwrap();
    fs::write(world.path("candidate.toml"), change(current)).unwrap();
    let all = [&["events", "diff", "--config", "candidate.toml"], arguments].concat();
    let mut command = crate::world::wilco(world.folder.path());
    command.args(all).env("CREW_URL", "http://127.0.0.1:9/canary-crew");
    command.env("ERP_TOKEN", "canary-token").output().unwrap()
}

/// What it prints, with a word instead of each id, and its exit code.
fn said(output: &Output) -> (String, Option<i32>) {
    assert!(output.stderr.is_empty(), "{output:?}");
    let said = text(&output.stdout);
    assert!(!said.contains("canary"), "{said}");
    let lines = said.lines().map(|line| match line.strip_prefix("evt_") {
        Some(rest) => format!("ID{}\n", &rest[26..]),
        None => format!("{line}\n"),
    });
    (lines.collect(), output.status.code())
}

#[test]
fn an_equal_file_makes_no_difference() {
    let world = world();
    let (said, code) = said(&diff(&world, |text| format!("# a comment\n{text}"), &[]));
    assert_eq!((said.as_str(), code), ("3 events compared: no difference\n", Some(0)));
}

#[test]
fn each_delivery_that_would_be_different_is_shown_before_and_after() {
    let world = world();
    let change = |text: String| {
        text.replace("is {{ data.status }}", "is\\n{{ data.status | upper }}")
            .replace(
                "[\"erp\", \"log\"]",
                "[\"erp\"]\ndebounce = { by = \"event.name\", quiet = \"5 s\", at_most = \"50 s\" }",
            )
            .replace("[destination.log]", "order_by = \"data.name\"\n[destination.log]")
            .replace("9/hook\"\n", "9/hook\"\nbody = \"{ {{ data.name }} }\"\n")
            .replace("[[route]]\nto", "[[route]]\nevents = [\"booking.*\"]\nto")
            + "[[route]]\nevents = [\"x\"]\nto = [\"log\"]\n"
    };
    let expected = "\
ID  x  A
- crew: gone (route 1)
    type
    - discord
    url
    - (secret)
    text
    - A is odd
+ log: added (route 3)
    type
    + file
    path
    + FOLDER/events.jsonl

ID  booking.updated  A
~ crew: changed (route 1)
    text
    - A is done
    + A is
    + DONE
~ erp: changed (route 2)
    order_by
    + freispace:A
    debounce.by
    + freispace:booking.updated
    debounce.quiet
    + 5 s
    debounce.at_most
    + 50 s
    cannot be sent
    + the body is not JSON: key must be a string at line 1 column 3; write values as {{ data.name | tojson }}, without quotes around them
    url
    - http://127.0.0.1:9/hook
    headers.authorization
    - (secret)
    headers.x-status
    - done
    headers.content-type
    - application/json
    body
    - (the body as it was received)
- log: gone (route 2)
    type
    - file
    path
    - FOLDER/events.jsonl
";
    let output = diff(&world, change, &[]);
    let (said, code) = said(&output);
    let said = said.replace(&world.folder.path().display().to_string(), "FOLDER");
    assert_eq!(code, Some(1));
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn a_changed_secret_is_noticed_and_not_shown() {
    let world = world();
    let change = |text: String| {
        fs::write(world.path("token"), "canary-another").unwrap();
        let path = world.path("token").display().to_string();
        text.replace("{ env = \"ERP_TOKEN\" }", &format!("{{ file = \"{path}\" }}"))
    };
    let (said, code) = said(&diff(&world, change, &["--event", "booking.created"]));
    assert_eq!(code, Some(1));
    let expected = "~ erp: changed (route 2)\n    headers.authorization\n    - (secret)\n    \
                    + (another secret)\n";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_missing_secret_leaves_out_only_what_needs_it() {
    let world = world();
    let change = |text: String| {
        text.replace("ERP_TOKEN", "MISSING_TOKEN").replace("is {{ data", "was {{ data")
    };
    let output = diff(&world, change, &["--summary"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("MISSING_TOKEN"), "{output:?}");
    let expected = "destination  route  added  gone  changed\ncrew             1      0     0        3\n\n\
                    3 events compared: 3 would be delivered differently\n";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn the_events_are_chosen_as_in_a_listing() {
    let world = world();
    let change = |text: String| text.replace("is {{ data", "was {{ data");
    for (arguments, compared, differing) in [
        (&["--limit", "2"][..], 2, 2),
        (&["--all"], 3, 3),
        (&["--event", "booking.*"], 2, 2),
        (&["--source", "freispace", "--until", "1h"], 0, 0),
        (&["--destination", "erp"], 3, 0),
    ] {
        let output = diff(&world, change, &[&["--json"], arguments].concat());
        let said = text(&output.stdout);
        let lines: Vec<Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (summary, differences) = lines.split_last().unwrap();
        assert_eq!(
            (&summary["compared"], &summary["differing"]),
            (&json!(compared), &json!(differing))
        );
        assert_eq!(differences.len(), differing, "{arguments:?}");
        assert_eq!(output.status.code(), Some(i32::from(differing > 0)), "{arguments:?}");
        if let Some(first) = differences.first() {
            let parts = json!([{ "name": "text", "before": first["parts"][0]["before"],
                "after": first["parts"][0]["before"].as_str().unwrap().replace(" is ", " was ") }]);
            assert_eq!(first["parts"], parts);
            assert_eq!((&first["change"], &first["route"]), (&json!("changed"), &json!(1)));
        }
    }
    let output = diff(&world, change, &["--destination", "erpp"]);
    assert!(text(&output.stderr).contains("destination erpp not found; did you mean erp?"));
    let output = diff(&world, |text| text + "[[route]]\nto = [\"nowhere\"]\n", &[]);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
}

#[test]
fn it_works_without_a_running_wilco_and_counts_events_without_a_payload() {
    let mut world = world();
    assert!(world.stop().success());
    let store = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    let prune = "DELETE FROM payload WHERE event = (SELECT min(seq) FROM event);
                 UPDATE progress SET pruned_through = (SELECT min(seq) FROM event)";
    store.execute_batch(prune).unwrap();
    drop(store);
    let (said, code) = said(&diff(&world, |text| text, &[]));
    let expected =
        "2 events compared: no difference; 1 event not compared: its payload was removed\n";
    assert_eq!((said.as_str(), code), (expected, Some(0)));
}
