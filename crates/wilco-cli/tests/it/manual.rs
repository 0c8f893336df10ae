//! The commands of the manual are run as they are written, next to a wilco with events, or listed here.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{
    docs::{lines, pages},
    world::{SECRET, World, booking},
};

/// Commands that are not run here, by how they begin, and why not.
const NOT_RUN: &[(&str, &str)] = &[
    ("wilco serve", "the world runs it"),
    ("wilco events tail", "it runs until it is stopped: the tests of `events tail`"),
    ("wilco top", "it needs a terminal: the tests of `wilco top`"),
    ("wilco listen", "it runs until it is stopped: the tests of `wilco listen`"),
    ("wilco freispace", "it asks freispace: the tests of `wilco freispace` have a stand-in"),
    ("wilco probe https://", "it asks another host: the tests of `wilco probe`"),
    ("wilco explain rej_", "the id is an example"),
    ("wilco rejections accept --all", "the rejection here is still not signed"),
    ("wilco events diff --config candidate.toml --against /etc", "it needs the file of a machine"),
    ("wilco backup /", "it writes to the file system of a machine"),
    ("wilco check --config docs/", "the tests of the examples check each file"),
    ("cargo ", "it builds for minutes"),
    ("./check", "it runs this test"),
    ("fuzz/run", "it runs for minutes, with another compiler"),
    ("WILCO_SEED=", "it runs for hours"),
    ("WILCO_TIMINGS=", "it runs for minutes"),
    ("target/release/wilco-bench", "it measures for minutes"),
    ("ulimit ", "it is for a measurement"),
    ("exec ", "a line of a script for a measurement"),
    ("mkdir -p /sys/", "a line of a script for a measurement"),
    ("echo ", "a line of a script for a measurement"),
    ("export ", "it sets a variable of the reader's shell"),
    ("cd ", "it is the folder of a machine"),
    ("sudo ", "it changes the machine"),
    ("chown ", "it changes a file of a machine"),
    ("chmod ", "it changes a file of a machine"),
    ("journalctl ", "it reads the log of a machine"),
    ("ssh ", "it connects to another machine"),
    ("FREISPACE_SECRET=… wilco serve", "it obtains a certificate"),
    ("url=", "a line of a script that sends to an example"),
    ("body=", "a line of that script"),
    ("signature=", "a line of that script"),
    ("curl -i \"$url\"", "the end of that script"),
    ("sqlite3 ", "not every machine that tests has it"),
    ("env -i ", "the handler is the reader's"),
    ("WILCO_EVENT=", "the tests of the handlers run them"),
];
/// Pages whose commands another test runs.
const RUN_ELSEWHERE: &[(&str, &str)] = &[
    ("ten-minutes.md", "packaging/test runs the whole page"),
    ("service.md", "packaging/test-systemd starts, reloads and restarts the units"),
];

/// The commands in the manual, without their comments.
fn commands() -> Vec<(String, String)> {
    let mut commands = Vec::new();
    for (path, page) in pages() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = lines(&page, Some("sh")).collect::<Vec<_>>().join("\n").replace("\\\n", " ");
        for line in text.lines() {
            let line = line.split(" # ").next().unwrap_or(line);
            let parts = line.split("&&").map(|part| part.trim().trim_end_matches('&').trim());
            let parts = parts.filter(|part| !part.is_empty() && !part.starts_with('#'));
            commands.extend(parts.map(|part| (name.clone(), part.to_owned())));
        }
    }
    commands
}

/// A wilco with a delivered event and a rejection, and what the commands name.
fn world() -> World {
    let tables = "[destination.erp]\ntype = \"print\"\n[[route]]\nto = [\"erp\"]\n";
    // Its file has the ports that it listens on, so that the commands find it.
    let world = World::plan().and(tables).start_with_log(Stdio::null());
    fs::copy(world.path("wilco.toml"), world.path("candidate.toml")).unwrap();
    let reply = world.send(&booking("b-1", "Viewing"));
    assert_eq!(reply.status, 200);
    assert_eq!(world.post("{}", &[("x-freispace-signature", "00")]).status, 403);
    world.eventually("a rejection", |world| {
        world.run_verb(&["rejections", "show", "latest"]).status.success()
    });
    fs::write(world.path("body.json"), booking("b-1", "Viewing")).unwrap();
    let signature = crate::world::sign(booking("b-1", "Viewing").as_bytes());
    fs::write(world.path("headers.txt"), format!("x-freispace-signature: {signature}\n")).unwrap();
    world
}

#[test]
fn every_command_in_the_manual_runs_or_is_listed_with_the_reason_why_not() {
    let world = world();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wilco"), world.path("wilco")).unwrap();
    let path = format!("{}:{}", world.folder.path().display(), std::env::var("PATH").unwrap());
    let (mut run, mut failed, mut left_out) = (0, Vec::new(), Vec::new());
    for (page, command) in commands() {
        let is_left_out = |(begins, _): &&(&str, &str)| command.starts_with(begins);
        if let Some((begins, _)) = NOT_RUN.iter().find(is_left_out) {
            left_out.push(*begins);
            continue;
        }
        if RUN_ELSEWHERE.iter().any(|(elsewhere, _)| page == *elsewhere) {
            continue;
        }
        // The manual has the address that wilco uses unless its configuration says otherwise.
        let command = command.replace("127.0.0.1:9440", &world.admin.to_string());
        let command = command.replace("curl ", "curl --fail ");
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir(world.folder.path());
        let output = shell.env("PATH", &path).env("FREISPACE_SECRET", SECRET).output().unwrap();
        run += 1;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            failed.push(format!("{page}: {command}: {}\n{said}", output.status));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(run > 25, "{run}");
    let unused = NOT_RUN.iter().filter(|(begins, _)| !left_out.contains(begins));
    assert_eq!(unused.count(), 0, "a command that is left out is not in the manual any more");
}
