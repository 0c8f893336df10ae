//! `wilco events tail`.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::world::{World, booking};

#[test]
fn tail_shows_what_becomes_of_an_event() {
    let tables = "[destination.erp]\ntype = \"print\"\n[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(tables).start();
    assert!(world.run_verb(&["destinations", "pause", "erp"]).status.success());
    world.send(&booking("b-1", "A"));
    let mut command = world.verb(&["events", "tail"]);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = |end: &str| {
        while !lines.next().unwrap().unwrap().ends_with(end) {}
    };
    next("erp pending");
    assert!(world.run_verb(&["destinations", "resume", "erp"]).status.success());
    next("erp delivered");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn tail_follows_events_as_they_arrive() {
    let world = World::plan().start();
    for id in ["b-1", "b-2", "b-3"] {
        world.send(&booking(id, "A"));
    }
    let mut command = world.verb(&["events", "tail", "--json", "-n", "2"]);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut next = || -> String {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["subject"].as_str().unwrap().to_owned()
    };
    assert_eq!([next(), next()], ["booking/b-2", "booking/b-3"]);
    for id in ["b-4", "b-5"] {
        world.send(&booking(id, "A"));
        assert_eq!(next(), format!("booking/{id}"));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}
