//! Requests as a provider would send them, to try out a receiver.

use form_urlencoded::Serializer;
use jiff::Timestamp;
use serde_json::Value;

use super::Provider;
use crate::{
    Arrival, Head, Headers, Secret, SignError, SourceName, Unsigned, freispace, place::Place,
    verify,
};

impl Provider {
    /// A made-up body of the event with this name, which `id` makes a new one. For most providers it has only
    /// what tells which event it is.
    pub fn sample(&self, event: &str, id: &str, now: Timestamp) -> String {
        if self.name == FREISPACE
            && let Some(sample) = freispace::sample(event)
        {
            return freispace::new_event(sample, id, now);
        }
        let parts = || self.name_parts(event).into_iter().chain(self.delivery_id(id));
        if !self.envelope.is_json() {
            let mut form = Serializer::new(String::new());
            form.extend_pairs(parts().filter_map(|(place, value)| Some((place.form()?, value))));
            return form.append_pair("test", id).finish();
        }
        let mut body = Value::Null;
        for (place, value) in parts() {
            if let Some(path) = place.path() {
                path.put(&mut body, value);
            }
        }
        if body.is_null() {
            body = serde_json::json!({ "test": id });
        }
        format!("{body:#}\n")
    }

    /// All headers with which the provider would send this body as the event with this name.
    ///
    /// # Errors
    ///
    /// [`SignError`] if the secret does not fit the scheme, or if only the provider can sign.
    pub fn test_headers(
        &self,
        secret: &Secret,
        event: &str,
        request: &Unsigned<'_>,
    ) -> Result<Vec<(String, String)>, SignError> {
        let mut headers = self.scheme.sign(secret, request)?;
        let content_type = if self.envelope.is_json() { JSON } else { FORM };
        let user_agent = format!("{TEST_USER_AGENT}{}", env!("CARGO_PKG_VERSION"));
        let general = [("content-type", content_type.into()), ("user-agent", user_agent)];
        let general = general.map(|(name, value)| (name.to_owned(), value));
        let parts = self.name_parts(event).into_iter().chain(self.delivery_id(request.id));
        let parts = parts.filter_map(|(place, value)| place.write(value));
        for (name, value) in general.into_iter().chain(parts) {
            // The scheme may have signed the header.
            if headers.iter().all(|(other, _)| *other != name) {
                headers.push((name, value));
            }
        }
        Ok(headers)
    }

    /// Whether requests that are signed with this secret are also accepted, whatever their body. Not if the
    /// secret is a public key, or if what is signed is in the body.
    pub fn can_sign(&self, secret: &Secret, now: Timestamp) -> bool {
        let (Ok(source), Ok(key)) = (SourceName::new("test"), self.scheme.key(secret)) else {
            return false;
        };
        BODIES.iter().all(|(content_type, body)| {
            let url = "https://localhost/";
            let unsigned = Unsigned { method: "POST", url, id: "test", at: now, body };
            let Ok(mut signed) = self.scheme.sign(secret, &unsigned) else { return false };
            signed.push(("content-type".into(), (*content_type).into()));
            let headers = Headers::from_pairs(signed);
            let head = Head { method: "POST".into(), url: url.into(), headers };
            let arrival = Arrival { received_at: now, head, body: body.to_vec().into() };
            verify(&self.scheme, &source, std::slice::from_ref(&key), arrival).is_ok()
        })
    }

    /// Where the parts of an event's name are, with the parts of this one.
    fn name_parts<'a>(&'a self, event: &'a str) -> Vec<(&'a Place, &'a str)> {
        let places = &self.envelope.name;
        places.iter().zip(event.splitn(places.len(), '.')).collect()
    }

    fn delivery_id<'a>(&'a self, id: &'a str) -> Option<(&'a Place, &'a str)> {
        Some((self.envelope.delivery_id.as_ref()?, id))
    }
}

/// A random UUID (RFC 9562, version 4), made of these random bits.
pub fn uuid(random: u128) -> String {
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

/// How the user agent of requests begins that only test a receiver, by which they can be recognised.
pub const TEST_USER_AGENT: &str = "wilco-send/";
/// The provider of which there are samples.
const FREISPACE: &str = "freispace";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// Bodies that a scheme must be able to sign.
const BODIES: [(&str, &[u8]); 3] =
    [(JSON, b"{\"test\":true}"), (FORM, b"test=1"), ("application/octet-stream", b"\xff")];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{all, find};

    /// The name and delivery id of a sample that is sent as this event.
    fn check(provider: &Provider, event: &str) -> Option<(String, Option<String>)> {
        let secret = Secret::new("test", b"0123456789abcdef0123456789abcdef".to_vec()).unwrap();
        let now = "2026-11-30T08:00:00Z".parse().unwrap();
        if !provider.can_sign(&secret, now) {
            return None;
        }
        let (id, url) = (&uuid(7), "https://localhost/");
        let body = provider.sample(event, id, now);
        let unsigned = Unsigned { url, id, ..Unsigned::post(body.as_bytes(), now) };
        let headers =
            Headers::from_pairs(provider.test_headers(&secret, event, &unsigned).unwrap());
        let head = Head { method: "POST".into(), url: url.into(), headers };
        let arrival = Arrival { received_at: now, head, body: body.into_bytes().into() };
        let keys = [provider.scheme.key(&secret).unwrap()];
        let source = SourceName::new("test").unwrap();
        let verified = verify(&provider.scheme, &source, &keys, arrival);
        let verified = verified.unwrap_or_else(|why| panic!("{}: {why}", provider.name));
        let envelope = provider.envelope(&verified);
        let envelope = envelope.unwrap_or_else(|why| panic!("{}: {why}", provider.name));
        Some((envelope.name, envelope.delivery_id))
    }

    #[test]
    fn a_sample_is_the_event_that_was_asked_for_with_its_own_delivery_id() {
        let id = Some("00000000-0000-4000-8000-000000000007");
        for (provider, event, expected) in [
            ("freispace", "booking.created", Some(("booking.created", None))),
            ("freispace", "quote.finalized", Some(("offer.finalized", None))),
            ("freispace", "unheard.of", Some(("unheard.of", None))),
            ("github", "push", Some(("push", id))),
            ("github", "pull_request", Some(("pull_request", id))),
            ("github", "pull_request.opened", Some(("pull_request.opened", id))),
            ("stripe", "invoice.paid", Some(("invoice.paid", id))),
            ("standard-webhooks", "user.created", Some(("user.created", id))),
            ("mailchimp", "subscribe", None),
            ("discord", "anything", None),
        ] {
            let found = check(find(provider).unwrap(), event);
            let found = found.as_ref().map(|(name, id)| (name.as_str(), id.as_deref()));
            assert_eq!(found, expected, "{provider} {event}");
        }
    }

    #[test]
    fn whatever_can_be_signed_is_accepted_and_most_providers_can() {
        let event = |provider: &Provider| provider.events().next().unwrap_or("a.b").to_owned();
        let signed = all().iter().filter(|provider| check(provider, &event(provider)).is_some());
        assert!(signed.count() > all().len() / 2);
    }
}
