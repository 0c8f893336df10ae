//! How a provider signs, as data: a scheme is a table in the provider's file.

mod encoding;
mod file;
mod key;
mod neighbours;
mod sign;
mod template;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{
    Body, Digest, Head, Headers, Secret,
    mismatch::Mismatch,
    place::{Half, Place},
    words::words,
};
use file::SchemeText;

pub use encoding::Encoding;
pub use key::{Algorithm, Key, KeyError, KeyText, standard_webhooks_key};
pub(in crate::verify) use key::{Claims, Stream, unsigned_token};
pub use sign::{SignError, Unsigned};
pub(in crate::verify) use template::{Part, Template, Values};

/// How a provider signs: where the signature is, how it is written, and which bytes it covers.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "SchemeText")]
pub struct Scheme {
    algorithm: Algorithm,
    key: KeyText,
    pub(super) signature: Place,
    encoding: Encoding,
    /// More than one if the provider signs in one of several ways: all are tried.
    pub(super) signed: Vec<Template>,
    timestamp: Option<Place>,
    timestamp_unit: TimestampUnit,
    tolerance: Option<SignedDuration>,
    id: Option<Place>,
    pub(super) body_sha256: Option<Place>,
}

words! {
    /// How a timestamp is written.
    #[derive(Default)]
    pub enum TimestampUnit {
        /// Since 1970.
        #[default]
        Seconds = "seconds",
        /// Since 1970.
        Milliseconds = "milliseconds",
        /// `2026-03-02T08:30:00Z`.
        Rfc3339 = "rfc3339",
    }
}

impl Scheme {
    /// The header that carries the signature, if it is in one.
    pub fn header(&self) -> Option<&str> {
        self.signature.header()
    }

    /// The header that carries the id of the delivery, if the scheme signs one.
    pub fn id_header(&self) -> Option<&str> {
        self.id.as_ref()?.header()
    }

    /// How signatures are written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Where the signature is.
    pub(crate) fn signature(&self) -> &Place {
        &self.signature
    }

    /// What is signed, as files write it. Empty if the secret itself is sent.
    pub(crate) fn templates(&self) -> Vec<String> {
        let texts = self.signed.iter().map(ToString::to_string);
        texts.filter(|text| !text.is_empty()).collect()
    }

    /// Where the time of signing is.
    pub(crate) fn timestamp(&self) -> Option<&Place> {
        self.timestamp.as_ref()
    }

    /// How signatures are computed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signature covers the URL, so that the receiver has to know by which one the provider
    /// calls it.
    pub fn signs_url(&self) -> bool {
        let mut parts = self.signed.iter().flat_map(Template::parts);
        parts.any(|part| matches!(part, Part::Url(_)))
    }

    /// Whether a changed body makes the signature wrong. A token that is sent along protects no body, and
    /// some providers sign a part of it only.
    pub fn covers_body(&self) -> bool {
        let is_body = |part: &Part| matches!(part, Part::Body | Part::Form | Part::BodySha256);
        let mut templates = self.signed.iter().map(Template::parts);
        self.body_sha256.is_some() || templates.all(|parts| parts.iter().any(is_body))
    }

    /// Whether every way to sign covers the body as it is.
    pub(crate) fn signs_body(&self) -> bool {
        self.signed.iter().all(|template| template.has(&Part::Body))
    }

    /// Whether a signature can be checked only with all of the body in memory, which is possible up to
    /// [`WHOLE_BODY_BYTES_MAX`](crate::WHOLE_BODY_BYTES_MAX).
    pub fn needs_whole_body(&self) -> bool {
        let places = [Some(&self.signature), self.timestamp.as_ref(), self.id.as_ref()];
        let is_whole = |template: &Template| {
            template.has_value_of_body()
                || template.has(&Part::Body)
                    && (template.around_body().is_none() || !self.algorithm.is_streamed())
        };
        places.into_iter().flatten().any(Place::is_in_body) || self.signed.iter().any(is_whole)
    }

    /// How old a signature may be, or ahead of the clock.
    pub fn tolerance(&self) -> Option<SignedDuration> {
        self.tolerance
    }

    /// Whether a header or a query parameter of this name carries the secret itself.
    pub fn is_sent_secret(&self, name: &str) -> bool {
        let is_sent = matches!(self.algorithm, Algorithm::Token | Algorithm::JwtHs256);
        is_sent && self.signature.is_named(name)
    }

