//! What signs: a key pair, or whoever knows the secret.

use aws_lc_rs::{
    digest, hmac,
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair},
};

pub(crate) enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    /// Whoever knows the secret signs.
    Shared,
}

impl Signer {
    pub(crate) fn new(algorithm: &str) -> Self {
        match algorithm {
            "ed25519" => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            "ecdsa-p256" => Self::Ecdsa(
                EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            ),
            _ if algorithm.starts_with("rsa-") => {
                Self::Rsa(RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap())
            }
            _ => Self::Shared,
        }
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        match self {
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::Ecdsa(pair) => pair.public_key().as_ref(),
            Self::Rsa(pair) => pair.public_key().as_ref(),
            Self::Shared => &[],
        }
    }

    /// The signature of a key pair. `None` if the secret is shared.
    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Self::Ecdsa(pair) => Some(pair.sign(&random, message).unwrap().as_ref().to_vec()),
            Self::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match algorithm {
                    "rsa-sha512" => &signature::RSA_PKCS1_SHA512,
                    "rsa-sha384" => &signature::RSA_PKCS1_SHA384,
                    "rsa-pss" => &signature::RSA_PSS_SHA256,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                Some(signature)
            }
            Self::Shared => None,
        }
    }
}

pub(crate) fn mac(algorithm: &str, key: &[u8], message: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        "hmac-sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "hmac-sha384" => hmac::HMAC_SHA384,
        "hmac-sha512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
}

pub(crate) fn hash(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        "sha1" | "hmac-sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "hmac-sha384" => &digest::SHA384,
        "hmac-sha512" => &digest::SHA512,
        _ => &digest::SHA256,
    };
    digest::digest(algorithm, message).as_ref().to_vec()
}
