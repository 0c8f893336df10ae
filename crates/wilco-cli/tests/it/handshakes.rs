//! Requests with which a provider makes sure of the endpoint, and the answers that it wants: on the real
//! binary, with providers of the configuration.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use crate::world::{SECRET, World, wilco};

const PROVIDERS: &str = r#"
[provider.chat]
scheme = { family = "hex", signature = { header = "x-signature" } }
envelope = { name = [{ json = "type" }] }
answers.accepted = { status = 202, content-type = "text/plain", body = "[accepted]" }
answers.missing = 401
answers.invalid = 401
[[provider.chat.handshake]]
method = "GET"
when = [{ query = "mode", is = "subscribe" }, { query = "verify_token", is-secret = true }]
answer.body = "{query:challenge}"
[[provider.chat.handshake]]
when = [{ json = "type", is = "verify" }]
answer = { content-type = "application/json", body = '{"challenge":"{json:challenge}","mac":"{hmac-sha256-hex:json:nonce}"}' }
[[provider.chat.handshake]]
when = [{ form = "webhook_id" }]
is-signed = false
answer.status = 204

[source.chat]
provider = "chat"
path = "/chat"
secrets = [{ env = "FREISPACE_SECRET" }]
verify_token = { env = "VERIFY_TOKEN" }

[provider.shop]
scheme = { family = "base64", signature = { header = "x-signature" }, signed = ["{url}{body}"] }
envelope = { name = [{ query = "topic" }], content = "any" }

[source.shop]
provider = "shop"
path = "/shop"
public_url = "https://hooks.example.com/in/shop"
secrets = [{ env = "FREISPACE_SECRET" }]

[provider.gate]
scheme = { family = "token", signature = { query = "pin" } }
envelope = { name = [{ text = "opened" }], content = "any" }

[source.gate]
provider = "gate"
path = "/gate"
secrets = [{ env = "FREISPACE_SECRET" }]
"#;

fn world() -> World {
    World::plan().and(PROVIDERS).env("VERIFY_TOKEN", "the-verify-token").start()
}

/// The HMAC-SHA-256 with the secret of every world, in hex or base64.
fn mac(family: &str, text: &str) -> String {
    let scheme = format!("family = {family:?}\nsignature = {{ header = \"x\" }}");
    let scheme: ::wilco::Scheme = toml::from_str(&scheme).unwrap();
    let secret = ::wilco::Secret::new("test", SECRET.into()).unwrap();
    let request = ::wilco::Unsigned::post(text.as_bytes(), jiff::Timestamp::UNIX_EPOCH);
    scheme.sign(&secret, &request).unwrap().pop().unwrap().1
}

