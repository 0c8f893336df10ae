//! Requests with which a provider makes sure that the endpoint is there and is meant: they are answered
//! and not recorded.

mod template;

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::Deserialize;

use super::{AnswerType, Provider, check_body};
use crate::{
    Arrival, Digest, Key, Secret,
    path::Path,
    place::{OneOrMore, Place, PlaceText},
    words::words,
};
use template::Template;

words! {
    /// The method of a request that asks for an answer.
    #[derive(Default)]
    pub enum HandshakeMethod {
        /// As events have.
        #[default]
        Post = "POST",
        /// Without a body.
        Get = "GET",
        /// As `GET`; the answer has no body.
        Head = "HEAD",
        /// As browsers ask before they send; CloudEvents asks so too.
        Options = "OPTIONS",
    }
}

/// A kind of request that asks for an answer, and the answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "HandshakeText")]
pub struct Handshake {
    method: HandshakeMethod,
    /// All must hold.
    when: Vec<Condition>,
    is_signed: bool,
    status: u16,
    content_type: Option<AnswerType>,
    headers: Vec<(String, Template)>,
    body: Template,
    learn_secret: Option<Place>,
}

/// What a source has for handshakes.
#[derive(Clone, Copy, Debug, Default)]
pub struct HandshakeSecrets<'a> {
    /// Any of them is the value of a place that is a secret.
    pub verify_tokens: &'a [Secret],
    /// The first is what an answer is computed with.
    pub keys: &'a [Key],
}

/// The answer to a request that is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// 200 to 299.
    pub status: u16,
    /// The type of the body.
    pub content_type: Option<AnswerType>,
    /// Further headers. Their values are printable ASCII.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The secret that the provider brought, with which it signs from now on.
    pub learnt: Option<Vec<u8>>,
}

impl Provider {
    /// The answer to a request that asks for one and is not an event. `None` for every other request.
    /// `is_signed` says whether its signature was right.
    pub fn challenge(
        &self,
        arrival: &Arrival,
        is_signed: bool,
        secrets: HandshakeSecrets<'_>,
    ) -> Option<Challenge> {
        let method = &arrival.head.method;
        let kinds = self.handshakes.iter().filter(|kind| kind.method.word() == method);
        let mut kinds = kinds.filter(|kind| is_signed || !kind.is_signed);
        kinds.find_map(|kind| kind.answer(arrival, secrets))
    }

    /// The methods of requests that ask for an answer.
    pub fn handshake_methods(&self) -> impl Iterator<Item = &'static str> {
        self.handshakes.iter().map(|kind| kind.method.word())
    }

    /// Whether its requests bring the secret that it signs with.
    pub fn teaches_secret(&self) -> bool {
        self.handshakes.iter().any(|kind| kind.learn_secret.is_some())
    }

    /// Whether a request must name a secret of the source that is not for signatures.
    pub fn has_verify_token(&self) -> bool {
        let mut conditions = self.handshakes.iter().flat_map(|kind| &kind.when);
        conditions.any(|condition| condition.expected == Expected::Secret)
    }
}

/// As descriptions name it: `signed POST with member type of the body equal to "url_verification"`.
impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = if self.is_signed { "signed " } else { "" };
        write!(f, "{signed}{}", self.method.word())?;
        for (at, Condition { place, expected }) in self.when.iter().enumerate() {
            write!(f, " {} {place}", if at == 0 { "with" } else { "and" })?;
            match expected {
                Expected::Present => Ok(()),
                Expected::Text(text) => write!(f, " equal to {text:?}"),
                Expected::Secret => write!(f, " equal to the verify token"),
            }?;
        }
        match self.learn_secret {
            Some(_) => f.write_str(", which brings the secret"),
            None => Ok(()),
        }
    }
}

impl Handshake {
    /// Whether the answer is computed with the key.
    pub(super) fn computes(&self) -> bool {
        let headers = self.headers.iter().map(|(_, value)| value);
        headers.chain([&self.body]).any(Template::computes)
    }

    /// Whether the answer is computed with the key although nobody knows who asks.
    pub(super) fn computes_for_anyone(&self) -> bool {
        self.computes() && !self.is_signed
    }

    fn answer(&self, arrival: &Arrival, secrets: HandshakeSecrets<'_>) -> Option<Challenge> {
        // Not `all`: the time that it takes must not reveal how many conditions hold.
        let hold = self.when.iter().filter(|condition| condition.holds(arrival, secrets)).count();
        if hold < self.when.len() {
            return None;
        }
        let is_json = self.content_type.is_some_and(AnswerType::is_json);
        let headers = self.headers.iter().map(|(name, template)| {
            let value = template.fill(arrival, secrets, false)?;
            let is_printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            is_printable.then(|| (name.clone(), value))
        });
        let learnt = match &self.learn_secret {
            Some(place) => Some(value_of(place, arrival)?),
            None => None,
        };
        Some(Challenge {
            status: self.status,
            content_type: self.content_type,
            headers: headers.collect::<Option<_>>()?,
            body: self.body.fill(arrival, secrets, is_json)?,
            learnt,
        })
    }
}

