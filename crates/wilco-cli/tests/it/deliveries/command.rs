//! A program as a destination: what it is given, what its end means, and that it is ended.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use super::{
    BRIEF, PATIENT, RETRY, delivery, is_running, it, named, quoted, results, shell, shown,
};
use crate::world::{Plan, World, booking};

/// Records exactly what it was given, without interpreting any of it.
const RECORDER: &str = "at=$RECORDS/$WILCO_EVENT_ID
cat /proc/$$/cmdline > $at.argv
cat /proc/$$/environ > $at.environ
cat > $at.stdin
";

/// A world whose destination `it` is the recorder, with these arguments and this environment.
fn recorder(arguments: &[String], environment: &str) -> Plan {
    let arguments: String =
        arguments.iter().map(|argument| format!(", {}", quoted(argument))).collect();
    let tables = it(&format!(
        "type = \"command\"\ncommand = [\"/bin/sh\", \"FOLDER/recorder\"{arguments}]\n\
         concurrency = 8\nenvironment = {{ RECORDS = \"FOLDER/records\"{environment} }}\n"
    ));
    World::plan().and(&tables)
}

/// A folder with the files that the recorder needs.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("recorder"), RECORDER).unwrap();
    fs::create_dir(folder.path().join("records")).unwrap();
    folder
}

/// What the recorder has recorded of an event.
struct Given {
    argv: Vec<String>,
    environ: BTreeMap<String, String>,
    stdin: Vec<u8>,
}

#[track_caller]
fn given(world: &World, reply: &crate::world::Reply) -> Given {
    delivery(world, reply, "delivered");
    let id = reply.header("x-wilco-event").unwrap();
    let read = |what: &str| fs::read(world.path(&format!("records/{id}.{what}"))).unwrap();
    let words = |what: &str| -> Vec<String> {
        let text = String::from_utf8(read(what)).unwrap();
        text.strip_suffix('\0').unwrap().split('\0').map(Into::into).collect()
    };
    let pairs = words("environ").into_iter().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    Given { argv: words("argv"), environ: pairs.collect(), stdin: read("stdin") }
}

#[test]
fn a_command_gets_the_exact_body_and_a_clean_environment() {
    let folder = folder();
    fs::write(folder.path().join("token"), "from a file\n").unwrap();
    let environment = ", EMPTY = \"\", PLAIN = \"ä $HOME 'x'\", \
                       GREETING = { env = \"GREETING\" }, TOKEN = { file = \"FOLDER/token\" }";
    let world = recorder(&["--verbose".into()], environment)
        .env("GREETING", "good day")
        .env("NOT_LISTED", "x")
        .start_in(folder);
    let begin = r#"{ "id":"1","type":"booking","event":"booking.updated","data":{"name":""#;
    let whole = 1 << 20;
    let large = format!("{begin}{}\"}}}}", "ß".repeat((whole - begin.len() - 3) / 2));
    let large = format!("{large}{}", " ".repeat(whole - large.len()));
    let odd = "\r\n{\"id\":\"2\" ,\t\"type\":\"booking\",\"event\":\"booking.updated\",\
               \"data\":{\"n\":1e400,\"n\":-0,\"name\":\"\u{0}\u{1f600}\u{feff}\u{2028}\"}}\r\n\r\n"
        .replace('\u{0}', "\\u0000");
    for body in [booking("3", "Grade"), large, odd] {
        let reply = world.send(&body);
        assert_eq!(reply.status, 200, "{}", reply.body);
        let given = given(&world, &reply);
        assert!(
            given.stdin == body.as_bytes(),
            "{} bytes became {}",
            body.len(),
            given.stdin.len()
        );
        assert_eq!(given.argv[2..], ["--verbose"]);
        let mut environ = given.environ;
        assert!(environ.remove("WILCO_DELIVERY_ID").unwrap().starts_with("dlv_"));
        assert!(environ.remove("PATH").is_some());
        let received_at = shown(&world, &reply)["received_at"].as_str().unwrap().to_owned();
        let records = world.path("records");
        let expected = [
            ("EMPTY", ""),
            ("GREETING", "good day"),
            ("PLAIN", "ä $HOME 'x'"),
            ("RECORDS", records.to_str().unwrap()),
            ("TOKEN", "from a file"),
            ("WILCO_ATTEMPT", "1"),
            ("WILCO_EVENT", "booking.updated"),
            ("WILCO_EVENT_ID", reply.header("x-wilco-event").unwrap()),
            ("WILCO_RECEIVED_AT", &received_at),
            ("WILCO_SOURCE", "freispace"),
        ];
        assert_eq!(environ, expected.map(|(name, value)| (name.into(), value.into())).into());
    }
}

