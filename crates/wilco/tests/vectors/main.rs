//! Signed requests that providers, their libraries and standards publish: each is accepted or
//! refused as its source says, at once and in chunks.
//!
//! A file in `tests/schemes/` is a scheme with its vectors; a file in `providers/` has its own.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod mutations;

use std::{collections::BTreeMap, fs, io, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use wilco::{
    Algorithm, Arrival, Body, Encoding, Head, Headers, Key, KeyText, Mismatch, Scheme, Secret,
    SourceName, StoredBytes, TimestampUnit, Unsigned, Verified, provider,
};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    scheme: toml::Table,
    /// A provider has one.
    envelope: Option<toml::Table>,
    #[serde(default)]
    vector: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Vector {
    name: String,
    /// Where it was read.
    #[serde(rename = "source")]
    _source: String,
    is_valid: bool,
    /// Absent if the source does not check the time.
    now_secs: Option<i64>,
    secret: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    url: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    /// What the envelope must give.
    event: Option<String>,
    subject: Option<String>,
    delivery_id: Option<String>,
}

impl Vector {
    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).unwrap(),
            _ => panic!("{}: expected one of body and body-base64", self.name),
        }
    }

    /// The key of the request, after another one.
    fn keys(&self, scheme: &Scheme) -> Vec<Key> {
        let secret = Secret::of_any_length("it", self.secret.clone().into_bytes()).unwrap();
        let other = Secret::of_any_length("other", self.secret.bytes().rev().collect()).unwrap();
        // Skip keys that a provider with this scheme could not have made.
        [other, secret].iter().filter_map(|it| scheme.key(it).ok()).collect()
    }

    fn verify(&self, scheme: &Scheme, chunk_bytes: usize) -> Result<Verified, Mismatch> {
        let keys = self.keys(scheme);
        let now = Timestamp::from_second(self.now_secs.unwrap_or_default()).unwrap();
        let head = Head {
            method: self.method.clone().into(),
            url: self.url.clone(),
            headers: Headers::from_pairs(&self.headers),
        };
        let body = self.body();
        let mut verifier = scheme.begin(head, &keys, now);
        body.chunks(chunk_bytes).for_each(|chunk| verifier.update(chunk.to_vec().into()));
        let source = SourceName::new("source").unwrap();
        verifier.finish(&source, now).map_err(|refused| refused.mismatch)
    }

    /// The same with a body that is not in memory.
    fn verify_stored(&self, scheme: &Scheme, chunk_bytes: usize) -> Result<Verified, Mismatch> {
        let keys = self.keys(scheme);
        let received_at = Timestamp::from_second(self.now_secs.unwrap_or_default()).unwrap();
        let head = Head {
            method: self.method.clone().into(),
            url: self.url.clone(),
            headers: Headers::from_pairs(&self.headers),
        };
        let body = Body::stored(Arc::new(InFile { bytes: self.body(), chunk_bytes }));
        let arrival = Arrival { received_at, head, body };
        let source = SourceName::new("source").unwrap();
        wilco::verify(scheme, &source, &keys, arrival).map_err(|refused| refused.mismatch)
    }
}

fn files() -> Vec<(PathBuf, File)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folders = ["providers", "tests/schemes"].map(|folder| fs::read_dir(root.join(folder)));
    let paths = folders.into_iter().flat_map(|folder| folder.unwrap());
    let paths = paths.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let file = toml::from_str(&text).unwrap_or_else(|why| panic!("{path:?}: {why}"));
            (path, file)
        })
        .collect()
}

fn scheme(table: &toml::Table) -> Scheme {
    table.clone().try_into().unwrap()
}

/// The scheme for a vector: whose source does not judge the time, unless it says when that is.
fn scheme_of(table: &toml::Table, vector: &Vector) -> Scheme {
    if vector.now_secs.is_some() || scheme(table).tolerance().is_none() {
        return scheme(table);
    }
    let mut table = table.clone();
    table.insert("tolerance-secs".into(), i64::from(u32::MAX).into());
    scheme(&table)
}

/// A body that is read in chunks of this size.
struct InFile {
    bytes: Vec<u8>,
    chunk_bytes: usize,
}

impl StoredBytes for InFile {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn read_at(&self, start: usize) -> io::Result<Bytes> {
        let end = self.bytes.len().min(start.saturating_add(self.chunk_bytes));
        Ok(self.bytes[start..end].to_vec().into())
    }
}

#[test]
fn each_published_request_is_accepted_or_refused_as_its_source_says() {
    let mut vectors = 0;
    for (path, file) in files() {
        for vector in &file.vector {
            for chunk_bytes in [1, 7, usize::MAX] {
                let result = vector.verify(&scheme_of(&file.scheme, vector), chunk_bytes);
                let what = format!("{path:?} {}: {:?}", vector.name, result.as_ref().err());
                assert_eq!(result.is_ok(), vector.is_valid, "{what}");
                if let Ok(verified) = &result {
                    assert_eq!(verified.secret_name(), "it", "{what}");
                }
                let stored = vector.verify_stored(&scheme_of(&file.scheme, vector), chunk_bytes);
                assert_eq!(stored.err(), result.err(), "{what}, of a stored body");
            }
            vectors += 1;
        }
    }
    assert!(vectors >= 92, "{vectors} vectors");
}