/// What the value at a place must be.
#[derive(Clone, Debug)]
struct Condition {
    place: Place,
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// Anything but nothing.
    Present,
    Text(String),
    /// One of the source's secrets.
    Secret,
}

impl Condition {
    fn holds(&self, arrival: &Arrival, secrets: HandshakeSecrets<'_>) -> bool {
        let Some(value) = value_of(&self.place, arrival) else { return false };
        match &self.expected {
            Expected::Present => true,
            Expected::Text(text) => value == text.as_bytes(),
            // Digests have one length, so that the time does not reveal the length of the secret.
            Expected::Secret => {
                let value = Digest::of(&value);
                let is_equal = |secret: &&Secret| {
                    verify_slices_are_equal(&Digest::of(secret.expose()).0, &value.0).is_ok()
                };
                secrets.verify_tokens.iter().filter(is_equal).count() > 0
            }
        }
    }
}

/// The value at this place. `None` if it is missing, or longer than any that means something.
fn value_of(place: &Place, arrival: &Arrival) -> Option<Vec<u8>> {
    place.value_in(arrival).filter(|value| value.len() <= VALUE_BYTES_MAX)
}

/// A handshake as files write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HandshakeText {
    #[serde(default)]
    method: HandshakeMethod,
    when: Vec<ConditionText>,
    is_signed: Option<bool>,
    answer: AnswerText,
    learn_secret: Option<Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConditionText {
    header: Option<OneOrMore>,
    json: Option<Path>,
    form: Option<String>,
    query: Option<String>,
    prefix: Option<String>,
    is: Option<Scalar>,
    #[serde(default)]
    is_secret: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AnswerText {
    status: Option<u16>,
    content_type: Option<AnswerType>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl TryFrom<HandshakeText> for Handshake {
    type Error = String;

    fn try_from(text: HandshakeText) -> Result<Self, String> {
        let HandshakeText { method, when, is_signed, answer, learn_secret } = text;
        let status = answer.status.unwrap_or(200);
        if !(200..=299).contains(&status) {
            return Err(format!(
                "invalid status {status}: a handshake is answered with 200 to 299"
            ));
        }
        check_body(status, &answer.body)?;
        let content_type = answer.content_type.or(AnswerType::of(&answer.body));
        let when: Vec<_> = when.into_iter().map(Condition::try_from).collect::<Result<_, _>>()?;
        let headers = answer.headers.into_iter().map(|(name, value)| {
            check_header(&name)?;
            Ok((name, Template::try_from(value)?))
        });
        let handshake = Self {
            method,
            when,
            is_signed: is_signed.unwrap_or(method == HandshakeMethod::Post),
            status,
            content_type,
            headers: headers.collect::<Result<_, String>>()?,
            body: Template::try_from(answer.body)?,
            learn_secret,
        };
        handshake.check().map(|()| handshake)
    }
}

impl Handshake {
    fn check(&self) -> Result<(), String> {
        let is_post = self.method == HandshakeMethod::Post;
        let has_body_place = |place: &Place| place.is_in_body();
        let conditions = self.when.iter().map(|condition| &condition.place);
        let mut places = self.body.places().chain(conditions).chain(&self.learn_secret);
        let is_json = self.content_type.is_some_and(AnswerType::is_json);
        let what = match self.method {
            _ if is_post && self.when.is_empty() => "a POST without a condition could be an event",
            _ if !is_post && places.any(has_body_place) => "only a POST has a body",
            _ if self.learn_secret.is_some() && self.is_signed => {
                "nothing is signed before the secret is known: learn-secret needs is-signed = false"
            }
            _ if is_json && !self.body.is_json() => {
                "the body is not JSON: values belong between quotes"
            }
            _ => return Ok(()),
        };
        Err(what.into())
    }
}

impl TryFrom<ConditionText> for Condition {
    type Error = String;

    fn try_from(text: ConditionText) -> Result<Self, String> {
        let ConditionText { header, json, form, query, prefix, is, is_secret } = text;
        let place = PlaceText { header, json, form, query, prefix, ..PlaceText::default() };
        let expected = match (is, is_secret) {
            (Some(_), true) => return Err("expected one of \"is\" and \"is-secret\"".into()),
            (Some(Scalar::Text(text)), false) => Expected::Text(text),
            (Some(Scalar::Number(number)), false) => Expected::Text(number.to_string()),
            (None, true) => Expected::Secret,
            (None, false) => Expected::Present,
        };
        Ok(Self { place: Place::try_from(place)?, expected })
    }
}

/// Refuses a header that would change what the answer is, beyond its status and body.
fn check_header(name: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = ["content-", "access-control-", "set-cookie", "x-wilco-"];
    let is = ["location", "connection", "transfer-encoding", "upgrade", "refresh", "link"];
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("invalid header {name:?}: expected a name in lower case"));
    }
    if begins.iter().any(|word| name.starts_with(word)) || is.contains(&name) {
        return Err(format!("an answer cannot have the header {name}"));
    }
    Ok(())
}

/// Of a value that is answered or compared.
const VALUE_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests;
