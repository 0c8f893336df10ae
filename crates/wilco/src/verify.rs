//! Is this request the provider's? The one place that decides it.
//!
//! A request is verified as it comes in: [`Scheme::begin`] reads the claimed signature from the
//! head, [`Verifier::update`] takes each part of the body, [`Verifier::finish`] decides. Nothing is
//! copied and the body is read once, for the signature and the digest together.

mod scheme;

use aws_lc_rs::digest;
use jiff::Timestamp;

use crate::{Arrival, Digest, Head, SourceName, mismatch::Mismatch, place::Half};
use scheme::{Stream, Values};

pub use scheme::{Key, KeyError, Scheme, SignError, Unsigned};

/// Verifies a request that is there as a whole.
///
/// # Errors
///
/// [`Refused`], which says what is wrong with the signature, and gives the request back.
pub fn verify(
    scheme: &Scheme,
    source: &SourceName,
    keys: &[Key],
    arrival: Arrival,
) -> Result<Verified, Box<Refused>> {
    match scheme.begin(&arrival.head, keys, arrival.received_at) {
        Ok(mut verifier) => {
            verifier.update(&arrival.body);
            verifier.finish(source, arrival)
        }
        Err(mismatch) => Err(Box::new(Refused { mismatch, arrival })),
    }
}

impl Scheme {
    /// Begins to verify a request that has this head, at this time.
    ///
    /// # Errors
    ///
    /// [`Mismatch`], where the head alone shows that the request cannot be verified.
    pub fn begin<'k>(
        &'k self,
        head: &Head,
        keys: &'k [Key],
        now: Timestamp,
    ) -> Result<Verifier<'k>, Mismatch> {
        let claimed = match self.signature.is_in_body() {
            true => None,
            false => Some(self.claimed_signatures(Half::Head(head))?),
        };
        let values = self.values(head)?;
        self.signed_at(&values)?;
        let body_sha256 = match &self.body_sha256 {
            Some(place) => place.value(Half::Head(head)).ok(),
            None => None,
        };
        let pairs = keys.iter().flat_map(|key| self.signed.iter().map(move |signed| (key, signed)));
        let streams = pairs.map(|(key, signed)| Scheme::stream(signed, &values, key)).collect();
        let digest = digest::Context::new(&digest::SHA256);
        Ok(Verifier {
            scheme: self,
            keys,
            now,
            claimed,
            values,
            body_sha256,
            streams,
            digest,
            body_bytes: 0,
        })
    }
}

/// A request whose body is coming in.
///
/// Every key is tried even after one has matched, and signatures are compared in constant time: the
/// time that the answer takes does not tell which of two rotating secrets is the current one.
#[must_use]
pub struct Verifier<'k> {
    scheme: &'k Scheme,
    keys: &'k [Key],
    now: Timestamp,
    /// `None` if the signatures are in the body.
    claimed: Option<Vec<Vec<u8>>>,
    values: Values,
    body_sha256: Option<Vec<u8>>,
    /// One for each way of signing of each key; `None` where that needs the message as a whole.
    streams: Vec<Option<Stream>>,
    digest: digest::Context,
    body_bytes: usize,
}

