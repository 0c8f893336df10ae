//! What is verified and what is refused.

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
    let result = check(&[(HEADER, signature.as_bytes())], BODY, &["the-old-one", "the-new-one"]);
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
        assert_eq!(headers.all(header).collect::<Vec<_>>(), [b"(redacted)"], "{header}");
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
