//! Each thing that usually goes wrong with a signature is found and named, and nothing else is.

#![expect(clippy::unwrap_used, reason = "a test")]

use jiff::Timestamp;
use wilco::{
    Arrival, Head, Headers, Provider, Scheme, Secret, Unsigned,
    doctor::{self, Case, Diagnosis},
    provider,
};

const SECRET: &str = "a-made-up-secret";
const BODY: &str = "{\"event\": \"booking.created\",\r\n\"id\": 1.0, \"name\": \"Färberhof/2\"}";

type Pairs = Vec<(String, String)>;
type Change = fn(Pairs) -> Pairs;

/// A request as the sender sent it, and what the receiver knows.
struct Request {
    provider: String,
    sender_secret: Vec<u8>,
    secret: Vec<u8>,
    signed_body: Vec<u8>,
    body: Vec<u8>,
    signed_url: String,
    url: String,
    age_secs: i64,
    /// What becomes of the headers.
    headers: Change,
}

impl Request {
    fn of(provider: &str) -> Self {
        Self {
            provider: provider.into(),
            sender_secret: SECRET.into(),
            secret: SECRET.into(),
            signed_body: BODY.into(),
            body: BODY.into(),
            signed_url: String::new(),
            url: String::new(),
            age_secs: 0,
            headers: |headers| headers,
        }
    }

    /// Signed over another body than the one that arrives.
    fn changed(signed_body: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) -> Self {
        Self { signed_body: signed_body.into(), body: body.into(), ..Self::of("freispace") }
    }

    fn with_secrets(provider: &str, sender_secret: &str, secret: &str) -> Self {
        Self { sender_secret: sender_secret.into(), secret: secret.into(), ..Self::of(provider) }
    }

    fn with_headers(provider: &str, headers: Change) -> Self {
        Self { headers, ..Self::of(provider) }
    }

    fn arrival(&self) -> Arrival {
        let received_at = Timestamp::from_second(1_800_000_000).unwrap();
        let at = Timestamp::from_second(1_800_000_000 - self.age_secs).unwrap();
        let unsigned = Unsigned {
            url: &self.signed_url,
            id: "msg_1",
            ..Unsigned::post(&self.signed_body, at)
        };
        let secret = Secret::of_any_length("sender", self.sender_secret.clone()).unwrap();
        let headers = find(&self.provider).scheme.sign(&secret, &unsigned).unwrap();
        let headers = Headers::from_pairs((self.headers)(headers));
        let head = Head { method: "POST".into(), url: self.url.clone(), headers };
        Arrival { received_at, head, body: self.body.clone().into() }
    }

    fn explain(&self) -> Diagnosis {
        let secrets = [Secret::new("env:S", self.secret.clone()).unwrap()];
        let others = [(
            "other".to_owned(),
            Secret::new("env:O", b"the-secret-of-another".to_vec()).unwrap(),
        )];
        let arrival = self.arrival();
        let scheme = &find(&self.provider).scheme;
        let case = Case { scheme, secrets: &secrets, others: &others, arrival: &arrival };
        doctor::explain(case, &mut || true)
    }
}

fn find(name: &str) -> std::sync::Arc<Provider> {
    provider::find(name).unwrap().clone()
}

fn ids(diagnosis: &Diagnosis) -> Option<Vec<&'static str>> {
    let found = diagnosis.found.as_ref()?;
    Some(found.changes.iter().map(|change| change.id).collect())
}