#[test]
fn no_shell_interprets_what_a_command_is_given() {
    let payloads = payloads();
    assert!(payloads.len() >= 500, "{}", payloads.len());
    let environment: String = (0..)
        .zip(&payloads)
        .map(|(number, payload)| format!(", P{number} = {}", quoted(payload)))
        .collect();
    let world = recorder(&payloads, &environment).start_in(folder());
    let sent: Vec<_> = (0..)
        .zip(payloads.iter().step_by(9))
        .map(|(number, payload)| {
            let name = serde_json::to_string(payload).unwrap();
            let id = serde_json::to_string(&format!("{number} {payload}")).unwrap();
            let body =
                format!(r#"{{"event":{name},"type":"t","id":{id},"data":{{{name}:{name}}}}}"#);
            let reply = world.send(&body);
            assert_eq!(reply.status, 200, "{body}");
            (payload, body, reply)
        })
        .collect();
    for (payload, body, reply) in sent {
        let given = given(&world, &reply);
        assert_eq!(given.argv[2..], payloads);
        for (number, payload) in payloads.iter().enumerate() {
            assert_eq!(given.environ[&format!("P{number}")], *payload);
        }
        let name = if payload.is_empty() { "unknown" } else { payload.as_str() };
        assert_eq!(given.environ["WILCO_EVENT"], name);
        assert_eq!(given.stdin, body.as_bytes());
    }
    assert!(!world.path("pwned").exists(), "a payload was executed");
}

/// Texts that would do harm in a shell, a format string, a template or a path: each beginning with
/// each payload and each ending.
fn payloads() -> Vec<String> {
    let prefixes =
        ["", "x", "'", "\"", "\\", "\n", ";", "|", "&", "$(", "`", "<(", "${x:-`", "\t", "--", "-"];
    let deeds = [
        "touch pwned",
        "touch${IFS}pwned",
        "$(touch pwned)",
        "() { :; }; touch pwned",
        "../../etc/passwd",
        "%s%n%x {{ 7*7 }}",
        "*?[a-z]~root",
        "\u{1b}[31m\u{7}ä😀\u{202e}\u{feff}",
    ];
    let suffixes = ["", ")", "`", "'", "\n", " #", "&& "];
    let mut payloads = vec![String::new()];
    for prefix in prefixes {
        for deed in deeds {
            payloads.extend(suffixes.iter().map(|suffix| format!("{prefix}{deed}{suffix}")));
        }
    }
    payloads
}

#[test]
fn an_event_name_that_no_variable_can_hold_does_not_stop_the_command() {
    let world = recorder(&[], "").start_in(folder());
    for (name, expected) in
        [("a\\u0000b".into(), "ab".into()), ("n".repeat(300_000), "n".repeat(4_096))]
    {
        let reply = world.send(&named(&name, &expected[..2]));
        assert_eq!(given(&world, &reply).environ["WILCO_EVENT"], expected);
    }
}

#[test]
fn the_exit_code_of_a_command_decides_about_the_delivery() {
    let script = "case $WILCO_EVENT in
        exit.*) exit ${WILCO_EVENT#exit.};;
        signal.*) kill -${WILCO_EVENT#signal.} $$; sleep 5;;
        third) echo attempt $WILCO_ATTEMPT; echo worse >&2; test $WILCO_ATTEMPT = 3;;
    esac";
    let world =
        World::plan().and(&it(&format!("{}\nconcurrency = 8\n{BRIEF}", shell(script)))).start();
    let rows = [
        ("exit.0", "delivered", "exit 0", 1..=1),
        ("exit.65", "dead", "exit 65", 1..=1),
        ("exit.1", "dead", "exit 1", 6..=60),
        ("exit.64", "dead", "exit 64", 6..=60),
        ("exit.75", "dead", "exit 75", 6..=60),
        ("exit.255", "dead", "exit 255", 6..=60),
        ("signal.9", "dead", "ended by signal 9", 6..=60),
        ("signal.15", "dead", "ended by signal 15", 6..=60),
    ];
    let sent = rows.map(|row| (world.send(&named(row.0, row.0)), row));
    for (reply, (event, state, result, attempts)) in sent {
        let delivery = delivery(&world, &reply, state);
        let results = results(&delivery);
        assert!(attempts.contains(&results.len()), "{event}: {results:?}");
        assert!(results.iter().all(|one| *one == result), "{event}: {results:?}");
        assert_eq!(delivery["attempts"], results.len(), "{event}");
        let last_error = delivery.get("last_error").and_then(serde_json::Value::as_str);
        assert_eq!(last_error, (state == "dead").then_some(result), "{event}");
    }
    let third = world.send(&named("third", "third"));
    let delivery = delivery(&world, &third, "delivered");
    assert_eq!(results(&delivery), ["exit 1", "exit 1", "exit 0"]);
    for (number, attempt) in delivery["history"].as_array().unwrap().iter().enumerate() {
        let output = attempt["output"].as_str().unwrap();
        assert!(output.contains(&format!("attempt {}\n", number + 1)), "{output:?}");
        assert!(output.contains("worse\n"), "{output:?}");
    }
}

