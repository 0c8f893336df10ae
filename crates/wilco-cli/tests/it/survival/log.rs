//! A log that cannot be written affects nothing else.

use std::{
    fs,
    io::{self, Read as _},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use super::skip;
use crate::{
    catcher::{Act, Catcher},
    deliveries::{RETRY, it, shell},
    world::{World, booking},
};

/// A world whose events go to `catcher`, and whose log goes to `log`.
fn world(catcher: &Catcher, log: impl Into<Stdio>) -> World {
    let tables = format!(
        "[destination.it]\ntype = \"http\"\nurl = \"{}\"\n{RETRY}\n[[route]]\nto = [\"it\"]\n",
        catcher.url()
    );
    World::plan().and(&tables).env("RUST_LOG", "trace").start_with_log(log)
}

/// Checks that an event is acknowledged, attempted, retried and settled.
fn check_that_events_are_delivered(world: &World, catcher: &Catcher) {
    for number in 0..20 {
        let reply = world.send(&booking(&number.to_string(), "Grade"));
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    catcher.wait_for(21);
    world.eventually("all are delivered", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 20
    });
    assert_eq!(world.get("/readyz").status, 200);
}

#[test]
fn a_log_whose_reader_has_ended_stops_no_event() {
    let (reader, writer) = io::pipe().unwrap();
    let catcher = Catcher::of(&[Act::Answer(500), Act::Answer(200)]);
    let mut world = world(&catcher, OwnedFd::from(writer));
    drop(reader);
    check_that_events_are_delivered(&world, &catcher);
    assert!(world.metric("wilco_log_lines_dropped_total") > 0.0);
    assert!(world.stop().success());
}

#[test]
fn a_log_that_nobody_reads_stops_no_event_and_does_not_delay_the_end() {
    let (mut reader, writer) = io::pipe().unwrap();
    // Fill the pipe, so that the first line of the log already blocks.
    let filled = Command::new("head")
        .args(["-c", "65536", "/dev/zero"])
        .stdout(writer.try_clone().unwrap())
        .status();
    assert!(filled.unwrap().success());
    let catcher = Catcher::of(&[Act::Answer(500), Act::Answer(200)]);
    let mut world = world(&catcher, OwnedFd::from(writer));
    check_that_events_are_delivered(&world, &catcher);
    assert!(world.stop().success());
    drop(world);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read.len() >= 65_536);
}

#[test]
fn a_log_on_a_full_disk_stops_no_event() {
    let Ok(full) = fs::File::options().write(true).open("/dev/full") else {
        return skip("there is no /dev/full");
    };
    let catcher = Catcher::of(&[Act::Answer(500), Act::Answer(200)]);
    let mut world = world(&catcher, full);
    check_that_events_are_delivered(&world, &catcher);
    assert!(world.metric("wilco_log_lines_dropped_total") > 0.0);
    assert!(world.stop().success());
}

#[test]
fn a_worker_that_never_stops_printing_does_not_flood_the_log() {
    let lines = format!("{}\nprotocol = \"lines\"", shell("while :; do echo debug; done"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let world = World::plan().and(&it(&lines)).start_with_log(fs::File::create(&path).unwrap());
    world.send(&booking("b-1", "Grade"));
    let log = || fs::read_to_string(&path).unwrap();
    world.eventually("it was noticed", |_| log().contains("the worker wrote more such lines"));
    let told = |text: &str| log().matches(text).count();
    world.eventually("it goes on", |_| told("the worker wrote more such lines") >= 2);
    let seconds = told("the worker wrote more such lines");
    assert!((1..=5 * (seconds + 1)).contains(&told("not an answer")), "{}", log());
}
