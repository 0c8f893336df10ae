//! Child processes: their folder, their user, their limits, and that none of them is left running.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{PATIENT, delivery, it, quoted, results, shell};
use crate::{
    survival::skip,
    world::{World, booking},
};

/// The output and the result of a program that is configured with these lines.
fn heard(script: &str, lines: &str, state: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("work place")).unwrap();
    let tables = it(&format!("{}\n{PATIENT}\n{lines}", shell(script)));
    let world = World::plan().and(&tables).start_in(folder);
    let reply = world.send(&booking("b-1", "Grade"));
    let delivery = delivery(&world, &reply, state);
    let output = delivery["history"][0]["output"].as_str().unwrap_or_default();
    let output = output.replace(&*world.folder.path().to_string_lossy(), "FOLDER");
    (results(&delivery)[0].into(), output)
}

#[test]
fn a_program_works_in_its_folder() {
    for (lines, expected) in
        [("", "FOLDER\n"), ("folder = \"FOLDER/work place\"", "FOLDER/work place\n")]
    {
        let said = heard("pwd", lines, "delivered");
        assert_eq!(said, ("exit 0".into(), expected.into()), "{lines}");
    }
}

#[test]
fn a_program_with_a_relative_path_is_found_even_with_another_working_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("below")).unwrap();
    std::os::unix::fs::symlink("/bin/true", folder.path().join("program")).unwrap();
    let tables = it("type = \"command\"\ncommand = [\"./program\"]\nfolder = \"FOLDER/below\"");
    let world = World::plan().and(&tables).start_in(folder);
    let reply = world.send(&booking("b-1", "Grade"));
    assert_eq!(results(&delivery(&world, &reply, "delivered")), ["exit 0"]);
}

#[test]
fn a_program_runs_as_its_user_and_has_no_other_groups() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skip("only root can run a program as another user");
    }
    for (run_as, limits, expected) in [
        ("nobody", "", "65534 65534 65534\n"),
        ("65534:12", "limits = { files = 64 }", "65534 12 12\n"),
    ] {
        let lines = format!("run_as = {}\n{limits}", quoted(run_as));
        let said = heard("echo $(id -u) $(id -g) $(id -G)", &lines, "delivered");
        assert_eq!(said, ("exit 0".into(), expected.into()), "{run_as}");
    }
}

#[test]
fn a_program_has_the_soft_limit_on_open_files_that_wilco_was_started_with() {
    for (lines, expected) in [
        ("", "500 4096\n"),
        ("limits = { cpu = \"1 min\" }", "500 4096\n"),
        ("limits = { files = 600 }", "600 600\n"),
    ] {
        let program = shell("echo $(ulimit -Sn) $(ulimit -Hn)");
        let world =
            World::plan().and(&it(&format!("{program}\n{lines}"))).files("500:4096").start();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, "delivered");
        assert_eq!(delivery["history"][0]["output"], expected, "{lines}");
    }
}

#[test]
fn a_program_has_exactly_the_configured_limits() {
    let script = "ulimit -v; ulimit -t; ulimit -n";
    let said = heard(
        script,
        "limits = { memory = \"512 MiB\", cpu = \"1 min\", files = 77 }",
        "delivered",
    );
    assert_eq!(said, ("exit 0".into(), "524288\n60\n77\n".into()));
    let own = std::process::Command::new("/bin/sh").args(["-c", script]).output().unwrap();
    let said = heard(script, "", "delivered");
    assert_eq!(said, ("exit 0".into(), String::from_utf8(own.stdout).unwrap()));
}

