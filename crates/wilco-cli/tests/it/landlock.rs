//! `wilco serve --landlock`: what it gives up, and what it then refuses.

use std::{fs, os::unix::fs::symlink, process::Command};

use crate::{
    survival::skip,
    world::{Plan, World, booking, wilco},
};

const FILE: &str = "[[route]]\nto = [\"file\"]\n\
                    [destination.file]\ntype = \"file\"\npath = \"FOLDER/out/events.jsonl\"\n\
                    retry = { first = \"100 ms\" }\n";

/// A wilco with this option, unless the kernel has no Landlock.
fn confined(plan: Plan) -> Option<Plan> {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = wilco(folder.path());
    serve.args(["serve", "--landlock", "--store", "sqlite:missing/wilco.db"]);
    let output = serve.env("FREISPACE_SECRET", "a-made-up-secret").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("no Landlock") {
        skip("this kernel has no Landlock");
        return None;
    }
    assert!(said.contains("cannot use the folder missing"), "{said}");
    Some(plan.under(&["sh", "-c", "exec \"$0\" \"$@\" --landlock"]))
}

#[test]
fn it_records_and_writes_the_files_of_destinations() {
    let Some(plan) = confined(World::plan().and(FILE)) else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    let world = plan.start_in(folder);
    world.log_with("restricted by Landlock");
    assert_eq!(world.send(&booking("1", "Grade")).status, 200);
    let file = world.path("out/events.jsonl");
    world.eventually("the line", |_| {
        fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n'))
    });
    let world = world.kill_and_restart();
    assert_eq!(world.send(&booking("2", "Grade")).status, 200);
    assert_eq!(world.recorded(), 2);
}

#[test]
fn it_cannot_write_elsewhere() {
    let Some(plan) = confined(World::plan().and(FILE)) else { return };
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, "").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    symlink(&target, folder.path().join("out/events.jsonl")).unwrap();
    let world = plan.start_in(folder);
    assert_eq!(world.send(&booking("1", "Grade")).status, 200);
    world.log_with("Permission denied");
    assert_eq!(fs::read_to_string(&target).unwrap(), "");
}

#[test]
fn a_reload_that_needs_more_is_refused() {
    let Some(plan) = confined(World::plan().and(FILE)) else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    let world = plan.start_in(folder);
    let elsewhere = tempfile::tempdir().unwrap();
    let place = elsewhere.path().display().to_string();
    let program = "type = \"command\"\ncommand = [\"/bin/true\"]\n";
    let original = fs::read_to_string(world.path("wilco.toml")).unwrap();
    let path = format!("path = \"{}/out/events.jsonl\"\n", world.folder.path().display());
    for (change, reason) in [
        (
            original.replace(&path, &format!("path = \"{place}/events.jsonl\"\n")),
            "may not write in",
        ),
        (format!("{original}\n[destination.more]\n{program}"), "starts programs"),
    ] {
        assert_ne!(change, original);
        world.reconfigure(|_| change);
        world.signal("HUP");
        world.log_with(reason);
    }
    world.reconfigure(|_| original.replace("100 ms", "200 ms"));
    world.signal("HUP");
    world.log_with("configuration reloaded");
}

#[test]
fn a_configuration_with_programs_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve: Command = wilco(folder.path());
    serve.env("FREISPACE_SECRET", "a-made-up-secret");
    let output = serve.args(["serve", "--landlock", "--exec", "true"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("destination exec starts programs"), "{said}");
}
