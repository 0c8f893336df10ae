//! Whether a request really comes from the provider. No other code decides that.
//!
//! A request is verified while it arrives: [`Scheme::begin`] reads the claimed signature from the
//! head, [`Verifier::update`] takes each chunk of the body, and [`Verifier::finish`] decides. The
//! verifier owns the head and the chunks that it was given, so that nothing else can be called
//! verified. Nothing is copied, and one pass over the body computes both the signatures and
//! the digest. Chunks of a large body need not stay in memory: [`Verifier::take_kept`] hands them over
//! to be stored.

mod scheme;

use std::io::ErrorKind::UnexpectedEof;

use aws_lc_rs::digest;
use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    Arrival, Body, Digest, Head, SourceName, body::InMemory, mismatch::Mismatch, place::Half,
};
use scheme::{Stream, Values};

pub use scheme::{
    Algorithm, Encoding, Key, KeyError, KeyText, Scheme, SignError, TimestampUnit, Unsigned,
    standard_webhooks_key,
};

/// Verifies a request that has arrived completely.
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
    let Arrival { received_at, head, body } = arrival;
    let mut verifier = scheme.begin(head, keys, received_at);
    for chunk in body.chunks() {
        match chunk {
            Ok(chunk) => verifier.compute(&chunk),
            Err(error) => verifier.computation = Err(Mismatch::unread(&error)),
        }
    }
    verifier.finish_stored(source, received_at, body)
}

impl Scheme {
    /// Begins to verify a request that has this head, at this time. If the head alone shows that
    /// the signature cannot be right, [`Verifier::finish`] says so, because the refused request
    /// includes its body.
    pub fn begin<'k>(&'k self, head: Head, keys: &'k [Key], now: Timestamp) -> Verifier<'k> {
        let computation = Computation::begin(self, &head, keys);
        let body = InMemory::default();
        Verifier { scheme: self, keys, now, head, body, bytes: 0, computation }
    }
}

/// A request whose body is arriving.
#[must_use]
pub struct Verifier<'k> {
    scheme: &'k Scheme,
    keys: &'k [Key],
    now: Timestamp,
    head: Head,
    /// What was not handed over to be stored.
    body: InMemory,
    /// All that it was given.
    bytes: usize,
    computation: Result<Computation, Mismatch>,
}

impl Verifier<'_> {
    /// Takes the next chunk of the body.
    pub fn update(&mut self, chunk: Bytes) {
        self.compute(&chunk);
        self.body.push(chunk);
    }

    /// Gives back the chunks that it holds, for a caller who stores all of them elsewhere and calls
    /// [`finish_stored`](Self::finish_stored).
    pub fn take_kept(&mut self) -> Body {
        std::mem::take(&mut self.body).into()
    }

    fn compute(&mut self, chunk: &[u8]) {
        if let Ok(computation) = &mut self.computation {
            computation.update(chunk);
        }
        self.bytes += chunk.len();
    }

    /// Decides, after the last chunk of the body, which was received at this time.
    ///
    /// # Errors
    ///
    /// [`Refused`], which says what is wrong with the signature, and gives the request back.
    pub fn finish(
        mut self,
        source: &SourceName,
        received_at: Timestamp,
    ) -> Result<Verified, Box<Refused>> {
        let body = self.take_kept();
        self.finish_stored(source, received_at, body)
    }

    /// Decides as [`finish`](Self::finish) does. `body` holds the chunks that
    /// [`take_kept`](Self::take_kept) gave back, in their order. It may be read again, if the provider
    /// signs something else than the bytes as they are.
    ///
    /// # Errors
    ///
    /// [`Refused`], also if `body` is longer or shorter than what was verified.
    pub fn finish_stored(
        self,
        source: &SourceName,
        received_at: Timestamp,
        body: Body,
    ) -> Result<Verified, Box<Refused>> {
        let Self { scheme, keys, now, head, body: _, bytes, computation } = self;
        let computation = computation.and_then(|computation| match () {
            () if body.len() != bytes => Err(Mismatch::unread(&UnexpectedEof.into())),
            () if body.is_stored() && scheme.needs_whole_body() => {
                body.in_one_piece().map_err(|error| Mismatch::unread(&error))?;
                Ok(computation)
            }
            () => Ok(computation),
        });
        let decided =
            computation.and_then(|computation| computation.decide(scheme, keys, now, &body));
        match decided {
            Ok((secret_name, digest)) => {
                // A secret that came along has done its work: nobody who reads the record gets it.
                let head = Head { headers: scheme.without_sent_secret(head.headers), ..head };
                let arrival = Arrival { received_at, head, body };
                Ok(Verified { source: source.clone(), secret_name, digest, arrival })
            }
            Err(mismatch) => {
                let arrival = Arrival { received_at, head, body };
                Err(Box::new(Refused { mismatch, arrival }))
            }
        }
    }
}

