//! What is valid but probably not intended: `check` warns about it, and `serve` repeats it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{GOOD, PRINT, check_manners, text};
use crate::world::{SECRET, World, wilco};

#[test]
fn suspicious_settings_are_warnings_and_errors_only_with_strict() {
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
            "X-Api-Key is in the file itself",
            "X-Api-Key = { env =",
        ),
        (
            with(&format!(
                "{PRINT}[destination.c]\ntype = \"command\"\ncommand = \"/bin/true\"\n\
                 environment = {{ ERP_PASSWORD = \"canary\" }}\n[alerts]\nto = \"c\"\n"
            )),
            "15:32",
            "a credential is in the file itself",
            "{ env =",
        ),
        (
            with(&format!(
                "{PRINT}[destination.h]\ntype = \"http\"\n\
                 url = \"http://127.0.0.1:1/?a=b&Api_Key=canary\"\n[alerts]\nto = \"h\"\n"
            )),
            "14:7",
            "the query of this url has a credential, for all who can read the file",
            "such as url = { env = \"H_URL\" }",
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
            with(&format!("{PRINT}split = \"events\"\n")),
            "12:9",
            "freispace is not known to send several events in one request",
            "leave split out",
        ),
        (
            with(&format!("{PRINT}split = \"data\"\n"))
                .replace("provider = \"freispace\"", "provider = \"asana\""),
            "12:9",
            "asana puts its events into another array",
            "probably split = \"events\"",
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

#[test]
fn the_files_that_a_command_names_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (name, content) in [
        ("windows.sh", "#!/bin/sh\r\necho\r\n"),
        ("lost.sh", "#!/opt/no/such/python3 -u\n"),
        ("good.sh", "#!/bin/sh\n"),
    ] {
        fs::write(at(name), content).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let long = format!("{:?}", ["/bin/sh".to_owned(), at("none.sh")]);
    for (command, code, expected) in [
        (format!("{:?}", at("windows.sh")), 0, "its first line ends in CRLF"),
        (format!("{:?}", at("lost.sh")), 0, "lost.sh cannot be started: the interpreter"),
        (long, 0, "Warning: sh cannot find the script that the command names"),
        (format!("[\"/bin/sh\", {:?}]", at("good.sh")), 0, "wilco.toml is fine"),
        ("[\"/bin/sh\", \"-c\", \"exit 0\"]".into(), 0, "wilco.toml is fine"),
        (format!("{:?}", at("good.sh")), 0, "wilco.toml is fine"),
        (
            "\"/bin/sh -c true\"".into(),
            78,
            "write a list: command = [\"/bin/sh\", \"-c\", \"true\"]",
        ),
    ] {
        let table = "[alerts]\nto = \"c\"\n[destination.c]\ntype = \"command\"\n";
        let file = format!("{GOOD}{PRINT}{table}command = {command}\n");
        fs::write(at("wilco.toml"), file).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{command}\n{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

/// Where wilco starts a program that has no path, `check` looks for it.
#[test]
fn a_command_without_a_path_is_found_where_wilco_itself_has_no_path() {
    let folder = tempfile::tempdir().unwrap();
    for (command, code) in [("true", Some(0)), ("no-such-program", Some(78))] {
        let table = "[alerts]\nto = \"c\"\n[destination.c]\ntype = \"command\"\n";
        let file = format!("{GOOD}{PRINT}{table}command = {command:?}\n");
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let mut check = wilco(folder.path());
        let output = check.env("S", SECRET).env_remove("PATH").arg("check").output().unwrap();
        assert_eq!(output.status.code(), code, "{output:?}");
    }
}

#[test]
fn a_store_that_could_not_record_is_warned_about() {
    for (store, expected) in [
        ("url = \"sqlite:no/such/wilco.db\"", "the folder of the store, no/such, is not there"),
        ("reserve = \"900 TiB\"", "less than the reserve of 921600 GiB"),
        ("reserve = \"1 B\"", "wilco.toml is fine"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("{GOOD}{PRINT}[store]\n{store}\n");
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let output = wilco(folder.path()).env("S", SECRET).arg("check").output().unwrap();
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn a_credential_in_the_query_of_a_url_is_recognised_by_the_name_of_its_parameter() {
    for (url, is_warned_about) in [
        ("\"http://a.example/?token=canary\"", true),
        ("\"http://a.example/x?access_token=canary\"", true),
        ("\"http://a.example/x?b=1&KEY=canary\"", true),
        ("\"http://a.example/x?api-key=canary\"", true),
        ("\"http://a.example/x?apikey=canary\"", true),
        ("\"http://a.example/x?client_secret=canary\"", true),
        ("\"http://a.example/x?pwd=canary\"", true),
        ("\"http://a.example/x?sig=canary\"", true),
        ("\"http://a.example/token?tenant=7&monkey=1\"", false),
        ("\"http://a.example/x?token=\"", false),
        ("\"http://a.example/x?token\"", false),
        ("{ env = \"URL\" }", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let table = "[alerts]\nto = \"h\"\n[destination.h]\ntype = \"http\"\n";
        let file = format!("{GOOD}{PRINT}{table}url = {url}\n");
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let mut command = wilco(folder.path());
        command.env("S", SECRET).env("URL", "http://a.example/?token=canary").arg("check");
        let output = command.output().unwrap();
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{url}\n{said}");
        assert_eq!(said.contains("has a credential"), is_warned_about, "{url}\n{said}");
        assert!(!said.contains("canary"), "{url}\n{said}");
    }
}
