//! Right requests, changed at random: whatever is still accepted means the same.
//!
//! The same means: the same bytes as in a right request with this secret are signed, and one of the signatures
//! is the same when decoded. That is read here a second time, without the code that verifies. So these changes are harmless: the case of
//! hex digits, padding that is missing, further signatures in a list, anything that is not signed, and,
//! where a provider signs two parts without a separator, another border between them.

mod random;

use std::{collections::BTreeSet, env, fmt, fs, path::PathBuf, thread};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use toml::{Table, Value};
use wilco::{Arrival, Digest, Head, Headers, Key, Scheme, SourceName};

use super::{Vector, files, scheme_of};
use random::Random;

#[test]
fn a_changed_request_is_accepted_only_if_it_means_the_same() {
    let number = |name: &str, usual: u64| env::var(name).map_or(usual, |it| it.parse().unwrap());
    let (first, count) = (number("WILCO_SEED", 1), number("WILCO_MUTATIONS", 200_000));
    let cases = cases();
    assert!(cases.len() >= 150, "{}", cases.len());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let cases = &cases;
    let harmless: u64 = thread::scope(|scope| {
        let start = |at| {
            let seeds = (first..first + count).skip(at).step_by(threads);
            scope.spawn(move || seeds.map(|seed| u64::from(mutate(cases, seed))).sum::<u64>())
        };
        let running: Vec<_> = (0..threads).map(start).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!(
        "{count} changed requests from seed {first}: {harmless} accepted, which mean the same"
    );
    // Otherwise the changes are too coarse to find anything.
    assert!(harmless * 1000 > count, "{harmless} of {count}");
}

/// A right request, and who accepts it.
struct Case {
    what: String,
    table: Table,
    scheme: Scheme,
    secret: String,
    keys: Vec<Key>,
    now: Timestamp,
    request: Request,
}

#[derive(Clone, PartialEq)]
struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.method, self.url)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {}", value.escape_ascii())?;
        }
        writeln!(f, "{}", self.body.escape_ascii())
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, file) in files() {
        for vector in file.vector.iter().filter(|vector| vector.is_valid) {
            let scheme = scheme_of(&file.scheme, vector);
            let request = Request {
                method: vector.method.clone(),
                url: vector.url.clone(),
                headers: lines(vector),
                body: vector.body(),
            };
            let now = Timestamp::from_second(vector.now_secs.unwrap_or_default()).unwrap();
            let what = format!("{path:?} {}", vector.name);
            let (keys, table) = (vector.keys(&scheme), with_family(&file.scheme));
            let secret = vector.secret.clone();
            let case = Case { what, table, scheme, secret, keys, now, request };
            assert!(case.accepts(&case.request), "{}", case.what);
            assert!(case.takes_for(&case.request, &case), "{}", case.what);
            cases.push(case);
        }
    }
    cases
}

fn lines(vector: &Vector) -> Vec<(String, Vec<u8>)> {
    vector.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect()
}

/// The table of a scheme with what it takes from its family.
fn with_family(own: &Table) -> Table {
    let Some(name) = own.get("family").and_then(Value::as_str) else { return own.clone() };
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("families/{name}.toml"));
    let mut whole: Table = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    for (key, value) in own {
        match (whole.get_mut(key), value) {
            (Some(Value::Table(place)), Value::Table(own)) => {
                if AT.iter().any(|at| own.contains_key(*at)) {
                    AT.iter().for_each(|at| drop(place.remove(*at)));
                }
                place.extend(own.clone());
            }
            _ => drop(whole.insert(key.clone(), value.clone())),
        }
    }
    whole
}

