//! The help, the completions and the manual pages.

use std::fs;

use super::{on_a_terminal, text};
use crate::world::wilco;

#[test]
fn completions_and_manual_have_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let here = |arguments: &[&str]| wilco(folder.path()).args(arguments).output().unwrap();
    let verbs = verbs(&[]);
    assert!(verbs.len() >= 9 && verbs.contains(&"serve".into()), "{verbs:?}");
    for arguments in
        [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"], &["man"]]
    {
        let output = here(arguments);
        let printed = text(&output.stdout);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        for verb in &verbs {
            assert!(printed.contains(verb), "{arguments:?} does not know {verb}");
        }
    }
    assert!(text(&here(&["man"]).stdout).contains("wilco man"));
    let refused = text(&here(&["man", "--dir", "nosuch"]).stderr);
    assert!(
        refused.starts_with("wilco: cannot write manual pages into nosuch: No such"),
        "{refused}"
    );
    let samples = text(&here(&["completions", "fish"]).stdout);
    let samples = samples + &text(&here(&["completions", "zsh"]).stdout);
    assert!(samples.contains("booking.created"));
    fs::create_dir(folder.path().join("man")).unwrap();
    assert!(here(&["man", "--dir", "man"]).status.success());
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let page = folder.path().join(format!("man/wilco-{verb}.1"));
        assert!(page.exists(), "{verb}");
        let output = here(&[verb.as_str(), "--help"]);
        assert!(output.status.success() && !output.stdout.is_empty(), "{verb}");
        let is_service = verb == "serve";
        assert_eq!(text(&output.stdout).contains("--log-format"), is_service, "{verb}");
    }
}

/// The commands that the help of a command lists.
fn verbs(arguments: &[&str]) -> Vec<String> {
    let output = wilco(".".as_ref()).args(arguments).arg("--help").output().unwrap();
    let help = text(&output.stdout);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|verb| !verb.is_empty()).map(Into::into).collect()
}

#[test]
fn every_listing_takes_json_limit_and_all() {
    let mut listings: Vec<Vec<String>> =
        ["providers", "secrets status", "backfill"].map(words).into();
    for verb in verbs(&[]) {
        let has_list = verb != "help" && verbs(&[&verb]).contains(&"list".into());
        listings.extend(has_list.then(|| vec![verb, "list".into()]));
    }
    assert!(listings.contains(&words("audit list")) && listings.len() >= 9, "{listings:?}");
    for listing in listings {
        let output = wilco(".".as_ref()).args(&listing).arg("-h").output().unwrap();
        let help = text(&output.stdout);
        for option in ["--json", "--limit <N>", "[default: 50]", "--all"] {
            assert!(help.contains(option), "{listing:?} {option} {help}");
        }
    }
    let bare = wilco(".".as_ref()).arg("audit").output().unwrap();
    assert_eq!(bare.status.code(), Some(2));
    assert!(text(&bare.stderr).contains("\n  list  List what was done"), "{bare:?}");
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(Into::into).collect()
}

#[test]
fn every_help_fits_a_terminal_of_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [
        "",
        "demo",
        "serve",
        "init",
        "check",
        "dashboard",
        "send",
        "probe",
        "events",
        "events list",
        "events show",
        "events tail",
        "events why",
        "events replay",
        "events cancel",
        "rejections",
        "rejections list",
        "rejections show",
        "rejections accept",
        "destinations",
        "destinations list",
        "destinations pause",
        "destinations retry",
        "audit",
        "audit list",
        "failures list",
        "secrets status",
        "backfill",
        "providers",
        "freispace",
        "freispace register",
        "freispace list",
        "freispace remove",
        "freispace rotate",
        "reload",
        "completions",
        "man",
    ] {
        for help in ["-h", "--help"] {
            let mut command = wilco(folder.path());
            command.args(verb.split_whitespace()).arg(help);
            let said = on_a_terminal(&command, 80, &[("TERM", "xterm")]);
            let bare = console::strip_ansi_codes(&said).into_owned();
            assert!(bare.contains("Usage: wilco"), "{verb} {bare}");
            for line in bare.lines() {
                assert!(line.chars().count() <= 80, "{verb} {help}: {line}");
            }
            if bare.contains("--store <") && verb != "serve" {
                let sentence = bare.split_whitespace().collect::<Vec<_>>().join(" ");
                let expected = "Store to use: ask the wilco that runs on it, else open it [default: \
                                the store of the configuration]";
                assert!(sentence.contains(expected), "{verb} {help} {sentence}");
            }
        }
    }
}
