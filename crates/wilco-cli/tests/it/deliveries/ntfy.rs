//! ntfy as a destination; the server accepts what ntfy accepts.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{BRIEF, RETRY, delivery, it, quoted, results, shown};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{Plan, SECRET, World, booking, wilco},
};

/// A plan with the destination `it`, a topic on this server, for all events, and these further lines.
fn plan(catcher: &Catcher, lines: &str) -> Plan {
    let url = format!("http://{}/crew-topic-x7?a=1", catcher.address);
    let tables = it(&format!("type = \"ntfy\"\nurl = {{ env = \"URL\" }}\n{lines}"));
    World::plan().and(&tables).env("URL", &url).env("TOKEN", "tk_canary-token")
}

/// The JSON that was published to the root of the server.
#[track_caller]
fn published(caught: &Caught) -> Value {
    assert_eq!((caught.path.as_str(), caught.method.as_str()), ("/?a=1", "POST"));
    assert_eq!(caught.header("content-type"), "application/json");
    assert!(caught.header("user-agent").starts_with("wilco/"));
    serde_json::from_slice(&caught.body).unwrap()
}

#[test]
fn a_notification_is_rendered_from_its_templates() {
    let catcher = Catcher::new();
    let lines = format!(
        "token = {{ env = \"TOKEN\" }}\ntitle = \"{{{{ data.name }}}} ✓\"\n\
         text = \"{{{{ event.name }}}}: {{{{ data.name }}}}\"\n\
         priority = \"{{{{ 'high' if data.name else 1 }}}}\"\n\
         tags = [\"calendar\", \"{{{{ data.absent }}}}\", \"{{{{ event.name }}}}\"]\n\
         click = \"https://a.example/{{{{ body.id }}}}\"\n{BRIEF}"
    );
    let world = plan(&catcher, &lines).start();
    let reply = world.send(&booking("b-1", "Färberhof 😀"));
    let caught = &catcher.wait_for(1)[0];
    assert_eq!(
        published(caught),
        json!({
            "topic": "crew-topic-x7",
            "title": "Färberhof 😀 ✓",
            "message": "booking.updated: Färberhof 😀",
            "priority": 4,
            "tags": ["calendar", "booking.updated"],
            "click": "https://a.example/b-1",
        })
    );
    assert_eq!(caught.header("authorization"), "Bearer tk_canary-token");
    assert!(results(&delivery(&world, &reply, "delivered"))[0].starts_with("200"));
}

#[test]
fn a_plain_notification_is_its_text_truncated_to_what_the_server_accepts() {
    let catcher = Catcher::new();
    let world = plan(&catcher, &format!("text = \"{{{{ data.name }}}}\"\n{BRIEF}")).start();
    for (number, (name, expected)) in [
        ("Grade".to_owned(), "Grade".to_owned()),
        ("ä".repeat(3_000), format!("{}…", "ä".repeat(2_046))),
    ]
    .into_iter()
    .enumerate()
    {
        world.send(&booking(&number.to_string(), &name));
        let caught = &catcher.wait_for(number + 1)[number];
        let expected = json!({ "topic": "crew-topic-x7", "message": expected });
        assert_eq!(published(caught), expected);
        assert!(!caught.has("authorization"));
    }
}

#[test]
fn a_busy_server_is_tried_again_when_it_asked_for_it() {
    let catcher = Catcher::of(&[Act::With(429, "retry-after: 2\r\n"), Act::Answer(200)]);
    let world = plan(&catcher, &format!("text = \"x\"\n{RETRY}")).start();
    let reply = world.send(&booking("b-1", "Grade"));
    assert_eq!(results(&delivery(&world, &reply, "delivered")).len(), 2);
    let caught = catcher.caught();
    let waited = caught[1].at - caught[0].at;
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
}

