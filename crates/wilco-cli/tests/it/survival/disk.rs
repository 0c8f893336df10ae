//! The files of the store: removed, replaced, damaged, on a full disk from the start, and read by others.

use std::{fs, path::Path, process::Command, time::Duration};

use super::{
    exchange,
    faults::{SMALL, fill},
    recorded_once, skip,
};
use crate::world::{World, booking, wilco};

const STORE: &str = "[store]\nurl = \"sqlite:FOLDER/store/wilco.db\"\nreserve = \"1 MiB\"\n";

fn with_a_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    folder
}

/// What is done to the store's folder.
type Change = fn(&Path);

#[test]
fn a_removed_or_replaced_store_is_noticed_before_anything_is_acknowledged() {
    let changes: [Change; 5] = [
        |folder| fs::remove_dir_all(folder).unwrap(),
        |folder| fs::rename(folder, folder.with_extension("old")).unwrap(),
        |folder| fs::remove_file(folder.join("wilco.db")).unwrap(),
        |folder| fs::remove_file(folder.join("wilco.db-wal")).unwrap(),
        |folder| {
            fs::copy(folder.join("wilco.db"), folder.join("backup")).unwrap();
            fs::rename(folder.join("backup"), folder.join("wilco.db")).unwrap();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut world = World::plan().and(STORE).start_in(with_a_folder());
        assert_eq!(world.send(&booking("1", "Grade")).status, 200);
        change(&world.path("store"));
        let reply = exchange(world.address, &booking("2", "Grade"), &mut None);
        assert!(reply.is_none_or(|reply| reply.status == 503), "case {number}");
        assert_eq!(world.wait(Duration::from_secs(20)).code(), Some(1), "case {number}");
        world.eventually("the reason", |world| {
            let causes =
                ["was removed while", "was replaced while", "does not answer: No such file"];
            causes.iter().any(|cause| world.log().contains(cause))
        });
    }
}

#[test]
fn a_second_process_is_refused_whatever_it_calls_the_store() {
    let world = World::plan().and(STORE).start_in(with_a_folder());
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link.db");
    std::os::unix::fs::symlink(world.path("store/wilco.db"), link).unwrap();
    fs::remove_file(world.path("store/wilco.db.lock")).unwrap();
    let second = wilco(elsewhere.path())
        .env("FREISPACE_SECRET", "a-made-up-secret")
        .args(["serve", "--no-tls", "--listen", "127.0.0.1:0", "--store", "sqlite:link.db"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("is in use by"), "{said}");
}

#[test]
fn a_damaged_log_loses_nothing_silently() {
    // The header, three places in the middle, and the last commit.
    for part in [0, 3, 5, 8, 10] {
        let mut world = World::plan().start();
        for number in 0..30 {
            let body = booking(&number.to_string(), &"Grade ".repeat(50));
            assert_eq!(world.send(&body).status, 200);
        }
        // A commit that the kill cuts short would look torn.
        world.eventually("an end of all commits", |world| {
            let unrouted = "SELECT count(*) FROM event, progress WHERE seq > routed_through";
            world.count(unrouted) == 0
        });
        world.signal("KILL");
        world.wait(Duration::from_secs(20));
        let path = world.path("wilco.db-wal");
        let mut log = fs::read(&path).unwrap();
        let place = (log.len() * part / 10).clamp(17, log.len() - 100);
        log[place] ^= 1;
        fs::write(&path, &log).unwrap();
        let world = world.restart_stopped();
        let said = world.log();
        assert!(said.contains("the write-ahead log") && said.contains("damaged"), "{said}");
        let lost = 30 - recorded_once(&world).len();
        let told = world.metric("wilco_store_lost_commits");
        assert_eq!(told > 0.0, lost > 0, "{lost} commits lost, {told} reported");
        let kept = fs::read_dir(world.folder.path())
            .unwrap()
            .flatten()
            .find(|file| file.file_name().to_string_lossy().starts_with("wilco.db-wal.damaged-"));
        assert_eq!(fs::read(kept.unwrap().path()).unwrap(), log);
    }
}

#[test]
fn a_start_on_a_full_disk_answers_503_and_recovers() {
    for (name, mount) in SMALL {
        let folder = tempfile::tempdir().unwrap();
        let small = match mount(&folder.path().join(name)) {
            Ok(small) => small,
            Err(why) => return skip(&format!("cannot mount a file system: {why}")),
        };
        let url = small.0.join("wilco.db");
        let store = format!("[store]\nurl = \"sqlite:{}\"\nreserve = \"0 B\"\n", url.display());
        let world = World::plan().and(&store).start();
        for number in 0..20 {
            assert_eq!(world.send(&booking(&number.to_string(), "Grade")).status, 200);
        }
        let ballast = small.0.join("ballast");
        fill(&ballast);
        let world = world.kill_and_restart();
        let reply = world.send(&booking("while full", "Grade"));
        assert_eq!(reply.status, 503, "{name}: {}", reply.body);
        assert!(reply.header("retry-after").is_some(), "{name}");
        let ready = world.get("/readyz");
        assert_eq!(ready.status, 503, "{name}");
        assert!(ready.body.contains("full"), "{name}: {}", ready.body);
        fs::remove_file(&ballast).unwrap();
        world.eventually("readiness", |world| world.get("/readyz").status == 200);
        assert_eq!(world.send(&booking("afterwards", "Grade")).status, 200, "{name}");
        assert_eq!(recorded_once(&world).len(), 21, "{name}");
    }
}

#[test]
fn a_listing_never_keeps_a_server_from_starting() {
    let mut world = World::plan().start();
    assert_eq!(world.send(&booking("1", "Grade")).status, 200);
    assert!(world.stop().success());
    let mut listing = world.verb(&["events", "list", "--all", "--json"]);
    // It cannot write all of it, so it stays open until it is read to the end.
    let listing = listing.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let world = world.restart_stopped();
    assert_eq!(world.send(&booking("2", "Grade")).status, 200);
    let listed = listing.wait_with_output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    assert_eq!(world.events().len(), 2);
}

#[test]
fn a_start_waits_for_the_read_transaction_of_another_program_and_says_so() {
    let world = World::plan().start();
    assert_eq!(world.send(&booking("1", "Grade")).status, 200);
    let mut reader = Command::new("sqlite3")
        .args(["-readonly", world.path("wilco.db").to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = reader.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"BEGIN; SELECT count(*) FROM event;\n").unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(reader.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "1\n");
    assert_eq!(world.send(&booking("2", "Grade")).status, 200);
    let world = world.kill_and_restart();
    assert_eq!(world.send(&booking("3", "Grade")).status, 503);
    let ready = world.get("/readyz");
    let program = format!("process {} (sqlite3)", reader.id());
    assert!(ready.status == 503 && ready.body.contains(&program), "{}", ready.body);
    drop(input);
    reader.wait().unwrap();
    world.eventually("readiness", |world| world.get("/readyz").status == 200);
    assert_eq!(recorded_once(&world).len(), 2);
}
