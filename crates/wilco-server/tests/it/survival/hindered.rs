//! A store that another program holds up, or whose record the disk has changed.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::world::{World, booking};

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
    // One after another they would take a dozen times as long as one.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(world.get("/readyz").status, 503);

    other.execute_batch("ROLLBACK").unwrap();
    world.eventually("readiness", |world| world.get("/readyz").status == 200);
    assert_eq!(send(0).status, 200);
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_damaged_event_is_listed_as_damaged_and_recorded_anew_when_it_comes_again() {
    let mut world = World::plan().start();
    let sent = |world: &World| {
        let reply = world.send(&booking("b-1", "A"));
        assert_eq!(reply.status, 200);
        reply.header("x-wilco-event").unwrap().to_owned()
    };
    let first = sent(&world);
    assert!(world.stop().success());
    let disk = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    disk.execute("UPDATE event SET body = x'00'", []).unwrap();
    drop(disk);

    let world = world.restart_stopped();
    let second = sent(&world);
    assert_ne!(second, first);
    assert_eq!(sent(&world), second, "the next one is a duplicate of the good one");
    let damaged: Vec<_> = world.events().iter().map(|event| event["damaged"] == true).collect();
    assert_eq!(damaged, [true, false]);
    assert!((world.metric("wilco_store_damaged_events") - 1.0).abs() < 0.5);
}

#[test]
fn damage_in_an_old_event_is_found_though_nobody_asks_for_it() {
    let tables = "[destination.it]\ntype = \"print\"\n[[route]]\nto = [\"it\"]\n";
    for (change, says) in [
        ("UPDATE event SET body = x'00' WHERE seq = (SELECT min(seq) FROM event)", "is damaged"),
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
