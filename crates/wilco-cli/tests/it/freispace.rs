//! `wilco freispace` against a stand-in for freispace's API.

mod rotate;
mod stand_in;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::{
    listings::shown::{Output, check},
    world::{World, booking, wilco},
};

use stand_in::{Freispace, TOKEN, send_to};

const URL: &str = "https://hooks.example.com/live";

/// `wilco freispace …` with the token, in a folder.
fn freispace(api: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = wilco(folder);
    command.env("FREISPACE_TOKEN", TOKEN).arg("freispace").args(arguments).args(["--api", api]);
    command
}

/// The exit code, stdout and stderr.
fn run(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_register_prints_makes_a_source_that_records_what_freispace_sends() {
    let api = Freispace::start();
    let folder = tempfile::tempdir().unwrap();
    let register = ["register", "--url", URL, "--secret-file", "secret", "--description", "Live"];
    let (code, said, noted) = run(freispace(&api.api(), folder.path(), &register));
    assert_eq!((code, noted.as_str()), (0, ""), "{said}");
    let hook = api.hooks().pop().unwrap();
    assert_eq!((hook.url.as_str(), hook.description.as_deref()), (URL, Some("Live")));
    assert_eq!(hook.events.len(), 15, "{:?}", hook.events);
    assert!(said.contains(&format!("endpoint {} registered for 15 of 15 events", hook.id)));
    assert!(!said.contains(&hook.secret), "{said}");
    let path = folder.path().join("secret");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", hook.secret));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let table = said.split("already:\n\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let table = table.replace("[source.freispace]", "[source.live]");
    let world = World::plan().and(&table).start_in(folder);
    assert!(send_to(&world, &hook, &booking("b-1", "A")));
    assert_eq!(world.events()[0]["source"], "live");
}

#[test]
fn a_listing_looks_as_it_did_at_every_width_with_colours_and_without() {
    let (api, empty) = (Freispace::start(), Freispace::start());
    let folder = tempfile::tempdir().unwrap();
    for (url, description) in [
        (URL, "Live"),
        ("https://hooks.example.com/freispace/post-production/second-house", LONG_DESCRIPTION),
        ("https://hooks.example.com/test", "映画祭のための新しい編集室の予約"),
    ] {
        let arguments = ["register", "--url", url, "--show-secret", "--description", description];
        let (code, _, noted) = run(freispace(&api.api(), folder.path(), &arguments));
        assert_eq!(code, 0, "{noted}");
    }
    let list = |api: &Freispace| freispace(&api.api(), folder.path(), &["list"]);
    let title = "wilco freispace list";
    let without_rows = format!("{title}, without rows");
    let listed = Output::table(title, list(&api), usize::MAX);
    let nothing = Output::table(&without_rows, list(&empty), usize::MAX);
    check(vec![("freispace-list", vec![listed, nothing])]);
}

const LONG_DESCRIPTION: &str = "The second house, which records what the first one does, until the move at the end of the year";

#[test]
fn register_asks_for_the_events_that_match_and_shows_the_secret_only_if_asked_to() {
    let api = Freispace::start();
    let folder = tempfile::tempdir().unwrap();
    let shown = ["register", "--url", URL, "--another", "--show-secret"];
    for (globs, expected) in [
        (&["booking.*", "invoice.canceled"][..], 4),
        (&["quote.*"], 2),
        (&["*.deleted"], 3),
        (&["*"], 15),
    ] {
        let events = globs.iter().flat_map(|glob| ["--event", glob]);
        let arguments: Vec<_> = shown.into_iter().chain(events).collect();
        let (code, said, noted) = run(freispace(&api.api(), folder.path(), &arguments));
        assert_eq!((code, noted.as_str()), (0, ""), "{said}");
        let hook = api.hooks().pop().unwrap();
        assert_eq!(hook.events.len(), expected, "{globs:?}");
        assert!(said.contains(&format!("secret: {}\n", hook.secret)), "{said}");
        assert!(said.contains("secrets = [{ env = \"FREISPACE_SECRET\" }]"), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_wrong_with_an_argument_is_said_before_anything_is_asked() {
    let api = Freispace::start();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("there"), "").unwrap();
    let long = format!("https://hooks.example.com/{}", "a".repeat(255));
    let register = ["register", "--url", URL, "--show-secret"];
    let with = |more: &[&'static str]| [&register[..], more].concat();
    for (arguments, code, expected) in [
        (vec!["register", "--url", URL], 2, "--secret-file <FILE>|--show-secret"),
        (vec!["register", "--show-secret", "--url", "http://a/b"], 2, "sends only to https://"),
        (vec!["register", "--show-secret", "--url", &long], 2, "at most 255 characters"),
        (with(&["--event", "bookings.*"]), 2, "freispace has no event bookings.*"),
        (with(&["--event", "booking.update"]), 2, "did you mean booking.updated?"),
        (with(&["--event", "["]), 2, "invalid pattern \"[\""),
        (
            with(&["--token-env", "NONE"]),
            78,
            "environment variable NONE is not set; create a token",
        ),
        (with(&["--token-env", "ODD"]), 78, "environment variable ODD is not an API token"),
        (vec!["remove", "../x", "--yes"], 2, "invalid id \"../x\": expected one such as 12345678-"),
        (vec!["remove", "1"], 2, "nobody can be asked; run this on a terminal, or add --yes"),
    ] {
        let mut command = freispace(&api.api(), folder.path(), &arguments);
        command.env("ODD", "two\nlines");
        let (found, said, noted) = run(command);
        assert_eq!(found, code, "{arguments:?} {said} {noted}");
        assert!(noted.contains(expected) && said.is_empty(), "{arguments:?} {noted}");
    }
    for url in ["http://192.0.2.1", "http://localhost.example.com", "ftp://127.0.0.1"] {
        let (code, _, noted) = run(freispace(url, folder.path(), &["list"]));
        assert_eq!(code, 2, "{noted}");
        assert!(noted.contains("expected http"), "{noted}");
    }
    assert!(api.catcher.caught().is_empty() && api.hooks().is_empty());
}

#[test]
fn each_refusal_of_freispace_is_explained() {
    let api = Freispace::start();
    let folder = tempfile::tempdir().unwrap();
    for &(status, fields, body, expected) in REFUSALS {
        api.answers("POST", status, fields, body);
        let register = ["register", "--url", URL, "--secret-file", "secret"];
        let (code, said, noted) = run(freispace(&api.api(), folder.path(), &register));
        assert_eq!((code, said.as_str()), (1, ""), "{status} {noted}");
        assert!(noted.contains(expected), "{status} {noted}");
        assert!(!noted.contains("made-up"), "{status} {noted}");
        assert!(!folder.path().join("secret").exists(), "{status}: an empty file is left");
    }
    let mut command = freispace(&api.api(), folder.path(), &["list"]);
    command.env("FREISPACE_TOKEN", "another-made-up-token");
    let (code, _, noted) = run(command);
    assert!(code == 1 && noted.contains("(403: Unauthenticated); is it"), "{noted}");
    assert!(noted.contains("may it read webhooks?"), "{noted}");
    let (code, _, noted) = run(freispace("http://127.0.0.1:1", folder.path(), &["list"]));
    assert!(
        code == 1 && noted.contains("cannot reach freispace at http://127.0.0.1:1: "),
        "{noted}"
    );
    let remove = ["remove", "12345678-0000", "--yes"];
    let (code, _, noted) = run(freispace(&api.api(), folder.path(), &remove));
    assert!(code == 1 && noted.contains("endpoint 12345678-0000 not found"), "{noted}");
}

/// What freispace answers, with further headers and a body, and what is said about it.
const REFUSALS: &[(u16, &str, &str, &str)] = &[
    (
        401,
        "",
        r#"{"message":"Unauthenticated."}"#,
        "does not accept the token in FREISPACE_TOKEN (401: Unauthenticated); copy it again",
    ),
    (
        403,
        "",
        r#"{"message":"Forbidden"}"#,
        "refuses the token in FREISPACE_TOKEN (403: Forbidden); is it complete and not expired, and may it write webhooks?",
    ),
    (404, "", "", "(404)"),
    (422, "", INVALID, "freispace does not accept this endpoint (422: The url is taken)"),
    (422, "", LARAVEL, "(422: Invalid: Not reachable: Too \u{fffd}[31mlong)"),
    (429, "retry-after: 86400\r\n", "", "takes no more requests of this team for 86400 s (429)"),
    (
        429,
        "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
        "",
        "takes no more requests of this team for 25",
    ),
    (500, "", "<html>", "freispace has a problem of its own (500); try again later"),
    (302, "location: /login\r\n", "", "(302); is --api right?"),
    (
        201,
        "",
        r#"{"id":"1","sekret":"a-made-up-secret"}"#,
        "the endpoint may have been created all the same",
    ),
];
const INVALID: &str = r#"{"message":"The url is taken.","errors":[{"url":"The url is taken."}]}"#;
const LARAVEL: &str =
    r#"{"message":"Invalid.","errors":{"url":["Not reachable.","Too \u001b[31mlong."]}}"#;

#[test]
fn too_many_requests_are_sent_again_after_the_wait_that_freispace_asks_for() {
    let api = Freispace::start();
    let folder = tempfile::tempdir().unwrap();
    api.answers("GET", 429, "retry-after: 1\r\n", "");
    api.answers("GET", 429, "retry-after: 1\r\n", "");
    let (code, said, noted) = run(freispace(&api.api(), folder.path(), &["list"]));
    assert_eq!(
        (code, said.as_str()),
        (0, "no endpoints; `wilco freispace register` creates one\n")
    );
    assert_eq!(noted, "freispace asks to wait 1 s (429)\n".repeat(2));
    let at: Vec<_> = api.catcher.caught().iter().map(|request| request.at).collect();
    assert!(at.len() == 3 && at[2] - at[0] >= std::time::Duration::from_secs(2));
}

#[test]
fn an_endpoint_whose_secret_cannot_be_kept_is_removed_again() {
    let api = Freispace::start();
    let folder = tempfile::tempdir().unwrap();
    let register = ["register", "--url", URL, "--secret-file", "secret"];
    let register = || freispace(&api.api(), folder.path(), &register);
    // Nothing may be written to a file: it can be created, and stays empty.
    let full = || {
        let inner = register();
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]);
        shell.arg(inner.get_program()).args(inner.get_args());
        shell.current_dir(folder.path()).env("FREISPACE_TOKEN", TOKEN);
        shell
    };
    let (code, said, noted) = run(full());
    assert_eq!((code, said.as_str()), (1, ""), "{noted}");
    assert!(noted.contains("cannot write the secret: File too large"), "{noted}");
    assert!(noted.ends_with("-000000000001 was removed again\n"), "{noted}");
    assert!(api.hooks().is_empty() && !folder.path().join("secret").exists());

    api.answers("DELETE", 500, "", "");
    let (code, _, noted) = run(full());
    assert_eq!(code, 1, "{noted}");
    assert!(noted.contains("could not be removed again (freispace has a problem"), "{noted}");
    let id = api.hooks().pop().unwrap().id;
    assert!(noted.contains(&format!("`wilco freispace remove {id}`")), "{noted}");
    assert_eq!(run(freispace(&api.api(), folder.path(), &["remove", &id, "--yes"])).0, 0);
    assert!(api.hooks().is_empty());

    api.gives_secret("short");
    let (code, _, noted) = run(register());
    assert!(code == 1 && noted.contains("has 5 bytes and needs 8"), "{noted}");
    assert!(api.hooks().is_empty() && !folder.path().join("secret").exists());

    fs::write(folder.path().join("secret"), "in use").unwrap();
    let (code, _, noted) = run(register());
    assert!(code == 1 && noted.contains("secret already exists and is not overwritten"), "{noted}");
    assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "in use");
    assert!(api.hooks().is_empty());
}

#[test]
fn a_second_endpoint_with_the_same_url_is_refused_unless_it_is_wanted() {
    let api = Freispace::start();
    for number in 0..3 {
        let url = format!("https://hooks.example.com/{number}");
        api.gives_secret(&format!("a-made-up-secret-{number}"));
        let folder = tempfile::tempdir().unwrap();
        let register = ["register", "--url", &url, "--show-secret"];
        assert_eq!(run(freispace(&api.api(), folder.path(), &register)).0, 0);
        let (code, said, noted) = run(freispace(&api.api(), folder.path(), &register));
        assert_eq!((code, said.as_str()), (1, ""));
        let id = api.hooks().pop().unwrap().id;
        assert!(noted.contains(&format!("endpoint {id} has this URL already")), "{noted}");
    }
    assert_eq!(api.hooks().len(), 3);
}

#[test]
fn the_list_has_every_page() {
    let api = Freispace::start();
    let folder = tempfile::tempdir().unwrap();
    let description = "freispace, production, behind the proxy in Berlin";
    for number in 0..5 {
        let url = format!("https://hooks.example.com/webhooks/of/team/{number}");
        let shown = ["register", "--url", &url, "--show-secret", "--description", description];
        assert_eq!(run(freispace(&api.api(), folder.path(), &shown)).0, 0);
    }
    let (_, table, _) = run(freispace(&api.api(), folder.path(), &["list"]));
    assert_eq!(table.lines().count(), 6);
    for hook in api.hooks() {
        let row = table.lines().find(|line| line.starts_with(&hook.id)).unwrap();
        assert!(row.contains(&hook.url) && row.contains("  15  "), "{row}");
        assert!(row.ends_with(description) && row.contains("  enabled  "), "{row}");
    }
    let (_, lines, _) = run(freispace(&api.api(), folder.path(), &["list", "--json"]));
    let urls = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let urls: Vec<_> = urls.map(|line| line["url"].as_str().unwrap().to_owned()).collect();
    assert_eq!(urls, api.hooks().into_iter().map(|hook| hook.url).collect::<Vec<_>>());
    assert!(![table, lines].concat().contains("made-up"));
}

#[test]
fn remove_asks_on_a_terminal() {
    const SCRIPT: &str = "import os, pty, sys\n\
        pid, fd = pty.fork()\n\
        if pid == 0: os.execv(sys.argv[2], sys.argv[2:])\n\
        os.write(fd, sys.argv[1].encode())\n\
        try:\n \
        while part := os.read(fd, 65536): sys.stdout.buffer.write(part)\n\
        except OSError: pass\n";
    let api = Freispace::start().with_hook(URL, "a-made-up-secret");
    let folder = tempfile::tempdir().unwrap();
    let id = api.hooks()[0].id.clone();
    for (answer, expected, left) in
        [("n\n", "nothing removed", 1), ("\n", "nothing removed", 1), ("y\n", "removed", 0)]
    {
        let command = freispace(&api.api(), folder.path(), &["remove", &id]);
        let mut python = Command::new("python3");
        python.args(["-c", SCRIPT, answer]).env("FREISPACE_TOKEN", TOKEN);
        python.arg(command.get_program()).args(command.get_args());
        let (_, said, _) = run(python);
        assert!(said.contains(&format!("Remove endpoint {id}, {URL}? [y/N] ")), "{said}");
        assert!(said.contains(expected), "{said}");
        assert_eq!(api.hooks().len(), left, "{answer:?}");
    }
}
