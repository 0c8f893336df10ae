//! Requests that a provider's file has as tests of what it says.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};

use super::Provider;
use crate::{Arrival, Head, Headers, Secret, SourceName, Verified, verify};

/// A request, and what becomes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::provider) struct Vector {
    name: String,
    /// Where it was read.
    #[serde(rename = "source")]
    _source: Option<IgnoredAny>,
    is_valid: bool,
    now_secs: Option<i64>,
    secret: String,
    #[serde(default = "post")]
    method: String,
    #[serde(default)]
    url: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    event: Option<String>,
    subject: Option<String>,
    delivery_id: Option<String>,
}

impl Vector {
    /// Verifies the request and reads it as an event.
    ///
    /// # Errors
    ///
    /// What is not as the vector says.
    pub(in crate::provider) fn check(&self, provider: &Provider) -> Result<(), String> {
        let failed = |what: String| format!("vector {:?}: {what}", self.name);
        match (self.verified(provider).map_err(failed)?, self.is_valid) {
            (Ok(verified), true) => self.check_event(provider, &verified).map_err(failed),
            (Ok(_), false) => Err(failed("the request is accepted, and is-valid is false".into())),
            (Err(why), true) => Err(failed(format!("the request is refused: {why}"))),
            (Err(_), false) => Ok(()),
        }
    }

    /// The verified request, or why it is refused.
    fn verified(&self, provider: &Provider) -> Result<Result<Verified, String>, String> {
        let scheme = &provider.scheme;
        if scheme.tolerance().is_some() && self.now_secs.is_none() {
            return Err(
                "expected now-secs, when the request is received: the time is checked".into()
            );
        }
        let received_at = Timestamp::from_second(self.now_secs.unwrap_or_default());
        let received_at = received_at.map_err(|_| "invalid now-secs")?;
        let secret = Secret::of_any_length("vector", self.secret.clone().into_bytes());
        let key = secret.map_err(|error| error.to_string())?;
        let key = scheme.key(&key).map_err(|error| error.to_string())?;
        let head = Head {
            method: self.method.clone().into(),
            url: self.url.clone(),
            headers: Headers::from_pairs(&self.headers),
        };
        let arrival = Arrival { received_at, head, body: self.body()?.into() };
        let source = SourceName::new("vector").map_err(|error| error.to_string())?;
        Ok(verify(scheme, &source, &[key], arrival).map_err(|refused| refused.mismatch.to_string()))
    }

    fn body(&self) -> Result<Vec<u8>, String> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).map_err(|_| "invalid body-base64".into()),
            _ => Err("expected either body or body-base64".into()),
        }
    }

    fn check_event(&self, provider: &Provider, verified: &Verified) -> Result<(), String> {
        let envelope = provider.envelope(verified).map_err(|error| error.to_string())?;
        for (what, found, expected) in [
            ("event", Some(&envelope.name), &self.event),
            ("subject", envelope.subject.as_ref(), &self.subject),
            ("delivery-id", envelope.delivery_id.as_ref(), &self.delivery_id),
        ] {
            if let Some(expected) = expected
                && found != Some(expected)
            {
                let found = found.map_or_else(|| "missing".into(), |found| format!("{found:?}"));
                return Err(format!("{what} is {found}, expected {expected:?}"));
            }
        }
        Ok(())
    }
}

fn post() -> String {
    "POST".into()
}
