//! An alert in the form in which each kind of destination gets it.

use std::fs;

use serde_json::Value;

use super::shell;
use crate::{
    catcher::Catcher,
    world::{World, booking, wilco},
};

/// A world in which every event dies, and alerts go to `to`.
fn world(to: &str, catcher: &Catcher) -> World {
    let tables = format!(
        "[alerts]\nto = \"ops\"\n[destination.ops]\n{to}\n[destination.dying]\n{}\n\
         [[route]]\nto = [\"dying\"]\n",
        shell("exit 65")
    );
    World::plan().and(&tables).env("URL", &catcher.url()).start()
}

/// Lets the delivery of an event die, and returns the expected text of the alert about it.
fn has_died(world: &World) -> String {
    let reply = world.send(&booking("b-1", "Grade"));
    let id = reply.header("x-wilco-event").unwrap();
    format!(
        "booking.updated for dying is dead after 1 attempt: exit 65. See `wilco events show {id}`."
    )
}

#[test]
fn an_http_service_gets_alerts_unchanged_even_with_a_body_template() {
    for lines in [
        "",
        "body = \"about {{ data.name | upper }}\"",
        "body = \"{{ data.size + 1 }}\"",
        "body = \"{{ data.name }}\"\nheaders = { content-type = \"text/plain\" }",
        "headers = { x-size = \"{{ data.size + 1 }}\" }",
    ] {
        let catcher = Catcher::new();
        let lines = format!("type = \"http\"\nurl = {{ env = \"URL\" }}\n{lines}");
        let world = world(&lines, &catcher);
        let text = has_died(&world);
        let caught = catcher.wait_for(1).swap_remove(0);
        let body: Value = serde_json::from_slice(&caught.body).unwrap();
        assert_eq!((&body["type"], &body["event"]), (&"alert".into(), &"alert.dead".into()));
        assert_eq!(body["text"], text.as_str(), "{lines}");
        assert_eq!(body["data"]["destination"], "dying", "{lines}");
        assert_eq!(caught.header("content-type"), "application/json", "{lines}");
        assert_eq!(caught.header("x-wilco-event-name"), "alert.dead", "{lines}");
    }
}

#[test]
fn an_alert_has_the_headers_that_do_not_depend_on_an_event() {
    let catcher = Catcher::new();
    let headers = "authorization = { env = \"URL\" }, x-team = \"ops\", \
                   x-about = \"{{ event.source }}\", x-size = \"{{ data.size + 1 }}\"";
    let lines = format!("type = \"http\"\nurl = {{ env = \"URL\" }}\nheaders = {{ {headers} }}");
    let world = world(&lines, &catcher);
    has_died(&world);
    let caught = catcher.wait_for(1).swap_remove(0);
    assert_eq!(caught.header("authorization"), catcher.url());
    assert_eq!((caught.header("x-team"), caught.header("x-about")), ("ops", "wilco"));
    assert!(!caught.has("x-size"), "its template fails for anything but a booking");
}

#[test]
fn every_kind_of_destination_gets_the_text_of_an_alert() {
    let worker = "read -r line; printf '%s\\n' \"$line\" > FOLDER/alert
                  id=${line#'{\"id\":\"'}; printf '{\"id\":\"%s\",\"ok\":true}\\n' \"${id%%'\"'*}\"
                  read -r _";
    let template = "url = { env = \"URL\" }\ntext = \"{{ data.name }}\"";
    let rows = [
        ("http", "url = { env = \"URL\" }".into(), "", "/text"),
        ("slack", template.into(), "", "/text"),
        ("teams", template.into(), "", "/attachments/0/content/body/0/text"),
        ("discord", template.into(), "", "/content"),
        ("ntfy", template.into(), "", "/message"),
        ("command", shell("cat > FOLDER/part; mv FOLDER/part FOLDER/alert"), "alert", "/text"),
        ("command", format!("{}\nprotocol = \"lines\"", shell(worker)), "alert", "/body/text"),
        ("file", "path = \"FOLDER/alert\"".into(), "alert", "/body/text"),
        ("print", String::new(), "stdout", "/body/text"),
    ];
    let mut kinds: Vec<_> = rows.iter().map(|(kind, ..)| format!("{kind:?}")).collect();
    kinds.dedup();
    let hint = hint_about_kinds();
    assert_eq!(hint.matches('"').count(), 2 * kinds.len(), "{hint} has a kind without a row here");
    for (kind, lines, file, place) in rows {
        assert!(hint.contains(kind), "{hint}");
        let catcher = Catcher::new();
        let lines = match lines.contains("type = ") {
            true => lines,
            false => format!("type = {kind:?}\n{lines}"),
        };
        let world = world(&lines, &catcher);
        let text = has_died(&world);
        let read = || match file {
            "" => catcher.caught().into_iter().next().map(|caught| caught.body),
            file => fs::read(world.path(file)).ok(),
        };
        let parsed = || read().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        world.eventually(&format!("an alert as {kind}"), |_| parsed().is_some());
        let mut alert = parsed().unwrap();
        // A program that keeps running gets the body as a text.
        if let Some(body) = alert["body"].as_str() {
            alert["body"] = serde_json::from_str(body).unwrap();
        }
        assert_eq!(alert.pointer(place), Some(&text.into()), "{lines}: {alert}");
    }
}

/// Every kind of destination that a configuration can have, in quotes.
fn hint_about_kinds() -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wilco.toml"), "[destination.it]\ntype = \"zzzzzzzzzzzz\"\n")
        .unwrap();
    let output = wilco(folder.path()).arg("check").output().unwrap();
    let drawn = String::from_utf8(output.stderr).unwrap();
    let hint = drawn.lines().find(|line| line.contains("\"http\""));
    hint.unwrap_or(&drawn).to_owned()
}
