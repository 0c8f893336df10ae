//! What listings print: at several widths, with colours and without, and in the manual.

mod shown;

use std::{collections::HashSet, fmt::Write as _, fs, thread, time::Duration};

use crate::{
    commands::{on_a_terminal, text},
    generated::{check_file, check_output},
    world::{SECRET, World, booking, sign, wilco},
};

use shown::{as_written, with_fixed_values};

const TABLES: &str = r#"
[destination.crew-note]
type = "print"
[destination.erp]
type = "http"
url = "http://127.0.0.1:1/hooks"
# Between now and then, by chance: none may come while the tests run.
retry = { first = "90 days", max = "90 days", give_up_after = "200 days" }
[destination.folders]
type = "print"
[destination.provision-storage-of-projects]
type = "command"
command = ["/bin/sh", "-c", "echo cannot reach storage.example.com >&2; exit 65"]
[[route]]
events = ["booking.*"]
to = ["crew-note", "erp"]
[[route]]
events = ["project.*"]
to = ["provision-storage-of-projects", "folders"]
[[route]]
when = 'data.name == "Salt Roads" and event.name == "quote.created"'
to = ["folders"]
"#;

const ROWS: usize = 10_000;
/// What senders have written: names of events, and what they are about.
const EVENTS: &[(&str, &str)] = &[
    ("project.created", "Salt Roads"),
    ("booking.updated", "映画祭のための新しい編集室の予約、第二週の月曜日から金曜日まで"),
    ("booking.updated", "Große Überraschung im Schneideraum: Premiere und anschließendes Fest"),
    ("booking.created", "cafe\u{301}, 🎬🇩🇪 and Z\u{337}\u{321}a\u{334}l\u{336}g\u{334}o"),
    (
        "invoice.canceled.and.sent.again.to.another.address",
        "\u{1b}[31mred\u{1b}[0m \u{202e}live\u{202c}\u{7}",
    ),
    ("invoice.canceled\u{1b}]0;title\u{7}\u{9b}2J", "dead, delivered, ok"),
];

/// Events for the manual.
const SAMPLES: &[(&str, &str)] = &[
    ("project.created", "Salt Roads"),
    ("invoice.created", "Camera, two weeks"),
    ("booking.created", "映画祭のための編集室"),
    ("booking.updated", "Viewing, part one"),
];

/// A wilco with these events, in every state that lasts, and rejections.
fn world(events: &[(&str, &str)]) -> World {
    let world = World::plan().and(TABLES).env("TZ", "XST-1").start();
    for (number, (event, about)) in events.iter().enumerate() {
        let event = serde_json::to_string(event).unwrap();
        let about = serde_json::to_string(about).unwrap();
        let body = booking(&format!("e2947d1b-50ac-4c86-b3f7-19d8046ea5c{number}"), "ABOUT");
        let body = body.replace("\"booking.updated\"", &event).replace("\"ABOUT\"", &about);
        assert_eq!(world.send(&body).status, 200);
        // Ids of the same millisecond are shown with more characters.
        thread::sleep(Duration::from_millis(3));
    }
    for (path, signature) in [
        ("/webhook", "0".repeat(64)),
        ("/webhook", String::new()),
        ("/web%1b[2J\u{9b}hook", String::new()),
    ] {
        assert!(world.post_to(path, "{}", &[("x-freispace-signature", &signature)]).status >= 400);
        thread::sleep(Duration::from_millis(3));
    }
    world.eventually("all was attempted", |world| {
        let events = world.events();
        let mut deliveries =
            events.iter().flat_map(|event| event["deliveries"].as_array().unwrap());
        events.iter().all(|event| event["routed"] == true)
            && deliveries.all(|one| one["attempts"] == 1 && one["state"] != "running")
    });
    stored_rejections(&world, 2);
    assert!(world.run_verb(&["destinations", "pause", "folders"]).status.success());
    world
}

/// Waits until this many rejections are stored, which happens after their answers.
fn stored_rejections(world: &World, count: i64) {
    world.eventually("the rejections are stored", |world| {
        world.count("SELECT count(*) FROM rejection") == count
    });
}

