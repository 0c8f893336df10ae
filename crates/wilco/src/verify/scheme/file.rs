//! Reads a scheme from its table, and refuses one that contradicts itself: it may be a user's own.

use jiff::SignedDuration;
use serde::Deserialize;

use super::{Algorithm, Encoding, KeyText, Part, Scheme, Template, TimestampUnit};
use crate::place::{Place, PlaceText};

/// A scheme as files write it. Whatever is missing is that of the family, or the default.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct SchemeText {
    family: Option<String>,
    algorithm: Option<Algorithm>,
    key: Option<KeyText>,
    signature: Option<PlaceText>,
    encoding: Option<Encoding>,
    signed: Option<Vec<Template>>,
    timestamp: Option<PlaceText>,
    timestamp_unit: Option<TimestampUnit>,
    tolerance_secs: Option<u32>,
    id: Option<PlaceText>,
    body_sha256: Option<PlaceText>,
}

impl TryFrom<SchemeText> for Scheme {
    type Error = String;

    fn try_from(mut text: SchemeText) -> Result<Self, String> {
        if let Some(name) = text.family.take() {
            text = text.over(family(&name)?);
        }
        let place = |key: &str, text: Option<PlaceText>| {
            text.map(Place::try_from).transpose().map_err(|why| format!("{key}: {why}"))
        };
        let algorithm =
            text.algorithm.ok_or("expected \"algorithm\", or a \"family\" that has it")?;
        let signature = place("signature", text.signature)?;
        let signed = text.signed.unwrap_or_default();
        let is_sent = matches!(algorithm, Algorithm::Token | Algorithm::JwtHs256);
        let scheme = Self {
            algorithm,
            key: text.key.unwrap_or_default(),
            signature: signature.ok_or("expected \"signature\", the place of it")?,
            encoding: text.encoding.unwrap_or(if is_sent { Encoding::Text } else { Encoding::Hex }),
            // What is sent itself is compared; nothing is computed.
            signed: if is_sent && signed.is_empty() { vec![Template::default()] } else { signed },
            timestamp: place("timestamp", text.timestamp)?,
            timestamp_unit: text.timestamp_unit.unwrap_or_default(),
            tolerance: text.tolerance_secs.map(|secs| SignedDuration::from_secs(secs.into())),
            id: place("id", text.id)?,
            body_sha256: place("body-sha256", text.body_sha256)?,
        };
        scheme.check().map(|()| scheme)
    }
}

impl SchemeText {
    /// This scheme, with what it leaves open taken from `family`.
    fn over(self, family: Self) -> Self {
        let place = |own: Option<PlaceText>, of_family: Option<PlaceText>| match (own, of_family) {
            (Some(own), Some(of_family)) => Some(own.over(of_family)),
            (own, of_family) => own.or(of_family),
        };
        Self {
            family: None,
            algorithm: self.algorithm.or(family.algorithm),
            key: self.key.or(family.key),
            signature: place(self.signature, family.signature),
            encoding: self.encoding.or(family.encoding),
            signed: self.signed.or(family.signed),
            timestamp: place(self.timestamp, family.timestamp),
            timestamp_unit: self.timestamp_unit.or(family.timestamp_unit),
            tolerance_secs: self.tolerance_secs.or(family.tolerance_secs),
            id: place(self.id, family.id),
            body_sha256: place(self.body_sha256, family.body_sha256),
        }
    }
}

impl Scheme {
    fn check(&self) -> Result<(), String> {
        let places = [Some(&self.signature), self.timestamp.as_ref(), self.id.as_ref()];
        if places.into_iter().flatten().any(|place| place.is_constant() || place.claim().is_some())
        {
            return Err("signature, timestamp and id are sent: unexpected text or claim".into());
        }
        let claim = self.body_sha256.as_ref().and_then(Place::claim);
        if claim.is_some() && self.algorithm != Algorithm::JwtHs256 {
            return Err("only a token has claims: \"algorithm\" must be jwt-hs256".into());
        }
        self.check_signed()?;
        self.check_timestamp()?;
        self.check_key()
    }