/// The signatures and the digest of a request, computed while its body arrives.
///
/// Every key is tried even after one has matched, and signatures are compared in constant time: the
/// time that the answer takes does not tell which of two rotating secrets is the current one.
struct Computation {
    /// `None` if the claimed signatures are in the body.
    claimed: Option<Vec<Vec<u8>>>,
    values: Values,
    body_sha256: Option<Vec<u8>>,
    /// One for each template of each key. `None` if that needs the whole message.
    streams: Vec<Option<Stream>>,
    digest: digest::Context,
}

impl Computation {
    fn begin(scheme: &Scheme, head: &Head, keys: &[Key]) -> Result<Self, Mismatch> {
        let claimed = match scheme.signature.is_in_body() {
            true => None,
            false => Some(scheme.claimed_signatures(Half::Head(head))?),
        };
        let values = scheme.values(head)?;
        scheme.signed_at(&values)?;
        let body_sha256 =
            scheme.body_sha256.as_ref().and_then(|place| place.value(Half::Head(head)).ok());
        let pairs =
            keys.iter().flat_map(|key| scheme.signed.iter().map(move |signed| (key, signed)));
        let streams = pairs.map(|(key, signed)| Scheme::stream(signed, &values, key)).collect();
        let digest = digest::Context::new(&digest::SHA256);
        Ok(Self { claimed, values, body_sha256, streams, digest })
    }

    fn update(&mut self, chunk: &[u8]) {
        for stream in self.streams.iter_mut().flatten() {
            stream.update(chunk);
        }
        self.digest.update(chunk);
    }

    /// The name of the secret that matched, and the digest of the body.
    fn decide(
        self,
        scheme: &Scheme,
        keys: &[Key],
        now: Timestamp,
        body: &Body,
    ) -> Result<(String, Digest), Mismatch> {
        let Self { claimed, mut values, mut body_sha256, streams, digest } = self;
        let digest = Digest::finish(digest);
        let claimed = match claimed {
            Some(claimed) => claimed,
            None => scheme.claimed_signatures(Half::Body(body))?,
        };
        scheme.complete(&mut values, body)?;
        let signed_at = scheme.signed_at(&values)?;
        let mut streams = streams.into_iter();
        // Counted, because a branch would take another time for the first key than for the last.
        let (mut has_matched, mut before) = (false, 0);
        for key in keys {
            for signed in &scheme.signed {
                let stream = streams.next().flatten();
                has_matched |= Scheme::matches(signed, stream, (&values, key), body, &claimed);
            }
            before += usize::from(!has_matched);
        }
        let key = keys.get(before).ok_or(Mismatch::Wrong)?;
        scheme.in_time(signed_at, now)?;
        if let Some(claims) = scheme.claims(&claimed) {
            claims.in_time(now, scheme.leeway_secs())?;
            body_sha256 = scheme.body_claim(&claims);
        }
        scheme.check_body(&values, body_sha256.as_deref(), &digest, body)?;
        Ok((key.name().to_owned(), digest))
    }
}

/// Proof that a request carries a right signature. Only this module makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    source: SourceName,
    secret_name: String,
    digest: Digest,
    arrival: Arrival,
}

impl Verified {
    /// The source that it was verified for.
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// The name of the first secret that matched.
    pub fn secret_name(&self) -> &str {
        &self.secret_name
    }

