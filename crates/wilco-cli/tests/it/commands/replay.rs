//! `wilco events replay` and `cancel`: events are chosen in several ways, and never by accident.

use std::{
    process::Output,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::text;
use crate::{
    catcher::{Act, Catcher},
    world::World,
};

fn body(event: &str, id: &str) -> String {
    format!(r#"{{"id":"{id}","type":"t","event":"{event}","data":{{}}}}"#)
}

/// Two destinations, the first of which refuses events named `bad`. It gets one event after another, so that
/// their order can be seen.
fn world() -> (World, Catcher) {
    let catcher = Catcher::start(|_, caught| {
        let is_bad = caught.path.contains("/hook") && caught.header("x-wilco-event-name") == "bad";
        Act::Answer(if is_bad { 410 } else { 200 })
    });
    let (url, other) = (catcher.url(), catcher.url().replace("/hook", "/other"));
    let tables = format!(
        "[destination.erp]\ntype = \"http\"\nurl = \"{url}\"\nconcurrency = 1\n\
         [destination.log]\ntype = \"http\"\nurl = \"{other}\"\n\
         [[route]]\nto = [\"erp\"]\n[[route]]\nevents = [\"good\"]\nto = [\"log\"]\n"
    );
    (World::plan().and(&tables).start(), catcher)
}

fn replay(world: &World, arguments: &[&str]) -> Output {
    world.run_verb(&[&["events", "replay"], arguments].concat())
}

/// The last line that `replay` prints.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

fn settled(world: &World) {
    world.eventually("all is settled", |world| {
        // In this order: what was routed before the deliveries are counted has its deliveries counted.
        world.events().iter().all(|event| event["routed"] == true)
            && world.count("SELECT count(*) FROM delivery WHERE state NOT IN ('delivered', 'dead')")
                == 0
    });
}

#[test]
fn events_are_replayed_by_id_by_time_and_by_the_state_of_their_deliveries() {
    let (world, catcher) = world();
    let good = world.send(&body("good", "1")).header("x-wilco-event").unwrap().to_owned();
    let bad = world.send(&body("bad", "2")).header("x-wilco-event").unwrap().to_owned();
    settled(&world);
    let before = catcher.caught().len();
    assert_eq!(before, 3);
    for (arguments, expected, came) in [
        (vec![good.as_str(), "--dry-run"], "1 event would be replayed in 2 new deliveries", 0),
        (vec![&good], "1 event replayed in 2 new deliveries", 2),
        (
            vec![&good, &bad, "--destination", "log"],
            "1 event not replayed: no route matches now",
            1,
        ),
        (vec!["--dead", "--reason", "mended"], "1 event replayed in 1 new delivery", 1),
        (vec!["--event", "go*"], "1 event replayed in 2 new deliveries", 2),
        (vec!["--since", "1h", "--destination", "erp"], "2 events replayed in 2 new deliveries", 2),
        (vec!["--until", "1h"], "no events that match", 0),
    ] {
        let before = catcher.caught().len();
        assert_eq!(said(&replay(&world, &arguments)), expected, "{arguments:?}");
        settled(&world);
        assert_eq!(catcher.caught().len() - before, came, "{arguments:?}");
    }
    let shown = text(&world.run_verb(&["events", "show", &bad]).stdout);
    assert!(shown.contains("erp: dead, replayed since"), "{shown}");
    assert!(shown.contains("(replay: mended)"), "{shown}");
    let ids: Vec<_> = catcher.caught().iter().map(|c| c.header("webhook-id").to_owned()).collect();
    assert!(ids.iter().all(|id| *id == good || *id == bad), "the id is still that of the event");
}

#[test]
fn a_replay_uses_the_current_routes() {
    let (world, catcher) = world();
    let id = world.send(&body("other", "1")).header("x-wilco-event").unwrap().to_owned();
    settled(&world);
    world.reconfigure(|text| text.replace("events = [\"good\"]", "events = [\"other\"]"));
    world.signal("HUP");
    world.eventually("the reload", |world| world.log().contains("reloaded"));
    let output = replay(&world, &[&id, "--json"]);
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["destinations"], serde_json::json!(["erp", "log"]));
    settled(&world);
    assert!(catcher.caught().iter().any(|caught| caught.path.starts_with("/other")));
}

#[test]
fn a_replay_keeps_its_rate_and_starts_with_the_oldest() {
    let (world, catcher) = world();
    let sent: Vec<_> = (0..8).map(|n| world.send(&body("x", &n.to_string()))).collect();
    settled(&world);
    let began = Instant::now();
    assert!(said(&replay(&world, &["--all", "--rate", "20/s"])).starts_with("8 events"));
    assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
    let again: Vec<_> = catcher.wait_for(16)[8..].to_vec();
    for (caught, reply) in again.iter().zip(&sent) {
        assert_eq!(Some(caught.header("webhook-id")), reply.header("x-wilco-event"));
    }
}

#[test]
fn nothing_is_replayed_unless_events_are_named() {
    let (mut world, catcher) = world();
    let id = world.send(&body("good", "1")).header("x-wilco-event").unwrap().to_owned();
    settled(&world);
    let output = replay(&world, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("choose events: name their ids"), "{output:?}");
    assert_eq!(replay(&world, &[&id, "--all"]).status.code(), Some(2));
    assert_eq!(replay(&world, &["evt_nonsense"]).status.code(), Some(2));
    assert_eq!(replay(&world, &["--all", "--rate", "0"]).status.code(), Some(2));
    // Without a server, the store is changed directly, and the deliveries are made at the next start.
    assert!(world.stop().success());
    assert_eq!(said(&replay(&world, &[&id])), "1 event replayed in 2 new deliveries");
    let before = catcher.caught().len();
    let world = world.restart_stopped();
    settled(&world);
    assert_eq!(catcher.caught().len() - before, 2);
}

#[test]
fn pending_deliveries_can_be_cancelled() {
    let (world, catcher) = world();
    assert!(world.run_verb(&["destinations", "pause", "erp"]).status.success());
    let id = world.send(&body("good", "1")).header("x-wilco-event").unwrap().to_owned();
    catcher.wait_for(1);
    for expected in ["1 delivery cancelled\n", "no delivery was pending\n"] {
        let output = world.run_verb(&["events", "cancel", &id, "--destination", "erp"]);
        assert_eq!(text(&output.stdout), expected);
    }
    assert!(world.run_verb(&["destinations", "resume", "erp"]).status.success());
    thread::sleep(Duration::from_millis(200));
    assert_eq!(catcher.caught().len(), 1);
    let unknown = "evt_00000000000000000000000001";
    let output = world.run_verb(&["events", "cancel", unknown]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("event {unknown} not found")), "{output:?}");
}
