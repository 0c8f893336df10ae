//! What is signed is not what a right sender signs.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ChangeBytes, Rows};
use crate::forgeries::family::{Facts, hex, sha256};

/// Something else is signed than what is sent.
pub(crate) const SIGNED: Rows<fn(&mut Facts)> = &[
    ("time of another request", |it| it.timestamp = shifted(&it.timestamp, 1)),
    ("earlier time", |it| it.timestamp = shifted(&it.timestamp, -1)),
    ("no time", |it| it.timestamp.clear()),
    ("id of another request", |it| it.id = "msg_0".into()),
    ("no id", |it| it.id.clear()),
    ("id and time swapped", |it| std::mem::swap(&mut it.id, &mut it.timestamp)),
    ("another nonce", |it| it.nonce.push('0')),
    ("no nonce", |it| it.nonce.clear()),
    ("URL of another host", |it| it.url = it.url.replace("example.com", "example.org")),
    ("URL of a sub-domain", |it| it.url = it.url.replace("://", "://x.")),
    ("URL with port 80", |it| it.url = it.url.replace(".com", ".com:80")),
    ("URL with port 8443", |it| it.url = it.url.replace(".com", ".com:8443")),
    ("URL without TLS", |it| it.url = it.url.replace("https:", "http:")),
    ("URL in upper case", |it| it.url = it.url.to_uppercase()),
    ("URL with a user", |it| it.url = it.url.replace("://", "://a@")),
    ("URL with another path", |it| it.url = it.url.replace(".com/", ".com/x/")),
    ("URL with a slash at its end", |it| it.url.push('/')),
    ("URL with another query", |it| it.url.push('1')),
    ("URL without its query", |it| it.url.truncate(it.url.find('?').unwrap_or_default())),
    ("URL with a fragment", |it| it.url.push_str("#a")),
    ("no URL", |it| it.url.clear()),
    ("method GET", |it| it.method = "GET".into()),
    ("method in lower case", |it| it.method = "post".into()),
    ("no method", |it| it.method.clear()),
    ("another body", |it| it.body = Some(b"{\"id\":\"0\"}".to_vec())),
    ("no body", |it| it.body = Some(Vec::new())),
    ("body {}", |it| it.body = Some(b"{}".to_vec())),
    ("body null", |it| it.body = Some(b"null".to_vec())),
    ("another number", |it| it.number += 1_000_000),
    ("secret of another source", |it| it.secret = b"Key:of_another-0123456789".to_vec()),
    ("no secret", |it| it.secret.clear()),
    ("secret in upper case", |it| it.secret.make_ascii_uppercase()),
    ("secret in lower case", |it| it.secret.make_ascii_lowercase()),
    ("secret without its first byte", |it| it.secret = it.secret[1..].to_vec()),
    ("secret without its last byte", |it| it.secret.truncate(it.secret.len() - 1)),
    ("secret with a line break", |it| it.secret.push(b'\n')),
    ("secret in quotes", |it| it.secret = [b"\"", &it.secret[..], b"\""].concat()),
    ("secret twice", |it| it.secret = it.secret.repeat(2)),
    ("secret backwards", |it| it.secret.reverse()),
    ("hex of the secret", |it| it.secret = hex(&it.secret).into()),
    ("base64 of the secret", |it| it.secret = STANDARD.encode(&it.secret).into()),
    ("digest of the secret", |it| it.secret = sha256(&it.secret)),
    ("name of the variable as the secret", |it| it.secret = b"SECRET_0".to_vec()),
];

/// The message is changed as a whole before it is signed.
pub(crate) const MESSAGE: Rows<ChangeBytes> = &[
    ("nothing signed", |_| Vec::new()),
    ("message and line break", |it| [it, b"\n"].concat()),
    ("message and CR LF", |it| [it, b"\r\n"].concat()),
    ("byte order mark and message", |it| [b"\xef\xbb\xbf", it].concat()),
    ("message twice", |it| it.repeat(2)),
    ("message and NUL", |it| [it, b"\0"].concat()),
    ("message without its last byte", |it| it[..it.len().saturating_sub(1)].to_vec()),
    ("message without its first byte", |it| it.get(1..).unwrap_or_default().to_vec()),
    ("message backwards", |it| it.iter().rev().copied().collect()),
    ("message in upper case", |it| it.to_ascii_uppercase()),
    ("message without white space", |it| it.iter().copied().filter(|b| *b > b' ').collect()),
    ("digest of the message", sha256),
    ("hex of the digest of the message", |it| hex(&sha256(it)).into()),
    ("base64 of the message", |it| STANDARD.encode(it).into()),
    ("message with its letters escaped", |it| {
        String::from_utf8_lossy(it).replace('ö', "\\u00f6").into()
    }),
    ("message with letters in Latin-1", |it| {
        String::from_utf8_lossy(it).chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
    }),
];

/// Times that no right sender writes, although they are signed: now in the unit of the family.
pub(crate) const TIMES: Rows<fn(i64) -> String> = &[
    ("negative time", |now| format!("-{now}")),
    ("time with a plus sign", |now| format!("+{now}")),
    ("time with a fraction", |now| format!("{now}.0")),
    ("time with an exponent", |now| format!("{now}e0")),
    ("time in hex", |now| format!("0x{now:x}")),
    ("time with underscores", |now| format!("{}_{}", now / 1000, now % 1000)),
    ("time with a comma", |now| format!("{},{}", now / 1000, now % 1000)),
    ("time with a blank", |now| format!("{} {}", now / 1000, now % 1000)),
    ("time with a unit", |now| format!("{now}s")),
    ("time beyond 64 bits", |_| "99999999999999999999999".into()),
    ("largest time", |_| i64::MAX.to_string()),
    ("largest unsigned time", |_| u64::MAX.to_string()),
    ("smallest time", |_| i64::MIN.to_string()),
    ("empty time", |_| String::new()),
    ("word as time", |_| "now".into()),
    ("NaN as time", |_| "NaN".into()),
    ("infinite time", |_| "Infinity".into()),
    ("time in Arabic digits", |now| digits(now, 0x660)),
    ("time in Devanagari digits", |now| digits(now, 0x966)),
    ("time in full-width digits", |now| digits(now, 0xff10)),
    ("time with a zero-width space", |now| format!("{now}\u{200b}")),
    ("time as an HTTP date", |_| "Sun, 06 Nov 2094 08:49:37 GMT".into()),
    ("local time", |_| "2026-03-02T08:30:00".into()),
    ("time that no calendar has", |_| "2026-13-40T99:00:00Z".into()),
];

/// Times that are right in form, but not now.
pub(crate) const OUT_OF_TIME: Rows<fn(i64) -> i64> = &[
    ("1970", |_| 0),
    ("1 s after 1970", |_| 1),
    ("an hour ago", |now| now - 3600),
    ("in an hour", |now| now + 3600),
    ("11 minutes ago", |now| now - 660),
    ("in 11 minutes", |now| now + 660),
    ("a year ago", |now| now - 31_536_000),
    ("in a year", |now| now + 31_536_000),
    ("another unit, smaller", |now| now / 1000),
    ("another unit, larger", |now| now * 100),
];

fn shifted(timestamp: &str, by: i64) -> String {
    match timestamp.parse::<i64>() {
        Ok(number) => (number + by).to_string(),
        Err(_) => {
            let at: jiff::Timestamp = timestamp.parse().unwrap();
            (at + jiff::SignedDuration::from_secs(by)).to_string()
        }
    }
}

fn digits(number: i64, zero: u32) -> String {
    number.to_string().chars().filter_map(|c| char::from_u32(c.to_digit(10)? + zero)).collect()
}