    /// SHA-256 of the body.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What arrived, without the secret if the provider sent that along.
    pub fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// What arrived, to be kept.
    pub fn into_arrival(self) -> Arrival {
        self.arrival
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
    use std::sync::Arc;

    use super::*;
    use crate::{Headers, Secret, body::tests::Pieces, provider};

    const BODY: &[u8] = br#"{"event":"booking.created"}"#;
    const HEADER: &str = "x-freispace-signature";

    fn secret(text: &str) -> Secret {
        Secret::new(format!("test:{text}"), text.into()).unwrap()
    }

    fn key(text: &str) -> Key {
        provider::find("freispace").unwrap().scheme.key(&secret(text)).unwrap()
    }

    /// The only caller of `verify()` in these tests: the name of the secret that matched, or why
    /// not.
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
            .map(|verified| verified.secret_name().into())
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
    fn a_missing_or_empty_header_is_distinguished_from_a_wrong_one() {
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
    fn a_signature_that_is_not_32_bytes_in_lower_case_hex_is_malformed() {
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
    fn a_body_may_come_in_chunks_of_any_size() {
        let signature = signed("a-made-up-secret");
        let headers = Headers::from_pairs([(HEADER, &signature)]);
        let head = Head { headers, ..Head::default() };
        let keys = [key("another-secret"), key("a-made-up-secret")];
        let (scheme, now) = (&provider::find("freispace").unwrap().scheme, Timestamp::UNIX_EPOCH);
        for size in 1..=BODY.len() {
            let mut verifier = scheme.begin(head.clone(), &keys, now);
            BODY.chunks(size).for_each(|chunk| verifier.update(Bytes::from_static(chunk)));
            let verified = verifier.finish(&SourceName::new("t").unwrap(), now).unwrap();
            assert_eq!(verified.digest(), Digest::of(BODY));
            assert_eq!(verified.arrival().body, BODY.into());
        }
    }

    #[test]
    fn a_refused_request_is_given_back_with_all_of_its_body() {
        let signature = signed("another-secret");
        for header in [Some(signature.as_str()), Some("malformed"), None] {
            let headers = Headers::from_pairs(header.map(|value| (HEADER, value)));
            let head = Head { headers: headers.clone(), ..Head::default() };
            let keys = [key("a-made-up-secret")];
            let scheme = &provider::find("freispace").unwrap().scheme;
            let mut verifier = scheme.begin(head, &keys, Timestamp::UNIX_EPOCH);
            BODY.chunks(5).for_each(|chunk| verifier.update(Bytes::from_static(chunk)));
            let refused =
                verifier.finish(&SourceName::new("t").unwrap(), Timestamp::UNIX_EPOCH).unwrap_err();
            assert_eq!(refused.arrival.body, BODY.into());
            assert_eq!(refused.arrival.head.headers, headers);
        }
    }

    #[test]
    fn chunks_that_were_stored_elsewhere_are_verified_as_those_in_memory() {
        let signature = signed("a-made-up-secret");
        let headers = Headers::from_pairs([(HEADER, &signature)]);
        let head = Head { headers, ..Head::default() };
        let keys = [key("a-made-up-secret")];
        let (scheme, now) = (&provider::find("freispace").unwrap().scheme, Timestamp::UNIX_EPOCH);
        let source = SourceName::new("t").unwrap();
        let verifier = || {
            let mut verifier = scheme.begin(head.clone(), &keys, now);
            let mut stored = Vec::new();
            for chunk in BODY.chunks(5) {
                verifier.update(Bytes::from_static(chunk));
                stored.push(verifier.take_kept().contiguous(5).unwrap().to_vec());
            }
            (verifier, stored)
        };
        let (complete, pieces) = verifier();
        let body = Body::stored(Arc::new(Pieces(pieces)));
        let verified = complete.finish_stored(&source, now, body.clone()).unwrap();
        assert!(verified.arrival().body == BODY.into() && verified.digest() == Digest::of(BODY));
        let arrival = Arrival { received_at: now, head: head.clone(), body };
        assert!(verify(scheme, &source, &keys, arrival).is_ok());
        let (complete, mut pieces) = verifier();
        pieces.pop();
        let short = Body::stored(Arc::new(Pieces(pieces)));
        for refused in [
            complete.finish_stored(&source, now, short).unwrap_err(),
            verifier().0.finish(&source, now).unwrap_err(),
        ] {
            assert!(matches!(refused.mismatch, Mismatch::BodyUnread { .. }), "{refused}");
        }
    }

    #[test]
    fn a_scheme_says_whether_it_needs_the_whole_body_in_memory() {
        for (provider, expected) in
            [("freispace", false), ("github", false), ("stripe", false), ("twilio", true)]
        {
            let scheme = &provider::find(provider).unwrap().scheme;
            assert_eq!(scheme.needs_whole_body(), expected, "{provider}");
        }
    }

    #[test]
    fn a_secret_that_is_sent_along_is_not_kept() {
        for (provider, header, value) in [
            ("bearer-token", "authorization", "Bearer a-made-up-secret"),
            ("gitlab", "x-gitlab-token", "a-made-up-secret"),
        ] {
            let provider = provider::find(provider).unwrap();
            let keys = [provider.scheme.key(&secret("a-made-up-secret")).unwrap()];
            let headers = Headers::from_pairs([("x-other", "kept"), (header, value)]);
            let head = Head { headers, ..Head::default() };
            let received_at = Timestamp::UNIX_EPOCH;
            let arrival = Arrival { received_at, head, body: BODY.to_vec().into() };
            let verified =
                verify(&provider.scheme, &SourceName::new("t").unwrap(), &keys, arrival).unwrap();
            let headers = &verified.arrival().head.headers;
            assert_eq!(headers.all("x-other").collect::<Vec<_>>(), [b"kept"]);
            assert_eq!(headers.all(header).collect::<Vec<_>>(), [b"(blanked)"], "{header}");
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
