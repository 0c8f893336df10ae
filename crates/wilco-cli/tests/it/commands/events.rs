//! `wilco events list`: which events it lists, and how.

use std::{
    io::{BufRead as _, BufReader},
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{on_a_terminal, send, text};
use crate::{
    deliveries::PATIENT,
    world::{World, booking, wilco},
};

#[test]
fn events_are_found_by_text_subject_and_state_and_counted() {
    let http = format!(
        "[destination.erp]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n{PATIENT}\n\
         [[route]]\nevents = [\"booking.*\"]\nto = [\"erp\"]\n"
    );
    let world = World::plan().and(&http).start();
    let bodies = [
        booking("b-1", "Viewing"),
        booking("b-2", "Grade"),
        r#"{"event":"project.created"}"#.into(),
    ];
    let ids = bodies.map(|body| world.send(&body).header("x-wilco-event").unwrap().to_owned());
    world.eventually("attempts and routing", |world| {
        let events = world.events();
        events[0]["deliveries"][0]["state"] == "retrying"
            && events[1]["deliveries"][0]["state"] == "retrying"
            && events[2]["routed"] == true
    });
    for (arguments, expected) in [
        (&["--search", "VIEWING"][..], &[&ids[0]][..]),
        (&["--search", &ids[1][..20]], &[&ids[1]]),
        (&["--search", "project.cr"], &[&ids[2]]),
        (&["--search", "nowhere"], &[]),
        (&["--subject", "booking/b-2"], &[&ids[1]]),
        (&["--subject", "booking/*", "--state", "retrying"], &[&ids[1], &ids[0]]),
        (&["--state", "skipped"], &[&ids[2]]),
        (&["--state", "dead"], &[]),
    ] {
        let listed = list(&world, &[arguments, &["--json"]].concat());
        let listed = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let listed: Vec<_> = listed.map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{arguments:?}");
    }
    let wrong = world.run_verb(&["events", "list", "--state", "retryed"]);
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("did you mean retrying?"), "{said}");
    let counts = |query: &str| -> Value {
        serde_json::from_str(&world.get(&format!("/api/v1/events/counts{query}")).body).unwrap()
    };
    let count = |count: u64| serde_json::json!({ "count": count, "at_least": false });
    let all = counts("");
    assert_eq!((&all["all"], &all["retrying"]), (&count(3), &count(2)), "{all}");
    assert_eq!((&all["skipped"], &all["dead"]), (&count(1), &count(0)), "{all}");
    assert_eq!(counts("?search=grade")["all"], count(1));
}

