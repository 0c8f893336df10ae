//! How a provider signs, as data: a scheme is a table in the provider's file.

mod encoding;
mod key;
mod sign;
mod template;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{
    Body, Digest, Head, Secret,
    mismatch::Mismatch,
    place::{Half, Place},
};
use encoding::Encoding;
use key::{Algorithm, KeyText};
use template::Template;

pub(in crate::verify) use key::Stream;
pub use key::{Key, KeyError, standard_webhooks_key};
pub use sign::{SignError, Unsigned};
pub(in crate::verify) use template::{Part, Values};

/// How a provider signs: where the signature is, how it is written, and which bytes it covers.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Scheme {
    algorithm: Algorithm,
    key: KeyText,
    pub(super) signature: Place,
    encoding: Encoding,
    /// More than one if the provider signs in one of several ways: all are tried.
    pub(super) signed: Vec<Template>,
    timestamp: Option<Place>,
    timestamp_unit: Unit,
    tolerance: Option<SignedDuration>,
    id: Option<Place>,
    pub(super) body_sha256: Option<Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    algorithm: Algorithm,
    #[serde(default)]
    key: KeyText,
    signature: Place,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    signed: Vec<Template>,
    timestamp: Option<Place>,
    #[serde(default)]
    timestamp_unit: Unit,
    tolerance_secs: Option<u32>,
    id: Option<Place>,
    body_sha256: Option<Place>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    #[default]
    Seconds,
    Milliseconds,
    Rfc3339,
}

impl TryFrom<Raw> for Scheme {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let uses = |part| raw.signed.iter().any(|template| template.has(&part));
        let signed = match (raw.algorithm, raw.signed.is_empty()) {
            // The value itself is compared; nothing is signed.
            (Algorithm::Token, true) => vec![Template::default()],
            (Algorithm::Token, false) => {
                return Err("a token signs nothing: unexpected \"signed\"".into());
            }
            (_, true) => return Err("expected \"signed\"".into()),
            (_, false) => raw.signed.clone(),
        };
        if uses(Part::Timestamp) && raw.timestamp.is_none() {
            return Err("{timestamp} is signed: expected \"timestamp\"".into());
        }
        if uses(Part::Id) && raw.id.is_none() {
            return Err("{id} is signed: expected \"id\"".into());
        }
        if raw.tolerance_secs.is_some() && raw.timestamp.is_none() {
            return Err("\"tolerance-secs\" without \"timestamp\"".into());
        }
        Ok(Self {
            algorithm: raw.algorithm,
            key: raw.key,
            signature: raw.signature,
            encoding: raw.encoding,
            signed,
            timestamp: raw.timestamp,
            timestamp_unit: raw.timestamp_unit,
            tolerance: raw.tolerance_secs.map(|secs| SignedDuration::from_secs(secs.into())),
            id: raw.id,
            body_sha256: raw.body_sha256,
        })
    }
}

impl Scheme {
    /// The header that carries the signature, if it is in one.
    pub fn header(&self) -> Option<&str> {
        self.signature.header()
    }

    /// Prepares a secret for this scheme.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the secret does not have the form of the provider's keys.
    pub fn key(&self, secret: &Secret) -> Result<Key, KeyError> {
        Key::new(secret, self.algorithm, self.key)
    }

    /// The signatures that a request claims to have, decoded but not checked. Of several, those
    /// that cannot be a signature of this algorithm are skipped.
    pub(super) fn claimed_signatures(&self, half: Half<'_>) -> Result<Vec<Vec<u8>>, Mismatch> {
        let candidates = self.signature.candidates(half)?;
        let claimed: Vec<_> = candidates.iter().filter_map(|text| self.decode(text)).collect();
        if claimed.is_empty() {
            return Err(self.signature.malformed(&self.expected()));
        }
        Ok(claimed)
    }

    fn decode(&self, text: &[u8]) -> Option<Vec<u8>> {
        let signature = self.encoding.decode(text)?;
        let fits = self.algorithm.signature_bytes().is_none_or(|bytes| signature.len() == bytes);
        fits.then_some(signature)
    }

    fn expected(&self) -> String {
        let form = match self.encoding {
            Encoding::Hex => "hexadecimal digits",
            Encoding::HexLower => "lower-case hexadecimal digits",
            Encoding::Base64 => "base64",
            Encoding::Base64Url => "URL-safe base64",
            Encoding::Text => "text",
        };
        match (self.algorithm.signature_bytes(), self.encoding) {
            (Some(bytes), Encoding::Hex | Encoding::HexLower) => format!("{} {form}", bytes * 2),
            (Some(bytes), _) => format!("{bytes} bytes in {form}"),
            (None, _) => form.to_owned(),
        }
    }

    /// Begins to compute one of the possible signatures. `None` if that needs the whole message.
    pub(in crate::verify) fn stream(
        signed: &Template,
        values: &Values,
        key: &Key,
    ) -> Option<Stream> {
        let (before, _) = signed.around_body()?;
        let mut stream = key.stream()?;
        for part in before {
            stream.update(&part.bytes(values, key.secret())?);
        }
        Some(stream)
    }

    /// Whether one of the `claimed` signatures is the one that this template gives.
    pub(in crate::verify) fn matches(
        signed: &Template,
        stream: Option<Stream>,
        (values, key): (&Values, &Key),
        body: &Body,
        claimed: &[Vec<u8>],
    ) -> bool {
        let Some(mut stream) = stream else {
            return key.matches_any(&signed.message(values, key.secret(), body), claimed);
        };
        let (_, after) = signed.around_body().unwrap_or_default();
        for part in after {
            stream.update(&part.bytes(values, key.secret()).unwrap_or_default());
        }
        stream.matches_any(claimed)
    }

