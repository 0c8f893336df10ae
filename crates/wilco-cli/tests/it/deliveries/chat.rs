//! Slack, Microsoft Teams and Discord as destinations; each server accepts only what the real
//! service accepts.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{BRIEF, RETRY, delivery, it, quoted, results, shown};
use crate::{
    catcher::{Act, Catcher, Caught},
    world::{Plan, SECRET, World, booking, wilco},
};

const SERVICES: [(&str, u16); 3] = [("slack", 200), ("teams", 202), ("discord", 204)];

/// A service that checks its requests and answers them as the real one does.
fn service(name: &'static str, taken: u16) -> Catcher {
    Catcher::start(move |_, caught| match is_taken(name, caught) {
        true => Act::Answer(taken),
        false => Act::Answer(400),
    })
}

fn is_taken(service: &str, caught: &Caught) -> bool {
    let Ok(body) = serde_json::from_slice::<Value>(&caught.body) else { return false };
    let is_said = |text: &Value, max: usize| {
        let count = text.as_str().map_or(0, |text| text.encode_utf16().count());
        (1..=max).contains(&count)
    };
    let is_post = caught.method == "POST" && caught.header("content-type") == "application/json";
    let is_form = match service {
        "slack" => is_said(&body["text"], 40_000) && !body["text"].to_string().contains(['<', '>']),
        "discord" => is_said(&body["content"], 2_000),
        _ => {
            let card = &body["attachments"][0];
            body["type"] == "message"
                && card["contentType"] == "application/vnd.microsoft.card.adaptive"
                && card["content"]["type"] == "AdaptiveCard"
                && is_said(&card["content"]["body"][0]["text"], 14_000)
                && caught.body.len() < 28_000
                && String::from_utf8_lossy(&caught.body).encode_utf16().count() < 14_000
        }
    };
    is_post && is_form
}

/// The complete message that the service must get for a text.
fn form(service: &str, text: &str) -> Value {
    match service {
        "slack" => json!({ "text": text }),
        "discord" => json!({ "content": text, "allowed_mentions": { "parse": [] } }),
        _ => json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [{ "type": "TextBlock", "text": text, "wrap": true }],
                },
            }],
        }),
    }
}

/// The lines of a chat whose URL is in the environment as `URL`.
fn chat(service: &str, text: &str) -> String {
    format!("type = \"{service}\"\nurl = {{ env = \"URL\" }}\ntext = {}", quoted(text))
}

/// A plan with one chat, `it`, for all events.
fn plan(service: &str, catcher: &Catcher, text: &str, more: &str) -> Plan {
    let tables = it(&format!("{}\n{more}", chat(service, text)));
    World::plan().and(&tables).env("URL", &catcher.url())
}

/// The JSON that arrived, and what should have arrived.
#[track_caller]
fn check(caught: &Caught, service: &str, text: &str) {
    let body: Value = serde_json::from_slice(&caught.body).unwrap();
    assert_eq!(body, form(service, text), "{service}");
    assert_eq!((caught.path.as_str(), caught.method.as_str()), ("/hook?a=1", "POST"));
    assert_eq!(caught.header("content-type"), "application/json");
    assert!(caught.header("user-agent").starts_with("wilco/"));
}

#[test]
fn each_service_gets_its_own_format_with_the_text_about_the_event() {
    let text = "*{{ data.name }}* is {{ data.status.name }}{{ data.absent.x }} ({{ data.size }})\n\
                {{ event.name }} {{ data.link }}";
    let body = r#"{"id":"b-1","type":"booking","event":"booking.updated","data":{"name":
        "<!channel> \"Färberhof\" & \\ 😀\nü","status":{"name":"Confirmed"},"size":9007199254740993,
        "link":"[bank](https://a.example) <https://b.example|c>"}}"#;
    let plain = "*<!channel> \"Färberhof\" & \\ 😀\nü* is Confirmed (9007199254740993)\n\
                 booking.updated [bank](https://a.example) <https://b.example|c>";
    for (name, taken) in SERVICES {
        let catcher = service(name, taken);
        let world = plan(name, &catcher, text, BRIEF).start();
        let reply = world.send(body);
        let expected = match name {
            "slack" => plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"),
            _ => plain.replace("](", "]\u{200b}("),
        };
        check(&catcher.wait_for(1)[0], name, &expected);
        let delivery = delivery(&world, &reply, "delivered");
        assert!(results(&delivery)[0].starts_with(&taken.to_string()), "{delivery}");
    }
}

#[test]
fn a_text_that_is_too_long_is_truncated_and_not_refused() {
    for (name, taken) in SERVICES {
        let catcher = service(name, taken);
        let world = plan(name, &catcher, "{{ data.name }}", BRIEF).start();
        for (number, (letter, count)) in [("ä", 3_000), ("😀", 50_000)].into_iter().enumerate() {
            let name_of_it = letter.repeat(count);
            let reply = world.send(&booking(&number.to_string(), &name_of_it));
            let expected = match (name, number) {
                ("discord", 0) => format!("{}…", "ä".repeat(1_999)),
                ("discord", _) => format!("{}…", "😀".repeat(999)),
                (_, 0) => name_of_it,
                ("slack", _) => format!("{}…", "😀".repeat(19_999)),
                (_, _) => format!("{}…", "😀".repeat(6_499)),
            };
            check(&catcher.wait_for(number + 1)[number], name, &expected);
            delivery(&world, &reply, "delivered");
        }
    }
}