    /// Whether `signed` names only what there is, and is there if anything is signed.
    fn check_signed(&self) -> Result<(), String> {
        let uses = |part| self.signed.iter().any(|template| template.has(&part));
        let is_hash = matches!(self.algorithm, Algorithm::Sha1 | Algorithm::Sha256);
        let is_empty = self.signed.iter().all(|template| template.parts().is_empty());
        let what = match self.algorithm {
            Algorithm::Token | Algorithm::JwtHs256 if !is_empty => {
                "what is sent is the token itself: unexpected \"signed\""
            }
            Algorithm::Token | Algorithm::JwtHs256 => return Ok(()),
            _ if is_empty => "expected \"signed\"",
            _ if uses(Part::Timestamp) && self.timestamp.is_none() => {
                "{timestamp} is signed: expected \"timestamp\""
            }
            _ if uses(Part::Id) && self.id.is_none() => "{id} is signed: expected \"id\"",
            _ if is_hash && !self.signed.iter().all(|template| template.has(&Part::Secret)) => {
                "a plain hash protects nothing unless {secret} is in it"
            }
            _ if !is_hash && uses(Part::Secret) => {
                "{secret} is for the plain hashes sha1 and sha256: others have it as their key"
            }
            _ => return Ok(()),
        };
        Err(what.into())
    }

    /// A time that is not signed says nothing: whoever repeats a request changes it.
    fn check_timestamp(&self) -> Result<(), String> {
        let Some(place) = self.timestamp.as_ref() else {
            return match self.tolerance {
                Some(_) if self.algorithm != Algorithm::JwtHs256 => {
                    Err("\"tolerance-secs\" without \"timestamp\"".into())
                }
                _ => Ok(()),
            };
        };
        let is_covered = |template: &Template| {
            template.parts().iter().any(|part| match part {
                Part::Timestamp => true,
                Part::Body | Part::Form | Part::BodySha256 => place.is_in_body(),
                Part::Json(path) => place.path() == Some(path),
                Part::Url(_) | Part::Path => place.is_in_query(),
                Part::Header(header) => header == place,
                Part::Text(_) | Part::Id | Part::Method | Part::Secret => false,
            })
        };
        match self.tolerance.is_none() || self.signed.iter().all(is_covered) {
            true => Ok(()),
            false => {
                Err("\"tolerance-secs\" is for a time that is signed: expected {timestamp} in \
                          each template of \"signed\""
                    .into())
            }
        }
    }

    fn check_key(&self) -> Result<(), String> {
        let is_public = matches!(
            self.algorithm,
            Algorithm::Ed25519 | Algorithm::EcdsaP256 | Algorithm::RsaSha256 | Algorithm::RsaSha512
        );
        let (algorithm, key) = (self.algorithm.word(), self.key.word());
        if self.key == KeyText::Pem && !is_public {
            return Err(format!("{algorithm} has a shared secret: unexpected key = \"pem\""));
        }
        if is_public && self.key == KeyText::Text {
            return Err(format!(
                "{algorithm} has a public key: expected key = \"pem\", \"hex\" or \"base64\", not \
                 {key:?}"
            ));
        }
        if self.algorithm == Algorithm::JwtHs256 && self.encoding != Encoding::Text {
            return Err("a token is text: unexpected \"encoding\"".into());
        }
        Ok(())
    }
}

/// The scheme that a file of `families/` describes.
fn family(name: &str) -> Result<SchemeText, String> {
    let Some((_, text)) = FAMILIES.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = FAMILIES.iter().map(|(name, _)| *name).collect();
        return Err(format!("unknown family {name:?}: expected one of {}", known.join(", ")));
    };
    toml::from_str(text).map_err(|why| format!("family {name}: {why}"))
}

