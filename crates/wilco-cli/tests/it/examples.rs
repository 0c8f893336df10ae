//! The configurations in `docs/examples`: each is complete, and does what its first lines say.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use wilco::freispace::SAMPLES;

use crate::{
    catcher::{Catcher, Caught},
    survival::skip,
    world::{Plan, SECRET, World, wilco},
};

fn example(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn handlers() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/handlers");
    folder.canonicalize().unwrap().display().to_string()
}

fn sample(event: &str) -> &'static str {
    SAMPLES.iter().find(|(name, _)| *name == event).unwrap().1
}

/// A world with the configuration of an example, adapted to this machine and with shorter waits.
fn world(name: &str, services: &str) -> Plan {
    let text = example(name);
    let own = text.find("[destination.").unwrap();
    let brief = [
        ("https://accounting.example.com", services),
        ("/opt/wilco/handlers", &handlers()),
        ("/srv/", "FOLDER/"),
        ("/var/log/wilco", "FOLDER"),
        ("quiet = \"1 min\"", "quiet = \"300 ms\""),
        ("quiet = \"5 min\"", "quiet = \"300 ms\""),
        ("rate = \"1/s\"", "rate = \"100/s\""),
    ];
    let tables = brief.iter().fold(text[own..].to_owned(), |t, (from, to)| t.replace(from, to));
    let chat = format!("{services}/chat");
    World::plan()
        .and(&tables)
        .env("SLACK_WEBHOOK_URL", &chat)
        .env("CHAT_URL", &chat)
        .env("ACCOUNTING_KEY", "a-key-for-accounting")
}

fn is_there(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        skip(&format!("an example needs {program}"));
    }
    there
}

fn json(caught: &Caught) -> Value {
    serde_json::from_slice(&caught.body).unwrap()
}

#[test]
fn every_example_is_valid_without_changes() {
    for name in ["booking-message", "project-space", "copy-to-suite", "accounting"] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display().to_string();
        let text = example(&format!("{name}.toml"))
            .replace("/opt/wilco/handlers", &handlers())
            .replace("/usr/bin/php", "/bin/sh")
            .replace("/usr/bin/python3", "/bin/sh")
            .replace("/var/log/wilco", &place);
        fs::write(folder.path().join("wilco.toml"), text).unwrap();
        let mut check = wilco(folder.path());
        for (name, value) in [
            ("FREISPACE_SECRET", "a-made-up-secret"),
            ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/x"),
            ("CHAT_URL", "https://hooks.slack.com/services/T0/B0/x"),
            ("ACCOUNTING_KEY", "a-key-for-accounting"),
        ] {
            check.env(name, value);
        }
        let output = check.arg("check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}\n{said}");
        for word in ["no sample", "documented event", "compares", "fails for", "JSON"] {
            assert!(!said.contains(word), "{name}\n{said}");
        }
    }
}

#[test]
fn a_request_signed_by_hand_as_the_freispace_page_says_is_accepted() {
    for tool in ["openssl", "curl"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return skip(&format!("no {tool}"));
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/freispace.md")).unwrap();
    let section = page.split("## Test without freispace").nth(1).unwrap();
    let script = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let world = World::plan().start();
    let url = format!("http://{}/webhook", world.address);
    let script = script.replace("https://hooks.example.com/webhook", &url);
    let mut shell = Command::new("sh");
    let output = shell.env("FREISPACE_SECRET", SECRET).args(["-ec", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("HTTP/1.1 200"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_changing_booking_is_one_message() {
    let chat = Catcher::new();
    let world = world("booking-message.toml", &format!("http://{}", chat.address)).start();
    world.send(&sample("booking.updated").replace("\"Viewing, part one\"", "\"Viewing\""));
    world.send(sample("booking.updated"));
    world.send(&sample("booking.created").replace("\"Confirmed\"", "\"Pencilled\""));
    chat.wait_for(1);
    world.eventually("all is settled", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state IN ('pending', 'running')") == 0
    });
    let caught = chat.caught();
    assert_eq!(caught.len(), 1);
    let text = json(&caught[0])["text"].as_str().unwrap().to_owned();
    assert!(
        text.contains("Viewing, part one is now Confirmed: Wed 13 May 14:30 to 17:00 CEST"),
        "{text}"
    );
    assert!(text.contains(" in Theatre\n"), "{text}");
}

#[test]
fn a_new_project_gets_its_folders() {
    if !is_there("/usr/bin/php") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("projects")).unwrap();
    let world = world("project-space.toml", "http://127.0.0.1:1").start_in(folder);
    world.send(sample("project.created"));
    let project = world.path("projects/P318_Salt-Roads/footage");
    world.eventually("the folders", |_| project.is_dir());
}

#[test]
fn a_booked_suite_gets_the_files_of_the_project() {
    if !is_there("/usr/bin/python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("projects/P318_Salt-Roads");
    fs::create_dir_all(project.join("footage")).unwrap();
    fs::create_dir_all(folder.path().join("suites/Theatre")).unwrap();
    let marker = r#"{"id":"3f0c8a52-6d1e-4b7a-9c45-81e2d7f6a013"}"#;
    fs::write(project.join(".freispace.json"), marker).unwrap();
    fs::write(project.join("footage/A001.mov"), "frames").unwrap();
    let world = world("copy-to-suite.toml", "http://127.0.0.1:1").start_in(folder);
    world.send(sample("booking.updated"));
    world.send(sample("booking.deleted"));
    let copy = world.path("suites/Theatre/P318_Salt-Roads/footage/A001.mov");
    world.eventually("the copy", |_| copy.is_file());
    let record = world.path("bookings.jsonl");
    world.eventually("the record", |_| {
        fs::read_to_string(&record).is_ok_and(|text| text.lines().count() == 2)
    });
}

#[test]
fn accounting_gets_invoices_in_its_own_format_and_accepted_offers() {
    let services = Catcher::new();
    let world = world("accounting.toml", &format!("http://{}", services.address)).start();
    let invoice = world.send(sample("invoice.finalized"));
    let canceled = world.send(sample("invoice.canceled"));
    world.send(&sample("offer.status_updated").replace("\"accepted\"", "\"declined\""));
    let accepted = sample("offer.status_updated");
    assert!(accepted.contains("\"accepted\""));
    world.send(&accepted.replace("offer.status_updated", "quote.status_updated"));
    world.eventually("all is settled", |world| {
        world.count("SELECT count(*) FROM delivery WHERE state = 'delivered'") == 6
    });
    let caught = services.caught();
    let at = |path: &str| caught.iter().filter(|c| c.path == path).collect::<Vec<_>>();
    let (invoices, orders) = (at("/api/invoices"), at("/api/orders"));
    assert_eq!((invoices.len(), orders.len(), at("/chat").len()), (2, 1, 3));
    for (reply, is_canceled) in [(&invoice, false), (&canceled, true)] {
        let id = reply.header("x-wilco-event").unwrap();
        let request = invoices.iter().find(|c| c.header("idempotency-key") == id).unwrap();
        assert_eq!(request.header("content-type"), "application/json");
        let body = json(request);
        assert_eq!(
            (&body["number"], &body["canceled"]),
            (&"INV-26-118".into(), &is_canceled.into())
        );
        assert_eq!(body["due"], "2026-07-14");
    }
}
