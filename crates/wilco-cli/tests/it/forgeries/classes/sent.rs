//! The signature is right, but not where it belongs, or not for what is sent with it.

use super::{CLOSE, ChangeBytes, Rows, flipped, inside};
use crate::forgeries::family::{Family, Request};

/// Other lines than that of the signature: family, name, value.
type Lines = fn(&Family, &str, &str) -> Option<Vec<Vec<u8>>>;
pub(crate) const LINES: Rows<Lines> = &[
    ("no signature", |_, _, _| Some(vec![])),
    ("header repeated", |_, name, value| Some(vec![line(name, value), line(name, value)])),
    ("right, then empty", |_, name, value| Some(vec![line(name, value), line(name, "")])),
    ("empty, then right", |_, name, value| Some(vec![line(name, ""), line(name, value)])),
    ("right, then wrong", |_, name, value| Some(vec![line(name, value), line(name, "0")])),
    ("wrong, then right", |_, name, value| Some(vec![line(name, "0"), line(name, value)])),
    ("repeated in another case", |_, name, value| {
        Some(vec![line(name, value), line(&name.to_uppercase(), value)])
    }),
    ("header with underscores", |_, name, value| changed(name, &name.replace('-', "_"), value)),
    ("longer name", |_, name, value| changed(name, &format!("{name}-256"), value)),
    ("shorter name", |_, name, value| changed(name, &name[..name.len() - 1], value)),
    ("header signature", |_, name, value| changed(name, "signature", value)),
    ("header x-signature", |_, name, value| changed(name, "x-signature", value)),
    ("header authorization", |_, name, value| changed(name, "authorization", value)),
    ("header proxy-authorization", |_, name, value| changed(name, "proxy-authorization", value)),
    ("header cookie", |_, name, value| changed(name, "cookie", &format!("{name}={value}"))),
    ("blank before the colon", |_, name, value| changed(name, &format!("{name} "), value)),
    ("blank before the name", |_, name, value| changed(name, &format!(" {name}"), value)),
    ("no colon", |_, name, value| Some(vec![format!("{name} {value}").into()])),
    ("Cyrillic letter in the name", |_, name, value| {
        changed(name, &format!("{name}\u{445}"), value)
    }),
    ("NUL in the name", |_, name, value| changed(name, &format!("{name}\0"), value)),
    ("NUL after it", |_, name, value| Some(vec![line(name, &format!("{value}\0"))])),
    ("NUL before it", |_, name, value| Some(vec![line(name, &format!("\0{value}"))])),
    ("DEL after it", |_, name, value| Some(vec![line(name, &format!("{value}\x7f"))])),
    ("CR after it", |_, name, value| Some(vec![line(name, &format!("{value}\r"))])),
    ("vertical tab after it", |_, name, value| Some(vec![line(name, &format!("{value}\x0b"))])),
    ("form feed after it", |_, name, value| Some(vec![line(name, &format!("{value}\x0c"))])),
    ("byte that is not UTF-8 after it", |_, name, value| {
        Some(vec![[line(name, value), vec![0xff]].concat()])
    }),
    ("overlong first byte", |_, name, value| {
        let byte = value.as_bytes()[0];
        let overlong = [0xc0 | (byte >> 6), 0x80 | (byte & 0x3f)];
        Some(vec![[name.as_bytes(), b": ", &overlong, &value.as_bytes()[1..]].concat()])
    }),
    ("folded inside", |_, name, value| Some(vec![line(name, &inside(value, "\r\n "))])),
    ("folded before it", |_, name, value| Some(vec![line(name, &format!("\r\n {value}"))])),
    ("line feed inside", |_, name, value| Some(vec![line(name, &inside(value, "\n"))])),
    ("prefix missing", |it, name, value| prefixed(it, name, value, "")),
    ("prefix twice", |it, name, value| prefixed(it, name, value, &it.prefix.repeat(2))),
    ("prefix in another case", |it, name, value| {
        let lower = it.prefix.to_lowercase();
        let other = if lower == it.prefix { it.prefix.to_uppercase() } else { lower };
        prefixed(it, name, value, &other)
    }),
    ("blank after the prefix", |it, name, value| {
        prefixed(it, name, value, &format!("{} ", it.prefix))
    }),
    ("prefix v9=", |it, name, value| prefixed(it, name, value, "v9=")),
    ("prefix v9,", |it, name, value| prefixed(it, name, value, "v9,")),
    ("prefix sha1=", |it, name, value| prefixed(it, name, value, "sha1=")),
    ("prefix Digest", |it, name, value| prefixed(it, name, value, "Digest ")),
    ("another prefix before it", |_, name, value| Some(vec![line(name, &format!("x={value}"))])),
    ("17 in a list", |it, name, value| {
        let separator = it.list.as_deref()?;
        let wrong = format!("{}AAAA{separator}", it.prefix).repeat(16);
        Some(vec![line(name, &value.replacen(&it.prefix, &format!("{wrong}{}", it.prefix), 1))])
    }),
    ("list with another separator", |it, name, value| {
        let wrong = format!("{}AAAA;", it.prefix);
        let right = &value[value.find(&it.prefix)?..];
        it.list.as_ref()?;
        Some(vec![line(name, &value.replace(right, &format!("{wrong}{right}")))])
    }),
];