#[test]
fn a_change_of_the_body_is_named() {
    let compact = BODY.replace(": ", ":").replace(", ", ",").replace(",\r\n", ",");
    for (id, signed, received) in [
        ("final-newline-added", BODY.to_owned(), format!("{BODY}\n")),
        ("final-newline-removed", format!("{BODY}\n"), BODY.to_owned()),
        ("final-newline-removed", format!("{BODY}\r\n"), BODY.to_owned()),
        ("cr-lf-to-lf", BODY.to_owned(), BODY.replace("\r\n", "\n")),
        ("lf-to-cr-lf", BODY.replace("\r\n", "\n"), BODY.to_owned()),
        ("bom-added", BODY.to_owned(), format!("\u{feff}{BODY}")),
        ("bom-removed", format!("\u{feff}{BODY}"), BODY.to_owned()),
        ("json-rewritten", compact.clone(), BODY.to_owned()),
        ("json-rewritten", BODY.replace("\r\n", " "), compact.clone()),
        ("json-rewritten", compact.replace('ä', "\\u00e4"), compact.clone()),
        ("json-rewritten", compact.replace('ä', "\\u00E4"), compact.clone()),
        ("json-rewritten", compact.replace('/', "\\/"), compact.clone()),
        ("json-rewritten", compact.replace('/', "\\/").replace('ä', "\\u00e4"), compact.clone()),
        ("json-rewritten", "{\"a\":1,\"b\":2}".into(), "{\"b\": 2, \"a\": 1}".into()),
        ("form-field", "{\"a\":1}".into(), "payload=%7B%22a%22%3A1%7D".into()),
        (
            "wrapped-in-json",
            "{\"a\":1}".into(),
            r#"{"body":"{\"a\":1}","isBase64Encoded":false}"#.into(),
        ),
        ("base64", "{\"a\":1}".into(), "eyJhIjoxfQ==".into()),
        ("latin-1-to-utf-8", "{\"a\":\"ä\"}".into(), "{\"a\":\"Ã¤\"}".into()),
        ("empty", String::new(), BODY.to_owned()),
    ] {
        let diagnosis = Request::changed(signed, received).explain();
        assert_eq!(ids(&diagnosis), Some(vec![id]), "{diagnosis:?}");
    }
    // Python: gzip.compress(b'{"a":1}', mtime=0)
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x54\xb2\x32\xac\x05\x00\xaf\xac\x1b\x56\x07\x00\x00\x00";
    let diagnosis = Request::changed("{\"a\":1}", *gzip).explain();
    assert_eq!(ids(&diagnosis), Some(vec!["compressed"]), "{diagnosis:?}");
}

#[test]
fn a_change_of_the_secret_is_named() {
    let base64 = "YS1tYWRlLXVwLXNlY3JldA==";
    for (provider, id, sender, receiver) in [
        ("freispace", "secret-to-base64", base64, SECRET),
        ("freispace", "secret-from-base64", SECRET, base64),
        ("freispace", "secret-to-hex", "612d6d6164652d75702d736563726574", SECRET),
        ("freispace", "secret-from-hex", SECRET, "612d6d6164652d75702d736563726574"),
        ("freispace", "secret-without-prefix", SECRET, "whsec_a-made-up-secret"),
        ("freispace", "secret-with-prefix", "whsec_a-made-up-secret", SECRET),
        ("freispace", "secret-lower-case", "a-made-up-secret", "A-made-up-secret"),
        ("freispace", "secret-upper-case", "A-MADE-UP-SECRET", "a-made-up-secret"),
        ("freispace", "secret-of-another-source", "the-secret-of-another", SECRET),
        ("github", "secret-of-another-source", "the-secret-of-another", SECRET),
    ] {
        let diagnosis = Request::with_secrets(provider, sender, receiver).explain();
        assert_eq!(ids(&diagnosis), Some(vec![id]), "{provider}: {diagnosis:?}");
    }
}

#[test]
fn a_change_of_the_signature_s_form_is_named() {
    fn each(headers: Pairs, change: impl Fn(&str) -> String) -> Pairs {
        headers.into_iter().map(|(name, value)| (name, change(&value))).collect()
    }
    let rows: [(&str, Change, &str); 8] = [
        ("freispace", |headers| each(headers, str::to_uppercase), "signature-form"),
        ("freispace", |headers| each(headers, |value| format!("sha256={value}")), "signature-form"),
        (
            "freispace",
            |headers| each(headers, |value| format!("{value}, {value}")),
            "signature-form",
        ),
        ("freispace", |headers| each(headers, |value| format!("\"{value}\"")), "signature-form"),
        ("freispace", |headers| [headers.clone(), headers].concat(), "signature-form"),
        ("github", |headers| each(headers, |value| value.replace("sha256=", "")), "signature-form"),
        (
            "freispace",
            |headers| headers.into_iter().map(|(_, value)| ("x-signature".into(), value)).collect(),
            "signature-header",
        ),
        (
            "github",
            |headers| {
                headers.into_iter().map(|(_, value)| ("x-hub-signature".into(), value)).collect()
            },
            "signature-header",
        ),
    ];
    for (provider, headers, id) in rows {
        let diagnosis = Request::with_headers(provider, headers).explain();
        assert_eq!(ids(&diagnosis), Some(vec![id]), "{provider}: {diagnosis:?}");
    }
}

