//! A store that another program has locked, or whose records the disk has changed.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    catcher::Catcher,
    world::{World, booking},
};

#[test]
fn all_senders_are_refused_together_while_another_program_has_the_write_lock() {
    let world = World::plan().start();
    let other = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    let send = |number: usize| world.send(&booking(&format!("b-{number}"), "A"));
    thread::scope(|scope| {
        let senders: Vec<_> = (0..12).map(|number| scope.spawn(move || send(number))).collect();
        for sender in senders {
            let reply = sender.join().unwrap();
            assert_eq!(reply.status, 503);
            assert!(reply.header("retry-after").is_some());
        }
    });
    // One after another, they would take twelve times as long.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(world.get("/readyz").status, 503);

    other.execute_batch("ROLLBACK").unwrap();
    world.eventually("readiness", |world| world.get("/readyz").status == 200);
    assert_eq!(send(0).status, 200);
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_damaged_event_is_listed_as_damaged_and_recorded_again_when_it_is_resent() {
    let mut world = World::plan().start();
    let sent = |world: &World| {
        let reply = world.send(&booking("b-1", "A"));
        assert_eq!(reply.status, 200);
        reply.header("x-wilco-event").unwrap().to_owned()
    };
    let first = sent(&world);
    assert!(world.stop().success());
    let disk = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    disk.execute("UPDATE payload SET body = x'00'", []).unwrap();
    drop(disk);

    let world = world.restart_stopped();
    let second = sent(&world);
    assert_ne!(second, first);
    assert_eq!(sent(&world), second, "the next one is a duplicate of the intact one");
    let damaged: Vec<_> = world.events().iter().map(|event| event["damaged"] == true).collect();
    assert_eq!(damaged, [true, false]);
    assert!((world.metric("wilco_store_damaged_events") - 1.0).abs() < 0.5);
}

#[test]
fn an_event_damaged_before_it_was_routed_raises_an_alert_and_is_listed_as_dead() {
    let chat = Catcher::new();
    let tables = format!(
        "[destination.chat]\ntype = \"http\"\nurl = \"{}\"\n[alerts]\nto = \"chat\"\n\
         [[route]]\nto = [\"chat\"]\n",
        chat.url()
    );
    let mut world = World::plan().and(&tables).start();
    let damaged = world.send(&booking("b-1", "A")).header("x-wilco-event").unwrap().to_owned();
    chat.wait_for(1);
    assert!(world.stop().success());
    let disk = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    // As if wilco had stopped between the two.
    disk.execute_batch(
        "UPDATE payload SET body = x'00'; UPDATE progress SET routed_through = 0; \
         DELETE FROM attempt; DELETE FROM delivery",
    )
    .unwrap();
    drop(disk);

    for round in 0..2 {
        world = world.restart_stopped();
        let alert = &chat.wait_for(2)[1];
        assert_eq!(alert.header("x-wilco-event-name"), "alert.damaged");
        let body: Value = serde_json::from_slice(&alert.body).unwrap();
        assert_eq!(body["data"]["damaged_events"], 1, "{body}");
        let listed = world.run_verb(&["events", "list", "--dead", "--json"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&damaged) && listed.contains("\"damaged\":true"), "{listed}");
        // It delays nothing else.
        assert_eq!(world.send(&booking(&format!("new-{round}"), "A")).status, 200);
        chat.wait_for(3 + round);
        let replay = |form| {
            let output = world.run_verb(&["events", "replay", "--dead", form]);
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let row: Value = serde_json::from_str(&replay("--json")).unwrap();
        assert_eq!(row["id"], damaged, "{row}");
        assert_eq!((&row["event"], &row["damaged"]), (&Value::Null, &Value::Bool(true)), "{row}");
        let said = replay("--dry-run");
        assert!(said.contains("nowhere: damaged\n"), "{said}");
        let end = "0 events would be replayed in 0 new deliveries\n1 event not replayed: damaged\n";
        assert!(said.ends_with(end), "{said}");
        assert!(world.stop().success());
    }
    // There is one alert for each number, even across restarts.
    let caught = chat.caught();
    let names = caught.iter().map(|caught| caught.header("x-wilco-event-name"));
    assert_eq!(names.filter(|name| *name == "alert.damaged").count(), 1);
}

#[test]
fn damage_in_an_old_event_is_found_in_the_background() {
    let tables = "[destination.it]\ntype = \"print\"\n[[route]]\nto = [\"it\"]\n";
    for (change, says) in [
        (
            "UPDATE payload SET body = x'00' WHERE event = (SELECT min(seq) FROM event)",
            "is damaged",
        ),
        ("DELETE FROM event WHERE seq = (SELECT min(seq) FROM event)", "is missing"),
    ] {
        let mut world = World::plan().and(tables).start();
        for number in 0..3 {
            assert_eq!(world.send(&booking(&number.to_string(), "Grade")).status, 200);
        }
        world.eventually("every delivery", |world| {
            world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 3
        });
        assert!(world.stop().success());
        let disk = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
        disk.execute_batch(&format!("PRAGMA foreign_keys = OFF; {change}")).unwrap();
        drop(disk);
        let world = world.restart_stopped();
        world.eventually("the line in the log", |world| {
            let log = world.log();
            log.contains("the check in the background") && log.contains(says)
        });
        assert!((world.metric("wilco_store_damaged_events") - 1.0).abs() < 0.5);
        assert_eq!(world.get("/readyz").status, 200, "new events are as safe as before");
        assert_eq!(world.send(&booking("new", "Grade")).status, 200);
    }
}

#[test]
fn a_log_that_a_reader_keeps_from_being_emptied_has_a_bound() {
    let mut world = World::plan().listen("max_body = \"32 MiB\"").start();
    assert_eq!(world.send(&booking("first", "A")).status, 200);
    let reader = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    let recorded =
        || -> i64 { reader.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap() };
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(recorded(), 1);
    let log_mib = |world: &World| world.path("wilco.db-wal").metadata().unwrap().len() >> 20;
    let text = "x".repeat(31 << 20);
    let mut sent = 1;
    let refused = loop {
        let before = log_mib(&world);
        let reply = world.send(&booking(&sent.to_string(), &text));
        if reply.status != 200 {
            assert!(before >= 1_024, "refused at {before} MiB");
            break reply;
        }
        assert!(before <= 1_024, "taken at {before} MiB");
        sent += 1;
        if log_mib(&world) >= 100 {
            world.eventually("a warning", |world| {
                let reader = format!("process {}", std::process::id());
                world.log().lines().any(|line| {
                    line.contains("cannot be emptied while another program")
                        && line.contains(&reader)
                })
            });
        }
    };
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.header("retry-after").is_some());
    let ready = world.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.contains("write-ahead log") && ready.body.contains("close it"),
        "{}",
        ready.body
    );
    assert_eq!(recorded(), 1, "the reader still sees the same");

    reader.execute_batch("COMMIT").unwrap();
    world.eventually("readiness", |world| world.get("/readyz").status == 200);
    assert!(log_mib(&world) < 64, "{} MiB are left", log_mib(&world));
    assert_eq!(world.send(&booking("last", "A")).status, 200);
    assert_eq!(recorded(), sent + 1);
    drop(reader);
    assert!(world.stop().success());
}
