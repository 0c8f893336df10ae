//! A program that keeps running: what it gets, what its answers mean, and when it is replaced.

use std::{fs, thread, time::Duration};

use serde_json::Value;

use super::{
    BRIEF, RETRY,
    children::{become_sleepers, nap},
    delivery, it, named, results, shell, shown,
};
use crate::world::{Reply, World, booking};

/// Records its process id and every line, and answers as the name of the event says.
const WORKER: &str = r#"echo $$ >> FOLDER/pids
say() { printf '%s\n' "$1"; }
while read -r line; do
    printf '%s\n' "$line" >> FOLDER/lines
    id=${line#'{"id":"'}; id=${id%%'"'*}
    case $line in
        *'"event":"bad"'*'"attempt":1,'*) echo no good >&2; say "{\"id\":\"$id\",\"error\":\"not now\"}";;
        *'"event":"refused"'*) say "{\"id\":\"$id\",\"error\":\"never\",\"retry\":false}";;
        *'"event":"crash"'*'"attempt":1,'*) echo oh dear >&2; exit 3;;
        *'"event":"signal"'*'"attempt":1,'*) kill -9 $$;;
        *'"event":"hang"'*'"attempt":1,'*) ;;
        *'"event":"deaf"'*'"attempt":1,'*) exec 1>&-; sleep 60;;
        *'"event":"chatty"'*'"attempt":1,'*) head -c 70000 /dev/zero | tr '\0' x;;
        *'"event":"last"'*) say "{\"id\":\"$id\",\"ok\":true}"; exit 0;;
        *) say "{\"id\":\"$id\",\"ok\":true}";;
    esac
done
"#;

/// A world with this worker as its destination.
fn world(script: &str, lines: &str) -> World {
    let lines = format!("{}\nprotocol = \"lines\"\n{lines}", shell(script));
    World::plan().and(&it(&lines)).start()
}

fn lines_of(world: &World, name: &str) -> Vec<String> {
    let text = fs::read_to_string(world.path(name)).unwrap_or_default();
    text.lines().map(Into::into).collect()
}

#[test]
fn one_process_gets_a_line_for_each_event() {
    let world = world(WORKER, "");
    let bodies: Vec<_> =
        (0..20).map(|n| booking(&format!("b-{n}"), "Gr\u{e4}de \\\"x\\\" \\\\")).collect();
    let sent: Vec<_> = bodies.iter().map(|body| (body, world.send(body))).collect();
    for (_, reply) in &sent {
        assert_eq!(results(&delivery(&world, reply, "delivered")), ["delivered"]);
    }
    assert_eq!(lines_of(&world, "pids").len(), 1);
    let lines = lines_of(&world, "lines");
    assert_eq!(lines.len(), 20);
    for (line, (body, reply)) in lines.iter().zip(sent) {
        let line: Value = serde_json::from_str(line).unwrap();
        let expected = serde_json::json!({
            "id": reply.header("x-wilco-event").unwrap(), "event": "booking.updated",
            "source": "freispace", "attempt": 1, "body": body,
            "received_at": shown(&world, &reply)["received_at"],
        });
        assert_eq!(line, expected);
    }
}

#[test]
fn the_answers_of_a_worker_decide_and_a_new_worker_gets_the_unanswered_events() {
    let killed = "killed after 1 s without an answer";
    let long = "the worker was killed: it wrote a line over 64 KiB";
    for (event, state, expected, output, processes) in [
        ("good", "delivered", &["delivered"][..], "", 1),
        ("bad", "delivered", &["not now", "delivered"], "no good\n", 1),
        ("refused", "dead", &["never"], "", 1),
        ("crash", "delivered", &["the worker ended: exit 3", "delivered"], "oh dear\n", 2),
        ("signal", "delivered", &["the worker ended: ended by signal 9", "delivered"], "", 2),
        ("hang", "delivered", &[killed, "delivered"], "", 2),
        ("deaf", "delivered", &["the worker closed its stdout", "delivered"], "", 2),
        ("chatty", "delivered", &[long, "delivered"], "", 2),
        ("last", "delivered", &["delivered"], "", 1),
    ] {
        let world = world(WORKER, &format!("timeout = \"1 s\"\n{RETRY}"));
        let reply = world.send(&named(event, event));
        let delivery = delivery(&world, &reply, state);
        assert_eq!(results(&delivery), expected, "{event}");
        let kept = delivery["history"][0].get("output").and_then(Value::as_str);
        assert_eq!(kept.unwrap_or_default(), output, "{event}");
        assert_eq!(lines_of(&world, "pids").len(), processes, "{event}");
    }
}

