//! Signatures in every form but the right one.

use crate::world::{SECRET, World, booking, sign};

#[test]
fn only_the_exact_form_of_a_signature_is_accepted() {
    let world = World::plan().start();
    let body = booking("b-1", "A");
    let right = sign(body.as_bytes());
    let field = |value: &str| format!("x-freispace-signature: {value}\r\n").into_bytes();
    let of = |text: &str| sign(text.as_bytes());
    let base64 = "SGVsbG8sIHRoaXMgaXMgYSBiYXNlNjQgc2lnbmF0dXJlIQ==";
    let mut rows: Vec<Vec<u8>> = [
        right.to_uppercase(),
        right.replacen(|c: char| c.is_ascii_lowercase(), "A", 1),
        format!("sha256={right}"),
        format!("SHA256={right}"),
        format!("v1={right}"),
        format!("v1,{right}"),
        format!("t=1,v1={right}"),
        format!("HMAC {right}"),
        format!("Bearer {right}"),
        format!("0x{right}"),
        format!("\"{right}\""),
        format!("'{right}'"),
        format!("<{right}>"),
        format!("{right};"),
        format!("{right},"),
        format!(",{right}"),
        format!("{right},{right}"),
        format!("{right}, {right}"),
        format!("{right} {right}"),
        format!("{right}{right}"),
        format!("{},{right}", "0".repeat(64)),
        right[1..].to_owned(),
        right[..63].to_owned(),
        right[..62].to_owned(),
        right[..32].to_owned(),
        right[..2].to_owned(),
        "0".to_owned(),
        format!("{right}0"),
        format!("{right}00"),
        format!("00{right}"),
        format!("{} {}", &right[..32], &right[32..]),
        format!("{}\t{}", &right[..32], &right[32..]),
        format!("{}:{}", &right[..32], &right[32..]),
        format!("{}%30", &right[..63]),
        right.chars().rev().collect(),
        right.replace('0', "O"),
        right.replace('1', "l"),
        right.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect(),
        right.replace(|c: char| c.is_ascii_digit(), "\u{0663}"),
        right.replace('a', "\u{0430}"),
        format!("\u{feff}{right}"),
        format!("{right}\u{a0}"),
        format!("\u{200b}{right}"),
        base64.to_owned(),
        base64.trim_end_matches('=').to_owned(),
        "null".to_owned(),
        "undefined".to_owned(),
        "none".to_owned(),
        "true".to_owned(),
        "*".to_owned(),
        "0".repeat(64),
        "f".repeat(64),
        "g".repeat(64),
        "0".repeat(65_536 / 8),
        SECRET.to_owned(),
        of(""),
        of(&format!("{body}\n")),
        of(&body.replace("booking", "project")),
        of(&format!("1.{body}")),
        of(&format!("/webhook{body}")),
        of(SECRET),
    ]
    .iter()
    .map(|value| field(value))
    .collect();
    let other = |name: &str| format!("{name}: {right}\r\n").into_bytes();
    rows.extend(["x-signature", "x-freispace-signature-256", "x_freispace_signature"].map(other));
    rows.extend(["signature", "authorization", "x-freispace", "webhook-signature"].map(other));
    rows.extend([
        field("").repeat(2),
        [field(&right), field("")].concat(),
        [field(""), field(&right)].concat(),
        field(&right).repeat(2),
        [field(&right), field(&"0".repeat(64))].concat(),
        [field(&"0".repeat(64)), field(&right)].concat(),
        field(&format!("{right}\0")),
        field(&format!("\0{right}")),
        field(&format!("{right}\x7f")),
        field(&format!("{right}\r")),
        field(&format!("{right}\x0b")),
        field(&format!("{}\r\n {}", &right[..32], &right[32..])),
        [b"x-freispace-signature: ".as_slice(), right.as_bytes(), b"\xff\r\n"].concat(),
        [b"x-freispace-signature: \xc0\xb0", &right.as_bytes()[1..], b"\r\n"].concat(),
        format!("x-freispace-signature : {right}\r\n").into_bytes(),
        format!("\u{445}-freispace-signature: {right}\r\n").into_bytes(),
        format!("x-freispace-signature{right}\r\n").into_bytes(),
        Vec::new(),
    ]);
    for fields in &rows {
        let head =
            format!("POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n", body.len());
        let parts = [head.as_bytes(), b"connection: close\r\n", fields, b"\r\n", body.as_bytes()];
        let replies = world.exchange(&parts.concat());
        let shown = String::from_utf8_lossy(fields);
        let [reply] = &replies[..] else { panic!("{shown:?} {replies:?}") };
        assert!([400, 403].contains(&reply.status), "{shown:?} {reply:?}");
    }
    assert_eq!(world.recorded(), 0);
    // Space around a value is not part of it (RFC 9110, section 5.5).
    assert_eq!(world.post(&body, &[("x-freispace-signature", &format!("\t{right} "))]).status, 200);
}
