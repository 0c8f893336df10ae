//! A provider in words, for people who set it up.

use serde::Serialize;

use super::{Answers, Provider};
use crate::{Algorithm, Encoding, Scheme, place::Place};

/// What a person needs to know of a provider in order to set up a source, or to find out why its
/// requests are refused.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// How it signs, in a few words: `HMAC-SHA-256, hex`.
    pub signs: String,
    /// Where the signature is: `header x-hub-signature-256, after "sha256="`.
    pub signature: String,
    /// What is signed; if there are several, any may match. Empty if the secret itself is sent.
    pub signed: Vec<String>,
    /// How the secret is written: the word of the provider's file.
    pub secret: &'static str,
    /// Where the time of signing is.
    pub timestamp: Option<String>,
    /// How old a signature may be, or ahead of the clock, in seconds.
    pub tolerance_secs: Option<i64>,
    /// Whether a changed body makes the signature wrong.
    pub covers_body: bool,
    /// Whether the URL is signed, so that the source has to say what it is.
    pub signs_url: bool,
    /// What names the event; the parts are joined by dots.
    pub event: Vec<String>,
    /// What says what the event is about; the parts are joined by slashes.
    pub subject: Vec<String>,
    /// Where the id is by which a delivery that is sent again is recognised.
    pub delivery_id: Option<String>,
    /// The array that holds several events in one request.
    pub batch: Option<String>,
    /// The documented events.
    pub events: Vec<String>,
    /// Requests that are answered and not recorded.
    pub handshakes: Vec<String>,
    /// Answers to events that are not the usual ones.
    pub answers: Vec<String>,
    /// Whether a request brings the secret.
    pub teaches_secret: bool,
    /// Whether a handshake needs a token that the user made up.
    pub has_verify_token: bool,
}

impl Provider {
    /// This provider in words.
    pub fn description(&self) -> Description {
        let scheme = &self.scheme;
        let words = |place: &Place| place.in_full();
        let batch = |path: &str| match path {
            "" => "the body".to_owned(),
            path => format!("member {path} of the body"),
        };
        Description {
            signs: scheme.in_words(),
            signature: words(scheme.signature()),
            signed: scheme.templates(),
            secret: scheme.key_text().word(),
            timestamp: scheme.timestamp().map(words),
            tolerance_secs: scheme.tolerance().map(|tolerance| tolerance.as_secs()),
            covers_body: scheme.covers_body(),
            signs_url: scheme.signs_url(),
            event: self.envelope.name.iter().map(words).collect(),
            subject: self.envelope.subject.iter().map(words).collect(),
            delivery_id: self.envelope.delivery_id.as_ref().map(words),
            batch: self.batch().map(batch),
            events: self.events().map(str::to_owned).collect(),
            handshakes: self.handshakes.iter().map(ToString::to_string).collect(),
            answers: self.answers.in_words(),
            teaches_secret: self.teaches_secret(),
            has_verify_token: self.has_verify_token(),
        }
    }
}

impl Answers {
    /// The answers that are not the usual ones: `401 to a wrong signature`.
    fn in_words(&self) -> Vec<String> {
        let accepted = self.accepted.as_ref().map(|accepted| match accepted.body.as_str() {
            "" => format!("{} without a body to an event", accepted.status),
            body => format!("{} with {body} to an event", accepted.status),
        });
        let missing = self.missing.map(|status| format!("{} to a missing signature", status.0));
        let invalid = self.invalid.map(|status| format!("{} to a wrong signature", status.0));
        [accepted, missing, invalid].into_iter().flatten().collect()
    }
}

impl Scheme {
    /// How it signs, in a few words.
    fn in_words(&self) -> String {
        let name = match self.algorithm() {
            Algorithm::Token => {
                let is_basic = self.encoding() == Encoding::Base64;
                return if is_basic { "user and password" } else { "token" }.to_owned();
            }
            Algorithm::JwtHs256 => return "JSON Web Token, HS256".to_owned(),
            Algorithm::HmacSha1 => "HMAC-SHA-1",
            Algorithm::HmacSha256 => "HMAC-SHA-256",
            Algorithm::HmacSha384 => "HMAC-SHA-384",
            Algorithm::HmacSha512 => "HMAC-SHA-512",
            Algorithm::Sha1 => "SHA-1 with the secret",
            Algorithm::Sha256 => "SHA-256 with the secret",
            Algorithm::Ed25519 => "Ed25519",
            Algorithm::EcdsaP256 => "ECDSA P-256",
            Algorithm::RsaSha256 => "RSA-SHA-256",
            Algorithm::RsaSha512 => "RSA-SHA-512",
        };
        let form = match self.encoding() {
            Encoding::Hex | Encoding::HexLower => "hex",
            Encoding::Base64 => "base64",
            Encoding::Base64Url => "base64url",
            Encoding::Text => "text",
        };
        format!("{name}, {form}")
    }
}

#[cfg(test)]
mod tests {
    use crate::provider::find;

    #[test]
    fn a_provider_is_described_in_the_words_of_its_documentation() {
        let stripe = find("stripe").unwrap().description();
        assert_eq!(stripe.signs, "HMAC-SHA-256, hex");
        assert_eq!(stripe.signature, "header stripe-signature, after \"v1=\" in a list");
        assert_eq!(stripe.signed, ["{timestamp}.{body}"]);
        assert_eq!(stripe.tolerance_secs, Some(300));
        assert_eq!(stripe.delivery_id.as_deref(), Some("member id of the body"));
        let gitlab = find("gitlab").unwrap().description();
        assert_eq!((gitlab.signs.as_str(), gitlab.covers_body), ("token", false));
        assert!(gitlab.signed.is_empty(), "{:?}", gitlab.signed);
        let slack = find("slack").unwrap().description();
        let asked = "signed POST with member type of the body equal to \"url_verification\"";
        assert_eq!(slack.handshakes, [asked]);
        let asana = find("asana").unwrap().description();
        assert_eq!(asana.handshakes, ["POST with header x-hook-secret, which brings the secret"]);
        let xero = find("xero").unwrap().description();
        let refused = ["401 to a missing signature", "401 to a wrong signature"];
        assert_eq!(xero.answers[1..], refused);
    }
}
