//! The two tokens of the admin listener, and what callers may do with them.

use std::fs;

use serde_json::Value;

use crate::world::{World, wilco};

#[test]
fn a_reader_may_look_at_everything_and_change_nothing() {
    let world = World::plan()
        .admin("reader_token = { env = \"READER\" }")
        .env("READER", "only-for-looking")
        .start();
    let reader = [("authorization", "Bearer only-for-looking"), JSON];
    let operator = world.authorization();
    let operator = [("authorization", operator.as_str()), JSON];
    let document: Value =
        serde_json::from_str(&world.ask("GET", "/api/openapi.json", &reader, "").body).unwrap();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            let path = path.replace("{id}", "evt_01M89FXQAS000XWFNKEM3JNBGP");
            // No body, so that the operator's request changes nothing either.
            let status = |headers| world.ask(&method, &path, headers, "").status;
            assert_eq!(status(&[]), 401, "{method} {path}");
            assert!(![401, 403].contains(&status(&operator)), "{method} {path}");
            match method.as_str() {
                "GET" => assert!(![401, 403].contains(&status(&reader)), "{method} {path}"),
                _ => assert_eq!(status(&reader), 403, "{method} {path}"),
            }
            operations += 1;
        }
    }
    assert!(operations > 20, "{operations}");
    for (method, path, expected) in [
        ("GET", "/metrics", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 403),
        ("DELETE", "/api/v1/events", 403),
    ] {
        assert_eq!(world.ask(method, path, &reader, "").status, expected, "{method} {path}");
    }
    let refused = world.ask("POST", "/api/v1/reload", &reader, "");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_str(&refused.body).unwrap();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("role operator") && detail.contains("[admin] token"), "{detail}");
}

#[test]
fn a_reader_token_that_is_the_token_itself_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[listen]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n[admin]\ntoken = { env = \"A\" }\n\
                reader_token = { env = \"B\" }\n[source.a]\nprovider = \"freispace\"\npath = \"/\"\n\
                secrets = [{ env = \"A\" }]\n";
    fs::write(folder.path().join("wilco.toml"), file).unwrap();
    let output = wilco(folder.path())
        .args(["check"])
        .env("A", "the-same-token")
        .env("B", "the-same-token")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("reader_token is the same as token"), "{said}");
    assert!(!said.contains("the-same-token"), "{said}");
}

const JSON: (&str, &str) = ("content-type", "application/json");