#[test]
fn a_busy_chat_is_tried_again_when_it_asked_for_it() {
    for (name, taken) in SERVICES {
        let catcher = Catcher::of(&[Act::With(429, "retry-after: 2\r\n"), Act::Answer(taken)]);
        let world = plan(name, &catcher, "{{ data.name }}", RETRY).start();
        let reply = world.send(&booking("b-1", "Grade"));
        assert_eq!(results(&delivery(&world, &reply, "delivered")).len(), 2, "{name}");
        let caught = catcher.caught();
        let waited = caught[1].at - caught[0].at;
        assert!(waited >= Duration::from_secs(2), "{name}: {waited:?}");
        for caught in &caught {
            check(caught, name, "Grade");
        }
    }
}

#[test]
fn a_response_of_a_chat_means_the_same_as_that_of_an_http_service() {
    // Slack: `channel_is_archived` is a 410, `no_service` a 404, `invalid_payload` a 400.
    for (status, state, attempts) in
        [(410, "dead", 1..=1), (404, "dead", 3..=60), (400, "dead", 3..=60), (500, "dead", 3..=60)]
    {
        let catcher = Catcher::of(&[Act::Answer(status)]);
        let world = plan("slack", &catcher, "{{ data.name }}", BRIEF).start();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, state);
        let results = results(&delivery);
        assert!(attempts.contains(&results.len()), "{status}: {results:?}");
        assert!(results.iter().all(|one| one.starts_with(&status.to_string())), "{results:?}");
        assert_eq!(delivery["history"][0]["output"], "said");
    }
}

#[test]
fn an_empty_or_failing_text_is_dead_at_once() {
    for (text, result) in [
        ("{{ data.absent }} \\n", "the text is empty: there is nothing to send"),
        ("{{ data.name + 1 }}", "the template of text failed: "),
        ("{% for x in range(99999) %}{{ x }}{% endfor %}", "the template of text failed: "),
    ] {
        let catcher = service("discord", 204);
        let world = plan("discord", &catcher, &text.replace("\\n", "\n"), BRIEF).start();
        let reply = world.send(&booking("b-1", "Grade"));
        let delivery = delivery(&world, &reply, "dead");
        let results = results(&delivery);
        assert_eq!(results.len(), 1, "{text}: {results:?}");
        assert!(results[0].starts_with(result), "{text}: {results:?}");
        assert!(catcher.caught().is_empty(), "{text}");
    }
}

#[test]
fn an_alert_arrives_as_its_own_text() {
    let dying = Catcher::of(&[Act::Answer(410)]);
    for (name, taken) in SERVICES {
        let catcher = service(name, taken);
        let tables = format!(
            "[alerts]\nto = \"chat\"\n[destination.chat]\n{}\n\
             [destination.dying]\ntype = \"http\"\nurl = \"{}\"\n[[route]]\nto = [\"dying\"]\n",
            chat(name, "not this: {{ data.name }}"),
            dying.url()
        );
        let world = World::plan().and(&tables).env("URL", &catcher.url()).start();
        let reply = world.send(&booking("b-1", "Grade"));
        let id = reply.header("x-wilco-event").unwrap();
        let text = format!(
            "booking.updated for dying is dead after 1 attempt: 410 Gone. \
             See `wilco events show {id}`."
        );
        check(&catcher.wait_for(1)[0], name, &text);
        assert_eq!(catcher.caught().len(), 1);
    }
}

#[test]
fn the_url_of_a_chat_is_never_shown() {
    let secret = "/services/T000/B000/canary-in-the-path";
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let echo: &'static str =
        format!("content-length: {}\r\n\r\nno {secret} here", secret.len() + 8).leak();
    let echoes = Catcher::of(&[Act::With(200, echo)]);
    let resets = Catcher::of(&[Act::Reset]);
    let (echoes, resets) = (echoes.address, resets.address);
    for (at, state) in [(echoes, "delivered"), (resets, "dead"), (closed, "dead")] {
        for scheme in ["http", "https"] {
            let tables = it(&format!("{}\n{BRIEF}", chat("slack", "{{ data.name }}")));
            let url = format!("{scheme}://{at}{secret}?sig=canary-in-the-query");
            let world = World::plan().and(&tables).env("URL", &url).start();
            let reply = world.send(&booking("b-1", "Grade"));
            let state = if scheme == "https" { "dead" } else { state };
            delivery(&world, &reply, state);
            let shown = shown(&world, &reply).to_string();
            assert!(!shown.contains("canary"), "{shown}");
            assert!(!world.log().contains("canary"), "{}", world.log());
        }
    }
}

#[test]
fn a_configuration_without_a_text_or_with_the_url_in_it_is_refused() {
    let url = "https://hooks.slack.com/services/canary";
    let world = World::plan().start();
    let file = fs::read_to_string(world.path("wilco.toml")).unwrap();
    for (lines, env, what) in [
        (format!("url = \"{url}\"\ntext = \"x\""), "", "a secret must not be in the file itself"),
        ("text = \"x\"".into(), "", "[destination.it] needs url"),
        ("url = { env = \"URL\" }".into(), url, "[destination.it] needs text"),
        ("url = { env = \"URL\" }\ntext = \"{{ x\"".into(), url, "text cannot be read"),
        ("url = { env = \"URL\" }\ntext = \"x\"".into(), "canary", "the url that it leads to is"),
        ("url = { env = \"URL\" }\ntext = \"x\"".into(), "", "env:URL is empty"),
    ] {
        for (service, _) in SERVICES {
            let tables = it(&format!("type = \"{service}\"\n{lines}"));
            fs::write(world.path("wilco.toml"), format!("{file}\n{tables}")).unwrap();
            let mut verb = wilco(world.folder.path());
            let verb = verb.env("FREISPACE_SECRET", SECRET).env("URL", env).arg("check");
            let output = verb.output().unwrap();
            let drawn = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{drawn}");
            assert!(drawn.contains(what), "{lines}\n{drawn}");
            assert!(!drawn.contains("canary"), "{drawn}");
        }
    }
}