#[test]
fn several_events_are_in_flight_and_answered_in_any_order() {
    let script = "while read -r one; do read -r two; for line in \"$two\" \"$one\"; do
            id=${line#'{\"id\":\"'}; printf '{\"id\":\"%s\",\"ok\":true}\\n' \"${id%%'\"'*}\"
        done; done";
    let world = world(script, "concurrency = 2\ntimeout = \"10 s\"");
    let sent: Vec<Reply> = (0..6).map(|n| world.send(&named("x", &n.to_string()))).collect();
    for reply in sent {
        assert_eq!(results(&delivery(&world, &reply, "delivered")), ["delivered"]);
    }
}

#[test]
fn events_in_flight_next_to_an_unanswered_one_are_tried_again() {
    let world = world(WORKER, &format!("concurrency = 2\ntimeout = \"1 s\"\n{RETRY}"));
    let hangs = world.send(&named("hang", "1"));
    thread::sleep(Duration::from_millis(500));
    let other_event = world.send(&named("hang", "2"));
    let killed = "killed after 1 s without an answer";
    let other = "the worker was killed: another event had no answer in time";
    assert_eq!(results(&delivery(&world, &hangs, "delivered")), [killed, "delivered"]);
    assert_eq!(results(&delivery(&world, &other_event, "delivered")), [other, "delivered"]);
    assert_eq!(lines_of(&world, "pids").len(), 2);
}

#[test]
fn a_line_that_answers_no_event_is_logged_briefly_and_skipped() {
    let noise = r#"printf 'a \033[31mword %0300d\n{"id":"evt_x","ok":true}\n\n' 1"#;
    let world = world(&format!("{noise}\n{WORKER}"), "");
    let reply = world.send(&named("good", "1"));
    assert_eq!(results(&delivery(&world, &reply, "delivered")), ["delivered"]);
    let log = world.log_with("event delivered");
    let lines: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("not an answer"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{log}");
    let first = lines[0]["line"].as_str().unwrap();
    assert!(first.starts_with("a \u{fffd}[31mword 0") && first.chars().count() == 200, "{first}");
}

#[test]
fn a_secret_in_a_line_that_answers_no_event_is_not_logged() {
    let world = World::plan()
        .env("TOKEN", "canary/token")
        .and(&it(&format!(
            "{}\nprotocol = \"lines\"\nenvironment = {{ TOKEN = {{ env = \"TOKEN\" }} }}",
            shell(&format!("printf 'with canary\\\\/token and %s\\n' $TOKEN\n{WORKER}"))
        )))
        .start();
    let reply = world.send(&named("good", "1"));
    delivery(&world, &reply, "delivered");
    let log = world.log_with("with (the value of TOKEN) and (the value of TOKEN)");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn a_worker_that_cannot_start_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
    let lines = format!(
        "type = \"command\"\ncommand = [\"FOLDER/program\"]\nprotocol = \"lines\"\n{BRIEF}"
    );
    let world = World::plan().and(&it(&lines)).start_in(folder);
    fs::remove_file(&program).unwrap();
    let delivery = delivery(&world, &world.send(&booking("b-1", "Grade")), "dead");
    for result in results(&delivery) {
        assert!(result.starts_with("cannot start "), "{delivery}");
    }
}

#[test]
fn no_process_is_left_of_a_worker() {
    let kind = "sleep 0.3; touch FOLDER/farewell";
    let stubborn = "trap '' TERM; while :; do sleep 1; done";
    for (way, rest) in
        [("reload", kind), ("stop", kind), ("stop", stubborn), ("kill", kind), ("kill", stubborn)]
    {
        let nap = nap();
        let script = format!("setsid sleep {nap} & (setsid sleep {nap} &)\n{WORKER}{rest}");
        let mut world = world(&script, "");
        let reply = world.send(&named("good", "1"));
        delivery(&world, &reply, "delivered");
        become_sleepers(&nap, 2, Duration::from_secs(5));
        match way {
            "reload" => {
                world.reconfigure(|text| text.replace("\"lines\"", "\"lines\"\nconcurrency = 3"));
                world.signal("HUP");
            }
            "stop" => assert!(world.stop().success()),
            _ => world.signal("KILL"),
        }
        become_sleepers(&nap, 0, Duration::from_secs(8));
        let is_asked = way != "kill" && rest == kind;
        assert!(!is_asked || world.path("farewell").exists(), "{way}: it was given no time");
    }
}