/// The whole response to a request without a body.
fn ask(world: &World, line: &str) -> String {
    let mut stream = world.connect();
    let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn a_challenge_by_get_is_repeated_if_the_token_is_right_and_refused_if_not() {
    let world = world();
    let right = "/chat?mode=subscribe&verify_token=the-verify-token&challenge=%3Cb%3E1158201444";
    let reply = ask(&world, &format!("GET {right}"));
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(reply.ends_with("\r\n\r\n<b>1158201444"), "{reply}");
    let head = reply.to_lowercase();
    assert!(head.contains("content-type: text/plain\r\n"), "{reply}");
    assert!(head.contains("x-content-type-options: nosniff\r\n"), "{reply}");
    for line in [
        format!("GET {}", right.replace("the-verify", "another")),
        format!("GET {}", right.replace("subscribe", "x")),
        format!("GET {}", right.replace("challenge", "challenges")),
        "GET /chat".into(),
        format!("HEAD {right}"),
        format!("PUT {right}"),
    ] {
        let reply = ask(&world, &line);
        assert!(reply.starts_with("HTTP/1.1 405 "), "{line}: {reply}");
        assert!(reply.to_lowercase().contains("allow: get, post\r\n"), "{line}: {reply}");
    }
    let other = ask(&world, &format!("GET {}", right.replace("/chat", "/webhook")));
    assert!(other.starts_with("HTTP/1.1 405 "), "{other}");
    assert!(other.to_lowercase().contains("allow: post\r\n"), "{other}");
    assert_eq!(world.recorded(), 0);
    let log = world.log_with("handshake answered");
    assert!(!log.contains("the-verify-token"), "a secret is in the log");
    let counted = "wilco_requests_total{source=\"chat\",outcome=\"handshake\"}";
    assert_eq!(world.metric(counted), 1.0, "{}", world.get("/metrics").body);
}

#[test]
fn a_challenge_by_post_needs_the_signature_unless_the_provider_sends_none() {
    let world = world();
    let body = r#"{"type":"verify","challenge":"a\"},<b>","nonce":"7f"}"#;
    let signature = mac("hex", body);
    let reply = world.post_to("/chat", body, &[("x-signature", &signature)]);
    let expected = format!(r#"{{"challenge":"a\"}},<b>","mac":"{}"}}"#, mac("hex", "7f"));
    assert_eq!((reply.status, reply.body.as_str()), (200, expected.as_str()));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(world.post_to("/chat", body, &[("x-signature", &mac("hex", "x"))]).status, 401);
    assert_eq!(world.post_to("/chat", body, &[]).status, 401);
    assert_eq!(world.post_to("/chat", "webhook_id=7", &[]).status, 204);
    assert_eq!(world.post_to("/webhook", "webhook_id=7", &[]).status, 400);
    assert_eq!(world.recorded(), 0);
}

#[test]
fn an_event_is_answered_as_its_provider_wants_it() {
    let world = world();
    let body = r#"{"type":"message"}"#;
    let signature = mac("hex", body);
    for duplicate in [None, Some("true")] {
        let reply = world.post_to("/chat", body, &[("x-signature", &signature)]);
        assert_eq!((reply.status, reply.body.as_str()), (202, "[accepted]"));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_eq!(reply.header("x-wilco-duplicate"), duplicate);
        assert!(reply.header("x-wilco-event").is_some());
    }
    let list = "[1]";
    let reply = world.post_to("/chat", list, &[("x-signature", &mac("hex", list))]);
    assert_eq!((reply.status, reply.message().as_str()), (400, "Invalid JSON payload"));
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_signed_url_is_the_public_one_with_the_query_of_the_request() {
    let world = world();
    let sign = |url: &str| mac("base64", &format!("{url}not JSON"));
    let right = sign("https://hooks.example.com/in/shop?topic=orders%2Fpaid");
    let post = |path: &str, signature: &str| {
        world.post_to(path, "not JSON", &[("x-signature", signature)]).status
    };
    assert_eq!(post("/shop?topic=orders%2Fpaid", &right), 200);
    assert_eq!(post("/shop?topic=orders%2Fvoid", &right), 403);
    assert_eq!(post("/shop", &right), 403);
    assert_eq!(post("/shop", &sign("https://hooks.example.com/in/shop")), 200);
    assert_eq!(world.events()[0]["event"], "orders/paid");
}

#[test]
fn a_secret_in_a_url_gets_into_no_log_and_no_event() {
    let world = world();
    for (path, status) in [
        (format!("/gate?pin={SECRET}&side=left"), 200),
        ("/gate?pin=a-canary-secret&token=another-canary&side=left".into(), 403),
        ("/gate?token=another-canary".into(), 400),
    ] {
        assert_eq!(world.post_to(&path, "{}", &[]).status, status, "{path}");
    }
    world.eventually("the rejections", |world| world.count("SELECT count(*) FROM rejection") == 2);
    let shown = world.get("/api/v1/rejections").body;
    assert!(shown.contains("/gate?pin=(redacted)&token=(redacted)&side=left"), "{shown}");
    assert!(shown.contains("/gate?token=(redacted)\""), "{shown}");
    assert_eq!(world.events()[0]["event"], "opened");
    let record = [fs::read(world.path("wilco.db")), fs::read(world.path("wilco.db-wal"))];
    let record = record.map(|file| String::from_utf8_lossy(&file.unwrap_or_default()).into_owned());
    let (record, shown) = (record.concat(), [shown, world.log()].concat());
    // Of the two rejections, only that with a wrong secret may be accepted, and is kept as it came.
    for (secret, kept) in [(SECRET, 0), ("pin=a-canary-secret", 1), ("token=another-canary&", 1)] {
        assert_eq!(record.matches(secret).count().min(1), kept, "{secret}");
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    assert!(!record.contains("/gate?token=another-canary"));
}

const TEACHER: &str = r#"
[provider.tasks]
scheme = { family = "hex", signature = { header = "x-hook-signature" } }
envelope = { name = [{ json = "type" }] }
[[provider.tasks.handshake]]
when = [{ header = "x-hook-secret" }]
is-signed = false
learn-secret = { header = "x-hook-secret" }
answer = { status = 204, headers = { x-hook-secret = "{header:x-hook-secret}" } }

[source.tasks]
provider = "tasks"
path = "/tasks"
learned_secret = "FOLDER/tasks.secret"
"#;

#[test]
fn a_secret_that_a_handshake_brings_is_kept_used_at_once_and_never_replaced() {
    let mut world = World::plan().and(TEACHER).start();
    let body = r#"{"type":"added"}"#;
    let signature = mac("hex", body);
    let event =
        |world: &World| world.post_to("/tasks", body, &[("x-hook-signature", &signature)]).status;
    let bring = |world: &World, secret: &str| {
        let reply = world.post_to("/tasks", "{}", &[("x-hook-secret", secret)]);
        (reply.status, reply.header("x-hook-secret").map(str::to_owned))
    };
    assert_eq!(event(&world), 403, "nothing is signed yet");
    assert_eq!(bring(&world, "short"), (503, None));
    assert_eq!(bring(&world, SECRET), (204, Some(SECRET.to_owned())));
    let path = world.path("tasks.secret");
    assert_eq!(fs::read_to_string(&path).unwrap(), SECRET);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(event(&world), 200, "at once");
    assert_eq!(bring(&world, SECRET), (204, Some(SECRET.to_owned())), "asked again");
    assert_eq!(bring(&world, "the-secret-of-a-stranger"), (403, None));
    assert!(world.run_verb(&["reload"]).status.success());
    assert_eq!(event(&world), 200, "after a reload");
    world = world.kill_and_restart();
    assert_eq!(event(&world), 200, "after a restart");
    assert_eq!(bring(&world, "the-secret-of-a-stranger"), (403, None));
    assert_eq!(fs::read_to_string(&path).unwrap(), SECRET);
    fs::remove_file(&path).unwrap();
    assert_eq!(bring(&world, "the-secret-of-a-new-webhook").0, 204, "after the file was removed");
    assert_eq!(event(&world), 403);
    assert_eq!(world.recorded(), 1);
    let log = world.log_with("secret learned");
    assert!(!log.contains(SECRET) && !log.contains("the-secret-of"), "a secret is in the log");
}

#[test]
fn a_learned_secret_has_a_file_and_only_if_the_provider_brings_one() {
    for (right, wrong, expected) in [
        ("learned_secret = \"FOLDER/tasks.secret\"", "", "needs learned_secret"),
        ("is-signed = false\nlearn-secret = { header = \"x-hook-secret\" }", "", "needs secrets"),
    ] {
        let said = check(&TEACHER.replace(right, wrong)).1;
        assert!(said.contains(expected), "{wrong}: {said}");
    }
}

#[test]
fn the_provider_of_the_manual_works() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers.md");
    let manual = fs::read_to_string(manual).unwrap();
    let (_, section) = manual.split_once("## Write your own").unwrap();
    let (_, rest) = section.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let world = World::plan().and(example).env("FARM_SECRET", SECRET).start();
    let scheme = "family = \"stripe\"\nsignature = { header = \"x-farm-signature\" }\n\
                  timestamp = { header = \"x-farm-signature\" }";
    let scheme: ::wilco::Scheme = toml::from_str(scheme).unwrap();
    let send = |secret: &str, body: &str| {
        let secret = ::wilco::Secret::new("test", secret.into()).unwrap();
        let request = ::wilco::Unsigned::post(body.as_bytes(), jiff::Timestamp::now());
        let headers = scheme.sign(&secret, &request).unwrap();
        let headers: Vec<_> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        world.post_to("/farm", body, &headers)
    };
    let hello = send(SECRET, r#"{"type":"hello","challenge":"7f"}"#);
    assert_eq!((hello.status, hello.body.as_str()), (200, r#"{"challenge":"7f"}"#));
    let event = r#"{"type":"job.finished","job":{"id":"j-7"},"delivery":"d-1"}"#;
    assert_eq!(send(SECRET, event).status, 200);
    assert_eq!(send("another-secret", event).status, 401);
    let recorded = world.events().remove(0);
    assert_eq!(recorded["event"], "job.finished");
    assert_eq!(recorded["subject"], "job/j-7");
    assert_eq!(world.recorded(), 1);
}

/// What `wilco check` says about a file with these tables, and whether it is valid.
fn check(tables: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[listen]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n{tables}");
    fs::write(folder.path().join("wilco.toml"), text).unwrap();
    let mut check = wilco(folder.path());
    check.env("FREISPACE_SECRET", SECRET).args(["check", "--config", "wilco.toml"]);
    let checked = check.output().unwrap();
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    (checked.status.success(), said)
}

#[test]
fn a_mistake_in_a_provider_is_pointed_at() {
    let good = "[provider.mine]\nscheme = { family = \"hex\", signature = { header = \"x\" } }\n\
                envelope = { name = [{ json = \"type\" }] }\n\
                [source.mine]\nprovider = \"mine\"\npath = \"/mine\"\n\
                secrets = [{ env = \"FREISPACE_SECRET\" }]\n";
    for (right, wrong, expected) in [
        ("", "", ""),
        ("family = \"hex\"", "family = \"hxe\"", "unknown family \"hxe\""),
        ("header = \"x\"", "header = \"X\"", "expected header names in lower case"),
        ("json = \"type\"", "json = \"a..b\"", "invalid path \"a..b\""),
        ("envelope = {", "envelop = {", "unknown field `envelop`"),
        ("provider = \"mine\"", "provider = \"mime\"", "did you mean \"mine\""),
        ("[provider.mine]", "[provider.github]", "wilco knows a provider \"github\""),
        ("[provider.mine]", "[provider.Mine]", "invalid name \"Mine\""),
        ("family = \"hex\",", "family = \"hex\", signed = [\"{url}{body}\"],", "needs public_url"),
        (
            "envelope = {",
            "events = { aliases = { a = \"b\" } }\nenvelope = {",
            "only a provider that wilco knows has aliases",
        ),
    ] {
        let (is_valid, said) = check(&good.replacen(right, wrong, 1));
        assert!(said.contains(expected), "{wrong}: {said}");
        assert_eq!(is_valid, expected.is_empty(), "{wrong}: {said}");
        let is_once = said.matches("Error: ").count() <= 1 || wrong.starts_with("[provider");
        assert!(is_once, "{wrong} is reported once: {said}");
    }
}
