//! What is sent as the signature is not it.

use aws_lc_rs::{rand::SystemRandom, signature::EcdsaKeyPair};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use super::{Rows, flipped, inside};
use crate::forgeries::family::{Family, Signer, hash, hex, mac};

/// Other bytes than the right ones: family, message, right bytes.
type Bytes = fn(&Family, &[u8], &[u8]) -> Option<Vec<u8>>;
pub(crate) const BYTES: Rows<Bytes> = &[
    ("first bit flipped", |_, _, right| flipped(right, 0, 1)),
    ("last bit flipped", |_, _, right| flipped(right, right.len() - 1, 1)),
    ("bit in the middle flipped", |_, _, right| flipped(right, right.len() / 2, 2)),
    ("zeros", |_, _, right| Some(vec![0; right.len()])),
    ("ones", |_, _, right| Some(vec![0xff; right.len()])),
    ("no bytes", |_, _, _| Some(Vec::new())),
    ("one byte", |_, _, right| Some(right[..1].to_vec())),
    ("half", |_, _, right| Some(right[..right.len() / 2].to_vec())),
    ("without its last byte", |_, _, right| Some(right[..right.len() - 1].to_vec())),
    ("without its first byte", |_, _, right| Some(right[1..].to_vec())),
    ("with a zero after it", |_, _, right| Some([right, &[0]].concat())),
    ("with a zero before it", |_, _, right| Some([&[0], right].concat())),
    ("twice", |_, _, right| Some(right.repeat(2))),
    ("backwards", |_, _, right| Some(right.iter().rev().copied().collect())),
    ("MAC with SHA-1", |it, message, _| other_mac(it, "hmac-sha1", message)),
    ("MAC with SHA-256", |it, message, _| other_mac(it, "hmac-sha256", message)),
    ("MAC with SHA-384", |it, message, _| other_mac(it, "hmac-sha384", message)),
    ("MAC with SHA-512", |it, message, _| other_mac(it, "hmac-sha512", message)),
    ("plain digest of the message", |it, message, _| Some(hash(&it.algorithm, message))),
    ("digest of secret and message", |it, message, _| {
        Some(hash(&it.algorithm, &[it.secret().as_bytes(), message].concat()))
    }),
    ("digest of message and secret", |it, message, _| {
        Some(hash(&it.algorithm, &[message, it.secret().as_bytes()].concat()))
    }),
    ("secret itself", |it, _, right| Some(it.secret().into()).filter(|secret| secret != right)),
    ("MAC with the text of the secret as the key", |it, message, _| {
        Some(mac(&it.algorithm, it.secret().as_bytes(), message))
    }),
    ("MAC with the public key as the key", |it, message, _| {
        Some(mac("hmac-sha256", it.signer().public_key(), message))
    }),
    ("another key pair", |it, message, _| Signer::new(&it.algorithm).sign(&it.algorithm, message)),
    ("RSA with SHA-384", |it, message, _| rsa(it, "rsa-sha384", message)),
    ("RSA with the other hash", |it, message, _| match it.algorithm.as_str() {
        "rsa-sha256" => rsa(it, "rsa-sha512", message),
        _ => rsa(it, "rsa-sha256", message),
    }),
    ("RSA with PSS", |it, message, _| rsa(it, "rsa-pss", message)),
    ("RSA of 1", |it, _, right| {
        Some([vec![0; right.len() - 1], vec![1]].concat())
            .filter(|_| it.algorithm.starts_with("rsa-"))
    }),
    ("Ed25519 with the group's order added", |it, _, right| {
        (it.algorithm == "ed25519").then(|| order_added(right))
    }),
    ("Ed25519 with a point of small order", |it, _, _| {
        (it.algorithm == "ed25519").then(|| [vec![1], vec![0; 63]].concat())
    }),
    ("ECDSA without DER", |it, message, _| match it.signer() {
        Signer::Ecdsa(pair) => Some(raw_ecdsa(pair, message)),
        _ => None,
    }),
    ("ECDSA of two zeros", |it, _, _| ecdsa(it, &[0x30, 6, 2, 1, 0, 2, 1, 0])),
    ("ECDSA of two ones", |it, _, _| ecdsa(it, &[0x30, 6, 2, 1, 1, 2, 1, 1])),
    ("ECDSA with a long length", |it, _, right| ecdsa(it, &[&[0x30, 0x81], &right[1..]].concat())),
    ("ECDSA of indefinite length", |it, _, right| {
        ecdsa(it, &[&[0x30, 0x80], &right[2..], &[0, 0]].concat())
    }),
];