impl Verifier<'_> {
    /// Takes the next part of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        for stream in self.streams.iter_mut().flatten() {
            stream.update(chunk);
        }
        self.digest.update(chunk);
        self.body_bytes += chunk.len();
    }

    /// Decides. The body of `arrival` is what [`update`](Self::update) was given, in one piece.
    ///
    /// # Errors
    ///
    /// [`Refused`], which says what is wrong with the signature, and gives the request back.
    pub fn finish(self, source: &SourceName, arrival: Arrival) -> Result<Verified, Box<Refused>> {
        match self.decide(&arrival.body) {
            Ok((secret, digest)) => {
                Ok(Verified { source: source.clone(), secret, digest, arrival })
            }
            Err(mismatch) => Err(Box::new(Refused { mismatch, arrival })),
        }
    }

    /// The name of the secret that matched, and the body's digest.
    fn decide(self, body: &[u8]) -> Result<(String, Digest), Mismatch> {
        let Self { scheme, keys, claimed, mut values, .. } = self;
        if self.body_bytes != body.len() {
            return Err(Mismatch::Wrong);
        }
        let digest = Digest::finish(self.digest);
        let claimed = match claimed {
            Some(claimed) => claimed,
            None => scheme.claimed_signatures(Half::Body(body))?,
        };
        scheme.complete(&mut values, body)?;
        let signed_at = scheme.signed_at(&values)?;
        let mut streams = self.streams.into_iter();
        let mut matched: Option<&Key> = None;
        for key in keys {
            for signed in &scheme.signed {
                let stream = streams.next().flatten();
                if Scheme::matches(signed, stream, (&values, key), body, &claimed) {
                    matched = matched.or(Some(key));
                }
            }
        }
        let key = matched.ok_or(Mismatch::Wrong)?;
        scheme.in_time(signed_at, self.now)?;
        scheme.covers_body(&values, self.body_sha256.as_deref(), &digest, body)?;
        Ok((key.name().to_owned(), digest))
    }
}

/// Proof that a request carries a right signature. Only this module makes one.
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

/// A request that could not be verified, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{mismatch}")]
pub struct Refused {
    /// What is wrong with its signature.
    pub mismatch: Mismatch,
    /// The request, as it was handed in.
    pub arrival: Arrival,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, Secret, provider};

    const BODY: &[u8] = br#"{"event":"booking.created"}"#;
    const HEADER: &str = "x-freispace-signature";

    fn secret(text: &str) -> Secret {
        Secret::new(format!("test:{text}"), text.into()).unwrap()
    }

    fn key(text: &str) -> Key {
        provider::find("freispace").unwrap().scheme.key(&secret(text)).unwrap()
    }

    /// The only caller of `verify()` in these tests: the name of the secret that matched, or why not.
    fn check(headers: &[(&str, &[u8])], body: &[u8], secrets: &[&str]) -> Result<String, Mismatch> {
        let headers = Headers::from_pairs(headers.iter().copied());
        let arrival = Arrival {
            received_at: Timestamp::UNIX_EPOCH,
            head: Head { headers, ..Head::default() },
            body: body.to_vec().into(),
        };
        let keys: Vec<_> = secrets.iter().map(|text| key(text)).collect();
        let scheme = &provider::find("freispace").unwrap().scheme;
        verify(scheme, &SourceName::new("t").unwrap(), &keys, arrival)
            .map(|verified| verified.secret().into())
            .map_err(|refused| refused.mismatch)
    }

    fn signed(text: &str) -> String {
        let request = Unsigned::post(BODY, Timestamp::UNIX_EPOCH);
        let scheme = &provider::find("freispace").unwrap().scheme;
        scheme.sign(&secret(text), &request).unwrap().pop().unwrap().1
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
        let missing = Err(Mismatch::Missing { place: format!("header {HEADER}") });
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
    fn a_body_may_come_in_parts_of_any_size() {
        let signature = signed("a-made-up-secret");
        let headers = Headers::from_pairs([(HEADER, &signature)]);
        let head = Head { headers, ..Head::default() };
        let keys = [key("another-secret"), key("a-made-up-secret")];
        let (scheme, now) = (&provider::find("freispace").unwrap().scheme, Timestamp::UNIX_EPOCH);
        for size in 1..=BODY.len() {
            let mut verifier = scheme.begin(&head, &keys, now).unwrap();
            BODY.chunks(size).for_each(|chunk| verifier.update(chunk));
            let arrival = Arrival { received_at: now, head: head.clone(), body: BODY.into() };
            let verified = verifier.finish(&SourceName::new("t").unwrap(), arrival).unwrap();
            assert_eq!(verified.digest(), Digest::of(BODY));
        }
        // A body of which a part was not looked at is not verified, whatever the rest says.
        let mut verifier = scheme.begin(&head, &keys, now).unwrap();
        verifier.update(BODY);
        let body = [BODY, b" "].concat().into();
        let arrival = Arrival { received_at: now, head, body };
        assert!(verifier.finish(&SourceName::new("t").unwrap(), arrival).is_err());
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
