//! Tokens (RFC 7519) that a receiver may believe although nobody signed them, or not for this request.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::family::{Facts, Family, Signer, hex, mac, sha256, token};

/// Each with what is wrong with it.
pub(super) fn tokens(family: &Family, facts: &Facts) -> Vec<(String, String)> {
    let Some(claim) = &family.claim else { return Vec::new() };
    let body = family.request(facts, "").body;
    let at: i64 = facts.timestamp.parse().unwrap();
    let digest = hex(&sha256(&body));
    let claims = json!({ "exp": at + 60, claim: digest });
    let usual = json!({ "alg": "HS256", "typ": "JWT" });
    let sign = |text: &str, algorithm: &str, key: &[u8]| {
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac(algorithm, key, text.as_bytes())))
    };
    let secret = facts.secret.as_slice();
    let mut rows: Vec<(String, String)> = Vec::new();
    // The algorithm that a token names is the sender's choice.
    for alg in ["none", "None", "nOnE", "NONE", "", "HS256", "RS256"] {
        let text = token(&json!({ "alg": alg }), &claims);
        rows.push((format!("alg {alg:?} without a signature"), format!("{text}.")));
        rows.push((format!("alg {alg:?} in two parts"), text));
    }
    for alg in [
        json!("none"),
        json!("hs256"),
        json!("HS256 "),
        json!("HS384"),
        json!("HS512"),
        json!("RS256"),
        json!("ES256"),
        json!("EdDSA"),
        json!(["HS256"]),
        json!(null),
        json!(256),
    ] {
        let text = token(&json!({ "alg": alg }), &claims);
        rows.push((format!("signed, with alg {alg}"), sign(&text, "hmac-sha256", secret)));
    }
    for (alg, algorithm) in [("HS384", "hmac-sha384"), ("HS512", "hmac-sha512")] {
        let text = token(&json!({ "alg": alg }), &claims);
        rows.push((format!("signed as {alg}"), sign(&text, algorithm, secret)));
    }
    for (what, header) in [
        ("no alg", json!({ "typ": "JWT" })),
        ("crit", json!({ "alg": "HS256", "crit": ["exp"] })),
        ("list as header", json!(["HS256"])),
        ("text as header", json!("HS256")),
    ] {
        rows.push((what.into(), sign(&token(&header, &claims), "hmac-sha256", secret)));
    }
    // Keys that the token brings.
    let own = b"0123456789abcdef";
    let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(own) });
    for (what, header, key) in [
        ("jwk", json!({ "alg": "HS256", "jwk": jwk }), own.as_slice()),
        ("jku", json!({ "alg": "HS256", "jku": "http://127.0.0.1:1/" }), own),
        ("kid of a file", json!({ "alg": "HS256", "kid": "../../../../dev/null" }), b""),
        ("kid with SQL", json!({ "alg": "HS256", "kid": "x' UNION SELECT '0" }), b"0"),
        ("x5c", json!({ "alg": "HS256", "x5c": ["AAAA"] }), b"AAAA"),
    ] {
        rows.push((format!("key by {what}"), sign(&token(&header, &claims), "hmac-sha256", key)));
    }
    let pair = Signer::new("ed25519");
    let text = token(&json!({ "alg": "EdDSA" }), &claims);
    let signature = URL_SAFE_NO_PAD.encode(pair.sign("ed25519", text.as_bytes()).unwrap());
    rows.push(("signed with a key pair".into(), format!("{text}.{signature}")));
    let other = hex(&sha256(b"{}"));
    for (what, claims) in [
        ("expired", json!({ "exp": at - 3600, claim: digest })),
        ("expired in 1970", json!({ "exp": 0, claim: digest })),
        ("negative exp", json!({ "exp": -1, claim: digest })),
        ("exp as text", json!({ "exp": (at + 60).to_string(), claim: digest })),
        ("exp null", json!({ "exp": null, claim: digest })),
        ("exp as a list", json!({ "exp": [at + 60], claim: digest })),
        ("not valid yet", json!({ "nbf": at + 3600, claim: digest })),
        ("nbf as text", json!({ "nbf": "0", claim: digest })),
        ("digest of another body", json!({ "exp": at + 60, claim: other })),
        ("digest of nothing", json!({ "exp": at + 60, claim: hex(&sha256(b"")) })),
        ("no digest", json!({ "exp": at + 60 })),
        ("empty digest", json!({ "exp": at + 60, claim: "" })),
        ("digest null", json!({ "exp": at + 60, claim: null })),
        ("digest in a list", json!({ "exp": at + 60, claim: [digest] })),
        ("half of the digest", json!({ "exp": at + 60, claim: &digest[..32] })),
        ("digest and more", json!({ "exp": at + 60, claim: format!("{digest}00") })),
        ("claims as a list", json!([at + 60, digest])),
        ("no claims", Value::Null),
    ] {
        rows.push((what.into(), sign(&token(&usual, &claims), "hmac-sha256", secret)));
    }
    let right = sign(&token(&usual, &claims), "hmac-sha256", secret);
    let (unsigned, signature) = right.rsplit_once('.').unwrap();
    let (header, payload) = unsigned.split_once('.').unwrap();
    for (what, text) in [
        ("a fourth part", format!("{right}.")),
        ("an empty part before it", format!(".{right}")),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("only the signature", signature.to_owned()),
        ("only dots", "..".to_owned()),
        ("parts in another order", format!("{payload}.{header}.{signature}")),
        ("signature of the payload", {
            let signature = mac("hmac-sha256", secret, payload.as_bytes());
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
        }),
        ("padded parts", format!("{header}=.{payload}=.{signature}=")),
        ("a line break in the payload", format!("{header}.{payload}%0a.{signature}")),
        ("two tokens", format!("{right},{right}")),
        ("Bearer in the token", format!("Bearer {right}")),
    ] {
        rows.push((what.into(), text));
    }
    rows
}
