//! `wilco probe`: what a proxy changes is found and named, and nothing of a probe is ever recorded.

mod proxy;

use std::process::Output;

use serde_json::{Value, json};

use crate::{
    configuration::certificate::{FILES, Issued, pem},
    world::{Plan, World, booking, sign},
};
use proxy::{Act, Forwarded, Proxy};

/// A wilco that prints every event it delivers.
fn plan() -> Plan {
    World::plan().and("[destination.all]\ntype = \"print\"\n[[route]]\nto = [\"all\"]\n")
}

/// The result of a probe as JSON, and its exit code.
fn probe(world: &World, url: &str, further: &[&str]) -> (Value, i32) {
    let output = world.run_verb(&[&["probe", url, "--json"], further].concat());
    let result = serde_json::from_slice(&output.stdout);
    assert!(result.is_ok(), "{output:?}");
    (result.unwrap(), output.status.code().unwrap())
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn findings(result: &Value) -> Vec<&str> {
    let findings = result["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["text"].as_str().unwrap()).collect()
}

/// The results of the requests with these names.
fn results<'v>(result: &'v Value, names: &[&str]) -> Vec<&'v str> {
    let rows = result["requests"].as_array().unwrap();
    let of = |name: &&str| rows.iter().find(|row| row["request"] == *name).unwrap();
    names.iter().map(|name| of(name)["result"].as_str().unwrap()).collect()
}

#[track_caller]
fn check_nothing_is_recorded(world: &World) {
    assert_eq!(world.events(), Vec::<Value>::new());
    assert_eq!(world.count("SELECT count(*) FROM delivery"), 0);
    assert_eq!(std::fs::read_to_string(world.path("stdout")).unwrap(), "");
}

#[test]
fn everything_arrives_unchanged_without_a_proxy_and_nothing_is_recorded() {
    let world = plan().start();
    let url = format!("http://{}/webhook", world.address);
    let (result, code) = probe(&world, &url, &[]);
    assert_eq!((findings(&result), code), (vec![], 0), "{result:#}");
    for row in result["requests"].as_array().unwrap() {
        assert_eq!(row["result"], "ok", "{row}");
    }
    assert_eq!(result["requests"].as_array().unwrap().len(), 18);
    check_nothing_is_recorded(&world);
    let output = world.run_verb(&["probe", &url]);
    let said = text(&output);
    assert!(
        output.status.success() && said.contains("Everything arrived as it was sent"),
        "{said}"
    );
    assert!(said.contains("source freispace, provider freispace"), "{said}");
    let label = "wilco_requests_total{source=\"freispace\",outcome=\"probe\"}";
    assert!(world.metric(label) >= 36.0 - 1.0, "{}", world.get("/metrics").body);
    check_nothing_is_recorded(&world);
}

#[test]
fn what_a_proxy_changes_is_found_and_named() {
    type Change = fn(&mut Forwarded) -> Act;
    let rows: [(&str, Change, &str, &str, &str); 12] = [
        ("writes JSON again", rewrite_json, "numbers", "changed", "1.0 became 1"),
        ("changes line breaks", change_line_breaks, "line breaks", "changed", "CRLF became LF"),
        ("decompresses", decompress, "compressed", "changed", "the body was decompressed"),
        ("drops a header", drop_header, "headers", "changed", "x-wilco-probe-twice was dropped"),
        ("merges headers", merge_headers, "headers", "changed", "were merged into one"),
        (
            "drops the signature",
            drop_signature,
            "plain",
            "changed",
            "x-freispace-signature was dropped",
        ),
        (
            "adds a slash",
            add_slash,
            "plain",
            "changed",
            "the path got a slash: /webhook became /webhook/",
        ),
        (
            "redirects to a slash",
            redirect,
            "plain",
            "lost",
            "gets a slash by a redirect: 301 to /webhook/",
        ),
        (
            "cuts",
            cut,
            "largest body",
            "changed",
            "the body was cut: 65536 of 1048576 bytes arrived",
        ),
        ("refuses a size", refuse_size, "largest body", "lost", "refuses a body of 1048576 bytes"),
        (
            "answers itself",
            |_| Act::Answer(200, "server: stand-in\r\n"),
            "plain",
            "lost",
            "something else than wilco answered 200 (server: stand-in)",
        ),
        ("repeats", |_| Act::Twice, "plain", "ok", "a proxy sent one request 2 times"),
    ];
    let world = plan().start();
    for (what, change, request, expected, finding) in rows {
        let proxy = Proxy::start(world.address, change);
        let (result, code) = probe(&world, &format!("http://{}/webhook", proxy.address), &[]);
        assert_eq!(code, 1, "{what}: {result:#}");
        assert_eq!(results(&result, &[request]), [expected], "{what}: {result:#}");
        let found = findings(&result);
        assert!(found.iter().any(|text| text.contains(finding)), "{what}: {found:#?}");
        check_nothing_is_recorded(&world);
    }
}

