//! JSON Web Tokens (RFC 7519) that are signed with HMAC-SHA-256: `header.claims.signature`, each part
//! in URL-safe base64 (RFC 7515).

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::mismatch::Mismatch;

/// What a token says. Whether it is true is known only once its signature is.
pub(in crate::verify) struct Claims(Map<String, Value>);

/// Whether this is a token that the key signed. A token names its own algorithm, and only the one that
/// the scheme expects counts: that it could be another one is how such checks were fooled.
pub(super) fn is_signed(key: &hmac::Key, token: &[u8]) -> bool {
    let Some([signed, header, _, signature]) = parts(token) else { return false };
    let is_expected = read(header).is_some_and(|header| {
        // `crit` lists extensions that must be understood, and none is.
        header.get("alg").and_then(Value::as_str) == Some("HS256") && !header.contains_key("crit")
    });
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    is_expected && hmac::verify(key, signed, &signature).is_ok()
}

/// The text of a token with these claims, without its signature, which is over this text.
pub(in crate::verify) fn unsigned(at: Timestamp, body_claim: Option<(&str, String)>) -> String {
    let mut claims = json!({ "iat": at.as_second(), "exp": at.as_second() + LIFE_SECS });
    if let Some((name, digest)) = body_claim {
        claims[name] = digest.into();
    }
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(json!({ "alg": "HS256", "typ": "JWT" })), part(claims))
}

impl Claims {
    /// Reads the claims of a token. `None` if it is none.
    pub(in crate::verify) fn of(token: &[u8]) -> Option<Self> {
        let [_, _, claims, _] = parts(token)?;
        read(claims).map(Self)
    }

    /// Checks that the token is valid at this time, as far as it limits that.
    pub(in crate::verify) fn in_time(
        &self,
        now: Timestamp,
        leeway_secs: i64,
    ) -> Result<(), Mismatch> {
        let at = |name: &str| match self.0.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| Mismatch::Malformed {
                place: format!("claim {name} of the token"),
                expected: "a number of seconds since 1970".to_owned(),
            }),
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 have less than 53 bits")]
        let (now, leeway) = (now.as_second() as f64, leeway_secs as f64);
        if at("exp")?.is_some_and(|exp| now >= exp + leeway) {
            return Err(Mismatch::TokenOutOfTime { what: "has expired" });
        }
        if at("nbf")?.is_some_and(|nbf| now < nbf - leeway) {
            return Err(Mismatch::TokenOutOfTime { what: "is not valid yet" });
        }
        Ok(())
    }

    /// The text of a claim.
    pub(in crate::verify) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

/// What is signed, and the three parts.
fn parts(token: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = token.split(|byte| *byte == b'.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let signed = token.get(..header.len() + 1 + claims.len())?;
    parts.next().is_none().then_some([signed, header, claims, signature])
}

fn read(part: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// How long a token that wilco makes is valid.
const LIFE_SECS: i64 = 300;