#[test]
fn each_valid_request_is_refused_if_any_byte_of_its_body_changes() {
    for (path, file) in files() {
        let has_body = |vector: &&Vector| vector.is_valid && !vector.body().is_empty();
        let is_covered = scheme(&file.scheme).covers_body();
        let Some(vector) = file.vector.iter().find(has_body).filter(|_| is_covered) else {
            continue;
        };
        let body = vector.body();
        for at in 0..body.len().min(200) {
            let mut changed = body.clone();
            changed[at] ^= 1;
            let changed = Vector {
                body: None,
                body_base64: Some(STANDARD.encode(&changed)),
                headers: vector.headers.clone(),
                name: vector.name.clone(),
                _source: String::new(),
                secret: vector.secret.clone(),
                method: vector.method.clone(),
                url: vector.url.clone(),
                event: None,
                subject: None,
                delivery_id: None,
                ..*vector
            };
            let result = changed.verify(&scheme_of(&file.scheme, vector), usize::MAX);
            assert!(result.is_err(), "{path:?} {}: byte {at}", vector.name);
        }
    }
}

#[test]
fn a_scheme_verifies_what_it_signed_until_its_tolerance_ends() {
    let body = br#"{"id":"7f1d"}"#;
    for (path, file) in files() {
        let scheme = scheme(&file.scheme);
        let Some(vector) = file.vector.iter().find(|vector| vector.is_valid) else { continue };
        let secret = Secret::of_any_length("it", vector.secret.clone().into_bytes()).unwrap();
        let key = scheme.key(&secret).unwrap();
        let at = "2026-03-02T08:30:00Z".parse().unwrap();
        let request =
            Unsigned { id: "msg_1", url: "https://a.example/x", ..Unsigned::post(body, at) };
        let Ok(headers) = scheme.sign(&secret, &request) else { continue };
        // Only who writes the body can put the time into it.
        if file.scheme.get("timestamp").is_some_and(|place| place.get("json").is_some()) {
            continue;
        }
        let url_signs_form = path.ends_with("twilio.toml");
        let mut arrival = Arrival {
            received_at: at,
            head: Head {
                method: "POST".into(),
                url: request.url.into(),
                headers: Headers::from_pairs(headers),
            },
            body: if url_signs_form { Default::default() } else { body[..].into() },
        };
        let source = SourceName::new("source").unwrap();
        let keys = [key];
        if !url_signs_form {
            let verified = wilco::verify(&scheme, &source, &keys, arrival.clone());
            assert!(verified.is_ok(), "{path:?}: {verified:?}");
        }
        if let Some(tolerance) = scheme.tolerance()
            && scheme.algorithm() != Algorithm::JwtHs256
        {
            let late = tolerance + SignedDuration::from_secs(1);
            arrival.received_at += late;
            let refused = wilco::verify(&scheme, &source, &keys, arrival).unwrap_err();
            let is_late = matches!(refused.mismatch, Mismatch::OutOfTime { age_secs, .. } if age_secs == late.as_secs());
            assert!(is_late, "{path:?}: {refused}");
        }
    }
}

#[test]
fn every_provider_has_a_request_that_it_accepts_and_one_that_it_refuses() {
    for (path, file) in files().into_iter().filter(|(_, file)| file.envelope.is_some()) {
        for is_valid in [true, false] {
            let has_one = file.vector.iter().any(|vector| vector.is_valid == is_valid);
            assert!(has_one, "{path:?} has no [[vector]] with is-valid = {is_valid}");
        }
    }
}

#[test]
fn each_published_request_is_the_event_that_its_file_says() {
    for (path, file) in files().into_iter().filter(|(_, file)| file.envelope.is_some()) {
        let provider = provider::find(path.file_stem().unwrap().to_str().unwrap());
        let provider = provider.unwrap_or_else(|| panic!("{path:?} is not named as its provider"));
        for vector in file.vector.iter().filter(|vector| vector.is_valid) {
            let expected = [&vector.event, &vector.subject, &vector.delivery_id];
            if expected.iter().all(|part| part.is_none()) {
                continue;
            }
            let what = format!("{path:?} {}", vector.name);
            let verified = vector.verify(&scheme_of(&file.scheme, vector), usize::MAX).unwrap();
            let envelope = provider.envelope(&verified);
            let envelope = envelope.unwrap_or_else(|why| panic!("{what}: {why}"));
            let stored = vector.verify_stored(&scheme_of(&file.scheme, vector), 7).unwrap();
            assert_eq!(provider.envelope(&stored).unwrap(), envelope, "{what}, of a stored body");
            let found = [&Some(envelope.name), &envelope.subject, &envelope.delivery_id];
            for (found, expected) in found.into_iter().zip(expected) {
                assert!(expected.is_none() || found == expected, "{what}: {found:?}");
            }
        }
    }
}

#[test]
fn the_manual_names_every_word_of_the_language() {
    let manual = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/providers.md");
    let manual = fs::read_to_string(manual).unwrap();
    let words = [
        Algorithm::ALL.iter().map(|word| word.word()).collect::<Vec<_>>(),
        KeyText::ALL.iter().map(|word| word.word()).collect(),
        Encoding::ALL.iter().map(|word| word.word()).collect(),
        TimestampUnit::ALL.iter().map(|word| word.word()).collect(),
        provider::Content::ALL.iter().map(|word| word.word()).collect(),
        provider::EqualBodies::ALL.iter().map(|word| word.word()).collect(),
        provider::HandshakeMethod::ALL.iter().map(|word| word.word()).collect(),
    ];
    for word in words.concat() {
        assert!(manual.contains(&format!("`{word}`")), "docs/providers.md does not name {word}");
    }
}
