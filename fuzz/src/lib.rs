//! The fuzz targets, each a function of any bytes, which panics if something is wrong. The tests of
//! `wilco-server` include this file, and call them with changed seeds.

pub mod seeds;

use jiff::Timestamp;
use wilco::{
    Arrival, Head, Headers, Key, Provider, Scheme, Secret, SourceName,
    doctor::{Case, explain, recognize},
    provider::{self, HandshakeSecrets, ProviderText},
    verify,
};
use wilco_server::{config, service::KINDS};

/// A name, and a function that panics if something is wrong.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 5] = [
    ("signature", signature),
    ("provider", provider),
    ("envelope", envelope),
    ("doctor", doctor),
    ("configuration", configuration),
];

/// The head of a request and its body, to each provider: nothing is accepted without the secret.
pub fn signature(data: &[u8]) {
    let Some((provider, rest)) = provider_of(data) else { return };
    let keys = keys(&provider.scheme);
    let source = SourceName::new("fuzz").unwrap();
    let refused = verify(&provider.scheme, &source, &keys, request(rest)).unwrap_err();
    assert_eq!(refused.arrival.body, request(rest).body);
}

/// A provider as somebody describes it, and a request of it.
pub fn provider(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, rest) = text.split_once("\n---\n").unwrap_or((text, ""));
    let Ok(text) = toml::from_str::<ProviderText>(file) else { return };
    let Ok(provider) = text.named("fuzz") else { return };
    let _ = provider.description();
    let (keys, secrets) = (keys(&provider.scheme), secrets());
    let handshake = HandshakeSecrets { verify_tokens: &secrets, keys: &keys };
    let arrival = request(rest.as_bytes());
    let _ = provider.challenge(&arrival, true, handshake);
    let source = SourceName::new("fuzz").unwrap();
    let verified = verify(&provider.scheme, &source, &keys, arrival);
    assert!(verified.is_err(), "accepted without the secret");
}

/// A signed request, to what reads its event, its subject and its id, and to the handshakes.
pub fn envelope(data: &[u8]) {
    let Some((provider, rest)) = provider_of(data) else { return };
    let mut arrival = request(rest);
    let fields = arrival.head.headers.iter().filter(|(name, _)| *name != "authorization");
    let bearer = format!("Bearer {SECRET}");
    let fields = fields.chain([("authorization", bearer.as_bytes())]);
    arrival.head.headers = Headers::from_pairs(fields);
    let token = &provider::find("bearer-token").unwrap().scheme;
    let source = SourceName::new("fuzz").unwrap();
    let verified = verify(token, &source, &keys(token), arrival).unwrap();
    if let Ok(envelope) = provider.envelope(&verified) {
        assert!(!envelope.name.is_empty());
    }
    let (keys, secrets) = (keys(&provider.scheme), secrets());
    let handshake = HandshakeSecrets { verify_tokens: &secrets, keys: &keys };
    let arrival: &Arrival = verified.arrival();
    for is_signed in [true, false] {
        if let Some(challenge) = provider.challenge(arrival, is_signed, handshake) {
            assert_eq!(challenge.status / 100, 2);
            for (_, value) in &challenge.headers {
                assert!(value.bytes().all(|byte| (b' '..0x7f).contains(&byte)), "{value:?}");
            }
        }
    }
}

/// A refused request, to what looks for the reason.
pub fn doctor(data: &[u8]) {
    let Some((provider, rest)) = provider_of(data) else { return };
    let (arrival, secrets) = (request(rest), secrets());
    let case = Case { scheme: &provider.scheme, secrets: &secrets, others: &[], arrival: &arrival };
    let mut left = 300_u32;
    let mut go_on = || {
        left = left.saturating_sub(1);
        left > 0
    };
    let diagnosis = explain(case, &mut go_on);
    assert!(diagnosis.mismatch.is_some(), "accepted without the secret");
    let _ = recognize(&arrival, &secrets);
}

/// A configuration file, to what reads it. What it only names is not looked up.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(diagnostics) = config::outline_of(text.to_owned(), KINDS) {
        assert!(diagnostics.has_errors(), "refused without a reason");
        assert_eq!(diagnostics.lines().count(), diagnostics.list().len());
        let excerpt = diagnostics.excerpt();
        assert!(excerpt.len() <= text.len(), "more is shown than was read");
    }
}

/// A provider by the first byte, and the rest.
fn provider_of(data: &[u8]) -> Option<(&'static Provider, &[u8])> {
    let (first, rest) = data.split_first()?;
    let all = provider::all();
    Some((&all[usize::from(*first) % all.len()], rest))
}

/// A request: a line `METHOD URL`, lines `name: value`, an empty line, the body.
fn request(data: &[u8]) -> Arrival {
    let (head, body) = match data.windows(2).position(|bytes| bytes == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &b""[..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, url) = first.split_once(' ').unwrap_or(("POST", &first));
    let fields = lines.filter_map(|line| {
        let at = line.windows(2).position(|bytes| bytes == b": ")?;
        Some((std::str::from_utf8(&line[..at]).ok()?, &line[at + 2..]))
    });
    Arrival {
        received_at: now(),
        head: Head {
            method: method.to_owned().into(),
            url: url.to_owned(),
            headers: Headers::from_pairs(fields),
        },
        body: body.to_vec().into(),
    }
}

/// The key for this scheme; none if it has public keys.
fn keys(scheme: &Scheme) -> Vec<Key> {
    secrets().iter().filter_map(|secret| scheme.key(secret).ok()).collect()
}

fn secrets() -> Vec<Secret> {
    Secret::new("fuzz", SECRET.into()).into_iter().collect()
}

/// The time of most vectors.
fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap_or_default()
}

/// Nobody who does not know it can sign with it, and a fuzzer does not find it.
const SECRET: &str = "whsec_d2lsY28gZnV6ei4uLi4uLi4uLi4uLi4uLi4uLi4uLg==";
