//! What destinations get, and what becomes of a delivery. Here is what all kinds have in common.

mod alerts;
mod chat;
mod children;
mod command;
mod file;
mod http;
mod lines;
mod ntfy;
mod opening;
mod request;
mod rules;
mod split;
mod status;

use std::{
    fs,
    io::Write as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    catcher::{Act, Catcher},
    world::{Reply, World, booking, sign},
};

/// Retries soon, for longer than any test takes.
pub(crate) const RETRY: &str =
    "retry = { first = \"100 ms\", factor = 1.0, give_up_after = \"1 min\" }";
/// Retries long after any test has ended: a wait is random, up to its bound.
pub(crate) const PATIENT: &str =
    "retry = { first = \"3000 h\", max = \"3000 h\", give_up_after = \"9000 h\" }";
/// Retries soon, and gives up soon.
const BRIEF: &str = "retry = { first = \"100 ms\", factor = 1.0, give_up_after = \"450 ms\" }
    breaker = { failures = 1000 }";

/// A destination `it` of some kind, with these lines, and a route of all events to it.
pub(crate) fn it(lines: &str) -> String {
    format!("[destination.it]\n{lines}\n[[route]]\nto = [\"it\"]\n")
}

/// Everything recorded about the event that this answer acknowledged.
pub(crate) fn shown(world: &World, reply: &Reply) -> Value {
    let id = reply.header("x-wilco-event").unwrap();
    let answer = world.get(&format!("/api/v1/events/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Waits until the only delivery of an event is in this state, and returns it.
#[track_caller]
fn delivery(world: &World, reply: &Reply, state: &str) -> Value {
    let look = || shown(world, reply)["deliveries"][0].clone();
    world.eventually(&format!("{state}, but {}", look()), |_| look()["state"] == state);
    look()
}

/// The results of the attempts of a delivery.
fn results(delivery: &Value) -> Vec<&str> {
    let history = delivery["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    history.iter().map(|attempt| attempt["result"].as_str().unwrap()).collect()
}

fn named(event: &str, id: &str) -> String {
    format!(r#"{{"id":"{id}","type":"t","event":"{event}","data":{{}}}}"#)
}

#[test]
fn print_writes_a_line_for_each_event_with_its_body_as_it_was_sent() {
    let world = World::plan().and(&it("type = \"print\"")).start();
    let body = "{\n  \"id\": \"b-1\", \"type\": \"booking\",\r\n\t\"event\": \"booking.updated\",\n\
                \"data\": {\"n\": 12345678901234567890123, \"n\": 1.50e+2, \"x\": -0.0,\n  \
                \"s\": \"Fa\u{308}rberhof \\u00e4 \\\" \\\\\",\n \"e\": [ ], \"o\": { }, \
                \"\": null}}\n";
    let minified = "{\"id\":\"b-1\",\"type\":\"booking\",\"event\":\"booking.updated\",\
                    \"data\":{\"n\":12345678901234567890123,\"n\":1.50e+2,\"x\":-0.0,\
                    \"s\":\"Fa\u{308}rberhof \\u00e4 \\\" \\\\\",\"e\":[],\"o\":{},\"\":null}}";
    let reply = world.send(body);
    world.send(&named("unknown.kind", "2"));
    let lines = || fs::read_to_string(world.path("stdout")).unwrap();
    world.eventually("two lines", |_| lines().lines().count() == 2);
    let text = lines();
    let first = text.lines().next().unwrap();
    assert!(first.ends_with(&format!("\"body\":{minified}}}")), "{first}");
    let line: Value = serde_json::from_str(first).unwrap();
    assert_eq!(line["id"].as_str(), reply.header("x-wilco-event"));
    assert_eq!((&line["source"], &line["event"]), (&"freispace".into(), &"booking.updated".into()));
    assert_eq!(line["subject"], "booking/b-1");
    assert_eq!(line["received_at"], shown(&world, &reply)["received_at"]);
}

#[test]
fn print_begins_a_new_line_after_half_a_line_that_a_crash_left_in_the_file() {
    let mut world = World::plan().and(&it("type = \"print\"")).start();
    for (number, half) in ["", "{\"id\":\"evt_0", "\n"].into_iter().enumerate() {
        let mut file = fs::File::options().append(true).open(world.path("stdout")).unwrap();
        file.write_all(half.as_bytes()).unwrap();
        world = world.restart();
        let sent = world.send(&named("e", &number.to_string()));
        let beginning = format!("{{\"id\":\"{}\"", sent.header("x-wilco-event").unwrap());
        world.eventually(&format!("a line of its own after {half:?}"), |world| {
            let text = fs::read_to_string(world.path("stdout")).unwrap();
            text.lines().any(|line| line.starts_with(&beginning))
        });
    }
    assert!(world.stop().success());
    let text = fs::read_to_string(world.path("stdout")).unwrap();
    let complete = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok());
    assert_eq!((complete.count(), text.lines().count()), (3, 5), "{text}");
}

#[test]
fn an_event_goes_once_to_each_destination_that_its_routes_name() {
    let places = ["bookings", "offers", "others"].map(|name| (name, Catcher::new()));
    let mut tables = "[source.other]\nprovider = \"freispace\"\npath = \"/other\"\n\
                      secrets = [{ env = \"FREISPACE_SECRET\" }]\n"
        .to_owned();
    for (name, catcher) in &places {
        let url = catcher.url();
        tables.push_str(&format!("[destination.{name}]\ntype = \"http\"\nurl = \"{url}\"\n"));
    }
    tables.push_str(
        "[[route]]\nevents = [\"booking.*\"]\nto = [\"bookings\"]\n\
         [[route]]\nfrom = \"freispace\"\n\
         events = [\"booking.{created,updated}\", \"offer.finalized\"]\n\
         to = [\"bookings\", \"offers\"]\n[[route]]\nfrom = \"other\"\nto = [\"others\"]\n",
    );
    let world = World::plan().and(&tables).start();
    let to_other = |body: &str| {
        let signature = sign(body.as_bytes());
        let head = format!(
            "POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\
             x-freispace-signature: {signature}\r\n\r\n{body}",
            body.len()
        );
        world.raw(head.as_bytes())
    };
    for (number, (event, source, expected)) in [
        ("booking.updated", "freispace", "bookings offers"),
        ("booking.deleted", "freispace", "bookings"),
        ("booking.deleted", "other", "bookings others"),
        ("offer.finalized", "freispace", "bookings offers"),
        ("quote.finalized", "freispace", "bookings offers"),
        ("offer.status_updated", "freispace", ""),
        ("bookings.updated", "freispace", ""),
        ("project.created", "other", "others"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = named(event, &number.to_string());
        let reply = if source == "other" { to_other(&body) } else { world.send(&body) };
        world.eventually("routed", |_| shown(&world, &reply)["routed"] == true);
        let deliveries = shown(&world, &reply)["deliveries"].as_array().unwrap().clone();
        let mut names: Vec<_> =
            deliveries.iter().map(|one| one["destination"].as_str().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names.join(" "), expected, "{event} to {source}");
    }
    for ((name, catcher), count) in places.iter().zip([5, 3, 2]) {
        assert_eq!(catcher.wait_for(count).len(), count, "{name}");
    }
    let list = String::from_utf8(world.run_verb(&["events", "list"]).stdout).unwrap();
    assert_eq!(list.matches("skipped").count(), 2, "{list}");
}

#[test]
fn a_route_treats_offer_and_quote_as_one_name() {
    let catcher = Catcher::new();
    let url = catcher.url();
    let world = World::plan()
        .and(&format!(
            "[destination.it]\ntype = \"http\"\nurl = \"{url}\"\n\
             [[route]]\nevents = [\"quote.finalized\"]\nto = [\"it\"]\n"
        ))
        .start();
    for (id, event) in ["offer.finalized", "quote.finalized"].into_iter().enumerate() {
        world.send(&named(event, &id.to_string()));
    }
    let mut names: Vec<_> =
        catcher.wait_for(2).iter().map(|c| c.header("x-wilco-event-name").to_owned()).collect();
    names.sort();
    assert_eq!(names, ["offer.finalized", "quote.finalized"], "as they were sent");
}

#[test]
fn a_hanging_destination_delays_no_other_and_no_acknowledgement() {
    let (bad, good) = (Catcher::of(&[Act::Hang]), Catcher::new());
    let world = World::plan()
        .and(&format!(
            "[destination.bad]\ntype = \"http\"\nurl = \"{}\"\nconcurrency = 2\n\
             [destination.stuck]\ntype = \"command\"\ncommand = [\"sleep\", \"60\"]\n\
             [destination.good]\ntype = \"http\"\nurl = \"{}\"\n\
             [[route]]\nto = [\"bad\", \"stuck\", \"good\"]\n",
            bad.url(),
            good.url()
        ))
        .start();
    let began = Instant::now();
    for number in 0..30 {
        assert_eq!(world.send(&named("e", &number.to_string())).status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(good.wait_for(30).len(), 30);
    assert_eq!(bad.caught().len(), 2, "no more than its concurrency");
}

#[test]
fn an_attempt_running_at_sigterm_ends_and_counts() {
    let script = "touch FOLDER/began; sleep 1; touch FOLDER/ended";
    let mut world = World::plan().and(&it(&shell(script))).start();
    let reply = world.send(&booking("b-1", "Grade"));
    world.eventually("the command", |world| world.path("began").exists());
    assert!(world.stop().success());
    assert!(world.path("ended").exists());
    let world = world.kill_and_restart();
    let delivery = delivery(&world, &reply, "delivered");
    assert_eq!(results(&delivery), ["exit 0"]);
}

#[test]
fn a_second_sigterm_ends_at_once_and_the_cut_off_attempt_is_repeated() {
    let script = "echo $WILCO_ATTEMPT $$ >> FOLDER/began; test $WILCO_ATTEMPT != 1 || sleep 60";
    let mut world = World::plan().and(&it(&shell(script))).start();
    let reply = world.send(&booking("b-1", "Grade"));
    let began = || fs::read_to_string(world.path("began")).unwrap_or_default();
    world.eventually("the command", |_| began().lines().count() == 1);
    let pid = began().trim().rsplit(' ').next().unwrap().to_owned();
    world.signal("TERM");
    world.eventually("stopping", |world| world.log().contains("\"stopping\""));
    world.signal("TERM");
    let asked = Instant::now();
    assert!(!world.wait(Duration::from_secs(5)).success());
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    // The kernel may take a moment to end a killed program.
    while is_running(&pid) {
        assert!(asked.elapsed() < Duration::from_secs(4), "the command is still running");
        std::thread::sleep(Duration::from_millis(10));
    }
    let world = world.kill_and_restart();
    delivery(&world, &reply, "delivered");
    let began = fs::read_to_string(world.path("began")).unwrap();
    let attempts: Vec<_> = began.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(attempts, ["1", "2"]);
}

#[test]
fn a_second_sigterm_ends_at_once_even_if_nobody_reads_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("stdout");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let held = std::thread::spawn(move || fs::File::open(pipe).unwrap());
    let mut world = World::plan().and(&it("type = \"print\"")).start_in(folder);
    let _held = held.join().unwrap();
    for number in 0..4 {
        let name = "x".repeat(60_000);
        assert_eq!(world.send(&booking(&number.to_string(), &name)).status, 200);
    }
    world.eventually("a first line", |world| {
        world.events().iter().any(|event| event["deliveries"][0]["state"] == "running")
    });
    world.signal("TERM");
    world.eventually("stopping", |world| world.log().contains("\"stopping\""));
    world.signal("TERM");
    world.wait(Duration::from_secs(5));
}

#[test]
fn deliveries_that_wait_or_run_at_a_crash_continue_after_it() {
    let is_restarted = Arc::new(AtomicBool::new(false));
    let works = Arc::clone(&is_restarted);
    let catcher = Catcher::start(move |_, caught| match caught.header("x-wilco-event-name") {
        _ if works.load(Ordering::Relaxed) => Act::Answer(200),
        "hangs" => Act::Hang,
        _ => Act::Answer(500),
    });
    let tables = it(&format!("type = \"http\"\nurl = \"{}\"\n{RETRY}", catcher.url()));
    let world = World::plan().and(&tables).start();
    let [hangs, fails] = ["hangs", "fails"].map(|name| world.send(&named(name, name)));
    catcher.wait_for(2);
    delivery(&world, &fails, "retrying");
    delivery(&world, &hangs, "running");
    is_restarted.store(true, Ordering::Relaxed);
    let world = world.kill_and_restart();
    for reply in [&hangs, &fails] {
        let attempts = delivery(&world, reply, "delivered")["attempts"].as_u64();
        assert!(attempts > Some(1), "{attempts:?}");
    }
    let ids: Vec<_> = catcher.caught().iter().map(|c| c.header("webhook-id").to_owned()).collect();
    for reply in [&hangs, &fails] {
        let id = reply.header("x-wilco-event").unwrap();
        assert!(
            ids.iter().filter(|caught| *caught == id).count() > 1,
            "all attempts have the same id"
        );
    }
}

#[test]
fn a_destination_removed_from_the_file_keeps_its_waiting_deliveries() {
    let catcher = Catcher::of(&[Act::With(503, "retry-after: 6\r\n"), Act::Answer(200)]);
    let tables = it(&format!("type = \"http\"\nurl = \"{}\"\n{RETRY}", catcher.url()));
    let world = World::plan().and(&tables).start();
    let reply = world.send(&booking("b-1", "Grade"));
    delivery(&world, &reply, "retrying");
    world.reconfigure(|text| {
        assert!(text.contains(&tables));
        text.replace(&tables, "")
    });
    let world = world.restart();
    std::thread::sleep(Duration::from_millis(6_500));
    assert_eq!(delivery(&world, &reply, "retrying")["destination"], "it");
    assert_eq!(catcher.caught().len(), 1);
    world.reconfigure(|text| format!("{text}\n{tables}"));
    let world = world.restart();
    assert_eq!(delivery(&world, &reply, "delivered")["attempts"], 2);
}

/// Lines of a destination that runs this in a shell; FOLDER is replaced by the world's folder.
pub(crate) fn shell(script: &str) -> String {
    format!("type = \"command\"\ncommand = [\"/bin/sh\", \"-c\", {}]", quoted(script))
}

/// A text quoted for TOML, and for JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Whether a process exists and has not ended.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default().chars().next();
    !matches!(state, None | Some('Z' | 'X'))
}
