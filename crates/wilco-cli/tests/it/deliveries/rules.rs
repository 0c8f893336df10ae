//! Rules: which events go where depending on their content, in which order, and which of a burst.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{RETRY, delivery, results, shown};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{Reply, World},
};

fn http(name: &str, catcher: &Catcher, lines: &str) -> String {
    let url = catcher.url();
    format!("[destination.{name}]\ntype = \"http\"\nurl = \"{url}\"\n{RETRY}\n{lines}\n")
}

fn booking(id: &str, step: usize, status: &str) -> String {
    format!(
        r#"{{"id":"{id}","type":"booking","event":"booking.updated",
            "data":{{"step":{step},"size":9007199254740993,"status":{{"name":"{status}"}}}}}}"#
    )
}

/// The steps of each booking, in the order in which they arrived.
fn steps(caught: &[Caught], id: &str) -> Vec<u64> {
    let bodies = caught.iter().map(|c| serde_json::from_slice::<Value>(&c.body).unwrap());
    bodies.filter(|b| b["id"] == id).map(|b| b["data"]["step"].as_u64().unwrap()).collect()
}

fn states(world: &World, reply: &Reply) -> Vec<String> {
    let shown = shown(world, reply);
    let deliveries = shown["deliveries"].as_array().unwrap();
    deliveries.iter().map(|d| d["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_condition_selects_events_and_why_says_which_clause_decided() {
    let catcher = Catcher::new();
    let tables = http("chat", &catcher, "")
        + "[[route]]\nevents = [\"booking.*\"]\nwhen = \"data.status.name == 'Confirmed'\"\n\
           to = [\"chat\"]\n[[route]]\nfrom = \"freispace\"\nevents = [\"offer.*\"]\n\
           to = [\"chat\"]\n";
    let world = World::plan().and(&tables).start();
    let draft = world.send(&booking("b", 1, "Draft"));
    let confirmed = world.send(&booking("b", 2, "Confirmed"));
    delivery(&world, &confirmed, "delivered");
    assert_eq!(steps(&catcher.caught(), "b"), [2]);
    assert_eq!(states(&world, &draft), [""; 0]);
    for (reply, clause, takes) in [(&draft, "when".into(), false), (&confirmed, Value::Null, true)]
    {
        let id = reply.header("x-wilco-event").unwrap();
        let output = world.run_verb(&["events", "why", id, "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((&rows[0]["clause"], &rows[0]["takes"]), (&clause, &takes.into()));
        assert_eq!(rows[1]["clause"], "events");
        let output = world.run_verb(&["events", "why", id]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(table.contains("data.status.name == 'Confirmed'"), "{table}");
    }
}

#[test]
fn a_failing_condition_makes_a_dead_delivery_that_can_be_replayed_once_the_file_is_fixed() {
    let catcher = Catcher::new();
    let tables = http("chat", &catcher, "") + "[[route]]\nwhen = \"id + 1 > 0\"\nto = [\"chat\"]\n";
    let world = World::plan().and(&tables).start();
    let reply = world.send(&booking("b", 1, "Draft"));
    let failed = delivery(&world, &reply, "dead");
    assert!(results(&failed)[0].contains("a rule of its route failed"), "{failed}");
    assert_eq!(results(&failed).len(), 1, "{failed}");
    let id = reply.header("x-wilco-event").unwrap();
    let why = world.run_verb(&["events", "why", id]);
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(why.contains("could not be decided"), "{why}");
    world.reconfigure(|text| text.replace("id + 1 > 0", "id == 'b'"));
    world.signal("HUP");
    world.eventually("the reload", |world| world.log().matches("reloaded").count() == 1);
    assert!(world.run_verb(&["events", "replay", id]).status.success());
    world.eventually("the delivery", |_| catcher.caught().len() == 1);
}

#[test]
fn null_and_values_of_another_type_match_no_event_and_render_as_nothing() {
    let catcher = Catcher::new();
    let lines = "body = '{\"name\":{{ data.name | tojson }},\"note\":\"{{ data.note }}\"}'\n\
                 headers = { content-type = \"application/json\" }";
    let when = "data.size > 9 or data.suites | length > 0 or 'x' in data.list";
    let tables =
        http("erp", &catcher, lines) + &format!("[[route]]\nwhen = \"{when}\"\nto = [\"erp\"]\n");
    let world = World::plan().and(&tables).start();
    let send = |size: &str| {
        world.send(&format!(
            r#"{{"id":{size:?},"type":"booking","event":"booking.updated","data":{{"size":{size},
            "suites":null,"list":null,"note":null,"name":"half \ud83d"}}}}"#
        ))
    };
    let others = ["4", r#""4""#, r#""large""#, "null", "true", "[10]"].map(send);
    let taken = send("10");
    delivery(&world, &taken, "delivered");
    for other in &others {
        assert_eq!(states(&world, other), [""; 0]);
    }
    let body = String::from_utf8(catcher.caught().remove(0).body).unwrap();
    assert_eq!(body, "{\"name\":\"half \u{fffd}\",\"note\":\"\"}");
    assert_eq!(catcher.caught().len(), 1);
    let id = others[1].header("x-wilco-event").unwrap();
    let why = String::from_utf8(world.run_verb(&["events", "why", id, "--json"]).stdout).unwrap();
    assert!(why.contains(r#"data.size is \"4\""#), "{why}");
}

#[test]
fn body_and_headers_are_rendered_from_the_event_and_signed_as_sent() {
    let catcher = Catcher::new();
    let lines = "body = '{\"size\":{{ data.size }},\"gone\":\"{{ data.gone.away }}\"}'\n\
                 headers = { authorization = \"Key {{ data.status.name }}\", \
                 content-type = \"application/vnd.x+json\" }\nsecret = { env = \"ERP_SECRET\" }";
    let tables = http("erp", &catcher, lines) + "[[route]]\nto = [\"erp\"]\n";
    let world = World::plan().and(&tables).env("ERP_SECRET", "another-secret").start();
    let reply = world.send(&booking("b", 1, "Final"));
    delivery(&world, &reply, "delivered");
    let caught = catcher.caught().remove(0);
    assert_eq!(String::from_utf8_lossy(&caught.body), r#"{"size":9007199254740993,"gone":""}"#);
    assert_eq!(caught.header("authorization"), "Key Final");
    assert_eq!(caught.header("content-type"), "application/vnd.x+json");
    assert!(caught.header("webhook-signature").starts_with("v1,"));
}

#[test]
fn a_rendered_request_that_nobody_could_accept_is_dead_at_once() {
    for (lines, name, expected) in [
        ("headers = { x-title = \"{{ data.status.name }}\" }", "two\\nlines", "the header x-title"),
        ("headers = { x-title = \"{{ data.status.name }}\" }", "a\\u0000b", "the header x-title"),
        (
            "body = '{\"text\": \"{{ data.status.name }}\"}'\nheaders = { content-type = \"application/json\" }",
            "The \\\"Big\\\" One",
            "tojson",
        ),
        ("body = '{{ data.status.name + 1 }}'", "one", "the body failed"),
        ("body = '{{ data.size | local(\"UTC\", \"%!\") }}'", "one", "the body failed"),
    ] {
        let catcher = Catcher::new();
        let tables = http("erp", &catcher, lines) + "[[route]]\nto = [\"erp\"]\n";
        let world = World::plan().and(&tables).start();
        let failed = delivery(&world, &world.send(&booking("b", 2, name)), "dead");
        assert!(results(&failed)[0].contains(expected), "{failed}");
        assert_eq!((results(&failed).len(), catcher.caught().len()), (1, 0), "{failed}");
    }
}

#[test]
fn events_of_one_key_stay_in_order_across_retries_and_restarts() {
    let catcher = Catcher::start(|number, caught| match caught.header("x-wilco-attempt") {
        "1" if number.is_multiple_of(3) => Act::Answer(500),
        _ => Act::Answer(200),
    });
    let lines = "order_by = \"id\"\nconcurrency = 8\nbreaker = { failures = 1000 }";
    let tables = http("erp", &catcher, lines) + "[[route]]\nto = [\"erp\"]\n";
    let mut world = World::plan().and(&tables).start();
    for step in 0..60 {
        world.send(&booking(["a", "b", "c"][step % 3], step, "x"));
        if step == 20 || step == 40 {
            world = world.kill_and_restart();
        }
    }
    world.eventually("all of it", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 60
    });
    for id in ["a", "b", "c"] {
        let mut steps = steps(&catcher.caught(), id);
        steps.dedup();
        assert!(steps.is_sorted(), "{id}: {steps:?}");
        assert_eq!(steps.len(), 20, "{id}: {steps:?}");
    }
}

#[test]
fn a_failing_key_delays_no_other_and_a_dead_one_blocks_if_configured() {
    for (on_dead, expected) in [("skip", &[2, 3][..]), ("block", &[])] {
        let catcher = Catcher::start(|_, caught| {
            let body = String::from_utf8_lossy(&caught.body).into_owned();
            if body.contains("\"id\":\"a\"") && body.contains("\"step\":1,") {
                Act::Answer(410)
            } else {
                Act::Answer(200)
            }
        });
        let lines = format!("order_by = \"id\"\non_dead = \"{on_dead}\"");
        let tables = http("erp", &catcher, &lines) + "[[route]]\nto = [\"erp\"]\n";
        let world = World::plan().and(&tables).start();
        let dead = world.send(&booking("a", 1, "x"));
        delivery(&world, &dead, "dead");
        let behind = [2, 3].map(|step| world.send(&booking("a", step, "x")));
        let other = world.send(&booking("b", 9, "x"));
        delivery(&world, &other, "delivered");
        if on_dead == "skip" {
            delivery(&world, &behind[1], "delivered");
        }
        assert_eq!(steps(&catcher.caught(), "a")[1..], *expected, "{on_dead}");
        if on_dead == "block" {
            let id = dead.header("x-wilco-event").unwrap();
            assert!(world.run_verb(&["events", "cancel", id]).status.success());
            delivery(&world, &behind[1], "delivered");
            assert_eq!(steps(&catcher.caught(), "a"), [1, 2, 3]);
        }
    }
}

#[test]
fn only_the_last_event_of_a_burst_is_delivered_even_across_a_restart() {
    let catcher = Catcher::new();
    let tables = http("chat", &catcher, "")
        + "[[route]]\ndebounce = { by = \"id\", quiet = \"600 ms\" }\nto = [\"chat\"]\n";
    let mut world = World::plan().and(&tables).start();
    let mut sent = Vec::new();
    let mut last = Instant::now();
    for step in 1..=4 {
        last = Instant::now();
        sent.push(world.send(&booking("a", step, "x")));
        if step == 2 {
            world = world.kill_and_restart();
        }
        thread::sleep(Duration::from_millis(50));
    }
    let other = world.send(&booking("b", 9, "x"));
    delivery(&world, &other, "delivered");
    let caught = catcher.wait_for(2);
    assert!(caught[0].at >= last + Duration::from_millis(400), "it waited for quiet");
    assert_eq!((steps(&caught, "a"), steps(&caught, "b")), (vec![4], vec![9]));
    let superseded = shown(&world, &sent[2])["deliveries"][0].clone();
    assert_eq!(superseded["state"], "superseded");
    assert_eq!(superseded["replaced_by"].as_str(), sent[3].header("x-wilco-event"));
    assert_eq!(catcher.caught().len(), 2);
}