/// Other texts than the right one. `None` where that one is right, too.
type Text = fn(&Family, &str) -> Option<String>;
pub(crate) const TEXTS: Rows<Text> = &[
    ("upper case", |it, right| (it.encoding != "hex").then(|| right.to_uppercase())),
    ("one letter in upper case", |it, right| {
        let upper = right.replacen(|c: char| c.is_ascii_lowercase(), "A", 1);
        (it.encoding != "hex" || !right.contains('a')).then_some(upper)
    }),
    ("lower case", |it, right| (it.encoding != "hex").then(|| right.to_lowercase())),
    ("0x before it", |_, right| Some(format!("0x{right}"))),
    ("in quotes", |_, right| Some(format!("\"{right}\""))),
    ("in single quotes", |_, right| Some(format!("'{right}'"))),
    ("in brackets", |_, right| Some(format!("<{right}>"))),
    ("semicolon after it", |_, right| Some(format!("{right};"))),
    ("comma after it", |it, right| unless_list(it, ",", format!("{right},"))),
    ("comma before it", |_, right| Some(format!(",{right}"))),
    ("twice with a comma", |it, right| unless_list(it, ",", format!("{right},{right}"))),
    ("twice with comma and blank", |it, right| unless_list(it, ",", format!("{right}, {right}"))),
    ("twice with a blank", |it, right| unless_list(it, " ", format!("{right} {right}"))),
    ("twice with a semicolon", |_, right| Some(format!("{right};{right}"))),
    ("twice", |_, right| Some(right.repeat(2))),
    ("cut by one", |_, right| Some(bare(right)[..bare(right).len() - 1].into())),
    ("cut by two", |_, right| Some(bare(right)[..bare(right).len() - 2].into())),
    ("cut by one at the start", |_, right| Some(right[1..].into())),
    ("half of the text", |_, right| Some(right[..right.len() / 2].into())),
    ("one character", |_, right| Some(right[..1].into())),
    ("0 after it", |_, right| Some(format!("{right}0"))),
    ("00 after it", |_, right| Some(format!("{right}00"))),
    ("00 before it", |_, right| Some(format!("00{right}"))),
    ("blank inside", |_, right| Some(inside(right, " "))),
    ("tab inside", |_, right| Some(inside(right, "\t"))),
    ("colon inside", |_, right| Some(inside(right, ":"))),
    ("line feed inside", |_, right| Some(inside(right, "\\n"))),
    ("percent-encoded", |_, right| {
        Some(format!("%{}{}", hex(&right.as_bytes()[..1]), &right[1..]))
    }),
    ("text backwards", |_, right| Some(right.chars().rev().collect())),
    ("O for 0", |_, right| Some(right.replace('0', "O"))),
    ("l for 1", |_, right| Some(right.replace('1', "l"))),
    ("Arabic digits", |_, right| Some(right.replace(|c: char| c.is_ascii_digit(), "\u{0663}"))),
    ("Cyrillic a", |_, right| Some(right.replace('a', "\u{0430}"))),
    ("full width", |_, right| {
        let wide = |c: char| char::from_u32(u32::from(c) + 0xfee0);
        Some(
            right
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { wide(c).unwrap() } else { c })
                .collect(),
        )
    }),
    ("byte order mark before it", |_, right| Some(format!("\u{feff}{right}"))),
    ("no-break space after it", |_, right| Some(format!("{right}\u{a0}"))),
    ("zero-width space before it", |_, right| Some(format!("\u{200b}{right}"))),
    ("soft hyphen inside", |_, right| Some(inside(right, "\u{ad}"))),
    ("null", |_, _| Some("null".into())),
    ("undefined", |_, _| Some("undefined".into())),
    ("none", |_, _| Some("none".into())),
    ("true", |_, _| Some("true".into())),
    ("star", |_, _| Some("*".into())),
    ("empty", |_, _| Some(String::new())),
    ("0 as often", |_, right| Some("0".repeat(right.len()))),
    ("f as often", |_, right| Some("f".repeat(right.len()))),
    ("g as often", |_, right| Some("g".repeat(right.len()))),
    ("8 KiB", |_, _| Some("0".repeat(8192))),
    ("hex of the text", |_, right| Some(hex(right.as_bytes()))),
    ("base64 of the text", |_, right| Some(STANDARD.encode(right))),
    ("URL-safe alphabet", |it, right| {
        (it.encoding == "base64").then(|| right.replace('+', "-").replace('/', "_"))
    }),
    ("alphabet of plain base64", |it, right| {
        (it.encoding == "base64-url").then(|| right.replace('-', "+").replace('_', "/"))
    }),
    ("bits after the last byte", |it, right| {
        let is_base64 = it.encoding.starts_with("base64") || it.claim.is_some();
        is_base64.then(|| with_trailing_bits(right)).flatten()
    }),
    ("three signs of padding", |_, right| Some(format!("{}===", bare(right)))),
    ("one sign of padding too many", |_, right| Some(format!("{right}="))),
    ("one of two signs of padding", |_, right| {
        right.ends_with("==").then(|| right[..right.len() - 1].into())
    }),
    ("padding before it", |_, right| Some(format!("={right}"))),
    ("padding inside", |_, right| Some(inside(right, "="))),
];

