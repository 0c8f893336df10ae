//! Schemes that differ from one in a single way: what a sender may do instead.

use jiff::SignedDuration;

use super::{Algorithm, KeyText, Part, Scheme, Template};
use crate::place::Place;

impl Scheme {
    pub(crate) fn key_text(&self) -> KeyText {
        self.key
    }

    pub(crate) fn has_timestamp(&self) -> bool {
        self.timestamp.is_some()
    }

    /// This scheme, whenever a request was signed.
    pub(crate) fn timeless(&self) -> Self {
        self.tolerating(None)
    }

    /// This scheme, with the tolerance of another.
    pub(crate) fn in_time_of(&self, other: &Self) -> Self {
        self.tolerating(other.tolerance)
    }

    fn tolerating(&self, tolerance: Option<SignedDuration>) -> Self {
        Self { tolerance, ..self.clone() }
    }

    /// This scheme, with keys that are written in another way.
    pub(crate) fn reading_keys_as(&self, key: KeyText) -> Self {
        Self { key, ..self.clone() }
    }

    /// This scheme with another algorithm: none where one of both has no shared secret, and two for a plain
    /// hash, whose secret may be at either end.
    pub(crate) fn computed_with(&self, algorithm: Algorithm) -> Vec<Self> {
        if !self.algorithm.is_keyed() || !algorithm.is_keyed() {
            return Vec::new();
        }
        let bare = self.signed.iter().map(|template| template.without(&Part::Secret));
        let signed: Vec<Vec<Template>> = match algorithm.is_plain_hash() {
            true => {
                let both = bare.map(|template| template.with(&Part::Secret));
                let (after, before) = both.map(|[after, before]| (after, before)).unzip();
                vec![after, before]
            }
            false => vec![bare.collect()],
        };
        signed.into_iter().map(|signed| Self { algorithm, signed, ..self.clone() }).collect()
    }

    /// This scheme with other parts signed; the timestamp and the id in these headers. `None` if it signs
    /// nothing, or a part would be nowhere.
    pub(crate) fn signing(
        &self,
        template: &str,
        time: Option<&str>,
        id: Option<&str>,
    ) -> Option<Self> {
        if !self.algorithm.is_keyed() {
            return None;
        }
        let template = Template::try_from(template.to_owned()).ok()?;
        let signed = match self.algorithm.is_plain_hash() {
            true => template.with(&Part::Secret).into(),
            false => vec![template],
        };
        let place = |header: Option<&str>, own: &Option<Place>| match header {
            Some(header) => Place::of_header(header).ok(),
            None => own.clone(),
        };
        let timestamp = place(time, &self.timestamp);
        let id = place(id, &self.id);
        Some(Self { signed, timestamp, id, body_sha256: None, ..self.clone() })
    }

    /// The header in which this signature is sent, its text there, and what separates it from others.
    pub(crate) fn write_signature(
        &self,
        signature: &[u8],
    ) -> Option<(String, String, Option<char>)> {
        let (name, text) = self.signature.write(&self.encoding.encode(signature))?;
        Some((name, text, self.signature.split()))
    }
}

impl Algorithm {
    /// Whether signatures are computed from a shared secret and the message.
    fn is_keyed(self) -> bool {
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

    /// Whether the secret is a part of the message.
    fn is_plain_hash(self) -> bool {
        matches!(self, Self::Sha1 | Self::Sha256)
    }
}