/// Signatures that Python's hmac and hashlib compute.
#[test]
fn what_a_sender_may_have_computed_instead_is_named() {
    let rows: &[(&[&str], &str)] = &[
        (
            &["secret-with-newline"],
            "16124a10c076fddf6ddb77d5e14f7f9657e3bcf8bb7fb1e32459ee2ea105ebc2",
        ),
        (
            &["secret-with-newline"],
            "98bc9d42aab2f03da2cf935235ba977ec61b75d0cd869a84ddd336548967b7c7",
        ),
        (
            &["secret-with-space"],
            "b2c49c481c5840b01dfc8309754d76d7143a4da482af4699a280748d6667798f",
        ),
        (
            &["secret-with-quotes"],
            "19ac46fbb138907674ad628df262a026eb635ca519339b91e4963ec1dcdf786f",
        ),
        (&["secret-empty"], "edc6439efaf579bfa33da939c99225297d5dbb00a8dacecfb4b997ef906b817e"),
        (&["algorithm"], "2173b5dbb1fa2824493f17357fec6e2b14fe9b8f66f256f829fca03a641acc76"),
        (&["algorithm"], "5240d18fe653009445a92eae904fd7ad6e2e55520e6da2c0cc2d0be5eeaddf25"),
        (&["signed-parts"], "f2501ef625d9d9775a3a634e836112f1adfa5f24a72c069801fbd98851aa6511"),
        (&["signed-parts"], "49a5896c0feb0807ab7a93f5eb00509cae5aa56f756e7aa44b5454d5d01e64b5"),
        (&["signed-parts"], "a18109bb90273a0cc3db55464891a6b2ae7c94b5b9fb153de71bd4530b04d6c9"),
        (&["signed-parts"], "f5de83e15daf5a52b391fab8084b566d4b5f2f2bc592ede9bab69939915ef0dc"),
        (&["signed-parts"], "a486d08deff976dd259691604a03b3203f2c6231282848827dddff57f6a4caa1"),
        (&["signature-form"], "+C8ZFsil36C5Ai7VZr5270m19/nldH2v8FxGo8d9YwM="),
        (
            &["signature-form"],
            "ZjgyZjE5MTZjOGE1ZGZhMGI5MDIyZWQ1NjZiZTc2ZWY0OWI1ZjdmOWU1NzQ3ZGFmZjA1YzQ2YTNjNzdkNjMwMw==",
        ),
        (&["algorithm"], "00f9aac7faaac4124ee6603cd45b98712ce14335"),
        (
            &["algorithm"],
            "9fa403d53f9379c307cb589c55fe6a54cd76d5152973e58c4aefba2c1424066264a988348f17ee70b949625e10cf08814a2469fbb1cafcaf988a0537eb1400b1",
        ),
        (&["signature-form", "algorithm"], "sha1=00f9aac7faaac4124ee6603cd45b98712ce14335"),
    ];
    let provider = find("freispace");
    for (expected, signature) in rows {
        let diagnosis =
            explain_signature(&provider.scheme, signature, "https://a.example/hook?a=b", 0);
        assert_eq!(ids(&diagnosis).as_deref(), Some(*expected), "{signature}: {diagnosis:?}");
    }
}

