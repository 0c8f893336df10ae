//! What is recorded of the request that an attempt sent.

use super::{delivery, it};
use crate::{
    catcher::{Act, Catcher},
    world::{Plan, World, booking},
};

#[test]
fn an_attempt_records_the_http_request_as_it_was_sent_and_no_secret_of_it() {
    let catcher = Catcher::new();
    let origin = origin(&catcher);
    let plan = World::plan()
        .and(&it(&format!(
            "type = \"http\"\nurl = \"{origin}/hooks?v=1\"\nsecret = {{ env = \"ERP_SECRET\" }}\n\
             headers = {{ authorization = {{ env = \"ERP_TOKEN\" }}, x-name = \"{{{{ data.name }}}}\" }}",
        )))
        .env("ERP_SECRET", "canary-of-the-signature")
        .env("ERP_TOKEN", "Bearer canary-token");
    let request = recorded(plan, "delivered");
    let caught = catcher.wait_for(1).swap_remove(0);
    let (head, body) = request.split_once("\n\n").unwrap();
    let (line, headers) = head.split_once('\n').unwrap();
    assert_eq!(
        (line, body),
        (&*format!("POST {origin}/hooks?v=1"), "(the body as it was received)")
    );
    for header in headers.lines() {
        let (name, value) = header.split_once(": ").unwrap();
        let is_secret = ["authorization", "webhook-signature"].contains(&name);
        let sent = caught.header(name);
        assert_eq!(value, if is_secret { "…" } else { sent }, "{request}");
    }
    for name in ["webhook-id", "webhook-signature", "x-wilco-attempt", "x-name", "authorization"] {
        assert!(headers.contains(&format!("{name}: ")), "{name}: {request}");
    }
    assert!(!request.contains("canary"), "{request}");
}

#[test]
fn a_body_of_the_file_is_recorded_without_secrets_and_cut_off_where_it_is_long() {
    let catcher = Catcher::of(&[Act::Answer(410)]);
    for (template, tail) in [
        ("{{ data.name }} for {{ id }}", "\n\nGrade for b-1".to_owned()),
        ("{{ \"x\" * 9000 }}", "xxx… (cut off)".to_owned()),
        ("a canary-token of {{ id }}", "\n\na (the value of authorization) of b-1".to_owned()),
    ] {
        let url = format!("{}/?key=canary-of-the-url", origin(&catcher));
        let plan = World::plan()
            .and(&it(&format!(
                "type = \"http\"\nurl = \"{url}\"\nbody = {template:?}\n\
                 headers = {{ authorization = {{ env = \"TOKEN\" }}, content-type = \"text/plain\" }}"
            )))
            .env("TOKEN", "Bearer canary-token");
        let request = recorded(plan, "dead");
        assert!(request.starts_with("POST http://127.0.0.1/…\n"), "{request}");
        assert!(request.ends_with(&tail), "{template}: {request}");
        assert!(request.len() <= (4 << 10) + "… (cut off)".len(), "{}", request.len());
        assert!(!request.contains("canary"), "{request}");
    }
}

#[test]
fn each_kind_records_what_does_not_follow_from_the_event() {
    let catcher = Catcher::new();
    let origin = origin(&catcher);
    let ntfy =
        format!("type = \"ntfy\"\nurl = \"{origin}/alerts\"\ntext = \"{{{{ data.name }}}}\"");
    let slack = "type = \"slack\"\nurl = { env = \"SLACK\" }\ntext = \"*{{ data.name }}*\"";
    let command = "type = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"cat\", \"canary\"]\n\
                   environment = { TOKEN = \"canary\" }\nfolder = \"/tmp\"";
    let lines = "type = \"command\"\nprotocol = \"lines\"\ncommand = [\"/bin/sh\", \"-c\", \
                 \"while read -r line; do echo '{\\\"id\\\": \\\"'$(echo $line | cut -d'\\\"' -f4)'\\\", \
                 \\\"ok\\\": true}'; done\"]";
    let started = "command: /bin/sh\ncommand (arguments): …\n";
    for (kind, expected) in [
        (
            ntfy.as_str(),
            vec![&*format!("POST {origin}/\n"), "{\"topic\":\"alerts\",\"message\":\"Grade\"}"],
        ),
        (slack, vec!["POST http://127.0.0.1/…\n", "\n\n{\"text\":\"*Grade*\"}"]),
        (command, vec![started, "environment.TOKEN: …\nfolder: /tmp\nprotocol: once\n"]),
        (lines, vec![started, "protocol: lines\n"]),
        ("type = \"file\"\npath = \"FOLDER/events.jsonl\"", vec![]),
        ("type = \"print\"", vec![]),
    ] {
        let plan =
            World::plan().and(&it(kind)).env("SLACK", &format!("{origin}/services/T/canary"));
        let request = recorded(plan, "delivered");
        assert_eq!(request.is_empty(), expected.is_empty(), "{kind}: {request}");
        for part in expected {
            assert!(request.contains(part), "{kind}: {part} in {request}");
        }
        assert!(!request.contains("canary"), "{request}");
    }
}

fn origin(catcher: &Catcher) -> String {
    catcher.url().split("/hook").next().unwrap().to_owned()
}

/// The request of the only attempt, which `wilco events show` and the page of the event show as well.
fn recorded(plan: Plan, state: &str) -> String {
    let world = plan.start();
    let reply = world.send(&booking("b-1", "Grade"));
    let delivery = delivery(&world, &reply, state);
    let request = delivery["history"][0]["request"].as_str().unwrap().to_owned();
    let shown = world.run_verb(&["events", "show", "latest"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let line = request.lines().next().map(|line| format!("       > {line}\n"));
    assert!(line.as_ref().is_none_or(|line| shown.contains(line)), "{line:?} in {shown}");
    request
}
