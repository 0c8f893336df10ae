//! `wilco backup`: a copy of a store in use, with everything that was acknowledged.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{send, text};
use crate::world::{World, booking};

#[test]
fn a_backup_of_a_store_in_use_has_every_event_acknowledged_before() {
    let world = World::plan().start();
    let first = world.send(&booking("b-1", "Grade")).header("x-wilco-event").unwrap().to_owned();
    let flood = send(&world, &["booking.created", "--count", "2000", "--concurrency", "8"]).spawn();
    world.eventually("events", |world| world.recorded() > 50);
    let before = world.recorded();
    let copy = world.path("copy here.db");
    let output = world.run_verb(&["backup", copy.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(flood.unwrap().wait().unwrap().success());
    let said = text(&output.stdout);
    let bytes = fs::metadata(&copy).unwrap().len();
    assert!(said.ends_with(&format!("copy here.db: {bytes} bytes\n")), "{said}");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!world.path("copy here.db.partial").exists());
    assert!(!world.path("copy here.db-wal").exists());

    let url = format!("sqlite:{}", copy.display());
    let listed = world.run_verb(&["events", "list", "--all", "--json", "--store", &url]);
    let listed = text(&listed.stdout);
    assert!(listed.contains(&first), "{listed}");
    assert!(i64::try_from(listed.lines().count()).unwrap() >= before);
}

#[test]
fn a_backup_replaces_no_file_and_leaves_no_partial_one() {
    let world = World::plan().start();
    world.send(&booking("b-1", "Grade"));
    let there = world.path("there.db");
    fs::write(&there, "mine").unwrap();
    fs::write(world.path("cut.db.partial"), "").unwrap();
    let cut = world.path("cut.db");
    let missing = world.path("no folder/copy.db");
    for (to, expected) in [
        (&there, "exists already; name a new file, or move this one away"),
        (&cut, "another backup is writing it, or was cut off; if none runs, remove it"),
        (&missing, "cannot write"),
    ] {
        let output = world.run_verb(&["backup", to.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{said}");
        assert!(said.contains(to.file_name().unwrap().to_str().unwrap()), "{said}");
    }
    assert_eq!(fs::read(&there).unwrap(), b"mine");
    let nothing = world.run_verb(&["backup", "--store", "sqlite:none.db", "copy.db"]);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    let said = text(&nothing.stderr);
    assert!(said.contains(" not found; is ") && said.contains("--store misspelt?"), "{said}");
    assert!(!world.path("copy.db").exists());
}