/// Changes one request at random. Whether it is accepted; then it has to mean the same.
fn mutate(cases: &[Case], seed: u64) -> bool {
    let mut random = Random::new(seed);
    let case = &cases[random.below(cases.len())];
    let mut request = case.request.clone();
    for _ in 0..=random.below(3) {
        random.change(&mut request, cases);
    }
    // HTTP has no line breaks in values, and `Headers` makes blanks of them.
    for byte in request.headers.iter_mut().flat_map(|(_, value)| value) {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    let is_accepted = request != case.request && case.accepts(&request);
    let mut same = cases.iter().filter(|other| other.secret == case.secret);
    assert!(
        !is_accepted || same.any(|other| case.takes_for(&request, other)),
        "{} accepts something else (WILCO_SEED={seed} WILCO_MUTATIONS=1):\n{request:?}\n{:?}",
        case.what,
        case.request
    );
    is_accepted
}

impl Case {
    fn accepts(&self, request: &Request) -> bool {
        let headers = request.headers.iter().map(|(name, value)| (name, value));
        let head = Head {
            method: request.method.clone().into(),
            url: request.url.clone(),
            headers: Headers::from_pairs(headers),
        };
        let arrival = Arrival { received_at: self.now, head, body: request.body.clone().into() };
        let source = SourceName::new("source").unwrap();
        wilco::verify(&self.scheme, &source, &self.keys, arrival).is_ok()
    }

    /// Whether this request means the same, here, as the right one of `other` means there.
    fn takes_for(&self, request: &Request, other: &Self) -> bool {
        let (old, new) = (other.messages(&other.request), self.messages(request));
        let (signed, claimed) = (other.signatures(&other.request), self.signatures(request));
        let is_body_same = match (self.table.get("body-sha256"), self.is_form(request)) {
            // Its fields are signed.
            (Some(place), true) => place.get("query").is_some(),
            (Some(_), false) => other.request.body == request.body || request.body.is_empty(),
            (None, _) => true,
        };
        is_body_same && !old.is_disjoint(&new) && !signed.is_disjoint(&claimed)
    }

    fn is_form(&self, request: &Request) -> bool {
        let signed = self.table.get("signed").and_then(Value::as_array).into_iter().flatten();
        let mut signed = signed.filter_map(Value::as_str);
        let types = all(&request.headers, "content-type");
        let is_form = |value: &[u8]| {
            value
                .trim_ascii()
                .to_ascii_lowercase()
                .starts_with(b"application/x-www-form-urlencoded")
        };
        signed.any(|template| template.contains("{form}")) && types.into_iter().any(is_form)
    }

    /// The bytes that may have been signed. Nothing if a secret or a token is sent.
    fn messages(&self, request: &Request) -> BTreeSet<Vec<u8>> {
        let none = vec![Value::String(String::new())];
        let templates = self.table.get("signed").and_then(Value::as_array).unwrap_or(&none);
        let mut messages = BTreeSet::new();
        for template in templates {
            let mut message = Vec::new();
            let mut rest = template.as_str().unwrap();
            while let Some((before, after)) = rest.split_once('{') {
                let (name, after) = after.split_once('}').unwrap();
                message.extend(before.as_bytes());
                message.extend(self.part(name, request));
                rest = after;
            }
            message.extend(rest.as_bytes());
            messages.insert(message);
        }
        messages
    }

    fn part(&self, name: &str, request: &Request) -> Vec<u8> {
        let of = |key: &str| self.items(key, request).into_iter().next().unwrap_or_default();
        match name {
            "body" => request.body.clone(),
            "timestamp" => of("timestamp"),
            "id" => of("id"),
            "method" => request.method.clone().into(),
            "url" => request.url.clone().into(),
            // With the port or without it, it is the same URL.
            "url+port" | "url-port" => without_port(&request.url).into(),
            "path" => path_and_query(&request.url).into(),
            "secret" => Vec::new(),
            "body-sha256" => Digest::of(&request.body).to_string().into(),
            "form" if self.is_form(request) => form(&request.body),
            "form" => Vec::new(),
            _ => match name.split_once(':').unwrap() {
                ("json", path) => json(&request.body, path).unwrap_or_default(),
                (_, header) => all(&request.headers, header).concat(),
            },
        }
    }

    /// The signatures that a request has, decoded.
    fn signatures(&self, request: &Request) -> BTreeSet<Vec<u8>> {
        let algorithm = self.table["algorithm"].as_str().unwrap();
        let is_sent = matches!(algorithm, "token" | "jwt-hs256");
        let usual = if is_sent { "text" } else { "hex" };
        let encoding = self.table.get("encoding").and_then(Value::as_str).unwrap_or(usual);
        let decode = |text: Vec<u8>| match encoding {
            "hex" => text.is_ascii().then(|| text.to_ascii_lowercase()),
            "base64" => STANDARD_NO_PAD.decode(bare(&text)).ok(),
            "base64-url" => URL_SAFE_NO_PAD.decode(text).ok(),
            _ => Some(text),
        };
        self.items("signature", request).into_iter().filter_map(decode).collect()
    }

    /// The values at this place.
    fn items(&self, key: &str, request: &Request) -> Vec<Vec<u8>> {
        let Some(Value::Table(place)) = self.table.get(key) else { return Vec::new() };
        let text = |key: &str| place.get(key).and_then(Value::as_str);
        let mut values: Vec<Vec<u8>> = Vec::new();
        match place.get("header") {
            Some(Value::String(name)) => values.extend(owned(all(&request.headers, name))),
            Some(Value::Array(names)) => {
                for name in names {
                    values.extend(owned(all(&request.headers, name.as_str().unwrap())));
                }
            }
            _ => {}
        }
        let query = request.url.split_once('?').map_or("", |(_, query)| query);
        let in_form = |name: &str, pairs: &[u8]| {
            let found = form_urlencoded::parse(pairs).find(|(key, _)| key == name);
            found.map(|(_, value)| value.into_owned().into_bytes())
        };
        values.extend(text("query").and_then(|name| in_form(name, query.as_bytes())));
        values.extend(text("form").and_then(|name| in_form(name, &request.body)));
        values.extend(text("json").and_then(|path| json(&request.body, path)));
        let prefix = text("prefix").unwrap_or_default();
        let after = |item: &[u8]| item.strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec);
        let Some(split) = text("split").and_then(|it| it.bytes().next()) else {
            return values.iter().filter_map(|value| after(value)).collect();
        };
        let items = values.iter().flat_map(|value| value.split(|byte| *byte == split));
        items.filter_map(|item| after(item.trim_ascii())).collect()
    }
}

