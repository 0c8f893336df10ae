//! Signs a request as its provider would: for tests, and for `wilco send`.

use jiff::Timestamp;

use super::{
    Algorithm, Encoding, Key, KeyError, Part, Scheme, Template, TimestampUnit, Values,
    unsigned_token,
};
use crate::{Body, Digest, Secret, place::Place};

/// Why a request could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The secret does not have the form of the provider's keys.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// The provider signs with a private key, or puts the signature into the body.
    #[error("requests of this provider can only be signed by the provider")]
    OnlyByProvider,
}

/// A request that is about to be signed, as [`Scheme::sign`] needs it.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// `POST`, for most.
    pub method: &'a str,
    /// The URL by which the provider knows the receiver. It may be empty if the scheme does not
    /// sign it.
    pub url: &'a str,
    /// The delivery's id, if the scheme signs one.
    pub id: &'a str,
    /// When it is signed.
    pub at: Timestamp,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Unsigned<'a> {
    /// A `POST` of this body.
    pub fn post(body: &'a [u8], at: Timestamp) -> Self {
        Self { method: "POST", url: "", id: "", at, body }
    }
}

impl Scheme {
    /// The headers with which a provider would send this request.
    ///
    /// # Errors
    ///
    /// [`SignError`] if the secret does not fit this scheme, or if only the provider can sign.
    pub fn sign(
        &self,
        secret: &Secret,
        request: &Unsigned<'_>,
    ) -> Result<Vec<(String, String)>, SignError> {
        let key = self.key(secret)?;
        self.sign_with(&key, request).ok_or(SignError::OnlyByProvider)
    }

    /// `None` if only the provider's private key can sign, or if the signature is part of the body.
    fn sign_with(&self, key: &Key, request: &Unsigned<'_>) -> Option<Vec<(String, String)>> {
        let timestamp = match self.timestamp_unit {
            TimestampUnit::Seconds => request.at.as_second().to_string(),
            TimestampUnit::Milliseconds => request.at.as_millisecond().to_string(),
            TimestampUnit::Rfc3339 => request.at.to_string(),
        };
        let parts = self.signed.first().map(Template::parts).unwrap_or_default();
        let signed_headers = parts.iter().filter_map(|part| match part {
            Part::Header(place) => Some((place.clone(), SIGNED_HEADER.as_bytes().to_vec())),
            _ => None,
        });
        let values = Values {
            timestamp: Some(timestamp.clone().into_bytes()),
            id: Some(request.id.as_bytes().to_vec()),
            method: request.method.to_owned(),
            url: request.url.to_owned(),
            headers: signed_headers.collect(),
            is_form: parts.contains(&Part::Form),
            digest: None,
        };
        let signature = self.signature_with(key, &values, request)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        let places = [(&self.timestamp, timestamp.as_str()), (&self.id, request.id)];
        let places = places.into_iter().filter_map(|(place, value)| Some((place.as_ref()?, value)));
        let others = values.headers.iter().map(|(place, _)| (place, SIGNED_HEADER));
        for (place, value) in places.chain(others).chain([(&self.signature, signature.as_str())]) {
            if place.is_in_body() && place != &self.signature {
                continue;
            }
            let (name, value) = place.write(value)?;
            match (headers.iter_mut().find(|(header, _)| *header == name), place.split()) {
                (Some((_, items)), Some(split)) => items.push_str(&format!("{split}{value}")),
                _ => headers.push((name, value)),
            }
        }
        Some(headers)
    }
    /// The text of the signature.
    fn signature_with(&self, key: &Key, values: &Values, request: &Unsigned<'_>) -> Option<String> {
        if self.algorithm == Algorithm::JwtHs256 {
            let claim = self.body_sha256.as_ref().and_then(Place::claim);
            let claim = claim.map(|name| (name, Digest::of(request.body).to_string()));
            let text = unsigned_token(request.at, claim);
            let signature = Encoding::Base64Url.encode(&key.sign(text.as_bytes())?);
            return Some(format!("{text}.{signature}"));
        }
        let body = Body::from(request.body.to_vec());
        let message = self.signed.first()?.message(values, key.secret(), &body);
        Some(self.encoding.encode(&key.sign(&message)?))
    }
}

/// The value of a signed header that has no meaning of its own.
const SIGNED_HEADER: &str = "test";
