//! The status of a destination: circuit breaker, rate limit, pause; and how it is reported.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{RETRY, delivery, it, shell, shown};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{World, booking},
};

fn http(name: &str, catcher: &Catcher, lines: &str) -> String {
    format!("[destination.{name}]\ntype = \"http\"\nurl = \"{}\"\n{lines}\n", catcher.url())
}

fn destination(world: &World, name: &str) -> Value {
    let output = world.run_verb(&["destinations", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.find(|row| row["destination"] == name).unwrap()
}

#[test]
fn a_failing_destination_is_paused_probed_and_resumed() {
    let catcher = Catcher::start(|number, _| Act::Answer(if number < 4 { 500 } else { 200 }));
    let lines = format!(
        "{RETRY}\nconcurrency = 1\nbreaker = {{ failures = 3, probe_after = \"700 ms\", probe_max = \"700 ms\" }}"
    );
    let tables = http("erp", &catcher, &lines) + "[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(&tables).start();
    let sent = [1, 2, 3, 4, 5].map(|n| world.send(&booking(&format!("b-{n}"), "x")));
    world.eventually("it is open", |world| destination(world, "erp")["open_until"].is_string());
    assert_eq!(world.metric("wilco_breaker_open{destination=\"erp\"}"), 1.0);
    for reply in &sent {
        delivery(&world, reply, "delivered");
    }
    let caught = catcher.caught();
    assert_eq!(caught.len(), 9, "three, a probe that failed, and five");
    for (before, after) in [(2, 3), (3, 4)] {
        let pause = caught[after].at - caught[before].at;
        assert!(pause >= Duration::from_millis(650), "{pause:?} before probe {after}");
    }
    assert_eq!(destination(&world, "erp")["failures"], 0);
    assert_eq!(world.metric("wilco_breaker_open{destination=\"erp\"}"), 0.0);
}

#[test]
fn an_event_that_cannot_be_sent_is_not_a_probe_and_closes_no_breaker() {
    let catcher = Catcher::of(&[Act::Answer(500)]);
    let breaker = "breaker = { failures = 2, probe_after = \"1 s\", probe_max = \"1 s\" }";
    let text = "headers = { x-name = \"{{ data.name }}\" }";
    let retry = "retry = { first = \"168 h\", max = \"168 h\", give_up_after = \"400 h\" }";
    let tables = http("erp", &catcher, &format!("{retry}\nconcurrency = 1\n{breaker}\n{text}"))
        + "[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(&tables).start();
    for number in 1..=2 {
        world.send(&booking(&format!("b-{number}"), "x"));
    }
    world.eventually("it is open", |world| destination(world, "erp")["open_until"].is_string());
    let broken = world.send(&booking("b-3", "a\\nb"));
    delivery(&world, &broken, "dead");
    let row = destination(&world, "erp");
    assert_eq!(row["failures"], 2, "{row}");
    assert!(row["open_until"].is_string(), "{row}");
    assert_eq!(catcher.caught().len(), 2);
    // The next one is the probe.
    world.send(&booking("b-4", "x"));
    catcher.wait_for(3);
    world.eventually("the probe failed", |world| destination(world, "erp")["failures"] == 3);
}

#[test]
fn what_waits_for_its_next_attempt_is_retried_at_once_on_demand() {
    let is_mended = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&is_mended);
    let catcher = Catcher::start(move |_, _| {
        Act::Answer(if mended.load(Ordering::Relaxed) { 200 } else { 500 })
    });
    let retry = "retry = { first = \"3000 h\", max = \"3000 h\", give_up_after = \"9000 h\" }";
    let tables = http("erp", &catcher, retry) + "[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(&tables).start();
    let sent = [1, 2, 3].map(|n| world.send(&booking(&format!("b-{n}"), "x")));
    world.eventually("they wait", |world| destination(world, "erp")["retrying"] == 3);
    is_mended.store(true, Ordering::Relaxed);
    for (name, code, expected) in [
        ("epr", 1, "destination epr not found; did you mean erp?"),
        ("erp", 0, "3 deliveries are due now\n"),
        ("erp", 0, "no delivery to erp waits for a retry\n"),
    ] {
        let output = world.run_verb(&["destinations", "retry", name]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    for reply in &sent {
        assert_eq!(delivery(&world, reply, "delivered")["attempts"], 2);
    }
    let audit = String::from_utf8(world.run_verb(&["audit", "list", "--json"]).stdout).unwrap();
    let audit: Value = serde_json::from_str(audit.lines().last().unwrap()).unwrap();
    let noted = (&audit["action"], &audit["target"], &audit["affected"]);
    assert_eq!(noted, (&"retry_destination".into(), &"erp".into(), &3.into()), "{audit}");
}

#[test]
fn a_breaker_stays_open_across_a_restart() {
    let catcher = Catcher::of(&[Act::Answer(500)]);
    let lines = format!("{RETRY}\nbreaker = {{ failures = 2, probe_after = \"1 h\" }}");
    let tables = http("erp", &catcher, &lines) + "[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(&tables).start();
    world.send(&booking("b-1", "x"));
    world.eventually("it is open", |world| destination(world, "erp")["open_until"].is_string());
    let before = catcher.caught().len();
    let world = world.kill_and_restart();
    world.send(&booking("b-2", "x"));
    world.eventually("it waits", |world| destination(world, "erp")["pending"] == 1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(catcher.caught().len(), before);
}

#[test]
fn a_wait_that_a_destination_asks_for_applies_to_all_its_deliveries_and_across_a_restart() {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let catcher = Catcher::start(move |_, _| match over.load(Ordering::Relaxed) {
        false => Act::With(429, "retry-after: 99999999999999999999999\r\n"),
        true => Act::Answer(200),
    });
    let retry = "retry = { first = \"100 ms\", factor = 1.0, max = \"10 s\" }";
    let tables = format!(
        "{}\n[destination.chat]\ntype = \"slack\"\nurl = {{ env = \"URL\" }}\n\
         text = \"{{{{ id }}}}\"\n{retry}\n[[route]]\nto = [\"erp\", \"chat\"]\n",
        http("erp", &catcher, &format!("concurrency = 1\n{retry}"))
    );
    let world = World::plan().and(&tables).env("URL", &catcher.url()).start();
    let first = world.send(&booking("b-0", "x"));
    let began = catcher.wait_for(2)[0].at;
    for name in ["erp", "chat"] {
        world.eventually("it waits", |world| destination(world, name)["asked_until"].is_string());
        let metric = format!("wilco_breaker_open{{destination=\"{name}\"}}");
        assert_eq!(world.metric(&metric), 0.0, "it has not failed itself");
    }
    let world = world.kill_and_restart();
    let sent = [1, 2, 3].map(|n| world.send(&booking(&format!("b-{n}"), "x")));
    world.eventually("they wait", |world| destination(world, "erp")["pending"] == 3);
    is_over.store(true, Ordering::Relaxed);
    for reply in sent.iter().chain([&first]) {
        for index in 0..2 {
            let state = |_: &World| shown(&world, reply)["deliveries"][index]["state"].clone();
            world.eventually("delivered", |world| state(world) == "delivered");
        }
    }
    let caught = catcher.caught();
    assert_eq!(caught.len(), 10, "two were asked to wait, and each of eight arrived once");
    let waited = caught[2].at - began;
    assert!(waited >= Duration::from_millis(9_900), "{waited:?}");
}

#[test]
fn a_wait_that_a_service_asked_for_is_not_shown_as_an_open_circuit() {
    let catcher = Catcher::of(&[Act::With(429, "retry-after: 3600\r\n")]);
    let tables = http("erp", &catcher, "") + "[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(&tables).start();
    world.send(&booking("b-1", "x"));
    world.eventually("it waits", |world| destination(world, "erp")["asked_until"].is_string());
    assert!(destination(&world, "erp")["open_until"].is_null());
    for (verb, parts) in [
        (&["destinations", "list"][..], ["erp          http  waiting ", ", as its service asked"]),
        (&["events", "show", "latest"], ["waits until ", " as its service asked (retry-after)"]),
    ] {
        let said = String::from_utf8(world.run_verb(verb).stdout).unwrap();
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(!said.contains("circuit") && !said.contains(" open"), "{said}");
    }
}

#[test]
fn a_rate_limit_is_kept() {
    let catcher = Catcher::new();
    let tables = http("erp", &catcher, "rate = \"20/s\"") + "[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(&tables).start();
    let began = Instant::now();
    for number in 0..21 {
        world.send(&booking(&format!("b-{number}"), "x"));
    }
    catcher.wait_for(21);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(800), "{took:?}");
}

#[test]
fn a_paused_destination_stays_paused_across_a_restart_and_can_be_resumed() {
    let catcher = Catcher::new();
    let other = Catcher::new();
    let tables = http("erp", &catcher, "")
        + &http("log", &other, "")
        + "[[route]]\nto = [\"erp\", \"log\"]\n";
    let mut world = World::plan().and(&tables).start();
    let output = world.run_verb(&["destinations", "pause", "nothing"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("destination nothing not found"));
    assert!(world.run_verb(&["destinations", "pause", "erp"]).status.success());
    world.send(&booking("b-1", "x"));
    other.wait_for(1);
    world = world.restart();
    world.send(&booking("b-2", "x"));
    other.wait_for(2);
    let row = destination(&world, "erp");
    assert_eq!((&row["paused"], &row["pending"]), (&true.into(), &2.into()));
    assert_eq!(catcher.caught().len(), 0);
    assert!(world.run_verb(&["destinations", "resume", "erp"]).status.success());
    catcher.wait_for(2);
    let table = world.run_verb(&["destinations", "list"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("destination  type  state  pending"), "{table}");
    // Without a server, the store is read directly.
    assert!(world.stop().success());
    assert!(world.run_verb(&["destinations", "pause", "log"]).status.success());
    assert_eq!(destination(&world, "log")["paused"], true);
}

#[test]
fn dead_deliveries_open_breakers_and_inactive_sources_raise_alerts_at_intervals() {
    let chat = Catcher::new();
    let catcher = Catcher::of(&[Act::Answer(410), Act::Answer(410), Act::Answer(500)]);
    let tables = http("erp", &catcher, "breaker = { failures = 2, probe_after = \"1 h\" }")
        + &http("chat", &chat, "")
        + "[[route]]\nto = [\"erp\"]\n[alerts]\nto = \"chat\"\n";
    let world = World::plan().source("expect_every = \"2 s\"").and(&tables).start();
    let dead = world.send(&booking("b-1", "x"));
    delivery(&world, &dead, "dead");
    for number in 2..=5 {
        world.send(&booking(&format!("b-{number}"), "x"));
    }
    let caught = chat.wait_for(3);
    let mut names = Vec::new();
    for alert in &caught {
        let body: Value = serde_json::from_slice(&alert.body).unwrap();
        assert!(body["text"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        names.push(body["event"].as_str().unwrap().to_owned());
        if names.last().unwrap() == "alert.dead" {
            assert_eq!(body["data"]["event_id"].as_str(), dead.header("x-wilco-event"));
        }
    }
    assert_eq!(names, ["alert.dead", "alert.open", "alert.silent"]);
    assert_eq!(world.events().iter().filter(|event| event["source"] == "wilco").count(), 3);
}

#[test]
fn an_event_from_the_future_does_not_hide_that_its_source_is_inactive() {
    let chat = Catcher::new();
    let tables = http("chat", &chat, "") + "[alerts]\nto = \"chat\"\n";
    let mut world = World::plan().source("expect_every = \"2 s\"").and(&tables).start();
    assert_eq!(world.send(&booking("b-1", "x")).status, 200);
    assert!(world.stop().success());
    // As if it had been received while the clock was a year ahead.
    let store = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    store.execute("UPDATE event SET received_at_ms = received_at_ms + 31536000000", []).unwrap();
    store.execute("DELETE FROM event WHERE source = 'wilco'", []).unwrap();
    store.execute("DELETE FROM alert", []).unwrap();
    drop(store);
    let before = chat.caught().len();
    let world = world.restart_stopped();
    // Another alert may come first, because the event no longer matches its checksum.
    let is_silent = |caught: &Caught| caught.header("x-wilco-event-name") == "alert.silent";
    world.eventually("the alert", |_| chat.caught()[before..].iter().any(is_silent));
}

#[test]
fn one_bad_destination_affects_neither_the_answers_nor_the_others() {
    let good = Catcher::new();
    let bad = [Act::Hang, Act::Reset, Act::Drip, Act::Flood].map(|act| Catcher::of(&[act]));
    let mut tables = http("good", &good, "");
    for (number, catcher) in bad.iter().enumerate() {
        tables += &http(&format!("bad-{number}"), catcher, RETRY);
    }
    tables += "[[route]]\nto = [\"bad-0\", \"bad-1\", \"bad-2\", \"bad-3\", \"good\"]\n";
    let world = World::plan().and(&tables).start();
    let mut slowest = Duration::ZERO;
    let began = Instant::now();
    for number in 0..100 {
        let sent = Instant::now();
        assert_eq!(world.send(&booking(&format!("b-{number}"), "x")).status, 200);
        slowest = slowest.max(sent.elapsed());
    }
    good.wait_for(100);
    assert!(slowest < Duration::from_secs(1), "{slowest:?} to an answer");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let last = &world.events()[99];
    let id = last["id"].as_str().unwrap();
    assert!(world.get(&format!("/api/v1/events/{id}")).body.contains("\"good\""));
}

#[test]
fn a_kill_repeats_at_most_the_running_attempts() {
    let catcher = Catcher::start(|_, _| {
        std::thread::sleep(Duration::from_millis(15));
        Act::Answer(200)
    });
    let lines = format!("{RETRY}\nconcurrency = 4");
    let tables = http("erp", &catcher, &lines) + "[[route]]\nto = [\"erp\"]\n";
    let mut world = World::plan().and(&tables).start();
    for number in 0..200 {
        world.send(&booking(&format!("b-{number}"), "x"));
    }
    for round in 1..=4 {
        catcher.wait_for(round * 30);
        world = world.kill_and_restart();
    }
    world.eventually("all of it", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 200
    });
    let mut ids: Vec<_> =
        catcher.caught().iter().map(|c| c.header("webhook-id").to_owned()).collect();
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    assert!(all - 200 <= 4 * 4, "{} came again after 4 kills with 4 under way", all - 200);
}

#[test]
fn a_reload_does_not_wait_for_a_running_attempt() {
    let script = "case $(cat) in *slow*) while [ ! -e FOLDER/go ]; do sleep 0.05; done;; esac";
    for concurrency in [2, 1] {
        let lines = format!("{}\ntimeout = \"6 h\"\nconcurrency = {concurrency}", shell(script));
        let world = World::plan().and(&it(&lines)).start();
        let slow = world.send(&booking("1", "slow"));
        delivery(&world, &slow, "running");
        world.reconfigure(|text| text.replace("6 h", "5 h"));
        assert!(world.run_verb(&["reload"]).status.success());
        let quick = world.send(&booking("2", "quick"));
        if concurrency == 2 {
            delivery(&world, &quick, "delivered");
        }
        // The only slot is taken until the attempt from before the reload has ended.
        let running = "SELECT count(*) FROM delivery WHERE state = 'running'";
        assert_eq!(world.count(running), 1, "{concurrency}");
        std::fs::write(world.path("go"), "").unwrap();
        delivery(&world, &slow, "delivered");
        delivery(&world, &quick, "delivered");
    }
}
