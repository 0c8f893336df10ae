//! An alert in the form in which each kind of destination gets it.

use std::fs;

use serde_json::Value;

use super::shell;
use crate::{
    catcher::Catcher,
    world::{World, booking},
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

/// Has an event die, and gives the text that an alert about it has.
fn has_died(world: &World) -> String {
    let reply = world.send(&booking("b-1", "Grade"));
    let id = reply.header("x-wilco-event").unwrap();
    format!(
        "booking.updated for dying is dead after 1 attempt: exit 65. See `wilco events show {id}`."
    )
}

#[test]
fn an_http_service_gets_an_alert_as_it_is_whatever_is_made_of_events() {
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
fn an_alert_has_the_headers_that_are_not_about_an_event() {
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
fn every_other_kind_of_destination_gets_the_same() {
    let worker = "read -r line; printf '%s\\n' \"$line\" > FOLDER/alert
                  id=${line#'{\"id\":\"'}; printf '{\"id\":\"%s\",\"ok\":true}\\n' \"${id%%'\"'*}\"
                  read -r _";
    for (lines, file, of_body) in [
        (shell("cat > FOLDER/alert.part; mv FOLDER/alert.part FOLDER/alert"), "alert", ""),
        (format!("{}\nprotocol = \"lines\"", shell(worker)), "alert", "body"),
        ("type = \"file\"\npath = \"FOLDER/alert\"".into(), "alert", "body"),
        ("type = \"print\"".into(), "stdout", "body"),
    ] {
        let world = world(&lines, &Catcher::new());
        let text = has_died(&world);
        let read = || fs::read_to_string(world.path(file)).unwrap_or_default();
        world.eventually("it is told", |_| serde_json::from_str::<Value>(&read()).is_ok());
        let whole: Value = serde_json::from_str(&read()).unwrap();
        let body = if of_body.is_empty() { whole } else { whole[of_body].clone() };
        // A worker gets the body as a text.
        let body = body.as_str().map_or(body.clone(), |text| serde_json::from_str(text).unwrap());
        assert_eq!(
            (&body["event"], &body["text"]),
            (&"alert.dead".into(), &text.into()),
            "{lines}"
        );
    }
}
