//! Is this arrival the provider's? The one place that decides it.

mod scheme;

use crate::{Arrival, Digest, Secret, SourceName};

pub use scheme::Scheme;

/// Holds the signature of `arrival` against each of `secrets`, over the raw bytes of its body.
///
/// Every secret is tried even after one has matched: the time that the answer takes does not tell
/// which of two rotating secrets is the current one. MACs are compared in constant time.
///
/// # Errors
///
/// [`Mismatch`], which says what was wrong with the signature, not what would have been right.
pub fn verify(
    scheme: &Scheme,
    source: &SourceName,
    secrets: &[Secret],
    arrival: Arrival,
) -> Result<Verified, Mismatch> {
    let claim = scheme.claim(&arrival.headers)?;
    let mut matched = None;
    for secret in secrets {
        if scheme.matches(secret, &arrival.body, &claim) {
            matched = matched.or(Some(secret));
        }
    }
    let secret = matched.ok_or(Mismatch::Wrong)?;
    Ok(Verified {
        source: source.clone(),
        secret: secret.name().into(),
        digest: Digest::of(&arrival.body),
        arrival,
    })
}

/// Proof that an arrival carries a right signature. Only [`verify()`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    source: SourceName,
    secret: String,
    digest: Digest,
    arrival: Arrival,
}

impl Verified {
    /// The source that it was verified for.
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// The name of the first secret that matched.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// SHA-256 of the body.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What arrived.
    pub fn arrival(&self) -> &Arrival {
        &self.arrival
    }
}

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The signature header is not there, or is empty.
    #[error(
        "header {header} is missing or empty; is this the provider's endpoint, and does a proxy drop the header?"
    )]
    Missing {
        /// The header's name.
        header: String,
    },
    /// The signature header came more than once. Which one would count is a guess, so none does.
    #[error("header {header} came {times} times; a provider sends it once")]
    Repeated {
        /// The header's name.
        header: String,
        /// How often it came.
        times: usize,
    },
    /// The signature header is there and cannot be a signature of this scheme.
    #[error("header {header} is not {expected}")]
    Malformed {
        /// The header's name.
        header: String,
        /// What the scheme demands of the value.
        expected: &'static str,
    },
    /// A signature, made with another secret or over other bytes.
    #[error(
        "no secret of this source gives this signature; another secret, or the body was changed on its way"
    )]
    Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, provider};

    const BODY: &[u8] = br#"{"event":"booking.created"}"#;
    const HEADER: &str = "x-freispace-signature";

    fn secret(text: &str) -> Secret {
        Secret::new(format!("test:{text}"), text.into()).unwrap()
    }

    /// The only caller of `verify()` in these tests: the name of the secret that matched, or why not.
    fn check(headers: &[(&str, &[u8])], body: &[u8], secrets: &[&str]) -> Result<String, Mismatch> {
        let arrival = Arrival {
            received_at: jiff::Timestamp::UNIX_EPOCH,
            headers: Headers::from_pairs(headers.iter().copied()),
            body: body.to_vec().into(),
        };
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        let scheme = &provider::find("freispace").unwrap().scheme;
        verify(scheme, &SourceName::new("t").unwrap(), &secrets, arrival)
            .map(|verified| verified.secret().into())
    }

    fn signed(text: &str) -> String {
        provider::find("freispace").unwrap().scheme.sign(&secret(text), BODY).1
    }

    #[test]
    fn accepts_the_signature_that_openssl_computes() {
        // printf '%s' '{"event":"booking.created"}' | openssl dgst -sha256 -hmac 'a-made-up-secret'
        let openssl = b"f82f1916c8a5dfa0b9022ed566be76ef49b5f7f9e5747daff05c46a3c77d6303";
        assert_eq!(
            check(&[(HEADER, openssl)], BODY, &["a-made-up-secret"]),
            Ok("test:a-made-up-secret".into())
        );
    }

    #[test]
    fn any_of_several_secrets_matches_and_is_named() {
        let signature = signed("the-new-one");
        let result =
            check(&[(HEADER, signature.as_bytes())], BODY, &["the-old-one", "the-new-one"]);
        assert_eq!(result, Ok("test:the-new-one".into()));
    }

    #[test]
    fn a_missing_or_empty_header_is_told_from_a_wrong_one() {
        let missing = Err(Mismatch::Missing { header: HEADER.into() });
        assert_eq!(check(&[], BODY, &["a-made-up-secret"]), missing);
        assert_eq!(check(&[(HEADER, b"")], BODY, &["a-made-up-secret"]), missing);
    }

    #[test]
    fn a_signature_over_other_bytes_or_with_another_secret_is_wrong() {
        let signature = signed("a-made-up-secret");
        let headers: [(&str, &[u8]); 1] = [(HEADER, signature.as_bytes())];
        assert_eq!(check(&headers, b"{}", &["a-made-up-secret"]), Err(Mismatch::Wrong));
        assert_eq!(check(&headers, BODY, &["another-secret"]), Err(Mismatch::Wrong));
        assert_eq!(check(&headers, BODY, &[]), Err(Mismatch::Wrong));
    }

    #[test]
    fn a_repeated_header_is_refused_even_if_both_are_right() {
        let signature = signed("a-made-up-secret");
        let headers: [(&str, &[u8]); 2] =
            [(HEADER, signature.as_bytes()), (HEADER, signature.as_bytes())];
        let repeated = Mismatch::Repeated { header: HEADER.into(), times: 2 };
        assert_eq!(check(&headers, BODY, &["a-made-up-secret"]), Err(repeated));
    }

    #[test]
    fn what_is_not_lower_case_hex_of_32_bytes_is_malformed() {
        let right = signed("a-made-up-secret");
        let rows: Vec<Vec<u8>> = vec![
            right.to_uppercase().into(),
            format!("sha256={right}").into(),
            format!("{right},{right}").into(),
            format!("{right} ").into(),
            format!("0x{right}").into(),
            right[..63].into(),
            right[..62].into(),
            format!("{right}00").into(),
            right.replace(|c: char| c.is_ascii_digit(), "٣").into(),
            [right.as_bytes(), b"\0"].concat(),
            b"\xff".repeat(64),
            b"null".to_vec(),
        ];
        for row in rows {
            let result = check(&[(HEADER, &row)], BODY, &["a-made-up-secret"]);
            assert!(matches!(result, Err(Mismatch::Malformed { .. })), "{row:?} gave {result:?}");
        }
    }

    #[test]
    fn every_flipped_bit_of_body_or_signature_is_refused() {
        let right = signed("a-made-up-secret");
        for bit in 0..BODY.len() * 8 {
            let mut body = BODY.to_vec();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                check(&[(HEADER, right.as_bytes())], &body, &["a-made-up-secret"]),
                Err(Mismatch::Wrong)
            );
        }
        for bit in 0..right.len() * 8 {
            let mut signature = right.clone().into_bytes();
            signature[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&[(HEADER, &signature)], BODY, &["a-made-up-secret"]).is_err());
        }
    }
}