#[test]
fn a_message_that_can_never_be_sent_is_dead_at_once() {
    for (lines, result) in [
        ("text = \" {{ data.absent }} \"", "the text is empty: there is nothing to send"),
        ("text = \"{{ data.name + 1 }}\"", "the template of text failed: "),
        ("text = \"x\"\ntitle = \"{{ data.name + 1 }}\"", "the template of title failed: "),
        (
            "text = \"x\"\npriority = \"{{ data.name }}\"",
            "invalid priority \"Grade\": expected 1 to 5, min, low, default, high or max",
        ),
    ] {
        let catcher = Catcher::new();
        let world = plan(&catcher, &format!("{lines}\n{BRIEF}")).start();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, "dead");
        let results = results(&delivery);
        assert!(results.len() == 1 && results[0].starts_with(result), "{lines}: {results:?}");
        assert!(catcher.caught().is_empty(), "{lines}");
    }
}

#[test]
fn an_alert_arrives_as_its_own_text() {
    let (dying, catcher) = (Catcher::of(&[Act::Answer(410)]), Catcher::new());
    let tables = format!(
        "[alerts]\nto = \"phone\"\n[destination.phone]\ntype = \"ntfy\"\n\
         url = \"http://{}/crew?a=1\"\ntext = {}\ntitle = \"not this\"\npriority = \"max\"\n\
         [destination.dying]\ntype = \"http\"\nurl = \"{}\"\n[[route]]\nto = [\"dying\"]\n",
        catcher.address,
        quoted("not this: {{ data.name }}"),
        dying.url()
    );
    let world = World::plan().and(&tables).start();
    let reply = world.send(&booking("b-1", "Grade"));
    let id = reply.header("x-wilco-event").unwrap();
    let text = format!(
        "booking.updated for dying is dead after 1 attempt: 410 Gone. \
         See `wilco events show {id}`."
    );
    let expected = json!({ "topic": "crew", "message": text });
    assert_eq!(published(&catcher.wait_for(1)[0]), expected);
}

#[test]
fn neither_the_token_nor_a_topic_by_reference_is_shown() {
    let echo = "content-length: 31\r\n\r\ncrew-topic-x7 / tk_canary-token";
    let catcher = Catcher::of(&[Act::With(200, echo)]);
    let lines = format!("token = {{ env = \"TOKEN\" }}\ntext = \"x\"\n{BRIEF}");
    let world = plan(&catcher, &lines).start();
    let reply = world.send(&booking("b-1", "Grade"));
    let output = delivery(&world, &reply, "delivered")["history"][0]["output"].to_string();
    assert_eq!(output, "\"(the secret URL) / (the value of token)\"");
    let told = shown(&world, &reply).to_string() + &world.log();
    assert!(!told.contains("canary") && !told.contains("topic-x7"), "{told}");
}

#[test]
fn a_configuration_that_ntfy_could_not_accept_is_refused() {
    let world = World::plan().start();
    let file = fs::read_to_string(world.path("wilco.toml")).unwrap();
    for (lines, what) in [
        ("url = \"https://ntfy.sh/x\"", "[destination.it] needs text"),
        ("text = \"x\"", "[destination.it] needs url"),
        ("url = \"https://ntfy.sh/\"\ntext = \"x\"", "must end in the name of a topic"),
        ("url = { env = \"URL\" }\ntext = \"x\"", "must end in the name of a topic"),
        (
            "url = \"https://ntfy.sh/x\"\ntext = \"x\"\ntoken = \"tk_canary\"",
            "a secret must not be in the file itself",
        ),
        (
            "url = \"https://ntfy.sh/x\"\ntext = \"x\"\npriority = \"highest\"",
            "invalid priority \"highest\"",
        ),
        ("url = \"https://ntfy.sh/x\"\ntext = \"x\"\ntitel = \"x\"", "did you mean title?"),
    ] {
        let tables = it(&format!("type = \"ntfy\"\n{lines}"));
        fs::write(world.path("wilco.toml"), format!("{file}\n{tables}")).unwrap();
        let mut verb = wilco(world.folder.path());
        let url = "https://a.example/canary/";
        let verb = verb.env("FREISPACE_SECRET", SECRET).env("URL", url).arg("check");
        let output = verb.output().unwrap();
        let drawn = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{lines}\n{drawn}");
        assert!(drawn.contains(what), "{lines}\n{drawn}");
        assert!(!drawn.contains("canary"), "{drawn}");
    }
}
