//! A secret prepared for one scheme, when the configuration is read, so that no request repeats the
//! work.

mod jwt;

use std::fmt;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest, hmac,
    signature::{self, UnparsedPublicKey, VerificationAlgorithm},
};
use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{self, GeneralPurpose},
};

use crate::{Secret, words::words};

pub(in crate::verify) use jwt::{Claims, unsigned as unsigned_token};

words! {
    /// How signatures are computed.
    pub enum Algorithm {
        /// HMAC (RFC 2104) with SHA-1.
        HmacSha1 = "hmac-sha1",
        /// HMAC with SHA-256.
        HmacSha256 = "hmac-sha256",
        /// HMAC with SHA-384.
        HmacSha384 = "hmac-sha384",
        /// HMAC with SHA-512.
        HmacSha512 = "hmac-sha512",
        /// A plain hash; the signed message contains the secret.
        Sha1 = "sha1",
        /// As `sha1`, with SHA-256.
        Sha256 = "sha256",
        /// Ed25519 (RFC 8032).
        Ed25519 = "ed25519",
        /// ECDSA over P-256 with SHA-256, the signature in ASN.1 DER.
        EcdsaP256 = "ecdsa-p256",
        /// RSA (PKCS #1 v1.5) with SHA-256.
        RsaSha256 = "rsa-sha256",
        /// RSA (PKCS #1 v1.5) with SHA-512.
        RsaSha512 = "rsa-sha512",
        /// The value is a JSON Web Token that is signed with HMAC-SHA-256.
        JwtHs256 = "jwt-hs256",
        /// The value is the secret itself; nothing is signed.
        Token = "token",
    }
}

words! {
    /// How a provider writes its keys.
    #[derive(Default)]
    pub enum KeyText {
        /// The bytes of the text.
        #[default]
        Text = "text",
        /// Hexadecimal digits.
        Hex = "hex",
        /// Base64, with or without padding.
        Base64 = "base64",
        /// Base64 after `whsec_` or `whpk_`, which may be left out (Standard Webhooks).
        StandardWebhooks = "standard-webhooks",
        /// A public key between `-----BEGIN PUBLIC KEY-----` and its end (RFC 7468).
        Pem = "pem",
    }
}

/// A secret prepared for a scheme: decoded, and with the work done that is the same for every
/// request. Its `Debug` shows the secret's name only.
#[derive(Clone)]
pub struct Key {
    name: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    // Boxed, because it is large: it holds three states of the widest hash.
    Mac(Box<hmac::Key>),
    Hash(&'static digest::Algorithm, Vec<u8>),
    Public(&'static dyn VerificationAlgorithm, Vec<u8>),
    Jwt(Box<hmac::Key>),
    Token(Vec<u8>),
}

impl Key {
    pub(super) fn new(
        secret: &Secret,
        algorithm: Algorithm,
        text: KeyText,
    ) -> Result<Self, KeyError> {
        let invalid = |expected| KeyError { name: secret.name().to_owned(), expected };
        let bytes = text.decode(secret.expose()).ok_or_else(|| invalid(text.expected()))?;
        let mac = |algorithm| Box::new(hmac::Key::new(algorithm, &bytes));
        let kind = match algorithm {
            Algorithm::HmacSha1 => Kind::Mac(mac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::HmacSha256 => Kind::Mac(mac(hmac::HMAC_SHA256)),
            Algorithm::HmacSha384 => Kind::Mac(mac(hmac::HMAC_SHA384)),
            Algorithm::HmacSha512 => Kind::Mac(mac(hmac::HMAC_SHA512)),
            Algorithm::JwtHs256 => Kind::Jwt(mac(hmac::HMAC_SHA256)),
            Algorithm::Sha1 => Kind::Hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes),
            Algorithm::Sha256 => Kind::Hash(&digest::SHA256, bytes),
            Algorithm::Ed25519 => Kind::Public(&signature::ED25519, bytes),
            Algorithm::EcdsaP256 => Kind::Public(&signature::ECDSA_P256_SHA256_ASN1, bytes),
            Algorithm::RsaSha256 => Kind::Public(&signature::RSA_PKCS1_2048_8192_SHA256, bytes),
            Algorithm::RsaSha512 => Kind::Public(&signature::RSA_PKCS1_2048_8192_SHA512, bytes),
            Algorithm::Token => Kind::Token(bytes),
        };
        if let Kind::Public(algorithm, bytes) = &kind {
            UnparsedPublicKey::new(*algorithm, bytes)
                .parse()
                .map_err(|_| invalid("a public key of this provider"))?;
        }
        Ok(Self { name: secret.name().to_owned(), kind })
    }

    /// The secret's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes that `{secret}` means in a template: empty unless the algorithm is a plain hash.
    pub(super) fn secret(&self) -> &[u8] {
        match &self.kind {
            Kind::Hash(_, bytes) => bytes,
            Kind::Mac(_) | Kind::Public(..) | Kind::Jwt(_) | Kind::Token(_) => &[],
        }
    }

    /// A computation that takes the message in parts. `None` if the algorithm needs the whole
    /// message.
    pub(super) fn stream(&self) -> Option<Stream> {
        match &self.kind {
            Kind::Mac(key) => Some(Stream::Mac(Box::new(hmac::Context::with_key(key)))),
            Kind::Hash(algorithm, _) => Some(Stream::Hash(digest::Context::new(algorithm))),
            Kind::Public(..) | Kind::Jwt(_) | Kind::Token(_) => None,
        }
    }

    /// Whether `claimed` is this key's signature of `message`.
    fn is_signature(&self, message: &[u8], claimed: &[u8]) -> bool {
        match &self.kind {
            Kind::Mac(key) => {
                verify_slices_are_equal(hmac::sign(key, message).as_ref(), claimed).is_ok()
            }
            Kind::Hash(algorithm, _) => {
                let hash = digest::digest(algorithm, message);
                verify_slices_are_equal(hash.as_ref(), claimed).is_ok()
            }
            Kind::Public(algorithm, bytes) => {
                UnparsedPublicKey::new(*algorithm, bytes).verify(message, claimed).is_ok()
            }
            Kind::Jwt(key) => jwt::is_signed(key, claimed),
            // Digests have one length, so that the time does not reveal the length of the token.
            Kind::Token(token) => {
                let [token, claimed] =
                    [token, claimed].map(|text| digest::digest(&digest::SHA256, text));
                verify_slices_are_equal(token.as_ref(), claimed.as_ref()).is_ok()
            }
        }
    }

    /// Whether one of the `claimed` signatures is that of `message`. All of them are compared.
    pub(super) fn matches_any(&self, message: &[u8], claimed: &[Vec<u8>]) -> bool {
        claimed.iter().fold(false, |found, other| found | self.is_signature(message, other))
    }

    /// The HMAC of `message`, if this is the key of one.
    pub(crate) fn mac(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Mac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Kind::Hash(..) | Kind::Public(..) | Kind::Jwt(_) | Kind::Token(_) => None,
        }
    }

    /// The signature of `message`, if this key can make one.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Mac(key) | Kind::Jwt(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Kind::Hash(algorithm, _) => Some(digest::digest(algorithm, message).as_ref().to_vec()),
            Kind::Token(token) => Some(token.clone()),
            Kind::Public(..) => None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.name)
    }
}