fn all<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    let named = headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty()).collect()
}

fn owned(values: Vec<&[u8]>) -> impl Iterator<Item = Vec<u8>> {
    values.into_iter().map(<[u8]>::to_vec)
}

fn bare(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    &text[..end]
}

fn without_port(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    format!("{scheme}://{host}{path}")
}

/// What follows the host, whatever precedes `://`.
fn path_and_query(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    after_scheme.split_once('/').map_or("", |(_, path)| path)
}

/// As Twilio signs a form: sorted pairs without separators, each pair once.
fn form(body: &[u8]) -> Vec<u8> {
    let pairs: BTreeSet<_> = form_urlencoded::parse(body).into_owned().collect();
    pairs.into_iter().flat_map(|(name, value)| (name + &value).into_bytes()).collect()
}

fn json(body: &[u8], path: &str) -> Option<Vec<u8>> {
    let mut value: &serde_json::Value = &serde_json::from_slice(body).ok()?;
    for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
        value = match step.parse::<usize>() {
            Ok(at) if value.is_array() => value.get(at)?,
            _ => value.get(step)?,
        };
    }
    match value {
        serde_json::Value::String(text) => Some(text.clone().into()),
        other => Some(other.to_string().into()),
    }
}

/// What a place may be.
const AT: [&str; 6] = ["header", "json", "form", "query", "text", "claim"];
