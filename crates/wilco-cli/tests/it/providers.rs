//! Providers other than freispace, on the real binary: requests are verified, named and recognised.

use std::fs;

use serde_json::Value;
use wilco::{Secret, Unsigned, provider};

use crate::world::{SECRET, World, wilco};

const GITHUB: &str = "[source.code]\nprovider = \"github\"\npath = \"/code\"\n\
                      secrets = [{ env = \"FREISPACE_SECRET\" }]\n\
                      [destination.p]\ntype = \"print\"\n\
                      [[route]]\nevents = [\"pull_request.*\"]\nto = [\"p\"]\n";

fn signature(body: &str) -> String {
    let secret = Secret::new("test", SECRET.into()).unwrap();
    let request = Unsigned::post(body.as_bytes(), jiff::Timestamp::now());
    let scheme = &provider::find("github").unwrap().scheme;
    scheme.sign(&secret, &request).unwrap().pop().unwrap().1
}

#[test]
fn a_github_event_is_named_by_header_and_action_and_identified_by_its_delivery_id() {
    let world = World::plan().and(GITHUB).start();
    let body = r#"{"action":"opened","repository":{"full_name":"nordlicht/cut"}}"#;
    let signature = signature(body);
    let headers = [
        ("x-github-event", "pull_request"),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let first = world.post_to("/code", body, &headers);
    assert_eq!(first.status, 200, "{}", first.body);
    let again = world.post_to("/code", body, &headers);
    assert_eq!(again.header("x-wilco-event"), first.header("x-wilco-event"));
    assert_eq!(again.header("x-wilco-duplicate"), Some("true"));
    world.eventually("it is delivered", |world| {
        world.events()[0]["deliveries"][0]["state"] == "delivered"
    });
    let event = world.events().remove(0);
    assert_eq!(event["event"], "pull_request.opened");
    assert_eq!(event["subject"], "nordlicht/cut");
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_request_that_github_did_not_sign_is_refused_in_the_same_words() {
    let world = World::plan().and(GITHUB).start();
    let right = signature("{}");
    let short = &right[..70];
    for (headers, status, message) in [
        (vec![], 400, "Missing signature"),
        (vec![("x-hub-signature-256", right.trim_start_matches("sha256="))], 403, "Invalid"),
        (vec![("x-hub-signature-256", short)], 403, "Invalid"),
        (vec![("x-hub-signature", right.as_str())], 400, "Missing signature"),
        (vec![("x-hub-signature-256", right.as_str()); 2], 403, "Invalid"),
    ] {
        let reply = world.post_to("/code", "{}", &headers);
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(reply.body.contains(message), "{headers:?}: {}", reply.body);
    }
    assert_eq!(world.post_to("/code", "{}", &[("x-hub-signature-256", &right)]).status, 200);
}

#[test]
fn equal_pings_are_different_events_unless_the_source_says_otherwise() {
    let source = "[source.files]\nprovider = \"dropbox\"\npath = \"/files\"\n\
                  secrets = [{ env = \"FREISPACE_SECRET\" }]\n";
    let body = r#"{"list_folder":{"accounts":["dbid:AAH4f99T0taONIb"]}}"#;
    let secret = Secret::new("test", SECRET.into()).unwrap();
    let request = Unsigned::post(body.as_bytes(), jiff::Timestamp::now());
    let scheme = &provider::find("dropbox").unwrap().scheme;
    let signature = scheme.sign(&secret, &request).unwrap().pop().unwrap().1;
    for (line, expected) in [("", 2), ("duplicates = \"suppress\"\n", 1)] {
        let world = World::plan().and(&format!("{source}{line}")).start();
        for _ in 0..2 {
            let headers = [("x-dropbox-signature", signature.as_str())];
            let reply = world.post_to("/files", body, &headers);
            assert_eq!(reply.status, 200, "{}", reply.body);
        }
        assert_eq!(world.recorded(), expected, "{line:?}");
    }
}

#[test]
fn the_providers_are_listed_with_how_each_signs() {
    let listed = providers(&["--all"]);
    assert_eq!(listed.lines().count(), 1 + provider::all().len());
    let stripe = listed.lines().find(|line| line.starts_with("stripe ")).unwrap();
    assert!(stripe.contains("HMAC-SHA-256, hex"), "{stripe}");
    assert!(stripe.contains("docs.stripe.com/webhooks"), "{stripe}");
    let unconfirmed = listed.lines().filter(|line| line.contains("(unconfirmed)")).count();
    let expected = provider::all().iter().filter(|provider| provider.unconfirmed.is_some()).count();
    assert_eq!(unconfirmed, expected);
    let rows: Vec<Value> = providers(&["--all", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), provider::all().len());
    assert!(rows.iter().all(|row| row["docs"].as_str().unwrap().starts_with("https://")));
}

#[test]
fn a_provider_is_shown_with_what_a_source_of_it_needs() {
    let slack = providers(&["slack"]);
    for expected in [
        "header x-slack-signature, after \"v0=\"",
        "v0:{timestamp}:{body}",
        "300 s, past and future",
        "signed POST with member type of the body equal to",
        "[source.slack]\nprovider = \"slack\"\npath = \"/slack\"\n",
    ] {
        assert!(slack.contains(expected), "{expected}: {slack}");
    }
    assert!(slack.lines().all(|line| line.len() <= 80), "{slack}");
    let square: Value = serde_json::from_str(&providers(&["square", "--json"])).unwrap();
    assert_eq!(square["signed"], serde_json::json!(["{url}{body}"]));
    assert_eq!(square["signs_url"], true);
    let output = wilco(".".as_ref()).args(["providers", "githup"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("unknown provider \"githup\"; did you mean github?"), "{said}");
}

#[test]
fn the_source_that_is_shown_for_a_provider_is_understood() {
    let mut file = "[listen]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n".to_owned();
    file.push_str("[store]\nurl = \"sqlite:wilco.db\"\n");
    for provider in provider::all() {
        let shown = providers(&[&provider.name]);
        file.push_str(&shown[shown.find("[source.").unwrap()..]);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("wilco.toml"), &file).unwrap();
    let output = wilco(folder.path()).arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("Error")).collect();
    let have_secrets = provider::all().iter().filter(|provider| !provider.teaches_secret());
    assert!(errors.len() >= have_secrets.count(), "{said}");
    // Whatever else is wrong would be said too.
    assert!(errors.iter().all(|line| line.contains("is not set")), "{errors:#?}");
}

fn providers(arguments: &[&str]) -> String {
    let output = wilco(".".as_ref()).arg("providers").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn equal_pings_are_events_of_their_own_if_the_provider_says_so_and_the_source_does_not_object() {
    let pings = "[provider.ping]\nscheme = { family = \"token\", signature = { header = \"x-pin\" } }\n\
                 envelope = { name = [{ text = \"changed\" }], duplicates = \"keep\" }\n\
                 [source.kept]\nprovider = \"ping\"\npath = \"/kept\"\n\
                 secrets = [{ env = \"FREISPACE_SECRET\" }]\n\
                 [source.once]\nprovider = \"ping\"\npath = \"/once\"\nduplicates = \"suppress\"\n\
                 secrets = [{ env = \"FREISPACE_SECRET\" }]\n";
    let world = World::plan().and(pings).start();
    for (path, recorded) in [("/kept", 2), ("/once", 3)] {
        for _ in 0..2 {
            assert_eq!(world.post_to(path, "{}", &[("x-pin", SECRET)]).status, 200);
        }
        assert_eq!(world.recorded(), recorded, "{path}");
    }
}

#[test]
fn the_vectors_of_a_provider_in_the_file_are_checked() {
    let provider = "[provider.pin]\nscheme = { family = \"token\", signature = { header = \"x-pin\" } }\n\
                    envelope = { name = [{ json = \"type\" }] }\n\
                    [[provider.pin.vector]]\nname = \"one\"\n";
    let secret = "secret = \"made-up-in-a-vector\"\n";
    let right = "headers = { x-pin = \"made-up-in-a-vector\" }\n";
    let (valid, body) = ("is-valid = true\n", "body = '{\"type\":\"ping\"}'\n");
    let lines = |lines: &[&str]| lines.concat();
    for (vector, expected) in [
        (lines(&[valid, secret, right, body, "event = \"ping\"\n"]), None),
        (lines(&["is-valid = false\n", secret, "headers = { x-pin = \"other\" }\n", body]), None),
        (
            lines(&[valid, secret, "headers = { x-pin = \"other\" }\n", body]),
            Some("vector \"one\": the request is refused: "),
        ),
        (
            lines(&["is-valid = false\n", secret, right, body]),
            Some("vector \"one\": the request is accepted, and is-valid is false"),
        ),
        (
            lines(&[valid, secret, right, body, "event = \"pong\"\n"]),
            Some("vector \"one\": event is \"ping\", expected \"pong\""),
        ),
        (
            lines(&[valid, secret, right, body, "subject = \"x\"\n"]),
            Some("vector \"one\": subject is missing, expected \"x\""),
        ),
        (lines(&[valid, secret, right]), Some("expected either body or body-base64")),
        (lines(&[valid, secret, body]), Some("headers")),
    ] {
        let world = World::plan().start();
        world.reconfigure(|text| format!("{text}\n{provider}{vector}"));
        let output = world.run_verb(&["reload"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), expected.is_none(), "{vector}\n{said}");
        assert!(said.contains(expected.unwrap_or_default()), "{vector}\n{said}");
        assert!(!said.contains("made-up-in-a-vector"), "{said}");
    }
}