/// The MAC with another hash, also of a family whose messages have none.
fn other_mac(it: &Family, algorithm: &str, message: &[u8]) -> Option<Vec<u8>> {
    let is_own = it.algorithm == algorithm || (it.claim.is_some() && algorithm == "hmac-sha256");
    (!is_own).then(|| mac(algorithm, &it.key_bytes(it.secret().as_bytes()), message))
}

fn rsa(it: &Family, algorithm: &str, message: &[u8]) -> Option<Vec<u8>> {
    it.algorithm.starts_with("rsa-").then(|| it.signer().sign(algorithm, message)).flatten()
}

fn ecdsa(it: &Family, signature: &[u8]) -> Option<Vec<u8>> {
    (it.algorithm == "ecdsa-p256").then(|| signature.to_vec())
}

/// The two numbers of a signature without DER, each of 32 bytes.
fn raw_ecdsa(pair: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    let der = pair.sign(&SystemRandom::new(), message).unwrap();
    let der = der.as_ref();
    let r_bytes = usize::from(der[3]);
    let (r, s) = (&der[4..4 + r_bytes], &der[6 + r_bytes..]);
    let fixed = |number: &[u8]| {
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        [vec![0; 32 - number.len()], number.to_vec()].concat()
    };
    [fixed(r), fixed(s)].concat()
}

/// A signature of Ed25519 whose second half is the same number modulo the order of the group.
fn order_added(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut changed = signature.to_vec();
    let mut carry = 0;
    for (byte, add) in changed[32..].iter_mut().zip(ORDER) {
        let [low, high] = (u16::from(*byte) + u16::from(add) + carry).to_le_bytes();
        (*byte, carry) = (low, u16::from(high));
    }
    changed
}

fn unless_list(it: &Family, separator: &str, text: String) -> Option<String> {
    (it.list.as_deref() != Some(separator)).then_some(text)
}

/// Without padding, which may be left out.
fn bare(text: &str) -> &str {
    text.trim_end_matches('=')
}

/// The last digit with bits that belong to no byte. `None` if there are none.
fn with_trailing_bits(text: &str) -> Option<String> {
    let part = bare(text).rsplit('.').next()?;
    let is_url = text.contains(['-', '_']) || text.contains('.');
    let mut digits = part.to_owned();
    let last = digits.pop()?;
    let has_any = part.len() % 4 != 0;
    let next = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let next = next.chars().nth(next.find(last)? + 1).filter(|_| has_any)?;
    let changed = format!("{digits}{next}");
    // As a lenient decoder shows, these are the same bytes, or the row would try something else.
    let is_strict = match is_url {
        true => URL_SAFE_NO_PAD.decode(&changed).is_err(),
        false => STANDARD_NO_PAD.decode(&changed).is_err(),
    };
    is_strict.then(|| text.replace(part, &changed))
}
