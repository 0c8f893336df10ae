//! What providers, their libraries and standards publish as signed requests: each is accepted or
//! refused as its source says, whole and in parts.
//!
//! A file in `tests/schemes/` is a scheme with its vectors; a file in `providers/` has its own.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;
use wilco::{Arrival, Head, Headers, Mismatch, Scheme, Secret, SourceName, Unsigned, Verified};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    scheme: toml::Table,
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
    /// Absent where the source does not judge the time.
    now_secs: Option<i64>,
    secret: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    url: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
}

impl Vector {
    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).unwrap(),
            _ => panic!("{}: expected one of body and body-base64", self.name),
        }
    }

    fn verify(&self, scheme: &Scheme, chunk_bytes: usize) -> Result<Verified, Mismatch> {
        let secret = Secret::of_any_length("it", self.secret.clone().into_bytes()).unwrap();
        let other = Secret::of_any_length("other", self.secret.bytes().rev().collect()).unwrap();
        // Keys that the provider could not have made are none of this scheme's.
        let keys: Vec<_> = [other, secret].iter().filter_map(|it| scheme.key(it).ok()).collect();
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

#[test]
fn each_published_request_is_accepted_or_refused_as_its_source_says() {
    let mut vectors = 0;
    for (path, file) in files() {
        for vector in &file.vector {
            let mut table = file.scheme.clone();
            if vector.now_secs.is_none() {
                table.remove("tolerance-secs");
            }
            for chunk_bytes in [1, 7, usize::MAX] {
                let result = vector.verify(&scheme(&table), chunk_bytes);
                let what = format!("{path:?} {}: {:?}", vector.name, result.as_ref().err());
                assert_eq!(result.is_ok(), vector.is_valid, "{what}");
                if let Ok(verified) = result {
                    assert_eq!(verified.secret_name(), "it", "{what}");
                }
            }
            vectors += 1;
        }
    }
    assert!(vectors >= 92, "{vectors} vectors");
}

#[test]
fn each_right_request_is_refused_with_any_byte_of_its_body_changed() {
    for (path, file) in files() {
        let has_body = |vector: &&Vector| vector.is_valid && !vector.body().is_empty();
        // What is signed beside the body leaves the rest of it open: the item of another provider.
        let is_partial = file.scheme["signature"].as_table().unwrap().contains_key("json");
        let Some(vector) = file.vector.iter().find(has_body).filter(|_| !is_partial) else {
            continue;
        };
        let mut table = file.scheme.clone();
        if vector.now_secs.is_none() {
            table.remove("tolerance-secs");
        }
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
                ..*vector
            };
            let result = changed.verify(&scheme(&table), usize::MAX);
            assert!(result.is_err(), "{path:?} {}: byte {at}", vector.name);
        }
    }
}

#[test]
fn what_a_scheme_signs_it_verifies_and_not_a_day_later() {
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
        arrival.received_at += jiff::SignedDuration::from_hours(24);
        let is_judged = file.scheme.contains_key("tolerance-secs");
        if is_judged {
            let refused = wilco::verify(&scheme, &source, &keys, arrival).unwrap_err();
            let is_late = matches!(refused.mismatch, Mismatch::OutOfTime { age_secs: 86_400, .. });
            assert!(is_late, "{path:?}: {refused}");
        }
    }
}