#[test]
fn a_listed_event_has_the_fields_that_scripts_depend_on() {
    let http = format!(
        "[destination.erp]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n{PATIENT}\n\
         [[route]]\nevents = [\"booking.*\"]\nto = [\"erp\"]\n"
    );
    let world = World::plan().and(&http).start();
    let body = booking("b-1", "Grade");
    let id = world.send(&body).header("x-wilco-event").unwrap().to_owned();
    let state = |world: &World| world.events()[0]["deliveries"][0]["state"].clone();
    world.eventually("an attempt", |world| state(world) == "retrying");
    let event = world.events().remove(0);
    for (field, expected) in [
        ("id", Value::from(id.as_str())),
        ("source", "freispace".into()),
        ("event", "booking.updated".into()),
        ("subject", "booking/b-1".into()),
        ("title", "Grade".into()),
        ("bytes", body.len().into()),
        ("sha256", sha256(body.as_bytes()).into()),
        ("secret_name", "env:FREISPACE_SECRET".into()),
    ] {
        assert_eq!(event[field], expected, "{field} {event}");
    }
    let at: jiff::Timestamp = event["received_at"].as_str().unwrap().parse().unwrap();
    assert!(event["received_at"].as_str().unwrap().ends_with('Z'), "{at}");
    let delivery = &event["deliveries"][0];
    assert_eq!((&delivery["destination"], &delivery["attempts"]), (&"erp".into(), &1.into()));
    let other = world.send(r#"{"event":"project.created"}"#);
    assert_eq!(other.status, 200);
    world.eventually("the other is routed", |world| world.events()[1]["routed"] == true);
    assert_eq!(world.events()[1]["deliveries"], Value::Array(Vec::new()));
    assert_eq!(world.events()[1]["subject"], Value::Null);
    let table = list(&world, &[]);
    let rows: Vec<_> = table.lines().collect();
    assert!(rows[0].starts_with("received ") && rows[0].ends_with("deliveries"), "{table}");
    assert!(rows[1].contains("project.created") && rows[1].ends_with("skipped"), "{table}");
    assert!(
        rows[2].contains("Grade (booking/b-1)") && rows[2].ends_with("erp retrying"),
        "{table}"
    );
    assert_eq!(rows.len(), 3, "{table}");
}

#[test]
fn a_listing_can_be_filtered_and_limited() {
    let world = World::plan().start();
    assert!(list(&world, &[]).starts_with("no events; `wilco send"));
    assert_eq!(list(&world, &["--json"]), "");
    let sent = send(&world, &["booking.created", "--count", "60", "--concurrency", "8"]).output();
    assert!(sent.unwrap().status.success());
    thread::sleep(Duration::from_millis(20));
    let between = jiff::Timestamp::from_millisecond(now_ms()).unwrap().to_string();
    thread::sleep(Duration::from_millis(20));
    for name in ["project.created", "project.updated"] {
        assert!(send(&world, &[name]).output().unwrap().status.success());
    }
    for (arguments, lines) in [
        (&[][..], 50),
        (&["--all"], 62),
        (&["--limit", "7"], 7),
        (&["--limit", "1000"], 62),
        (&["--limit", "0"], 0),
        (&["--all", "--source", "freispace"], 62),
        (&["--source", "wilco"], 0),
        (&["--event", "project.created"], 1),
        (&["--event", "project.*"], 2),
        (&["--event", "offer.finalized"], 0),
        (&["--all", "--since", "yesterday"], 62),
        (&["--all", "--since", "10m"], 62),
        (&["--all", "--event", "booking.*"], 60),
        (&["--all", "--event", "*"], 62),
        (&["--all", "--since", &between], 2),
        (&["--all", "--until", &between], 60),
        (&["--all", "--since", "1h"], 62),
        (&["--all", "--until", "1 h"], 0),
        (&["--event", "project.*", "--limit", "1", "--since", "1h"], 1),
    ] {
        let running = list(&world, &[&["--json"], arguments].concat());
        assert_eq!(running.lines().count(), lines, "{arguments:?}");
    }
    let output = run(&world, &["events", "list"]);
    assert_eq!(text(&output.stdout).lines().count(), 51);
    let said = text(&output.stderr);
    assert_eq!(said, "there are more: --limit 100 lists 100, --all lists all\n");
    let newest: Value =
        serde_json::from_str(list(&world, &["--json"]).lines().next().unwrap()).unwrap();
    assert_eq!(newest["event"], "project.updated");
}

#[test]
fn without_a_server_the_store_is_read_directly_and_changed_only_under_its_lock() {
    let mut world = World::plan().start();
    let body = booking("b-1", "Größe");
    let id = world.send(&body).header("x-wilco-event").unwrap().to_owned();
    let ways = |world: &World| {
        let show = |more| text(&run(world, &["events", "show", &id, more]).stdout);
        [list(world, &["--json"]), show("--json"), show("--raw"), show("--utc")]
    };
    world.eventually("it is routed", |world| world.events()[0]["routed"] == true);
    let from_the_server = ways(&world);
    assert_eq!(from_the_server[2], body);
    assert!(world.stop().success());
    assert_eq!(ways(&world), from_the_server);
    let output = run(&world, &["events", "tail"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("wilco: no wilco is running here, so no event can arrive"), "{said}");
    // Another wilco has the store, and this file does not say where its admin listener is.
    let other = world.kill_and_restart();
    let run = |verb: &[&str]| {
        let arguments = [&["events"], verb, &["--config", "wilco.toml"]].concat();
        wilco(other.folder.path()).args(arguments).output().unwrap()
    };
    let output = run(&["list"]);
    assert!(output.status.success(), "{output:?}");
    let output = run(&["cancel", &id]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("is in use by process {}", other.pid())), "{said}");
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest_one() {
    let tables = "[destination.erp]\ntype = \"print\"\n[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(tables).start();
    let id = world.send(&booking("b-1", "A")).header("x-wilco-event").unwrap().to_owned();
    world.eventually("it is delivered", |w| w.events()[0]["deliveries"][0]["state"] == "delivered");
    let erp = "did you mean erp?";
    for (arguments, said) in [
        (&["events", "list", "--destination", "epr"][..], erp),
        (&["events", "list", "--source", "freispce"], "did you mean freispace?"),
        (
            &["events", "list", "--event", "bookings.*"],
            "no event is named bookings.*; did you mean booking.*?",
        ),
        (&["events", "replay", &id, "--destination", "epr"], erp),
        (&["events", "replay", "--all", "--source", "freispce"], "did you mean freispace?"),
        (&["events", "cancel", &id, "--destination", "epr"], erp),
        (&["destinations", "pause", "epr"], erp),
        (&["destinations", "resume", "epr"], erp),
        (&["failures", "retry", "--destination", "x"], "destination x not found; known: erp\n"),
        (&["secrets", "status", "--source", "x"], "source x not found; known: freispace\n"),
    ] {
        let output = run(&world, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {output:?}");
        assert!(text(&output.stderr).contains(said), "{arguments:?} {output:?}");
    }
}

#[test]
fn a_listing_fits_the_terminal_and_is_coloured_only_there() {
    let tables = "[destination.erp]\ntype = \"print\"\n[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(tables).start();
    for (id, name) in
        [("e2947d1b-50ac-4c86-b3f7-19d8046ea5c4", "booking.updated"), ("b", &"x".repeat(200))]
    {
        let sent = world.send(&booking(id, "A").replace("booking.updated", name));
        assert_eq!(sent.status, 200);
    }
    world.eventually("all is delivered", |w| {
        w.events().iter().all(|event| event["deliveries"][0]["state"] == "delivered")
    });
    for columns in [80, 120, 200] {
        let command = world.verb(&["events", "list"]);
        let said = on_a_terminal(&command, columns, &[("TERM", "xterm")]);
        let bare = console::strip_ansi_codes(&said).into_owned();
        for line in bare.lines() {
            assert!(line.chars().count() <= columns, "{columns}\n{bare}");
            assert!(line.contains("deliver"), "{columns}\n{bare}");
        }
        assert!(said.contains("\u{1b}[32mdelivered\u{1b}[0m"), "{said:?}");
        let said = on_a_terminal(&command, columns, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
    let piped = list(&world, &[]);
    assert!(piped.contains(&"x".repeat(200)) && !piped.contains('\u{1b}'), "{piped}");
}

#[test]
fn times_are_local_with_their_offset_or_utc() {
    let world = World::plan().start();
    world.send(&booking("b-1", "A"));
    for (arguments, zone, offset) in [
        (&["events", "list"][..], "XST-5:30", "+05:30"),
        (&["events", "show", "latest"], "XST-5:30", "+05:30"),
        (&["events", "list", "--utc"], "XST-5:30", "+00:00"),
        (&["events", "show", "latest", "--utc"], "XST-5:30", "+00:00"),
    ] {
        let output = world.verb(arguments).env("TZ", zone).output().unwrap();
        assert!(text(&output.stdout).contains(offset), "{arguments:?} {output:?}");
    }
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let world = World::plan().start();
    let many = ["booking.created", "--count", "1200", "--concurrency", "32"];
    assert!(send(&world, &many).output().unwrap().status.success());
    for arguments in [&["events", "list", "--all", "--json"][..], &["events", "list", "--all"]] {
        let mut command = world.verb(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!first.is_empty());
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    }
}

fn run(world: &World, arguments: &[&str]) -> Output {
    world.run_verb(arguments)
}

/// What `wilco events list` prints.
#[track_caller]
fn list(world: &World, arguments: &[&str]) -> String {
    let output = run(world, &[&["events", "list"], arguments].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?} {output:?}");
    text(&output.stdout)
}

fn sha256(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_ms() -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(now.as_millis()).unwrap()
}