#[test]
fn a_proxy_that_only_adds_headers_is_all_right() {
    let world = plan().start();
    let proxy = Proxy::start(world.address, |request| {
        request.add("via", "1.1 stand-in");
        Act::Forward
    });
    let (result, code) = probe(&world, &format!("http://{}/webhook", proxy.address), &[]);
    assert_eq!((findings(&result), code), (vec![], 0), "{result:#}");
    assert_eq!(result["added_headers"], json!(["via"]));
}

#[test]
fn a_request_without_the_id_of_an_open_probe_is_treated_as_any_other() {
    let world = plan().start();
    let token = world.authorization();
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let open = || world.ask("POST", "/api/v1/probes", &headers, "{\"source\":\"freispace\"}");
    let opened: Value = serde_json::from_str(&open().body).unwrap();
    let again = open();
    assert!(again.status == 409 && again.body.contains("another probe is open"), "{again:?}");
    let id = opened["id"].as_str().unwrap();
    let body = booking("b-1", "A");
    let signature = sign(body.as_bytes());
    let signed = ("x-freispace-signature", signature.as_str());
    assert_eq!(world.post(&body, &[("x-wilco-probe", "wrong")]).status, 400);
    // The secret of the source is not that of the probe.
    assert_eq!(world.post(&body, &[signed, ("x-wilco-probe", id)]).status, 403);
    assert_eq!(world.recorded(), 0);
    let wrong = world.post(&body, &[signed, ("x-wilco-probe", "wrong")]);
    assert_eq!((wrong.status, world.recorded()), (200, 1));
    let close = format!("/api/v1/probes/{id}/close");
    assert_eq!(world.ask("POST", &close, &headers, "{}").status, 204);
    let body = booking("b-2", "A");
    assert_eq!(world.post(&body, &[("x-wilco-probe", id)]).status, 400);
    let signature = sign(body.as_bytes());
    let signed = ("x-freispace-signature", signature.as_str());
    assert_eq!(world.post(&body, &[signed, ("x-wilco-probe", id)]).status, 200);
    assert_eq!(world.recorded(), 2);
}

#[test]
fn certificates_are_shown_as_a_provider_sees_them() {
    let world = plan().tls("tls = \"self-signed\"\ndomains = [\"hooks.example.com\"]").start();
    let url = format!("https://{}/webhook", world.address);
    let (result, code) = probe(&world, &url, &[]);
    assert_eq!(code, 1, "{result:#}");
    let found = findings(&result);
    assert!(found.len() == 1 && found[0].contains("certificate"), "{found:?}");
    let names = &result["certificates"]["chain"][0]["names"];
    assert!(names.as_array().unwrap().contains(&json!("hooks.example.com")), "{result:#}");
    let (result, code) = probe(&world, &url, &["--insecure"]);
    assert_eq!((findings(&result), code), (vec![], 0), "{result:#}");
}

#[test]
fn a_chain_is_verified_and_a_missing_intermediate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (root, intermediate) = (authority("root"), authority("intermediate"));
    let leaf = Issued::new("127.0.0.1", 2020, 2090);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.pem", &root.by(&root));
    write("key.pem", &pem("PRIVATE KEY", &leaf.key.serialize_der()));
    write("cert.pem", &leaf.by(&intermediate));
    let world = plan().tls(FILES).start_in(folder);
    let url = format!("https://{}/webhook", world.address);
    let run = || {
        let mut verb = world.verb(&["probe", &url, "--json"]);
        let output = verb.env("SSL_CERT_FILE", world.path("root.pem")).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let result = run();
    let found = findings(&result);
    assert!(
        found.len() == 1 && found[0].contains("intermediate certificate is missing"),
        "{found:?}"
    );
    let whole = leaf.by(&intermediate) + &intermediate.by(&root);
    std::fs::write(world.path("cert.pem"), whole).unwrap();
    assert!(world.run_verb(&["reload"]).status.success());
    let result = run();
    assert_eq!(findings(&result), Vec::<&str>::new(), "{result:#}");
    assert_eq!(result["certificates"]["chain"].as_array().unwrap().len(), 2);
    assert_eq!(result["certificates"]["untrusted"], Value::Null);
}