/// The name and the text of each file in `families/`.
const FAMILIES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/families.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        toml::from_str::<Scheme>(text).unwrap_err().to_string()
    }

    #[test]
    fn a_scheme_that_contradicts_itself_is_refused() {
        let base = "algorithm = \"hmac-sha256\"\nsignature = { header = \"x\" }\n";
        let at = "timestamp = { header = \"t\" }";
        for (lines, expected) in [
            ("", "expected \"signed\""),
            ("signed = []", "expected \"signed\""),
            ("signed = [\"{timestamp}.{body}\"]", "{timestamp} is signed"),
            ("signed = [\"{id}{body}\"]", "{id} is signed"),
            ("signed = [\"{body}\"]\ntolerance-secs = 3", "without \"timestamp\""),
            (
                &format!("signed = [\"{{body}}\"]\ntolerance-secs = 3\n{at}"),
                "a time that is signed",
            ),
            (
                &format!("signed = [\"{{timestamp}}\", \"{{body}}\"]\ntolerance-secs = 3\n{at}"),
                "in each template",
            ),
            ("signed = [\"{secret}{body}\"]", "for the plain hashes"),
            ("signed = [\"{body}\"]\nkey = \"pem\"", "shared secret"),
            ("signed = [\"{body}\"]\nid = { text = \"x\" }", "unexpected text"),
            ("signed = [\"{body}\"]\nbody-sha256 = { claim = \"x\" }", "only a token has claims"),
            ("signed = [\"{body}\"]\nbody-sha256 = {}", "body-sha256: expected one of header"),
            ("signed = [\"{body}\"]\nencodig = \"hex\"", "unknown field"),
        ] {
            let error = error(&format!("{base}{lines}"));
            assert!(error.contains(expected), "{lines}: {error}");
        }
    }

    #[test]
    fn an_algorithm_has_what_it_needs_and_no_more() {
        for (algorithm, lines, expected) in [
            ("token", "signed = [\"{body}\"]", "unexpected \"signed\""),
            ("jwt-hs256", "signed = [\"{body}\"]", "unexpected \"signed\""),
            ("jwt-hs256", "encoding = \"hex\"", "unexpected \"encoding\""),
            ("sha256", "signed = [\"{body}\"]", "unless {secret} is in it"),
            ("ed25519", "signed = [\"{body}\"]", "expected key = \"pem\""),
            ("rsa-sha256", "signed = [\"{body}\"]", "expected key = \"pem\""),
            ("md5", "signed = [\"{body}\"]", "unknown variant"),
        ] {
            let text =
                format!("algorithm = \"{algorithm}\"\nsignature = {{ header = \"x\" }}\n{lines}");
            let error = error(&text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_place_is_one_place() {
        for (place, expected) in [
            ("{ header = \"X\" }", "lower case"),
            ("{ header = [] }", "lower case"),
            ("{ query = \"\" }", "is empty"),
            ("{ header = \"x\", query = \"y\" }", "one of header, json, form, query"),
            ("{}", "one of header, json, form, query"),
        ] {
            let error = error(&format!("algorithm = \"token\"\nsignature = {place}"));
            assert!(error.contains(expected), "{place}: {error}");
        }
    }

    #[test]
    fn a_family_gives_what_the_scheme_leaves_open() {
        let own = "family = \"stripe\"\nsignature = { header = \"x\", prefix = \"v2=\" }\n\
                   timestamp = { header = \"x\" }\ntolerance-secs = 7";
        let whole = "algorithm = \"hmac-sha256\"\nsigned = [\"{timestamp}.{body}\"]\n\
                     signature = { header = \"x\", split = \",\", prefix = \"v2=\" }\n\
                     timestamp = { header = \"x\", split = \",\", prefix = \"t=\" }\n\
                     tolerance-secs = 7";
        let [own, whole] = [own, whole].map(|text| toml::from_str::<Scheme>(text).unwrap());
        assert_eq!(format!("{own:?}"), format!("{whole:?}"));
        // Another place replaces that of the family, with what belongs to it.
        let moved = "family = \"bearer\"\nsignature = { query = \"key\", prefix = \"\" }";
        let moved: Scheme = toml::from_str(moved).unwrap();
        assert_eq!(moved.signature.to_string(), "query parameter key");
        let unknown = error("family = \"strip\"");
        assert!(
            unknown.contains("unknown family \"strip\": expected one of base64, "),
            "{unknown}"
        );
    }

    #[test]
    fn every_family_makes_a_scheme_of_the_headers_that_it_leaves_open() {
        for (name, text) in FAMILIES {
            let open = "signature = { header = \"s\" }\ntimestamp = { header = \"t\" }";
            let needs_time = text.contains("{timestamp}");
            let open = if needs_time { open } else { open.split('\n').next().unwrap() };
            let scheme = toml::from_str::<Scheme>(&format!("family = {name:?}\n{open}"));
            assert!(scheme.is_ok(), "{name}: {scheme:?}");
        }
    }
}