#[test]
fn another_url_of_the_endpoint_is_named() {
    let scheme = scheme(r#"signed = ["{url}{body}"]"#);
    let signature = "11baeb5ab23bfad9319682f00b44761410d047dbc443496f0f95f2656292a76e";
    for url in [
        "http://hooks.example.com/hook?a=b",
        "https://hooks.example.com:8443/hook?a=b",
        "https://127.0.0.1:8080/hook?a=b",
        "https://hooks.example.com/hook/?a=b",
    ] {
        let diagnosis = explain_signature(&scheme, signature, url, 0);
        assert_eq!(ids(&diagnosis), Some(vec!["url"]), "{url}: {diagnosis:?}");
    }
}

#[test]
fn a_wrong_clock_is_named_alone_or_with_another_mistake() {
    let scheme = scheme(
        "signed = [\"{timestamp}.{body}\"]\ntimestamp = { header = \"x-time\" }\ntolerance-secs = 300",
    );
    let signature = "f2501ef625d9d9775a3a634e836112f1adfa5f24a72c069801fbd98851aa6511";
    let upper = signature.to_uppercase();
    for (signature, age_secs, expected) in [
        (signature, 0, &[][..]),
        (signature, 301, &["clock"]),
        (signature, -900, &["clock"]),
        (signature, 3_650, &["time-zone"]),
        (signature, -7_150, &["time-zone"]),
        (&format!("v1={upper}"), 5_000, &["signature-form", "clock"]),
    ] {
        let diagnosis = explain_signature(&scheme, signature, "", age_secs);
        assert_eq!(ids(&diagnosis).as_deref(), Some(expected), "{age_secs}: {diagnosis:?}");
    }
}

fn scheme(lines: &str) -> Scheme {
    let head = "algorithm = \"hmac-sha256\"\nsignature = { header = \"x-freispace-signature\" }\n";
    toml::from_str(&format!("{head}{lines}")).unwrap()
}

/// A request that was signed at a fixed time and received later.
fn explain_signature(scheme: &Scheme, signature: &str, url: &str, age_secs: i64) -> Diagnosis {
    let headers = [
        ("host", "hooks.example.com"),
        ("x-freispace-signature", signature),
        ("x-time", "1800000000"),
        ("x-delivery-id", "msg_2fKq81"),
    ];
    let head =
        Head { method: "POST".into(), url: url.into(), headers: Headers::from_pairs(headers) };
    let received_at = Timestamp::from_second(1_800_000_000 + age_secs).unwrap();
    let arrival =
        Arrival { received_at, head, body: br#"{"event":"booking.created"}"#.to_vec().into() };
    let secrets = [Secret::new("env:S", SECRET.into()).unwrap()];
    let case = Case { scheme, secrets: &secrets, others: &[], arrival: &arrival };
    doctor::explain(case, &mut || true)
}

#[test]
fn a_request_of_another_provider_is_recognised_and_explained() {
    // What GitHub sends to a source of freispace: another header, with a prefix.
    let request = Request::of("github");
    let arrival = request.arrival();
    let secrets = [Secret::new("env:S", SECRET.into()).unwrap()];
    let freispace = find("freispace");
    let case =
        Case { scheme: &freispace.scheme, secrets: &secrets, others: &[], arrival: &arrival };
    assert_eq!(ids(&doctor::explain(case, &mut || true)), Some(vec!["signature-header"]));
    let recognized = doctor::recognize(&arrival, &secrets);
    let names: Vec<_> =
        recognized.iter().map(|(provider, is_match)| (&*provider.name, *is_match)).collect();
    assert!(names.contains(&("github", true)), "{names:?}");
    let unsigned = Arrival { head: Head::default(), ..arrival };
    assert!(doctor::recognize(&unsigned, &secrets).iter().all(|(_, is_match)| !is_match));
}

#[test]
fn two_mistakes_at_once_are_both_named() {
    let mut request = Request::changed(BODY, format!("{BODY}\n"));
    request.sender_secret = b"YS1tYWRlLXVwLXNlY3JldA==".to_vec();
    let diagnosis = request.explain();
    assert_eq!(
        ids(&diagnosis),
        Some(vec!["final-newline-added", "secret-to-base64"]),
        "{diagnosis:?}"
    );
}

#[test]
fn a_right_request_is_said_to_be_right() {
    let diagnosis = Request::of("freispace").explain();
    assert_eq!((ids(&diagnosis), diagnosis.mismatch), (Some(vec![]), None));
}

#[test]
fn a_secret_that_nobody_knows_is_not_explained_away_and_the_search_ends() {
    for provider in ["freispace", "github"] {
        let diagnosis = Request::with_secrets(provider, "nobody-knows-this-one", SECRET).explain();
        assert!(diagnosis.found.is_none() && diagnosis.is_complete, "{diagnosis:?}");
        assert!(diagnosis.tried > 1_000, "{}", diagnosis.tried);
    }
}

#[test]
fn a_search_ends_when_its_time_is_up() {
    let request = Request::with_secrets("freispace", "nobody-knows-this-one", SECRET);
    let secrets = [Secret::new("env:S", SECRET.into()).unwrap()];
    let (arrival, provider) = (request.arrival(), find("freispace"));
    let case = Case { scheme: &provider.scheme, secrets: &secrets, others: &[], arrival: &arrival };
    let mut left = 10;
    let diagnosis = doctor::explain(case, &mut || {
        left -= 1;
        left > 0
    });
    assert!(!diagnosis.is_complete && diagnosis.tried <= 11, "{diagnosis:?}");
}

#[test]
fn no_diagnosis_shows_a_secret_or_a_signature() {
    let mut rows = vec![
        Request::with_secrets("freispace", "nobody-knows-this-one", SECRET),
        Request::with_secrets("freispace", "whsec_a-made-up-secret", SECRET),
        Request::with_secrets("github", "the-secret-of-another", SECRET),
        Request::changed(BODY, format!("{BODY}\n")),
    ];
    rows.push(Request::with_headers("freispace", |headers| {
        headers.into_iter().map(|(_, value)| ("x-signature".into(), value.to_uppercase())).collect()
    }));
    for request in rows {
        let arrival = request.arrival();
        let signatures =
            arrival.head.headers.iter().map(|(_, value)| String::from_utf8_lossy(value));
        let shown = format!("{:?}", request.explain()).to_lowercase();
        for canary in signatures
            .map(|text| text.to_lowercase())
            .chain([SECRET, "nobody-knows-this-one", "the-secret-of-another"].map(str::to_owned))
        {
            let canary = canary.trim_start_matches("sha256=").to_owned();
            assert!(!shown.contains(&canary), "{canary} in {shown}");
        }
    }
}
