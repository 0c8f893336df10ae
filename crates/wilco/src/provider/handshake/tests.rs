use super::*;
use crate::{Head, Headers};

const HEAD: &str = "name = \"x\"\ntitle = \"X\"\ndocs = \"https://x.example\"\n\
    scheme = { family = \"hex\", signature = { header = \"x-signature\" } }\n\
    envelope = { name = [{ json = \"type\" }] }\n[[handshake]]\n";

fn provider(handshake: &str) -> Provider {
    toml::from_str(&format!("{HEAD}{handshake}")).unwrap()
}

fn request(method: &'static str, query: &str, body: &str) -> Arrival {
    let headers = Headers::from_pairs([("x-hook-secret", "learnt-secret")]);
    let head = Head { method: method.into(), url: format!("/x?{query}"), headers };
    let body = body.as_bytes().to_vec().into();
    Arrival { received_at: jiff::Timestamp::UNIX_EPOCH, head, body }
}

#[test]
fn a_challenge_is_answered_as_the_file_says_and_everything_else_is_not() {
    let meta = "method = \"GET\"\n\
        when = [{ query = \"mode\", is = \"subscribe\" }, { query = \"token\", is-secret = true }]\n\
        answer.body = \"{query:challenge}\"";
    let tokens = ["right-token", "older-token"].map(|text| Secret::new("t", text.into()).unwrap());
    let secrets = HandshakeSecrets { verify_tokens: &tokens, keys: &[] };
    for (method, query, expected) in [
        ("GET", "mode=subscribe&token=right-token&challenge=1%3C2", Some("1<2")),
        ("GET", "mode=subscribe&token=older-token&challenge=7", Some("7")),
        ("GET", "mode=subscribe&token=wrong&challenge=7", None),
        ("GET", "mode=subscribe&challenge=7", None),
        ("GET", "mode=x&token=right-token&challenge=7", None),
        ("GET", "mode=subscribe&token=right-token", None),
        ("GET", "mode=subscribe&token=right-token&challenge=", None),
        ("GET", &format!("mode=subscribe&token=right-token&challenge={}", "x".repeat(4_097)), None),
        ("POST", "mode=subscribe&token=right-token&challenge=7", None),
        ("HEAD", "mode=subscribe&token=right-token&challenge=7", None),
    ] {
        let found = provider(meta).challenge(&request(method, query, ""), false, secrets);
        assert_eq!(found.as_ref().map(|found| found.body.as_str()), expected, "{method} {query}");
        let kind = found.map(|found| found.content_type);
        assert!(kind.is_none_or(|kind| kind == Some(AnswerType::Text)));
    }
}

#[test]
fn a_signed_challenge_needs_the_signature_and_is_escaped_as_json() {
    let slack = "when = [{ json = \"type\", is = \"url_verification\" }]\n\
        answer = { content-type = \"application/json\", body = '{\"challenge\":\"{json:challenge}\"}' }";
    let body = r#"{"type":"url_verification","challenge":"a\"},{<b>\u0000"}"#;
    let request = request("POST", "", body);
    assert_eq!(provider(slack).challenge(&request, false, HandshakeSecrets::default()), None);
    let answer = provider(slack).challenge(&request, true, HandshakeSecrets::default()).unwrap();
    assert_eq!(answer.body, r#"{"challenge":"a\"},{<b>\u0000"}"#);
    assert_eq!((answer.status, answer.content_type), (200, Some(AnswerType::Json)));
}

#[test]
fn an_answer_is_computed_with_the_first_key() {
    let zoom = "when = [{ json = \"event\", is = \"endpoint.url_validation\" }]\n\
        answer.content-type = \"application/json\"\n\
        answer.body = '{\"plainToken\":\"{json:p}\",\"encryptedToken\":\"{hmac-sha256-hex:json:p}\"}'";
    let provider = provider(zoom);
    let keys = ["a-made-up-secret", "another-secret"]
        .map(|text| provider.scheme.key(&Secret::new("t", text.into()).unwrap()).unwrap());
    let body = r#"{"event":"endpoint.url_validation","p":"qgg8vlvZRS6UYooatFL8Aw"}"#;
    let secrets = HandshakeSecrets { verify_tokens: &[], keys: &keys };
    for odd in [r"{}", r"v0:1700000000", r"a b", &"x".repeat(257)] {
        let body = format!(r#"{{"event":"endpoint.url_validation","p":"{odd}"}}"#);
        let answer = provider.challenge(&request("POST", "", &body), true, secrets);
        assert_eq!(answer, None, "{odd} could be what a signature covers");
    }
    let answer = provider.challenge(&request("POST", "", body), true, secrets).unwrap();
    // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac a-made-up-secret
    let expected = r#"{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"HMAC"}"#;
    assert_eq!(
        answer.body,
        expected
            .replace("HMAC", "b4acd3a15701a51944ab8d59e2dcbc959bcb328a0190bc15c767f99fa30e537c")
    );
}

#[test]
fn a_secret_is_learnt_and_sent_back() {
    let asana = "when = [{ header = \"x-hook-secret\" }]\nis-signed = false\n\
        learn-secret = { header = \"x-hook-secret\" }\n\
        answer = { status = 204, headers = { x-hook-secret = \"{header:x-hook-secret}\" } }";
    let provider = provider(asana);
    assert!(provider.teaches_secret());
    let mut request = request("POST", "", "{}");
    let answer = provider.challenge(&request, false, HandshakeSecrets::default()).unwrap();
    assert_eq!(answer.headers, [("x-hook-secret".to_owned(), "learnt-secret".to_owned())]);
    assert_eq!(answer.learnt.as_deref(), Some(&b"learnt-secret"[..]));
    request.head.headers = Headers::from_pairs([("x-hook-secret", "a\u{e9}b")]);
    assert_eq!(provider.challenge(&request, false, HandshakeSecrets::default()), None);
}

#[test]
fn a_handshake_that_contradicts_itself_or_is_dangerous_is_refused() {
    let when = "when = [{ json = \"a\" }]";
    for (lines, expected) in [
        ("when = []\nanswer = {}".into(), "without a condition"),
        (
            "method = \"GET\"\nwhen = [{ json = \"a\" }]\nanswer = {}".into(),
            "only a POST has a body",
        ),
        ("method = \"PUT\"\nwhen = []\nanswer = {}".into(), "unknown variant"),
        (
            "when = [{ json = \"a\", is = \"x\", is-secret = true }]\nanswer = {}".into(),
            "expected one of",
        ),
        (format!("{when}\nlearn-secret = {{ json = \"a\" }}\nanswer = {{}}"), "is-signed = false"),
        (format!("{when}\nanswer.status = 302"), "200 to 299"),
        (format!("{when}\nanswer.content-type = \"text/html\""), "unknown variant `text/html`"),
        (format!("{when}\nanswer.headers.location = \"x\""), "cannot have the header location"),
        (format!("{when}\nanswer.headers.content-type = \"x\""), "cannot have the header"),
        (format!("{when}\nanswer.body = \"{{jsn:a}}\""), "unknown value {jsn:a}"),
        (format!("{when}\nanswer.body = \"{{json:a\""), "missing }"),
        (
            format!(
                "{when}\nanswer = {{ content-type = \"application/json\", body = '{{\"a\":{{json:a}}}}' }}"
            ),
            "between quotes",
        ),
    ] {
        let error = toml::from_str::<Provider>(&format!("{HEAD}{lines}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{lines}: {error}");
    }
}
