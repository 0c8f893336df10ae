//! The commands of the manual are run as they are written, next to a wilco with events.

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
];
/// Pages whose commands another test runs.
const RUN_ELSEWHERE: &[(&str, &str)] = &[
    ("ten-minutes.md", "packaging/test runs the whole page"),
    ("service.md", "packaging/test-systemd starts, reloads and restarts the units"),
];

/// The commands of wilco in the manual, without their comments.
fn commands() -> Vec<(String, String)> {
    let mut commands = Vec::new();
    for (path, page) in pages() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for line in lines(&page, Some("sh")) {
            let line = line.split(" # ").next().unwrap_or(line).trim();
            let parts = line.split("&&").map(|part| part.trim().trim_end_matches('&').trim());
            let own = parts.filter(|part| part.starts_with("wilco "));
            commands.extend(own.map(|part| (name.clone(), part.to_owned())));
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
fn every_command_of_wilco_in_the_manual_runs() {
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
