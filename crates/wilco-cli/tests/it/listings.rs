//! What listings print: at several widths, with colours and without, and in the manual.

mod manual;
pub(crate) mod shown;

use std::{collections::HashSet, thread, time::Duration};

use ::wilco::RejectionId;
use rusqlite::{Connection, params};

use crate::{
    commands::{on_a_terminal, text},
    world::{SECRET, World, booking, wilco},
};

use shown::{Output, check};

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

/// A wilco with these events, in every state that lasts, and rejections.
fn world(events: &[(&str, &str)], tables: &str) -> World {
    let plan = World::plan().and(&format!("{TABLES}{tables}")).env("TZ", "XST-1");
    let world = plan.env("SECOND_SECRET_OF_THE_HOUSE_FOR_POST_PRODUCTION", SECRET).start();
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

/// What has long names.
const LONG: &str = r#"
[source.booking-system-of-the-house-for-post-production]
provider = "freispace"
path = "/second"
secrets = [{ env = "SECOND_SECRET_OF_THE_HOUSE_FOR_POST_PRODUCTION" }]
[destination.copy-of-everything-for-the-accounting-department]
type = "print"
[[route]]
events = ["booking.created"]
to = ["copy-of-everything-for-the-accounting-department", "provision-storage-of-projects"]
"#;

/// Listings, by the name of the file that has what they print.
const LISTINGS: &[(&str, &[&[&str]])] = &[
    (
        "events-list",
        &[&["events", "list"], &["events", "list", "--limit", "2"], &["events", "list", "--dead"]],
    ),
    ("events-tail", &[&["events", "tail"]]),
    ("events-why", &[&["events", "why", "latest"]]),
    ("events-replay", &[&["events", "replay", "--since", "1h", "--dry-run"]]),
    ("failures-list", &[&["failures", "list"]]),
    ("rejections-list", &[&["rejections", "list"]]),
    ("destinations-list", &[&["destinations", "list"]]),
    ("secrets-status", &[&["secrets", "status"]]),
    ("audit-list", &[&["audit", "list"]]),
    ("check-connect", &[&["check", "--connect"]]),
];

#[test]
fn listings_look_as_they_did_at_every_width_with_colours_and_without() {
    let world = world(EVENTS, LONG);
    assert_eq!(world.post_to("/second", "{}", &[]).status, 400);
    stored_rejections(&world, 3);
    assert!(world.run_verb(&["events", "cancel", "latest"]).status.success());
    let empty = World::plan().env("TZ", "XST-1").start();
    let mut files = Vec::new();
    for (name, commands) in LISTINGS {
        let mut outputs = Vec::new();
        for arguments in *commands {
            // It prints a header and the events, and then waits for more.
            let is_tail = arguments.contains(&"tail");
            let [lines, lines_if_empty] =
                if is_tail { [1 + EVENTS.len(), 1] } else { [usize::MAX; 2] };
            let title = format!("wilco {}", arguments.join(" "));
            outputs.push(Output::table(&title, world.verb(arguments), lines));
            let title = format!("{title}, without rows");
            outputs.push(Output::table(&title, empty.verb(arguments), lines_if_empty));
        }
        files.push((*name, outputs));
    }
    check(files);
}

#[test]
fn providers_look_as_they_did_at_every_width_with_colours_and_without() {
    let providers = |arguments: &[&str]| {
        let mut command = wilco(".".as_ref());
        command.arg("providers").args(arguments);
        command
    };
    let all = vec![
        Output::table("wilco providers --limit 3", providers(&["--limit", "3"]), usize::MAX),
        Output::table("wilco providers --all", providers(&["--all"]), usize::MAX),
    ];
    let shown = ["freispace", "standard-webhooks", "hubspot"]
        .map(|name| Output::page(&format!("wilco providers {name}"), providers(&[name])));
    check(vec![("providers", all), ("providers-show", shown.into())]);
}

#[test]
fn ten_thousand_events_are_listed_once_each_in_any_width() {
    let world = World::plan().start();
    let sent = world.run_verb(&["send", "booking.created", "--count", &ROWS.to_string()]);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    lists_all_rows(&world, &["events", "list"]);
}

#[test]
fn ten_thousand_rejections_and_actions_are_listed_once_each_in_any_width() {
    let mut world = World::plan().and("[destination.it]\ntype = \"print\"\n").start();
    assert_eq!(world.send("1").status, 400);
    stored_rejections(&world, 1);
    assert!(world.run_verb(&["destinations", "pause", "it"]).status.success());
    assert!(world.stop().success());
    let mut store = Connection::open(world.path("wilco.db")).unwrap();
    let id: String = store.query_row("SELECT id FROM rejection", [], |row| row.get(0)).unwrap();
    let first: RejectionId = id.parse().unwrap();
    let copies = store.transaction().unwrap();
    for number in 1..ROWS {
        // The front of an id is its place.
        let id = RejectionId::from_bits(first.to_bits() + ((number as u128) << 65));
        let rejection = "INSERT INTO rejection SELECT seq + ?2, ?3, received_at_ms, source, provider, reason, message, \
                         client, method, url, hidden, bytes, digest, complete, headers, body FROM rejection WHERE id = ?1";
        let values = params![first.to_string(), number, id.to_string()];
        assert_eq!(copies.execute(rejection, values).unwrap(), 1);
        let action = "INSERT INTO audit SELECT number + ?1, at_ms, who, action, target, affected, result FROM audit \
                      WHERE number = (SELECT min(number) FROM audit)";
        assert_eq!(copies.execute(action, [number]).unwrap(), 1);
    }
    copies.commit().unwrap();
    for listing in [["rejections", "list"], ["audit", "list"]] {
        lists_all_rows(&world, &listing);
    }
}

/// Checks that a listing has a head and each of its rows once, in lines that fit.
fn lists_all_rows(world: &World, listing: &[&str]) {
    let count = ROWS.to_string();
    let all = [listing, &["--limit", &count]].concat();
    for columns in [80, 120, 200] {
        let shown = on_a_terminal(&world.verb(&all), columns, &[("TERM", "xterm")]);
        let plain = console::strip_ansi_codes(&shown);
        assert!(plain.lines().all(|line| console::measure_text_width(line) <= columns));
        let head = plain.lines().next().unwrap();
        let heads = plain.lines().filter(|line| *line == head).count();
        // A row begins with its time.
        let rows =
            plain.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
        assert_eq!((heads, rows), (1, ROWS), "{all:?}, {columns} columns");
    }
    let json = text(&world.run_verb(&[&all[..], &["--json"]].concat()).stdout);
    assert_eq!(json.lines().collect::<HashSet<_>>().len(), ROWS, "{all:?}");
}

#[test]
fn pages_look_as_they_did_at_every_width_with_colours_and_without() {
    let world = world(EVENTS, LONG);
    let first = world.events()[0]["id"].as_str().unwrap().to_owned();
    let webhook = format!("http://{}/webhook", world.address);
    // One byte, which is no event.
    assert_eq!(world.send("1").status, 400);
    stored_rejections(&world, 3);
    let empty = World::plan().env("TZ", "XST-1").start();
    let pages: &[(&str, &[&[&str]])] = &[
        ("events-show", &[&["events", "show", "latest"], &["events", "show", &first]]),
        ("rejections-show", &[&["rejections", "show", "latest"]]),
        ("explain", &[&["explain", "latest"]]),
        ("failures-retry", &[&["failures", "retry"]]),
        ("store-status", &[&["store", "status"]]),
        ("backfill-status", &[&["backfill", "--status"]]),
        ("health", &[&["health"]]),
        ("probe", &[&["probe", &webhook]]),
    ];
    let mut files = Vec::new();
    for (name, commands) in pages {
        let mut outputs = Vec::new();
        for arguments in *commands {
            let title = format!("wilco {}", arguments.join(" "));
            let title = title.replace(&first, "evt_…").replace(&webhook, "http://…");
            outputs.push(Output::page(&title, world.verb(arguments)));
            if arguments.last() == Some(&"latest") || arguments.contains(&"status") {
                let title = format!("{title}, without rows");
                outputs.push(Output::page(&title, empty.verb(arguments)));
            }
        }
        files.push((*name, outputs));
    }
    check(files);
}

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