    /// The headers without the secret, if the provider sends it along.
    pub(super) fn without_sent_secret(&self, headers: Headers) -> Headers {
        let is_secret = |name: &str| self.is_sent_secret(name);
        if !headers.iter().any(|(name, _)| is_secret(name)) {
            return headers;
        }
        let redacted = headers
            .iter()
            .map(|(name, value)| (name, if is_secret(name) { &b"(redacted)"[..] } else { value }));
        Headers::from_pairs(redacted)
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
        let is_one_too_many = self.algorithm == Algorithm::JwtHs256 && claimed.len() > 1;
        if claimed.is_empty() || is_one_too_many {
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
            (None, _) if self.algorithm == Algorithm::JwtHs256 => "one JSON Web Token".to_owned(),
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
        let has_url = has(|part| matches!(part, Part::Url(_) | Part::Path));
        let is_form = |value: &[u8]| {
            let value = value.trim_ascii_start().to_ascii_lowercase();
            value.starts_with(b"application/x-www-form-urlencoded")
        };
        Ok(Values {
            timestamp: in_head(&self.timestamp)?,
            id: in_head(&self.id)?,
            method: if has_method { head.method.clone().into_owned() } else { String::new() },
            url: if has_url { head.url.clone() } else { String::new() },
            headers: self.signed_headers(head)?,
            is_form: has(|part| *part == Part::Form)
                && head.headers.all("content-type").any(is_form),
            digest: None,
        })
    }

    /// The headers that the signature covers, besides those with a meaning of their own.
    fn signed_headers(&self, head: &Head) -> Result<Vec<(Place, Vec<u8>)>, Mismatch> {
        let parts = self.signed.iter().flat_map(Template::parts);
        let places = parts.filter_map(|part| match part {
            Part::Header(place) => Some(place),
            _ => None,
        });
        places.map(|place| Ok((place.clone(), place.value(Half::Head(head))?))).collect()
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
            TimestampUnit::Seconds => {
                (number().and_then(|n| Timestamp::from_second(n).ok()), "seconds since 1970")
            }
            TimestampUnit::Milliseconds => (
                number().and_then(|n| Timestamp::from_millisecond(n).ok()),
                "milliseconds since 1970",
            ),
            TimestampUnit::Rfc3339 => (text.parse().ok(), "a time, such as 2026-03-02T08:30:00Z"),
        };
        at.map(Some).ok_or_else(|| place.malformed(expected))
    }

    /// What the token says, if requests are signed with one.
    pub(super) fn claims(&self, claimed: &[Vec<u8>]) -> Option<Claims> {
        let is_token = self.algorithm == Algorithm::JwtHs256;
        claimed.first().filter(|_| is_token).and_then(|token| Claims::of(token))
    }

    /// By how much the clocks may differ that a token is judged with.
    pub(super) fn leeway_secs(&self) -> i64 {
        self.tolerance.map_or(LEEWAY_SECS, |tolerance| tolerance.as_secs())
    }

    /// The digest of the body, if the token has it.
    pub(super) fn body_claim(&self, claims: &Claims) -> Option<Vec<u8>> {
        let name = self.body_sha256.as_ref()?.claim()?;
        claims.text(name).map(|text| text.as_bytes().to_vec())
    }

    /// Checks that a signature over something else than the raw body covers the body too: it covers
    /// the fields of a form, and a body whose digest is in the signed URL.
    pub(super) fn check_body(
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
    /// Whether a signature can be computed while the body arrives.
    fn is_streamed(self) -> bool {
        match self {
            Self::HmacSha1
            | Self::HmacSha256
            | Self::HmacSha384
            | Self::HmacSha512
            | Self::Sha1
            | Self::Sha256 => true,
            Self::Ed25519
            | Self::EcdsaP256
            | Self::RsaSha256
            | Self::RsaSha512
            | Self::JwtHs256
            | Self::Token => false,
        }
    }

    /// The length of a signature; `None` if it varies.
    fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::HmacSha1 | Self::Sha1 => Some(20),
            Self::HmacSha256 | Self::Sha256 => Some(32),
            Self::HmacSha384 => Some(48),
            Self::HmacSha512 | Self::Ed25519 => Some(64),
            Self::EcdsaP256 | Self::RsaSha256 | Self::RsaSha512 | Self::JwtHs256 | Self::Token => {
                None
            }
        }
    }
}

/// By how much clocks may differ, unless the file says otherwise.
const LEEWAY_SECS: i64 = 60;
