//! What is erased is gone, and nothing else is.

use std::{fs, io::Write as _, net::TcpStream, time::Duration};

use rusqlite::Connection;
use serde_json::Value;

use super::{ECHO, delivered, files_with, verb};
use crate::world::{World, booking};

#[test]
fn what_is_erased_is_in_no_file_of_the_store_and_the_answer_says_what_is_out_of_reach() {
    let world = World::plan().and(ECHO).start();
    for (id, name) in [("7", "canary-jane"), ("8", "canary-joe"), ("7", "canary-jane again")] {
        assert_eq!(world.send(&booking(id, name)).status, 200);
    }
    world.eventually("deliveries", |world| delivered(world) == 3);
    for id in ["7", "8"] {
        let body = booking(id, &format!("canary-{}", if id == "7" { "jane" } else { "joe" }));
        assert_eq!(world.post(&body, &[("x-freispace-signature", "00")]).status, 403);
    }
    fs::write(world.path("wilco.db-wal.damaged-0"), "").unwrap();

    let subject = ["events", "erase", "--subject", "booking/7"];
    let refused = world.run_verb(&subject);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.starts_with("2 events and 1 rejection would be erased\n"), "{said}");
    assert!(said.contains("nothing was erased; repeat with --yes"), "{said}");
    let said = verb(&world, &["events", "erase", "--subject", "booking/9"]);
    assert!(said.starts_with("0 events and 0 rejections would be erased\n"), "{said}");
    let said = verb(&world, &[&subject[..], &["--dry-run"]].concat());
    assert!(said.starts_with("2 events and 1 rejection would be erased\n"), "{said}");
    assert!(!files_with(&world, "canary-jane").is_empty());

    let said = verb(&world, &[&subject[..], &["--yes"]].concat());
    assert!(said.starts_with("2 events and 1 rejection erased\n"), "{said}");
    for expected in [
        "what echo (command) got, 2 deliveries",
        "wilco.db-wal.damaged-0, a copy of a damaged log",
        "backups, logs and traces",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert_eq!(files_with(&world, "canary-jane"), [""; 0]);
    assert!(!files_with(&world, "canary-joe").is_empty());
    assert_eq!(files_with(&world, "booking/7"), [""; 0], "nor in the audit list");
    verb(&world, &["backup", "copy.db"]);
    assert_eq!(files_with(&world, "canary-jane"), [""; 0]);

    let headers =
        [("authorization", &world.authorization()[..]), ("content-type", "application/json")];
    let refused = world.ask("POST", "/api/v1/events/erase", &headers, r#"{"subject":7171717171}"#);
    assert!(refused.status >= 400, "{}", refused.body);
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE action = 'erase_events'"), 2);
    assert_eq!(files_with(&world, "7171717171"), [""; 0], "a mistaken request is not kept either");

    let listed = verb(&world, &["events", "list"]);
    assert_eq!(listed.matches("erased, echo delivered").count(), 2, "{listed}");
    let again = world.send(&booking("7", "canary-jane again"));
    let events = world.events();
    assert_eq!(again.header("x-wilco-event"), events[2]["id"].as_str(), "it is a duplicate");
    let said = verb(&world, &["events", "replay", "--all"]);
    assert!(said.contains("2 events not replayed: erased"), "{said}");
    let none = verb(&world, &[&subject[..], &["--yes", "--json"]].concat());
    let none: Value = serde_json::from_str(&none).unwrap();
    assert_eq!(
        (none["events"].as_array().unwrap().len(), &none["rejections"]),
        (0, &Value::from(0))
    );
}

#[test]
fn events_are_erased_by_a_value_and_with_their_pending_deliveries_only_if_that_is_said() {
    let world = World::plan().and(ECHO).start();
    verb(&world, &["destinations", "pause", "echo"]);
    for (id, name) in [("1", "canary-jane"), ("2", "canary-joe")] {
        assert_eq!(world.send(&booking(id, name)).status, 200);
    }
    world.eventually("deliveries", |world| world.count("SELECT count(*) FROM delivery") == 2);
    let erase = ["events", "erase", "--where", "data.name=canary-jane", "--yes"];
    let said = verb(&world, &erase);
    assert!(said.starts_with("0 events and 0 rejections erased\n"), "{said}");
    assert!(
        said.contains("1 event left as before: a delivery waits; --cancel cancels it"),
        "{said}"
    );
    let said = verb(&world, &[&erase[..], &["--cancel"]].concat());
    assert!(said.starts_with("1 event and 0 rejections erased\n"), "{said}");
    assert_eq!(files_with(&world, "canary-jane"), [""; 0]);
    verb(&world, &["destinations", "resume", "echo"]);
    world.eventually("the other", |world| delivered(world) == 1);
    // The same without a running wilco.
    let mut world = world;
    assert!(world.stop().success());
    let said = verb(&world, &["events", "erase", "--event", "latest", "--yes"]);
    assert!(said.starts_with("1 event and 0 rejections erased\n"), "{said}");
    assert_eq!(files_with(&world, "canary-joe"), [""; 0]);

    for (arguments, expected) in [
        (&["--where", "data.name"][..], "expected a path and a value"),
        (&["--where", "a..b=1"], "invalid path"),
        (&["--subject", "a", "--event", "latest"], "cannot be used with"),
        (&["--yes"], "required"),
    ] {
        let output = world.run_verb(&[&["events", "erase"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn what_is_still_in_the_log_is_gone_after_a_crash_and_after_erasing_again() {
    for is_killed in [true, false] {
        let mut world = World::plan().start();
        assert_eq!(world.send(&booking("7", "canary-jane")).status, 200);
        // As long as it reads, the log cannot be emptied.
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let reader = Connection::open_with_flags(world.path("wilco.db"), flags).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
        let erase = ["events", "erase", "--subject", "booking/7", "--cancel", "--yes"];
        let said = verb(&world, &erase);
        assert!(said.starts_with("1 event and 0 rejections erased\n"), "{said}");
        assert!(said.contains("some bytes are still in the write-ahead log"), "{said}");
        assert!(!files_with(&world, "canary-jane").is_empty());
        if is_killed {
            world.signal("KILL");
            world.wait(Duration::from_secs(20));
            drop(reader);
            world = world.restart_stopped();
        } else {
            drop(reader);
            let said = verb(&world, &erase);
            assert!(said.starts_with("0 events and 0 rejections erased\n"), "{said}");
            assert!(!said.contains("some bytes"), "{said}");
        }
        assert_eq!(files_with(&world, "canary-jane"), [""; 0], "killed: {is_killed}");
        drop(world);
    }
}

#[test]
fn a_kill_while_an_event_with_thousands_of_deliveries_is_erased_leaves_it_to_be_erased_again() {
    let mut world = World::plan().start();
    assert_eq!(world.send(&booking("7", "canary")).status, 200);
    assert!(world.stop().success());
    let store = Connection::open(world.path("wilco.db")).unwrap();
    store
        .execute_batch(
            "PRAGMA foreign_keys = 0; \
             CREATE TEMP TABLE number AS WITH RECURSIVE number (n) AS \
             (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 5000) SELECT n FROM number; \
             UPDATE progress SET routed_through = (SELECT max(seq) FROM event); \
             INSERT INTO delivery (id, event, destination, state, attempts, waited_ms, needs_reevaluation, \
             order_key, changed) SELECT n, seq, 'crm', 'delivered', 1, 0, 0, 'canary', seq + n \
             FROM number JOIN event; \
             INSERT INTO attempt (delivery, number, started_at_ms, took_us, result, request, output) \
             SELECT n, 1, n, n, 'canary', 'canary', CAST('canary' AS BLOB) FROM number",
        )
        .unwrap();
    drop(store);
    world = world.restart_stopped();
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    for pause in [5, 10, 20, 40] {
        let _request = begin_to_erase(&world, &format!(r#"{{"id":"{id}"}}"#));
        std::thread::sleep(Duration::from_millis(pause));
        world.signal("KILL");
        world.wait(Duration::from_secs(20));
        world = world.restart_stopped();
        let event = world.events().remove(0);
        let body = world.get(&format!("/api/v1/events/{id}/body"));
        match event.get("payload") {
            None => assert!(body.status == 200 && body.body.contains("canary"), "{}", body.body),
            Some(_) => assert_eq!((body.status, &event["subject"]), (410, &Value::Null), "{event}"),
        }
    }
    verb(&world, &["events", "erase", "--event", &id, "--yes"]);
    assert_eq!(world.events()[0]["payload"], "erased");
    let left = "SELECT (SELECT count(*) FROM attempt WHERE result <> 'erased' \
                OR length(request) + length(output) > 0) \
                + (SELECT count(*) FROM delivery WHERE order_key IS NOT NULL)";
    assert_eq!(world.count(left), 0);
    assert_eq!(files_with(&world, "canary"), [""; 0]);
}

/// Sends the request, and does not wait for the answer.
fn begin_to_erase(world: &World, body: &str) -> TcpStream {
    let mut request = TcpStream::connect(world.admin).unwrap();
    let head = format!(
        "POST /api/v1/events/erase HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        world.admin,
        world.authorization(),
        body.len()
    );
    request.write_all(head.as_bytes()).unwrap();
    request
}

#[test]
fn a_kill_while_events_are_erased_leaves_each_of_them_whole_or_erased() {
    let plan = World::plan().listen("max_body = \"1 MiB\"").and(ECHO);
    let mut world = plan.start();
    let count = 60;
    for number in 0..count {
        let bytes = if number % 20 == 7 { 60_000 } else { 3_000 };
        let body = booking(&number.to_string(), &"canary".repeat(bytes / 6));
        let body = body.replace("\"data\":{", "\"data\":{\"who\":\"jane\",");
        assert_eq!(world.send(&body).status, 200);
    }
    world.eventually("deliveries", |world| delivered(world) == count);
    let body = r#"{"where":{"path":"data.who","value":"jane"}}"#;
    for pause in [0, 2, 5, 9, 14, 20] {
        let _request = begin_to_erase(&world, body);
        std::thread::sleep(Duration::from_millis(pause));
        world.signal("KILL");
        world.wait(Duration::from_secs(20));
        world = world.restart_stopped();
        let events = world.events();
        assert_eq!(events.len(), usize::try_from(count).unwrap());
        for event in &events {
            let path = format!("/api/v1/events/{}", event["id"].as_str().unwrap());
            let shown = world.get(&path);
            assert_eq!(shown.status, 200, "{}", shown.body);
            let is_erased = event.get("payload").is_some();
            assert_eq!(!shown.body.contains("canary"), is_erased, "{event}");
            assert_eq!(event["subject"].is_null(), is_erased, "{event}");
        }
    }
    verb(&world, &["events", "erase", "--where", "data.who=jane", "--yes"]);
    world.eventually("no chunk", |world| world.count("SELECT count(*) FROM payload_chunk") == 0);
    assert!(world.events().iter().all(|event| event["payload"] == "erased"));
    assert!(world.stop().success());
    assert_eq!(files_with(&world, "canarycanary"), [""; 0]);
    assert_eq!(world.count("SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
}

#[test]
fn rejections_are_erased_by_their_value_subject_or_body_and_by_their_text_if_they_are_not_json() {
    let (event, text) = (booking("7", "jane"), "booking 7 of jane, not JSON");
    let of_subject = booking("7", "joe");
    let of_value = booking("8", "jane");
    let rejected = [event.as_str(), &of_subject, &of_value, text, "of nobody"];
    for (by, value, kept) in [
        ("--where", "data.name=jane", &[1, 4][..]),
        ("--subject", "booking/7", &[2, 4]),
        ("--event", "latest", &[1, 2, 3, 4]),
    ] {
        let world = World::plan().start();
        assert_eq!(world.send(&event).status, 200);
        for body in rejected {
            assert_eq!(world.post(body, &[("x-freispace-signature", "00")]).status, 403);
        }
        verb(&world, &["events", "erase", by, value, "--cancel", "--yes"]);
        let store = Connection::open(world.path("wilco.db")).unwrap();
        let mut query =
            store.prepare("SELECT CAST(body AS TEXT) FROM rejection ORDER BY seq").unwrap();
        let left = query.query_map([], |row| row.get(0)).unwrap();
        let left: Vec<String> = left.map(Result::unwrap).collect();
        let kept: Vec<_> = kept.iter().map(|place| rejected[*place]).collect();
        assert_eq!(left, kept, "{by}");
    }
}

#[test]
fn a_rejection_with_the_body_of_an_event_that_is_erased_already_is_erased_too() {
    let world = World::plan().start();
    let body = booking("7", "jane");
    assert_eq!(world.send(&body).status, 200);
    for erased in ["1 event and 1 rejection", "0 events and 1 rejection", "0 events and 0"] {
        if erased.contains("1 rejection") {
            assert_eq!(world.post(&body, &[("x-freispace-signature", "00")]).status, 403);
        }
        let erase = ["events", "erase", "--event", "latest", "--cancel", "--yes"];
        let said = verb(&world, &erase);
        assert!(said.starts_with(erased), "{said}");
    }
}
