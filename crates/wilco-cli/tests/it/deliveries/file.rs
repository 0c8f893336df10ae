//! A file as a destination: its lines, its rotation, and its state after a crash.

use std::{
    collections::HashSet, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command,
};

use serde_json::Value;

use super::{PATIENT, RETRY, delivery, it, results, shown};
use crate::{
    survival::skip,
    world::{SECRET, World, booking, wilco},
};

/// A file destination `it`, with these lines.
fn file(lines: &str) -> String {
    it(&format!("type = \"file\"\npath = \"FOLDER/log/events.jsonl\"\n{lines}\n{RETRY}"))
}

/// A folder with an empty `log` in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("log")).unwrap();
    folder
}

fn read(world: &World, name: &str) -> String {
    fs::read_to_string(world.path("log").join(name)).unwrap_or_default()
}

/// The ids of the events in a text, each line of which must be complete.
#[track_caller]
fn ids(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

fn send(world: &World, number: usize, length: usize) -> String {
    let reply = world.send(&booking(&number.to_string(), &"x".repeat(length)));
    delivery(world, &reply, "delivered");
    reply.header("x-wilco-event").unwrap().to_owned()
}

fn names(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.path("log")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn each_event_is_a_line_that_only_the_user_of_wilco_can_read() {
    let world = World::plan().and(&file("")).start_in(folder());
    let body = "{\n  \"id\": \"b-1\", \"type\": \"booking\",\r\n\"event\": \"booking.updated\",\n\
                \"data\": {\"n\": 9007199254740993.50, \"n\": 1, \"s\": \"\\n\u{2028}ä\"}}\n";
    let reply = world.send(body);
    delivery(&world, &reply, "delivered");
    let second = send(&world, 2, 10);
    let text = read(&world, "events.jsonl");
    let id = reply.header("x-wilco-event").unwrap().to_owned();
    let received_at = shown(&world, &reply)["received_at"].as_str().unwrap().to_owned();
    let first = format!(
        "{{\"id\":\"{id}\",\"source\":\"freispace\",\"event\":\"booking.updated\",\
         \"subject\":\"booking/b-1\",\"received_at\":\"{received_at}\",\"body\":{{\"id\":\"b-1\",\
         \"type\":\"booking\",\"event\":\"booking.updated\",\"data\":{{\"n\":9007199254740993.50,\
         \"n\":1,\"s\":\"\\n\u{2028}ä\"}}}}}}"
    );
    assert_eq!(text.split('\n').next(), Some(first.as_str()));
    assert_eq!(ids(&text), [id, second]);
    let mode = fs::metadata(world.path("log/events.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_file_is_rotated_and_the_oldest_is_removed() {
    let lines = "max_size = \"1 kB\"\nkeep = 3";
    let world = World::plan().and(&file(lines)).start_in(folder());
    // A line that is longer than `max_size` gets a file to itself.
    send(&world, 99, 5_000);
    assert_eq!(names(&world), ["events.jsonl"]);
    // Two of these fit into a file.
    let sent: Vec<_> = (0..10).map(|number| send(&world, number, 200)).collect();
    let names_of = ["events.jsonl", "events.jsonl.1", "events.jsonl.2", "events.jsonl.3"];
    assert_eq!(names(&world), names_of);
    let mut found = names_of.map(|name| read(&world, name));
    found.reverse();
    let per_file = ids(&found[0]).len();
    assert!(per_file >= 2, "{found:?}");
    for text in &found {
        assert!(text.len() <= 1_000, "{}", text.len());
    }
    assert!(found[0].len() / per_file * (per_file + 1) > 1_000, "rotated too early");
    let kept: Vec<_> = found.iter().flat_map(|text| ids(text)).collect();
    assert_eq!(kept, sent[sent.len() - kept.len()..], "the newest, in their order");

    let long = send(&world, 10, 5_000);
    assert_eq!(ids(&read(&world, "events.jsonl")).join(" "), long);
    let after = send(&world, 11, 200);
    assert_eq!(ids(&read(&world, "events.jsonl.1")), [long]);
    assert_eq!(ids(&read(&world, "events.jsonl")), [after]);
}

#[test]
fn a_rotation_cut_short_by_a_crash_loses_no_kept_file_and_surplus_files_are_removed() {
    let folder = folder();
    let log = folder.path().join("log");
    let full = format!("{{\"id\":\"full\",\"x\":\"{}\"}}\n", "x".repeat(900));
    for (name, text) in [
        ("events.jsonl", full.as_str()),
        ("events.jsonl.2", "{\"id\":\"2\"}\n"),
        ("events.jsonl.3", "{\"id\":\"3\"}\n"),
        ("events.jsonl.4", "{\"id\":\"4\"}\n"),
        ("events.jsonl.5", "{\"id\":\"5\"}\n"),
        ("events.jsonl.old", "mine\n"),
    ] {
        fs::write(log.join(name), text).unwrap();
    }
    let lines = "max_size = \"1 kB\"\nkeep = 3";
    let world = World::plan().and(&file(lines)).start_in(folder);
    let sent = send(&world, 1, 200);
    for (name, expected) in [("", sent.as_str()), (".1", "full"), (".2", "2"), (".3", "3")] {
        assert_eq!(ids(&read(&world, &format!("events.jsonl{name}"))), [expected]);
    }
    assert_eq!(names(&world).len(), 5, "{:?}", names(&world));
    assert_eq!(read(&world, "events.jsonl.old"), "mine\n");
}

#[test]
fn a_truncated_line_is_ended_before_the_next() {
    let folder = folder();
    fs::write(folder.path().join("log/events.jsonl"), "{\"id\":\"a\"}\n{\"id\":\"hal").unwrap();
    let world = World::plan().and(&file("")).start_in(folder);
    let sent = [send(&world, 1, 10), send(&world, 2, 10)];
    let text = read(&world, "events.jsonl");
    let rest = text.strip_prefix("{\"id\":\"a\"}\n{\"id\":\"hal\n").unwrap();
    assert_eq!(ids(rest), sent);
}

#[test]
fn writing_continues_after_a_restart_and_if_the_file_is_renamed_or_removed() {
    let world = World::plan().and(&file("")).start_in(folder());
    let first = send(&world, 1, 10);
    let world = world.restart();
    let second = send(&world, 2, 10);
    let path = world.path("log/events.jsonl");
    fs::rename(&path, world.path("log/elsewhere")).unwrap();
    let third = send(&world, 3, 10);
    assert_eq!(ids(&read(&world, "elsewhere")), [first, second]);
    assert_eq!(ids(&read(&world, "events.jsonl")), [third]);
    fs::remove_file(&path).unwrap();
    let fourth = send(&world, 4, 10);
    assert_eq!(ids(&read(&world, "events.jsonl")), [fourth]);
}

#[test]
fn an_unwritable_file_fails_attempts_until_it_is_writable() {
    let lines = format!("type = \"file\"\npath = \"FOLDER/log/events.jsonl\"\n{RETRY}");
    let world = World::plan().and(&it(&lines)).start_in(folder());
    let path = world.path("log/events.jsonl");
    for (break_it, mend, what) in [
        (
            &(|path: &PathBuf| fs::create_dir(path).unwrap()) as &dyn Fn(&PathBuf),
            &(|path: &PathBuf| fs::remove_dir(path).unwrap()) as &dyn Fn(&PathBuf),
            "Is a directory",
        ),
        (
            &|path| fs::remove_dir(path.parent().unwrap()).unwrap(),
            &|path| fs::create_dir(path.parent().unwrap()).unwrap(),
            "No such file or directory",
        ),
        (
            &|path| std::os::unix::fs::symlink("/dev/full", path).unwrap(),
            &|path| fs::remove_file(path).unwrap(),
            "it is not a regular file",
        ),
    ] {
        break_it(&path);
        let reply = world.send(&booking(what, "Grade"));
        let failed = delivery(&world, &reply, "retrying");
        let result = results(&failed)[0].to_owned();
        let place = path.display().to_string();
        assert!(result.contains(what) && result.contains(&place), "{result}");
        mend(&path);
        delivery(&world, &reply, "delivered");
        assert_eq!(ids(&read(&world, "events.jsonl")).len(), 1, "{what}");
        fs::remove_file(&path).unwrap();
    }
}

/// Sends events that are all due when the destination is resumed, and returns their ids in order.
fn backlog(world: &World, count: usize) -> Vec<String> {
    assert!(world.run_verb(&["destinations", "pause", "it"]).status.success());
    let sent = (0..count).map(|number| world.send(&booking(&number.to_string(), "Grade")));
    let sent = sent.map(|reply| reply.header("x-wilco-event").unwrap().to_owned()).collect();
    world.eventually("all are routed", |world| in_state(world, "pending") == count as i64);
    assert!(world.run_verb(&["destinations", "resume", "it"]).status.success());
    sent
}

fn in_state(world: &World, state: &str) -> i64 {
    world.count(&format!("SELECT count(*) FROM delivery WHERE state = '{state}'"))
}

#[test]
fn waiting_events_are_written_once_each_in_order_and_synced_together() {
    let mut plan = World::plan().and(&file(""));
    let is_traced = Command::new("strace").arg("-V").output().is_ok();
    if is_traced {
        plan = plan.under(&[
            "strace",
            "-D",
            "-f",
            "-y",
            "-e",
            "trace=fdatasync",
            "-o",
            "FOLDER/trace",
        ]);
    }
    let world = plan.start_in(folder());
    let sent = backlog(&world, 500);
    world.eventually("delivered", |world| in_state(world, "delivered") == 500);
    assert_eq!(ids(&read(&world, "events.jsonl")), sent);
    if is_traced {
        let trace = fs::read_to_string(world.path("trace")).unwrap();
        let syncs = trace.matches("events.jsonl>").count();
        // The first 64 are one batch, whatever becomes of the others.
        assert!((1..=437).contains(&syncs), "{syncs} for 500 events");
    }
}

#[test]
fn the_events_of_an_order_key_stay_in_order_even_if_batches_fail() {
    let world = World::plan()
        .and(&file("order_by = \"id\"\nbreaker = { failures = 1000 }"))
        .start_in(folder());
    let path = world.path("log/events.jsonl");
    fs::create_dir(&path).unwrap();
    let sent: Vec<_> = (0..15)
        .map(|number| {
            let reply = world.send(&booking(&(number % 3).to_string(), &format!("Grade {number}")));
            reply.header("x-wilco-event").unwrap().to_owned()
        })
        .collect();
    world.eventually("failed", |world| in_state(world, "retrying") > 0);
    fs::remove_dir(&path).unwrap();
    world.eventually("delivered", |world| in_state(world, "delivered") == 15);
    let found = ids(&read(&world, "events.jsonl"));
    let place = |id| found.iter().position(|found| found == id).unwrap();
    for key in 0..3 {
        let of_key: Vec<_> = sent.iter().skip(key).step_by(3).map(place).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    assert_eq!(found.len(), 15);
}

#[test]
fn a_crash_between_batches_loses_no_line() {
    let world = World::plan().and(&file("")).start_in(folder());
    let sent = backlog(&world, 500);
    world.eventually("some", |world| !read(world, "events.jsonl").is_empty());
    let world = world.kill_and_restart();
    world.eventually("delivered", |world| in_state(world, "delivered") == 500);
    let lines = read(&world, "events.jsonl");
    // The line that was being written at the kill may be incomplete.
    let whole = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found: HashSet<_> = whole.map(|line| line["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, sent.into_iter().collect());
}

#[test]
fn if_a_full_disk_cuts_a_batch_short_its_first_lines_are_delivered_and_the_others_fail() {
    if let Err(error) = Command::new("strace").arg("-V").output() {
        return skip(&format!("no strace: {error}"));
    }
    let lines = format!("type = \"file\"\npath = \"FOLDER/log/events.jsonl\"\n{PATIENT}");
    let world = World::plan()
        .and(&it(&lines))
        .under(&[
            "strace",
            "-D",
            "-f",
            "-o",
            "FOLDER/trace",
            "-P",
            "FOLDER/log/events.jsonl",
            "-e",
            "trace=write,pwrite64",
            "-e",
            "inject=write:error=ENOSPC:when=11+",
        ])
        .start_in(folder());
    let sent = backlog(&world, 20);
    world.eventually("tried", |world| in_state(world, "pending") + in_state(world, "running") == 0);
    assert_eq!((in_state(&world, "delivered"), in_state(&world, "retrying")), (10, 10));
    assert_eq!(ids(&read(&world, "events.jsonl")), sent[..10]);
}

#[test]
fn two_destinations_write_to_two_files_but_never_to_one() {
    let two = |second: &str| {
        format!(
            "[destination.a]\ntype = \"file\"\npath = \"FOLDER/a.jsonl\"\n\
             [destination.b]\ntype = \"file\"\npath = \"FOLDER/{second}\"\nconcurrency = 4\n\
             [[route]]\nto = [\"a\", \"b\"]\n"
        )
    };
    let world = World::plan().and(&two("b.jsonl")).start();
    let sent: HashSet<_> = (0..20)
        .map(|number| {
            let reply = world.send(&booking(&number.to_string(), "Grade"));
            reply.header("x-wilco-event").unwrap().to_owned()
        })
        .collect();
    let found = |name: &str| fs::read_to_string(world.path(name)).unwrap_or_default();
    for name in ["a.jsonl", "b.jsonl"] {
        world.eventually(name, |_| found(name).lines().count() >= 20);
        let ids = ids(&found(name));
        assert_eq!((ids.len(), ids.into_iter().collect::<HashSet<_>>()), (20, sent.clone()));
    }
    let output = check(&two("a.jsonl"));
    assert!(output.contains("] writes to ") && output.contains("a.jsonl too"), "{output}");
}

#[test]
fn a_file_in_a_missing_folder_is_an_error_at_its_place() {
    for (lines, what) in [
        ("path = \"FOLDER/none/x.jsonl\"", "cannot find the folder FOLDER/none: No such file"),
        ("path = \"FOLDER/wilco.toml/x\"", "FOLDER/wilco.toml is not a folder"),
        ("path = \"FOLDER\"", "FOLDER is not a regular file"),
        ("path = \"\"", "\"\" does not name a file"),
        ("", "[destination.it] needs path"),
        ("path = \"x\"\nmax_size = \"0 B\"", "max_size must be greater than 0"),
        ("path = \"x\"\nkeep = 0", "invalid keep: expected a whole number from 1 to 1000"),
    ] {
        let drawn = check(&it(&format!("type = \"file\"\n{lines}")));
        assert!(drawn.contains(what), "{what}\n{drawn}");
        assert!(drawn.contains("[ "), "{drawn}");
    }
}

/// What `wilco check` says about these tables, with the folder replaced by FOLDER.
fn check(tables: &str) -> String {
    let world = World::plan().start();
    let folder = world.folder.path().display().to_string();
    world.reconfigure(|text| format!("{text}\n{}", tables.replace("FOLDER", &folder)));
    let mut verb = wilco(world.folder.path());
    let output = verb.env("FREISPACE_SECRET", SECRET).arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    String::from_utf8(output.stderr).unwrap().replace(&folder, "FOLDER")
}
