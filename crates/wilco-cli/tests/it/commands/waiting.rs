//! What is shown of a delivery that waits for its destination, and while wilco restarts.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value;

use super::text;
use crate::{
    catcher::{Act, Catcher},
    world::{World, booking},
};

#[test]
fn an_event_shows_that_its_destination_is_paused_or_its_circuit_open() {
    let catcher = Catcher::start(|_, _| Act::Answer(500));
    let tables = format!(
        "[destination.erp]\ntype = \"http\"\nurl = \"{}\"\nconcurrency = 1\n\
         retry = {{ first = \"168 h\", max = \"168 h\", give_up_after = \"400 h\" }}\n\
         breaker = {{ failures = 1, probe_after = \"24 h\", probe_max = \"24 h\" }}\n\
         [[route]]\nto = [\"erp\"]\n",
        catcher.url()
    );
    let world = World::plan().and(&tables).start();
    let line = |world: &World| {
        let said = text(&world.run_verb(&["events", "show", "latest"]).stdout);
        let line = said.lines().find(|line| line.starts_with("  erp: ")).unwrap_or_default();
        line.to_owned()
    };
    let paused = "; paused: wilco destinations resume erp";
    let open = "; circuit open until ";
    assert!(world.run_verb(&["destinations", "pause", "erp"]).status.success());
    world.send(&booking("b-1", "A"));
    world.eventually("it is pending", |world| line(world).contains("pending"));
    assert!(line(&world).ends_with(paused), "{}", line(&world));
    assert!(world.run_verb(&["destinations", "resume", "erp"]).status.success());
    world.eventually("it is tried", |world| line(world).contains("retrying"));
    world.eventually("the circuit is open", |world| line(world).contains(open));
    assert!(!line(&world).contains("paused"), "{}", line(&world));
    assert!(world.run_verb(&["destinations", "pause", "erp"]).status.success());
    let both = line(&world);
    assert!(both.contains(paused) && both.contains(open), "{both}");
}

#[test]
fn tail_waits_for_a_restarting_server_and_continues() {
    let mut world = World::plan().start();
    let here = format!("[admin]\naddress = \"{}\"", world.admin);
    world.reconfigure(|text| text.replace("[admin]\naddress = \"127.0.0.1:0\"", &here));
    world.send(&booking("b-1", "A"));
    let mut command = world.verb(&["events", "tail", "--json"]);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut remarks = BufReader::new(tail.stderr.take().unwrap()).lines();
    let mut next = || -> String {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["subject"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), "booking/b-1");
    assert!(world.stop().success());
    let remark = remarks.next().unwrap().unwrap();
    assert_eq!(remark, "wilco does not answer; waiting for it to come back");
    let world = world.restart_stopped();
    world.send(&booking("b-2", "A"));
    assert_eq!(remarks.next().unwrap().unwrap(), "wilco answers again");
    assert_eq!(next(), "booking/b-2");
    tail.kill().unwrap();
    tail.wait().unwrap();
}