#[test]
fn the_timeout_ends_everything_that_a_command_started() {
    for (trap, within) in [("", 6), ("trap '' TERM; ", 16)] {
        let script = format!(
            "{trap}echo $$ >> FOLDER/pids; sleep 60 & echo $! >> FOLDER/pids
             (sleep 61 & echo $! >> FOLDER/pids; wait) & echo $! >> FOLDER/pids
             echo waiting; while :; do sleep 1; done"
        );
        let lines = format!(
            "{}\ntimeout = \"500 ms\"\n{}",
            shell(&script),
            BRIEF.replace("450 ms", "50 ms").replace("100 ms", "1 h")
        );
        let world = World::plan().and(&it(&lines)).start();
        let began = Instant::now();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, "dead");
        assert!(began.elapsed() < Duration::from_secs(within), "{:?}", began.elapsed());
        assert_eq!(results(&delivery), ["killed after 0.5 s"; 2]);
        assert_eq!(delivery["history"][0]["output"], "waiting\n");
        let pids = fs::read_to_string(world.path("pids")).unwrap();
        assert!(pids.lines().count() >= 4, "{pids}");
        world.eventually("the end of all", |_| !pids.lines().any(is_running));
    }
}

#[test]
fn a_program_need_not_read_its_input() {
    for script in ["exit 0", "exec 0<&-; sleep 0.2; exit 0", "head -c 10 > FOLDER/some"] {
        let world = World::plan().and(&it(&shell(script))).start();
        let reply = world.send(&booking("b-1", &"x".repeat(1_000_000)));
        assert_eq!(results(&delivery(&world, &reply, "delivered")), ["exit 0"], "{script}");
    }
}

#[test]
fn only_the_end_of_a_long_output_is_kept() {
    let script = "head -c 268435456 /dev/zero; printf 'the end'";
    let world = World::plan().and(&it(&format!("{}\ntimeout = \"2 min\"", shell(script)))).start();
    let before = peak_kib(&world);
    let reply = world.send(&booking("b-1", "Grade"));
    let delivery = delivery(&world, &reply, "delivered");
    let output = delivery["history"][0]["output"].as_str().unwrap();
    assert_eq!(output.len(), 64 << 10);
    assert!(output.ends_with("\0the end"));
    assert!(peak_kib(&world) < before + (32 << 10), "{} KiB, then {}", before, peak_kib(&world));
}

/// The peak memory of the process, in KiB.
fn peak_kib(world: &World) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn processes_left_behind_by_a_program_do_not_delay_its_delivery() {
    // The second one ends just before the timeout, when its pipes are still open.
    for (wait, timeout) in [("0", "30 s"), ("0.8", "1 s")] {
        let script = format!("sleep {wait}; sleep 20 & echo $! > FOLDER/pid; echo done");
        let lines = format!("{}\ntimeout = \"{timeout}\"\n{RETRY}", shell(&script));
        let world = World::plan().and(&it(&lines)).start();
        let began = Instant::now();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, "delivered");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        // On a busy machine, an attempt may reach the timeout before the program ends, and is repeated.
        let last = delivery["history"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["result"], &last["output"]), (&"exit 0".into(), &"done\n".into()));
        let pid = fs::read_to_string(world.path("pid")).unwrap();
        assert!(!is_running(pid.trim()), "the processes that a program leaves behind end with it");
    }
}