/// A signature that is being computed.
pub(in crate::verify) enum Stream {
    // Boxed, because it is large: it holds three hash states.
    Mac(Box<hmac::Context>),
    Hash(digest::Context),
}

impl Stream {
    pub(in crate::verify) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Mac(context) => context.update(bytes),
            Self::Hash(context) => context.update(bytes),
        }
    }

    /// Whether one of the `claimed` signatures is this one. All of them are compared.
    pub(super) fn matches_any(self, claimed: &[Vec<u8>]) -> bool {
        let compare = |signature: &[u8]| {
            let is_equal = |other: &Vec<u8>| verify_slices_are_equal(signature, other).is_ok();
            claimed.iter().fold(false, |found, other| found | is_equal(other))
        };
        match self {
            Self::Mac(context) => compare(context.sign().as_ref()),
            Self::Hash(context) => compare(context.finish().as_ref()),
        }
    }
}

/// A secret does not have the form of its provider's keys. The text shows nothing of the secret.
#[derive(Debug, thiserror::Error)]
#[error("secret {name} is not {expected}, as the keys of this provider are")]
pub struct KeyError {
    name: String,
    expected: &'static str,
}

impl KeyText {
    /// The bytes of a key. `None` if it is not written so.
    fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text.to_vec()),
            Self::Hex => base16ct::mixed::decode_vec(text).ok(),
            Self::Base64 => base64_key(text),
            Self::StandardWebhooks => {
                standard_webhooks_key(text.strip_prefix(b"whpk_").unwrap_or(text))
            }
            Self::Pem => pem_key(text),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Hex => "hexadecimal",
            Self::Base64 => "base64",
            Self::StandardWebhooks => "base64, as in \"whsec_MfKQ9r8G…\"",
            Self::Pem => "a public key in PEM, from \"-----BEGIN PUBLIC KEY-----\" to its end",
        }
    }
}

/// The bytes of a secret key as Standard Webhooks writes it: base64 after `whsec_`, which may be left
/// out. `None` if it is not base64
/// (<https://github.com/standard-webhooks/standard-webhooks>, spec).
pub fn standard_webhooks_key(text: &[u8]) -> Option<Vec<u8>> {
    base64_key(text.strip_prefix(b"whsec_").unwrap_or(text))
}

/// Accepts base64 in either alphabet, with or without padding, and with any unused bits after the last byte: people
/// make keys up, and the libraries of Standard Webhooks accept them.
fn base64_key(text: &[u8]) -> Option<Vec<u8>> {
    let lenient = general_purpose::NO_PAD.with_decode_allow_trailing_bits(true);
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let text: Vec<u8> = text[..end]
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text).ok()
}

/// The first public key of a text in PEM: its bytes in DER. Keys of RSA have a form of their own, too.
fn pem_key(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    ["PUBLIC KEY", "RSA PUBLIC KEY"].iter().find_map(|label| {
        let (_, after) = text.split_once(&format!("-----BEGIN {label}-----"))?;
        let (inside, _) = after.split_once(&format!("-----END {label}-----"))?;
        let digits: Vec<u8> = inside.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        base64_key(&digits)
    })
}