#[test]
fn listings_look_as_they_did_at_every_width_with_colours_and_without() {
    let world = world(EVENTS);
    let mut drawn = String::new();
    for arguments in [
        &["events", "list"][..],
        &["events", "list", "--limit", "2"],
        &["events", "list", "--dead"],
        &["events", "why", "latest"],
        &["events", "replay", "--since", "1h", "--dry-run"],
        &["failures", "list"],
        &["rejections", "list"],
        &["destinations", "list"],
        &["secrets", "status"],
        &["audit", "list"],
        &["check", "--connect"],
    ] {
        let mut command = world.verb(arguments);
        let shown = arguments.join(" ");
        for columns in [80, 120, 200] {
            let coloured = on_a_terminal(&command, columns, &[("TERM", "xterm")]);
            let plain = console::strip_ansi_codes(&coloured);
            if columns == 80 {
                let bare = [("TERM", "xterm"), ("NO_COLOR", "1")];
                assert_eq!(on_a_terminal(&command, columns, &bare), plain, "colours move nothing");
            }
            for line in plain.lines().filter(|line| !line.starts_with("evt_")) {
                assert!(console::measure_text_width(line) <= columns, "{columns} {line}");
            }
            let coloured = as_written(&with_fixed_values(&coloured));
            writeln!(drawn, "# {columns} columns: wilco {shown}\n{coloured}").unwrap();
        }
        let piped = text(&command.output().unwrap().stdout);
        assert!(!piped.contains('\u{1b}'), "{piped}");
        writeln!(drawn, "# in a pipe: wilco {shown}\n{}", with_fixed_values(&piped)).unwrap();
    }
    check_file("crates/wilco-cli/tests/it/listings/tables.txt", &drawn);
}

#[test]
fn ten_thousand_rows_are_listed_once_each_in_any_width() {
    let world = World::plan().start();
    let count = ROWS.to_string();
    let sent = world.run_verb(&["send", "booking.created", "--count", &count]);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let mut list = world.verb(&["events", "list", "--limit", &count]);
    for columns in [80, 120, 200] {
        let shown = on_a_terminal(&list, columns, &[("TERM", "xterm")]);
        let plain = console::strip_ansi_codes(&shown);
        assert!(plain.lines().all(|line| console::measure_text_width(line) <= columns));
        let is_head = |line: &&str| line.contains(" about ") && line.ends_with("deliveries");
        let (heads, rows): (Vec<_>, Vec<_>) = plain.lines().partition(is_head);
        assert_eq!((heads.len(), rows.len()), (1, ROWS), "{columns} columns");
    }
    let piped = text(&list.output().unwrap().stdout);
    let ids: HashSet<_> =
        piped.split_whitespace().filter(|word| word.starts_with("evt_")).collect();
    assert_eq!(ids.len(), ROWS);
}

#[test]
fn every_provider_has_a_line_in_any_width() {
    let mut list = wilco(".".as_ref());
    list.args(["providers", "--all"]);
    let piped = text(&list.output().unwrap().stdout);
    for columns in [80, 120, 200] {
        let coloured = on_a_terminal(&list, columns, &[("TERM", "xterm")]);
        let plain = console::strip_ansi_codes(&coloured);
        let bare = [("TERM", "xterm"), ("NO_COLOR", "1")];
        assert_eq!(on_a_terminal(&list, columns, &bare), plain, "colours move nothing");
        // The last line says how to set one up.
        let names = plain.lines().map(|line| line.split(['…', ' ']).next().unwrap());
        let (names, lines) = (names.collect::<Vec<_>>(), piped.lines().collect::<Vec<_>>());
        assert_eq!(names.len(), lines.len() + 1, "{columns} columns");
        assert!(names.iter().zip(lines).all(|(name, line)| line.starts_with(name)), "{names:?}");
        assert!(plain.lines().all(|line| console::measure_text_width(line) <= columns));
    }
}