#[test]
fn what_only_a_provider_can_sign_is_probed_with_another_signature() {
    let world = plan_with_public_key().start();
    let url = format!("http://{}/discord", world.address);
    let (result, code) = probe(&world, &url, &[]);
    assert_eq!((findings(&result), code), (vec![], 0), "{result:#}");
    assert_eq!(
        (&result["source"], &result["signed_as"]),
        (&json!("discord"), &json!("standard-webhooks"))
    );
    let said = text(&world.run_verb(&["probe", &url]));
    assert!(said.contains("that of discord was not tested"), "{said}");
}

#[test]
fn a_source_that_does_not_exist_and_an_address_that_does_not_answer_are_reported() {
    let world = plan().start();
    let output = world.run_verb(&["probe", "http://127.0.0.1:9/webhook", "--source", "nosuch"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("source nosuch not found; known: freispace"), "{said}");
    let (result, code) = probe(&world, "http://127.0.0.1:9/webhook", &[]);
    assert_eq!(code, 1);
    assert!(findings(&result)[0].starts_with("no answer: cannot connect"), "{result:#}");
    let (result, _) = probe(&world, &format!("http://{}/webhook/", world.address), &[]);
    let expected = "differs by a slash from that of the source: /webhook/ instead of /webhook";
    assert!(findings(&result)[0].contains(expected), "{result:#}");
}

/// A certificate authority of this name.
fn authority(name: &str) -> Issued {
    let mut authority = Issued::new(name, 2020, 2090);
    authority.parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority
}

/// A second source, whose provider signs with a private key.
fn plan_with_public_key() -> Plan {
    World::plan()
        .env("DISCORD_KEY", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        .and(
            "[source.discord]\nprovider = \"discord\"\npath = \"/discord\"\n\
             secrets = [{ env = \"DISCORD_KEY\" }]\n",
        )
}

fn rewrite_json(request: &mut Forwarded) -> Act {
    let body = String::from_utf8_lossy(&request.body).replace("1.0", "1");
    if serde_json::from_str::<Value>(&body).is_ok() {
        request.body = body.into_bytes();
    }
    Act::Forward
}

fn change_line_breaks(request: &mut Forwarded) -> Act {
    if let Ok(text) = String::from_utf8(request.body.clone()) {
        request.body = text.replace("\r\n", "\n").into_bytes();
    }
    Act::Forward
}

fn decompress(request: &mut Forwarded) -> Act {
    if request.headers.iter().any(|(name, _)| name == "content-encoding") {
        request.remove("content-encoding");
        request.body = br#"{"event":"probe","about":"a compressed body"}"#.to_vec();
    }
    Act::Forward
}

fn drop_header(request: &mut Forwarded) -> Act {
    request.remove("x-wilco-probe-twice");
    Act::Forward
}

fn merge_headers(request: &mut Forwarded) -> Act {
    if request.headers.iter().any(|(name, _)| name == "x-wilco-probe-twice") {
        request.remove("x-wilco-probe-twice");
        request.add("x-wilco-probe-twice", "1, 2");
    }
    Act::Forward
}

fn drop_signature(request: &mut Forwarded) -> Act {
    request.remove("x-freispace-signature");
    Act::Forward
}

fn add_slash(request: &mut Forwarded) -> Act {
    request.target = request.target.replacen("/webhook", "/webhook/", 1);
    Act::Forward
}

fn redirect(_: &mut Forwarded) -> Act {
    Act::Answer(301, "location: /webhook/\r\n")
}

fn cut(request: &mut Forwarded) -> Act {
    request.body.truncate(64 << 10);
    Act::Forward
}

fn refuse_size(request: &mut Forwarded) -> Act {
    if request.body.len() > 64 << 10 { Act::Answer(413, "") } else { Act::Forward }
}
