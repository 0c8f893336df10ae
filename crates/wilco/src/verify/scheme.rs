//! How a provider signs, as data: each scheme is a table in the provider's file.

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::Mismatch;
use crate::{Headers, Secret};

/// How a provider signs: which header, which algorithm, which text, which bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scheme {
    header: String,
    algorithm: Algorithm,
    encoding: Encoding,
    signed: Signed,
}

impl Scheme {
    /// The header that carries the signature, in lower case.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// What a provider would send for this body: the header's name and its value.
    pub fn sign(&self, secret: &Secret, body: &[u8]) -> (&str, String) {
        let mac: [u8; 32] = self.mac(secret, body).finalize().into_bytes().into();
        let value = match self.encoding {
            Encoding::HexLower => base16ct::lower::encode_string(&mac),
        };
        (&self.header, value)
    }

    /// The signature that the headers claim, decoded but not believed.
    pub(super) fn claim(&self, headers: &Headers) -> Result<Claim, Mismatch> {
        let values: Vec<_> = headers.all(&self.header).collect();
        let value = match values[..] {
            [] | [b""] => return Err(Mismatch::Missing { header: self.header.clone() }),
            [value] => value,
            _ => {
                return Err(Mismatch::Repeated {
                    header: self.header.clone(),
                    times: values.len(),
                });
            }
        };
        let mut claim = [0; 32];
        let (decoded, expected) = match self.encoding {
            Encoding::HexLower => {
                (base16ct::lower::decode(value, &mut claim), "64 lower-case hexadecimal digits")
            }
        };
        match decoded {
            Ok([_, ..]) if value.len() == 64 => Ok(Claim(claim)),
            _ => Err(Mismatch::Malformed { header: self.header.clone(), expected }),
        }
    }

    /// Whether `claim` is this secret's signature of `body`. Takes the same time either way.
    pub(super) fn matches(&self, secret: &Secret, body: &[u8], claim: &Claim) -> bool {
        self.mac(secret, body).verify_slice(&claim.0).is_ok()
    }

    fn mac(&self, secret: &Secret, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = match self.algorithm {
            #[expect(
                clippy::expect_used,
                reason = "HMAC takes a key of any length (RFC 2104, section 2)"
            )]
            Algorithm::HmacSha256 => {
                Hmac::<Sha256>::new_from_slice(secret.expose()).expect("any length")
            }
        };
        match self.signed {
            Signed::Body => mac.update(body),
        }
        mac
    }
}

/// A signature as a stranger claims it.
pub(super) struct Claim([u8; 32]);

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Algorithm {
    HmacSha256,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Encoding {
    HexLower,
}

/// Which bytes the signature covers.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Signed {
    Body,
}