#[test]
fn pages_look_as_they_did() {
    let world = world(EVENTS);
    let first = world.events()[0]["id"].as_str().unwrap().to_owned();
    let webhook = format!("http://{}/webhook", world.address);
    let mut drawn = String::new();
    for arguments in [
        &["events", "show", "latest"][..],
        &["events", "show", &first],
        &["rejections", "show", "latest"],
        &["failures", "retry"],
        &["store", "status"],
        &["backfill", "--status"],
        &["probe", &webhook],
    ] {
        let command = world.verb(arguments);
        let coloured = on_a_terminal(&command, 80, &[("TERM", "xterm")]);
        let coloured = as_written(&with_fixed_values(&coloured));
        let shown = arguments.join(" ").replace(&first, "evt_…").replace(&webhook, "http://…");
        writeln!(drawn, "# wilco {shown}\n{coloured}").unwrap();
    }
    check_file("crates/wilco-cli/tests/it/listings/pages.txt", &drawn);
}

#[test]
fn outputs_in_the_manual_are_what_the_commands_print() {
    let world = world(SAMPLES);
    let check = |page: &str, name: &str, arguments: &[&str]| {
        let command = world.verb(arguments);
        let printed = on_a_terminal(&command, 100, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        check_output(page, name, &with_fixed_values(&printed));
    };
    check("docs/deliveries.md", "events list", &["events", "list"]);
    check("docs/deliveries.md", "events why", &["events", "why", "latest"]);
    check("docs/deliveries.md", "destinations list", &["destinations", "list"]);
    let body = booking("b-1", "Salt Roads");
    let signature = sign(body.as_bytes());
    world.post(&format!("{body}\n"), &[("x-freispace-signature", &signature)]);
    stored_rejections(&world, 3);
    check("docs/troubleshooting.md", "explain", &["explain", "latest"]);

    let folder = tempfile::tempdir().unwrap();
    for (name, file, arguments) in [
        ("check", MISSPELT, &["check"][..]),
        ("check --connect", UNREACHABLE, &["check", "--connect"]),
    ] {
        fs::write(folder.path().join("wilco.toml"), file).unwrap();
        let mut command = wilco(folder.path());
        command.args(arguments).env("FREISPACE_SECRET", SECRET);
        let printed = on_a_terminal(&command, 100, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        check_output("docs/configuration.md", name, &printed);
    }
}

const MISSPELT: &str = "[listen]\nadress = \"0.0.0.0:443\"\ntls = \"acme\"\ndomains = [\"hooks.example.com\"]\n[source.freispace]\nprovider = \"freispace\"\npath = \"/webhook\"\nsecrets = [{ env = \"FREISPACE_SECRET\" }]\n[destination.log]\ntype = \"print\"\n[[route]]\nto = [\"log\"]\n";

const UNREACHABLE: &str = r#"
[listen]
address = "127.0.0.1:0"
tls = "off"
[store]
reserve = "1 MiB"
[source.freispace]
provider = "freispace"
path = "/webhook"
secrets = [{ env = "FREISPACE_SECRET" }]
[destination.archive]
type = "file"
path = "events.jsonl"
[destination.erp]
type = "http"
url = "http://127.0.0.1:1/hooks"
[destination.provision]
type = "command"
command = ["/bin/true"]
[[route]]
to = ["archive", "erp", "provision"]
"#;

/// A listing that has nothing to show says what to do.
#[test]
fn an_empty_listing_says_what_to_do_next() {
    let world = World::plan().start();
    for (arguments, expected) in [
        (&["events", "list"][..], "no events; `wilco send booking.created` sends a sample"),
        (&["events", "list", "--since", "1h"], "no events that match"),
        (&["events", "list", "--dead"], "no events that match"),
        (&["rejections", "list"], "no rejections: no request was refused"),
        (&["failures", "list"], "no failures: nothing is dead or retrying"),
        (&["audit", "list"], "no actions yet"),
        (&["rejections", "list", "--since", "1h"], "no rejections that match"),
        (
            &["destinations", "list"],
            "no destinations: events are recorded only; add [destination.NAME] to wilco.toml",
        ),
        (
            &["backfill", "--status"],
            "no source has a backfill; sources of GitHub, GitLab and Stripe can have one",
        ),
    ] {
        let output = world.verb(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, format!("{expected}\n"), "{arguments:?}");
        let json = world.verb(&[arguments, &["--json"]].concat()).output().unwrap();
        assert!(json.status.success() && json.stdout.is_empty(), "{arguments:?} {json:?}");
    }
}
