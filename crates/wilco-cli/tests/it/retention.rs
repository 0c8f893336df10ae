//! What is older than it is to be kept leaves, and nothing else does.

mod erasure;

use std::{fs, time::Duration};

use rusqlite::Connection;
use serde_json::Value;

use crate::world::{World, booking};

const ECHO: &str = "[destination.echo]\ntype = \"command\"\ncommand = [\"/bin/cat\"]\nconcurrency = 4\n\
                    [[route]]\nto = [\"echo\"]\n";

fn keeping(payloads: &str, records: &str) -> String {
    format!(
        "[store]\nurl = \"sqlite:FOLDER/wilco.db\"\nreserve = \"1 MiB\"\nkeep_payloads = \"{payloads}\"\n\
         keep_records = \"{records}\"\n{ECHO}"
    )
}

fn keep(world: &World, payloads: &str, records: &str) {
    world.reconfigure(|text| {
        let line = |line: &str| match line.split(" = ").next() {
            Some("keep_payloads") => format!("keep_payloads = \"{payloads}\"\n"),
            Some("keep_records") => format!("keep_records = \"{records}\"\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    });
    world.signal("HUP");
}

fn delivered(world: &World) -> i64 {
    world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'")
}

fn verb(world: &World, arguments: &[&str]) -> String {
    let output = world.run_verb(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn first_payloads_leave_and_then_records_as_a_reload_says() {
    let plan =
        World::plan().source("duplicate_window = \"1 s\"").and(&keeping("forever", "forever"));
    let world = plan.start();
    for number in 0..5 {
        assert_eq!(world.send(&booking(&number.to_string(), "canary")).status, 200);
    }
    assert_eq!(world.post("{}", &[("x-freispace-signature", "00")]).status, 403);
    world.eventually("deliveries", |world| delivered(world) == 5);
    assert!(verb(&world, &["events", "show", "latest"]).contains("canary"));

    keep(&world, "1 s", "forever");
    world.eventually("pruned payloads", |world| {
        world.count("SELECT count(*) FROM payload") == 0
            && world.count("SELECT count(*) FROM rejection") == 0
    });
    let listed = verb(&world, &["events", "list"]);
    assert_eq!(listed.matches("pruned, echo delivered").count(), 5, "{listed}");
    let shown = verb(&world, &["events", "show", "latest"]);
    assert!(!shown.contains("canary") && shown.contains("1. "), "{shown}");
    assert!(
        shown.contains("pruned     headers and body were removed because of their age"),
        "{shown}"
    );
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    let shown: Value =
        serde_json::from_str(&verb(&world, &["events", "show", &id, "--json"])).unwrap();
    assert_eq!((&shown["payload"], shown.get("body")), (&Value::from("pruned"), None));
    assert_eq!(world.get(&format!("/api/v1/events/{id}/body")).status, 410);
    let said = verb(&world, &["events", "replay", "--all"]);
    assert!(said.contains("5 events not replayed: the payload was pruned"), "{said}");
    assert!(world.metric("wilco_pruned_payloads_total") >= 5.0);

    keep(&world, "1 s", "1 s");
    world.eventually("pruned records", |world| world.recorded() == 0);
    assert_eq!(world.count("SELECT count(*) FROM attempt"), 0);
    assert!(world.metric("wilco_pruned_records_total") >= 5.0);
    let again = world.send(&booking("1", "canary"));
    assert!(again.status == 200 && *again.header("x-wilco-event").unwrap() > *id);
}

#[test]
fn a_kill_while_payloads_are_removed_leaves_each_event_whole_or_without_payload() {
    let plan = World::plan().listen("max_body = \"1 MiB\"").and(&keeping("forever", "forever"));
    let mut world = plan.start();
    let count = 120;
    for number in 0..count {
        let bytes = if number == 7 { 600_000 } else { 30_000 };
        assert_eq!(world.send(&booking(&number.to_string(), &"x".repeat(bytes))).status, 200);
    }
    world.eventually("deliveries", |world| delivered(world) == count);
    keep(&world, "1 s", "forever");
    let mut kills = 0;
    loop {
        std::thread::sleep(Duration::from_millis(kills * 13));
        world.signal("KILL");
        world.wait(Duration::from_secs(20));
        world = world.restart_stopped();
        kills += 1;
        let mut kept = 0;
        let events = world.events();
        assert_eq!(events.len(), usize::try_from(count).unwrap());
        for event in &events {
            let path = format!("/api/v1/events/{}/body", event["id"].as_str().unwrap());
            let reply = world.get(&path);
            match event.get("payload") {
                None if reply.status == 200 => {
                    assert_eq!(
                        reply.body.len(),
                        usize::try_from(event["bytes"].as_u64().unwrap()).unwrap()
                    );
                    kept += 1;
                }
                // It may have gone since it was listed.
                _ => assert_eq!(reply.status, 410, "{event}"),
            }
        }
        let half = "SELECT count(*) FROM delivery JOIN attempt ON delivery = id \
                    WHERE length(request) + length(output) > 0 \
                    AND NOT EXISTS (SELECT 1 FROM payload WHERE payload.event = delivery.event)";
        assert_eq!(world.count(half), 0, "requests and outputs of pruned events");
        if kept == 0 {
            break;
        }
    }
    world.eventually("no chunk", |world| world.count("SELECT count(*) FROM payload_chunk") == 0);
    assert_eq!(world.count("SELECT count(*) FROM partial_body"), 0);
    assert!(world.stop().success());
    let check = "SELECT integrity_check = 'ok' FROM pragma_integrity_check";
    assert_eq!(world.count(check), 1);
}

#[test]
fn the_status_of_the_store_says_how_much_there_is_and_how_long_it_is_kept() {
    let world = World::plan().and(&keeping("2 days", "forever")).start();
    for number in 0..3 {
        assert_eq!(world.send(&booking(&number.to_string(), "Grade")).status, 200);
    }
    let said = verb(&world, &["store", "status"]);
    let bytes = 3 * booking("0", "Grade").len();
    for expected in [
        "events      3, since 20",
        &format!("payloads    3, {bytes} B, since 20"),
        "rejections  0, 0 B",
        "kept        payloads 2 days, records forever",
        "below 1.0 MiB nothing is recorded",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let status: Value =
        serde_json::from_str(&verb(&world, &["store", "status", "--json"])).unwrap();
    assert_eq!(status["body_bytes"], bytes);
    assert_eq!(
        status["kept"],
        serde_json::json!({ "payloads_secs": 172_800, "records_secs": null })
    );
    let mut world = world;
    assert!(world.stop().success());
    let said = verb(&world, &["store", "status"]);
    assert!(said.contains("events      3, since 20") && !said.contains("kept "), "{said}");
}

/// The files of the store that have these bytes.
fn files_with(world: &World, text: &str) -> Vec<String> {
    let files = fs::read_dir(world.folder.path()).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_name().to_string_lossy().contains(".db"));
    let found = files.filter(|file| {
        let bytes = fs::read(file.path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    });
    found.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

/// All payloads are pruned in one round, because they are old enough by now: the next pass over the file follows a day
/// after the first.
fn keep_for_a_second(world: &World) {
    std::thread::sleep(Duration::from_millis(1_100));
    keep(world, "1 s", "forever");
}

#[test]
fn copies_of_what_was_pruned_are_overwritten_and_the_status_of_the_store_says_so() {
    let world = World::plan().and(&keeping("forever", "forever")).start();
    for number in 0..60 {
        let name = if number % 3 == 0 { "linnet" } else { "canary" };
        assert_eq!(world.send(&booking(&number.to_string(), &name.repeat(40))).status, 200);
    }
    world.eventually("deliveries", |world| delivered(world) == 60);
    assert!(!verb(&world, &["store", "status"]).contains("overwritten"));
    // As long as it reads, the log cannot be emptied, and another SQLite sees a store that is whole.
    let reader = Connection::open(world.path("wilco.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    keep_for_a_second(&world);
    world.eventually("the pass has come to the log", |world| {
        world.count("SELECT coalesce(next_page, -1) FROM overwriting") == 0
    });
    let check = "SELECT integrity_check FROM pragma_integrity_check";
    assert_eq!(reader.query_row(check, [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    assert!(!files_with(&world, "canary").is_empty());
    drop(reader);
    world.eventually("the end of the pass", |world| {
        verb(world, &["store", "status"]).contains("removed     overwritten up to 20")
    });
    assert_eq!(files_with(&world, "canary"), [""; 0]);
}

#[test]
fn a_kill_while_copies_are_overwritten_leaves_a_store_that_is_whole_and_the_pass_goes_on() {
    let mut world = World::plan().and(&keeping("forever", "forever")).start();
    for number in 0..200 {
        assert_eq!(world.send(&booking(&number.to_string(), &"canary".repeat(60))).status, 200);
    }
    world.eventually("deliveries", |world| delivered(world) == 200);
    keep_for_a_second(&world);
    // A round begins a second after a start.
    for pause in [1_000, 1_040, 1_080, 1_120, 1_200] {
        std::thread::sleep(Duration::from_millis(pause));
        world.signal("KILL");
        world.wait(Duration::from_secs(20));
        let check = "SELECT integrity_check = 'ok' FROM pragma_integrity_check";
        assert_eq!(world.count(check), 1);
        world = world.restart_stopped();
    }
    world.eventually("the end of the pass", |world| {
        world.count(
            "SELECT next_page IS NULL AND through_ms > 0 AND NOT EXISTS (SELECT 1 FROM payload) \
             FROM overwriting",
        ) == 1
    });
    assert_eq!(files_with(&world, "canary"), [""; 0]);
}