#[test]
fn a_program_that_exceeds_its_limits_is_ended() {
    let hungry = "exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>&1";
    let open = "for n in 3 4 5 6 7 8 9; do eval \"exec $n< /dev/null\" || exit 9; done";
    let rows = [
        (hungry, "", "exit 0", "1+0 records"),
        (hungry, "memory = \"100 MiB\"", "exit 1", "exhausted"),
        ("while :; do :; done", "cpu = \"1 s\"", "ended by signal 24", ""),
        ("trap '' XCPU; while :; do :; done", "cpu = \"1 s\"", "ended by signal 9", ""),
        (open, "files = 64", "exit 0", ""),
        (open, "files = 8", "exit 2", "Too many open files"),
    ];
    for (script, limits, result, said) in rows {
        let state = if result == "exit 0" { "delivered" } else { "retrying" };
        let lines = format!("limits = {{ {limits} }}\ntimeout = \"1 min\"");
        let lines = lines.replace("limits = {  }\n", "");
        let (found, output) = heard(script, &lines, state);
        assert_eq!(found, result, "{script} with {limits}: {output}");
        assert!(output.contains(said), "{script} with {limits}: {output}");
    }
}

#[test]
fn as_much_of_the_output_is_kept_as_configured() {
    let said = heard("printf 0123456789", "limits = { output = \"4 B\" }", "delivered");
    assert_eq!(said, ("exit 0".into(), "6789".into()));
}

/// A duration for `sleep` that no other process uses, by which the process can be found.
pub(super) fn nap() -> String {
    static NAPS: AtomicU32 = AtomicU32::new(0);
    format!("300.{}{:03}", std::process::id(), NAPS.fetch_add(1, Ordering::Relaxed))
}

/// How many processes sleep for this duration.
pub(super) fn sleepers(nap: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| *line == format!("sleep\0{nap}\0").as_bytes()).count()
}

#[track_caller]
pub(super) fn become_sleepers(nap: &str, number: usize, within: Duration) {
    let until = Instant::now() + within;
    while sleepers(nap) != number {
        assert!(Instant::now() < until, "{} sleep, not {number}", sleepers(nap));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Leaves its process group and its parents, three times. The search finds itself as well.
fn leaver(nap: &str) -> String {
    format!(
        "setsid sleep {nap} & (setsid sh -c 'trap \"\" TERM; sleep {nap} & wait' &) &
         (sleep {nap} &); while [ \"$(grep -lzxF {nap} /proc/[0-9]*/cmdline 2>/dev/null | wc -l)\" -lt 4 ]
         do sleep 0.05; done; touch FOLDER/left; "
    )
}

#[test]
fn no_process_is_left_of_a_program_that_has_ended() {
    for (end, timeout, state, result) in [
        ("exit 0", "15 s", "delivered", "exit 0"),
        ("exit 65", "15 s", "dead", "exit 65"),
        ("kill -9 $$", "15 s", "retrying", "ended by signal 9"),
        ("sleep 60", "2 s", "retrying", "killed after 2 s"),
        ("trap '' TERM; while :; do sleep 1; done", "2 s", "retrying", "killed after 2 s"),
        ("kill -STOP $PPID; sleep 60", "2 s", "retrying", "killed after 2 s"),
    ] {
        let nap = nap();
        let lines = format!("{}\ntimeout = \"{timeout}\"\n{PATIENT}", shell(&(leaver(&nap) + end)));
        let world = World::plan().and(&it(&lines)).start();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, state);
        assert_eq!(results(&delivery), [result], "{end}");
        assert!(world.path("left").exists(), "{end}: it took too long to leave");
        assert_eq!(sleepers(&nap), 0, "{end}");
    }
}

#[test]
fn no_process_is_left_of_a_program_when_wilco_ends() {
    // The second SIGTERM stops at once.
    for (signals, within) in [(&["TERM", "TERM"][..], 3), (&["KILL"], 8)] {
        let nap = nap();
        let lines = shell(&(leaver(&nap) + "trap '' TERM; while :; do sleep 1; done"));
        let mut world = World::plan().and(&it(&lines)).start();
        world.send(&booking("b-1", "Grade"));
        world.eventually("the sleepers", |world| world.path("left").exists());
        become_sleepers(&nap, 3, Duration::ZERO);
        for signal in signals {
            world.signal(signal);
            thread::sleep(Duration::from_millis(200));
        }
        world.wait(Duration::from_secs(5));
        become_sleepers(&nap, 0, Duration::from_secs(within));
    }
}