#[test]
fn a_missing_program_is_tried_again_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    let lines = format!("type = \"command\"\ncommand = [\"FOLDER/program\"]\n{RETRY}");
    let world = World::plan().and(&it(&lines)).start_in(folder);
    fs::remove_file(&program).unwrap();
    let reply = world.send(&booking("b-1", "Grade"));
    let delivered = delivery(&world, &reply, "retrying");
    assert!(results(&delivered)[0].starts_with("cannot start "), "{delivered}");
    std::os::unix::fs::symlink("/bin/true", &program).unwrap();
    assert_eq!(results(&delivery(&world, &reply, "delivered")).last(), Some(&"exit 0"));
}

#[test]
fn a_script_with_an_invalid_first_line_is_reported_as_such() {
    let crlf = "its first line ends in CRLF: save it with Unix line ends (LF)";
    let none = "its first line names no interpreter: begin it with #!/bin/sh or the like";
    let gone =
        "the interpreter \"/opt/none/python\" of its first line is missing or may not be executed";
    for (content, fault) in [
        ("#!/bin/sh\r\necho hello\r\n", crlf),
        ("echo hello\n", none),
        ("", none),
        ("#!/opt/none/python\nprint()\n", gone),
    ] {
        // With limits, it is started by an intermediate process, in a different way.
        for limits in ["", "limits = { files = 100 }"] {
            let (world, delivery) = first_attempt(content, limits);
            let expected = format!("cannot start {}: {fault}", world.path("program").display());
            assert_eq!(results(&delivery), [expected], "{content:?} {limits}");
        }
    }
    for content in ["#!/bin/sh -e\r\necho hello\r\n", "#!/usr/bin/env sh\r\necho hello\r\n"] {
        let (world, delivery) = first_attempt(content, "");
        let said = format!(": the first line of {} ends in CRLF", world.path("program").display());
        assert!(results(&delivery)[0].ends_with(&said), "{content:?}: {delivery}");
    }
}

/// A world whose destination is a program with this content, and its delivery after an attempt.
fn first_attempt(content: &str, limits: &str) -> (World, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    fs::write(&program, content).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let lines = format!(
        "type = \"command\"\ncommand = [\"FOLDER/program\"]\n{limits}\n\
         {PATIENT}"
    );
    let world = World::plan().and(&it(&lines)).start_in(folder);
    let reply = world.send(&booking("b-1", "Grade"));
    // The wait is random, up to an hour.
    world.eventually("an attempt", |world| {
        shown(world, &reply)["deliveries"][0]["history"].as_array().is_some_and(|h| !h.is_empty())
    });
    let delivery = shown(&world, &reply)["deliveries"][0].clone();
    (world, delivery)
}

#[test]
fn the_log_has_each_attempt_and_the_output_of_a_program_without_secrets() {
    let script = "printf 'no \\033[31m%s\\nsecond line' \"$TOKEN\"; [ $WILCO_ATTEMPT != 1 ]";
    let lines =
        format!("{}\nenvironment = {{ TOKEN = {{ env = \"TOKEN\" }} }}\n{RETRY}", shell(script));
    let world = World::plan().and(&it(&lines)).env("TOKEN", "canary-token").start();
    let reply = world.send(&booking("b-1", "Grade"));
    let delivered = delivery(&world, &reply, "delivered");
    assert!(!delivered.to_string().contains("canary"), "{delivered}");
    let log = world.log_with("event delivered");
    assert!(!log.contains("canary"), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lines: Vec<_> = lines.filter(|line| line["destination"] == "it").collect();
    assert_eq!(lines.len(), 2, "{log}");
    let id = reply.header("x-wilco-event").unwrap();
    for (line, message, attempt) in
        [(&lines[0], "delivery failed", 1), (&lines[1], "event delivered", 2)]
    {
        assert_eq!(line["message"], message);
        assert_eq!((&line["event"], &line["id"]), (&"booking.updated".into(), &id.into()));
        assert_eq!(line["attempt"], attempt);
        assert!(line["millis"].is_number(), "{line}");
    }
    assert_eq!(lines[0]["result"], "exit 1");
    assert_eq!(lines[0]["said"], "no \u{fffd}[31m(the value of TOKEN)");
}
