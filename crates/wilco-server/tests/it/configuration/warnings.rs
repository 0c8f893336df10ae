//! What can be used but was probably not meant: `check` says it, and `serve` repeats it.

use std::fs;

use super::{GOOD, PRINT, check_manners, text};
use crate::world::{SECRET, World, wilco};

#[test]
fn what_looks_wrong_is_a_warning_and_no_fault_unless_it_is_strict() {
    let with = |more: &str| format!("{GOOD}{more}");
    for (file, place, expected, hint) in [
        (with(""), "4:9", "no route: its events are recorded", "such as [[route]]"),
        (
            with(&format!("{PRINT}[destination.q]\ntype = \"print\"\n")),
            "12:14",
            "nothing goes to q: no route names it",
            "to = [\"q\"]",
        ),
        (
            with(PRINT).replace("127.0.0.1:0", "0.0.0.0:0"),
            "3:7",
            "webhooks come in without TLS",
            "or behind a proxy",
        ),
        (
            with(&format!(
                "{PRINT}[destination.h]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n\
                 headers = {{ X-Api-Key = \"canary\" }}\n[alerts]\nto = \"h\"\n"
            )),
            "15:25",
            "X-Api-Key stands in the file itself",
            "X-Api-Key = { env =",
        ),
        (
            with(&format!(
                "{PRINT}[destination.c]\ntype = \"command\"\ncommand = \"/bin/true\"\n\
                 environment = {{ ERP_PASSWORD = \"canary\" }}\n[alerts]\nto = \"c\"\n"
            )),
            "15:32",
            "this stands in the file itself",
            "{ env =",
        ),
        (
            with(&format!("{PRINT}events = [\"bookings.*\"]\n")),
            "12:10",
            "\"bookings.*\" matches no documented event",
            "did you mean \"booking.*\"?",
        ),
        (
            with(&format!("{PRINT}events = [\"booking.*\"]\nwhen = \"data.statsu.name == 'x'\"\n")),
            "13:9",
            "no sample of these events has data.statsu.name",
            "did you mean data.status.name?",
        ),
        (
            with(&format!("{PRINT}events = [\"booking.*\"]\nwhen = \"data.name > 9\"\n")),
            "13:8",
            "compares a string with a number",
            "convert one",
        ),
        (
            with(&format!(
                "{PRINT}[[route]]\nto = [\"j\"]\n[destination.j]\ntype = \"http\"\n\
                 url = \"http://127.0.0.1:1/\"\nbody = '{{\"a\": \"{{{{ data.name }}}}\"}}'\n"
            )),
            "17:8",
            "a text with a quote in it makes the body broken JSON",
            "tojson",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("wilco.toml"), &file).unwrap();
        for (arguments, code) in [(&["check"][..], 0), (&["check", "--strict"], 78)] {
            let output = wilco(folder.path()).env("S", SECRET).args(arguments).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert!(said.contains(&format!("Warning: {expected}")), "{expected}\n{said}");
            assert!(said.contains(&format!("[ wilco.toml:{place} ]")), "{place}\n{said}");
            assert!(said.contains(hint), "{hint}\n{said}");
            assert!(!said.contains("canary"), "{said}");
            check_manners(&output);
        }
    }
}

#[test]
fn a_start_and_a_reload_repeat_every_warning_in_one_line() {
    let world = World::plan().and("[destination.q]\ntype = \"print\"\n").start();
    let count = |world: &World| world.log().matches("nothing goes to q: no route names it").count();
    assert_eq!(count(&world), 1);
    assert_eq!(world.run_verb(&["reload"]).status.code(), Some(0));
    world.eventually("the warning again", |world| count(world) == 2);
}