    /// The parts of the head that the signature covers.
    pub(super) fn values(&self, head: &Head) -> Result<Values, Mismatch> {
        let in_head = |place: &Option<Place>| match place {
            Some(place) if !place.is_in_body() => place.value(Half::Head(head)).map(Some),
            _ => Ok(None),
        };
        let has = |is_part: fn(&Part) -> bool| {
            self.signed.iter().any(|template| template.parts().iter().any(is_part))
        };
        let has_method = has(|part| *part == Part::Method);
        let has_url = has(|part| matches!(part, Part::Url(_)));
        let is_form = |value: &[u8]| {
            let value = value.trim_ascii_start().to_ascii_lowercase();
            value.starts_with(b"application/x-www-form-urlencoded")
        };
        Ok(Values {
            timestamp: in_head(&self.timestamp)?,
            id: in_head(&self.id)?,
            method: if has_method { head.method.clone().into_owned() } else { String::new() },
            url: if has_url { head.url.clone() } else { String::new() },
            is_form: has(|part| *part == Part::Form)
                && head.headers.all("content-type").any(is_form),
        })
    }

    /// Adds the values that are in the body.
    pub(super) fn complete(&self, values: &mut Values, body: &Body) -> Result<(), Mismatch> {
        for (place, value) in [(&self.timestamp, &mut values.timestamp), (&self.id, &mut values.id)]
        {
            if let Some(place) = place
                && value.is_none()
            {
                *value = Some(place.value(Half::Body(body))?);
            }
        }
        Ok(())
    }

    /// When the request was signed, if the scheme has a timestamp.
    pub(super) fn signed_at(&self, values: &Values) -> Result<Option<Timestamp>, Mismatch> {
        let (Some(place), Some(text)) = (&self.timestamp, &values.timestamp) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(text).unwrap_or_default();
        let number = || {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| text.parse().ok()).flatten()
        };
        let (at, expected) = match self.timestamp_unit {
            Unit::Seconds => {
                (number().and_then(|n| Timestamp::from_second(n).ok()), "seconds since 1970")
            }
            Unit::Milliseconds => (
                number().and_then(|n| Timestamp::from_millisecond(n).ok()),
                "milliseconds since 1970",
            ),
            Unit::Rfc3339 => (text.parse().ok(), "a time, such as 2026-03-02T08:30:00Z"),
        };
        at.map(Some).ok_or_else(|| place.malformed(expected))
    }

    /// Checks that a signature over something else than the raw body covers the body too: it covers
    /// the fields of a form, and a body whose digest is in the signed URL.
    pub(super) fn covers_body(
        &self,
        values: &Values,
        body_sha256: Option<&[u8]>,
        digest: &Digest,
        body: &Body,
    ) -> Result<(), Mismatch> {
        if self.body_sha256.is_none() {
            return Ok(());
        }
        let is_covered = match body_sha256 {
            Some(text) => Encoding::Hex.decode(text).is_some_and(|sent| sent == digest.0),
            None => values.is_form || body.is_empty(),
        };
        is_covered.then_some(()).ok_or(Mismatch::BodyNotCovered)
    }

    /// Checks that the request was not signed too long ago, or in the future.
    pub(super) fn in_time(&self, at: Option<Timestamp>, now: Timestamp) -> Result<(), Mismatch> {
        let (Some(at), Some(tolerance)) = (at, self.tolerance) else { return Ok(()) };
        let age = now.duration_since(at);
        if age.abs() > tolerance {
            let (age_secs, tolerance_secs) = (age.as_secs(), tolerance.as_secs());
            return Err(Mismatch::OutOfTime { age_secs, tolerance_secs });
        }
        Ok(())
    }
}

impl Algorithm {
    /// The length of a signature; `None` if it varies.
    fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::HmacSha1 | Self::Sha1 => Some(20),
            Self::HmacSha256 | Self::Sha256 => Some(32),
            Self::HmacSha512 | Self::Ed25519 => Some(64),
            Self::EcdsaP256 | Self::Token => None,
        }
    }
}

/// A text in base64 without its padding.
pub(super) fn without_padding(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_that_contradicts_itself_is_refused() {
        let base = "algorithm = \"hmac-sha256\"\nsignature = { header = \"x\" }\n";
        for (lines, expected) in [
            ("", "expected \"signed\""),
            ("signed = [\"{timestamp}.{body}\"]", "{timestamp} is signed"),
            ("signed = [\"{id}{body}\"]", "{id} is signed"),
            ("signed = [\"{body}\"]\ntolerance-secs = 3", "without \"timestamp\""),
            ("signed = [\"{body}\"]\nencodig = \"hex\"", "unknown field"),
        ] {
            let error = toml::from_str::<Scheme>(&format!("{base}{lines}")).unwrap_err();
            assert!(error.to_string().contains(expected), "{lines}: {error}");
        }
        let places = "algorithm = \"token\"\nsignature = ";
        for (place, expected) in [
            ("{ header = \"X\" }", "lower case"),
            ("{ header = \"x\", query = \"y\" }", "one of header, json, form, query"),
            ("{}", "one of header, json, form, query"),
        ] {
            let error = toml::from_str::<Scheme>(&format!("{places}{place}")).unwrap_err();
            assert!(error.to_string().contains(expected), "{place}: {error}");
        }
    }
}