/// Another body than the one that was signed.
pub(crate) const BODIES: Rows<ChangeBytes> = &[
    ("empty body", |_| Vec::new()),
    ("body {} instead", |_| b"{}".to_vec()),
    ("line break after the body", |it| [it, b"\n"].concat()),
    ("blank before the body", |it| [b" ", it].concat()),
    ("byte order mark before the body", |it| [b"\xef\xbb\xbf", it].concat()),
    ("body twice", |it| it.repeat(2)),
    ("NUL after the body", |it| [it, b"\0"].concat()),
    ("body cut by one", |it| it[..it.len() - 1].to_vec()),
    ("first byte of the body flipped", |it| flipped(it, 0, 1).unwrap()),
    ("last byte of the body flipped", |it| flipped(it, it.len() - 1, 1).unwrap()),
    ("last two bytes of the body swapped", |it| {
        [&it[..it.len() - 2], &[it[it.len() - 1], it[it.len() - 2]]].concat()
    }),
    ("line breaks of the body changed", |it| {
        String::from_utf8_lossy(it).replace('\n', "\r\n").into()
    }),
    ("letters of the body escaped", |it| {
        String::from_utf8_lossy(it).replace('ö', "\\u00f6").into()
    }),
    ("letters of the body decomposed", |it| {
        String::from_utf8_lossy(it).replace('ö', "o\u{308}").into()
    }),
    ("blank in the body", |it| String::from_utf8_lossy(it).replace(":", ": ").into()),
    ("another field in the body", |it| [it, b"&x=1"].concat()),
];

/// Whole requests; each must be refused.
type Whole = fn(&Request) -> Option<Vec<u8>>;
pub(crate) const WHOLE: Rows<Whole> = &[
    ("PUT", |it| Some(Request { method: "PUT".into(), ..it.clone() }.bytes(CLOSE))),
    ("method post", |it| Some(Request { method: "post".into(), ..it.clone() }.bytes(CLOSE))),
    ("override of the method", |it| {
        Some(
            Request { method: "PATCH".into(), ..it.clone() }
                .bytes(&format!("x-http-method-override: POST\r\n{CLOSE}")),
        )
    }),
    ("headers in the trailer", |it| {
        let Request { method, target, headers, body } = it;
        if headers.is_empty() {
            return None;
        }
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: a\r\n{CLOSE}transfer-encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        Some(
            [head.as_bytes(), body, b"\r\n0\r\n", &headers.join(&b"\r\n"[..]), b"\r\n\r\n"]
                .concat(),
        )
    }),
    ("headers in the extension of a chunk", |it| {
        let Request { method, target, headers, body } = it;
        let fields = headers.first()?.iter().copied().filter(|byte| byte.is_ascii_alphanumeric());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: a\r\n{CLOSE}transfer-encoding: chunked\r\n\r\n{:x};a=",
            body.len()
        );
        Some(
            [head.as_bytes(), &fields.collect::<Vec<_>>(), b"\r\n", body, b"\r\n0\r\n\r\n"]
                .concat(),
        )
    }),
    ("headers in the query", |it| {
        let line = String::from_utf8_lossy(it.headers.first()?)
            .replacen(": ", "=", 1)
            .replace([' ', ','], "+");
        let mark = if it.target.contains('?') { '&' } else { '?' };
        let target = format!("{}{mark}{line}", it.target);
        Some(Request { target, headers: vec![], ..it.clone() }.bytes(CLOSE))
    }),
    ("headers in the body", |it| {
        let body = [it.headers.first()?, &b"\r\n"[..], &it.body].concat();
        Some(Request { headers: vec![], body, ..it.clone() }.bytes(CLOSE))
    }),
];

fn line(name: &str, value: &str) -> Vec<u8> {
    format!("{name}: {value}").into()
}

/// The value under another name.
fn changed(name: &str, other: &str, value: &str) -> Option<Vec<Vec<u8>>> {
    (name != other).then(|| vec![line(other, value)])
}

/// The value with another prefix of the signature.
fn prefixed(it: &Family, name: &str, value: &str, prefix: &str) -> Option<Vec<Vec<u8>>> {
    let at = value.find(&it.prefix)?;
    let changed = format!("{}{prefix}{}", &value[..at], &value[at + it.prefix.len()..]);
    (changed != value && !prefix.trim().is_empty() || (prefix.is_empty() && !it.prefix.is_empty()))
        .then(|| vec![line(name, &changed)])
}
