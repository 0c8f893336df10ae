//! What the body may have been when it was signed.

mod json;

use std::{borrow::Cow, iter};

use base64::{Engine as _, engine::general_purpose};
use zune_inflate::{DeflateDecoder, DeflateOptions};

use super::Change;
use crate::path;
use json::{Escapes, Json, Layout, NonAscii, Style};

/// Every other body that something common on the way could have made this one of, the likeliest
/// first. Each is made when it is asked for.
pub(super) fn changed(body: &[u8]) -> impl Iterator<Item = (Change, Cow<'_, [u8]>)> {
    let ends = at_the_end(body);
    let others = iter::once_with(move || whole(body)).flatten();
    ends.chain(others).chain(iter::once_with(move || rewritten(body)).flatten())
}

/// A line break or a white space at the end, line ends, a byte order mark.
fn at_the_end(body: &[u8]) -> impl Iterator<Item = (Change, Cow<'_, [u8]>)> {
    let without = |end: &'static [u8]| body.strip_suffix(end).map(Cow::Borrowed);
    let with = |end: &[u8]| Some(Cow::Owned([body, end].concat()));
    let bare = body.trim_ascii_end();
    let rows = [
        (NEWLINE_ADDED, without(b"\n")),
        (NEWLINE_ADDED, without(b"\r\n")),
        (NEWLINE_REMOVED, with(b"\n")),
        (NEWLINE_REMOVED, with(b"\r\n")),
        (SPACE_ADDED, (bare.len() < body.len()).then_some(Cow::Borrowed(bare))),
        (CR_LF_TO_LF, body.contains(&b'\n').then(|| with_cr_lf(body).into())),
        (LF_TO_CR_LF, body.contains(&b'\r').then(|| without_cr(body).into())),
        (BOM_ADDED, body.strip_prefix(BOM).map(Cow::Borrowed)),
        (BOM_REMOVED, Some(Cow::Owned([BOM, body].concat()))),
    ];
    rows.into_iter().filter_map(|(change, body)| Some((change, body?)))
}

/// Bodies that are wrapped, encoded or compressed as a whole.
fn whole(body: &[u8]) -> impl Iterator<Item = (Change, Cow<'_, [u8]>)> {
    let unpacked = inflated(body).map(|body| (DECOMPRESSED, body));
    let base64 = general_purpose::STANDARD.decode(body.trim_ascii()).ok();
    let base64 = base64.filter(|decoded| !decoded.is_empty()).map(|body| (BASE64, body));
    let percent = percent_decoded(body).map(|body| (PERCENT, body));
    let fields = form_fields(body).into_iter().map(|(name, value)| {
        let what = format!("the form field {name:?} of the body alone");
        (Change::about("form-field", what, FORM_FIX), value)
    });
    let members = text_members(body).into_iter().map(|(name, value)| {
        let what = format!("the text in the member {name:?} of the body alone");
        (Change::about("wrapped-in-json", what, WRAPPED_FIX), value)
    });
    let latin_1 = from_latin_1(body).map(|body| (LATIN_1, body));
    let empty = (!body.is_empty()).then_some((EMPTY, Vec::new()));
    let rows = unpacked.into_iter().chain(base64).chain(fields).chain(members).chain(percent);
    rows.chain(latin_1).chain(empty).map(|(change, body)| (change, Cow::Owned(body)))
}

/// JSON that was read and written again.
fn rewritten(body: &[u8]) -> impl Iterator<Item = (Change, Cow<'_, [u8]>)> {
    let text = std::str::from_utf8(body).ok().filter(|body| body.len() <= JSON_BYTES_MAX);
    let json = text.and_then(Json::parse);
    let layouts = [
        (Layout::Compact, "without spaces"),
        (Layout::Spaced, "with a space after each comma and colon"),
        (Layout::Indented("  "), "indented by two spaces"),
        (Layout::Indented("    "), "indented by four spaces"),
        (Layout::Indented("\t"), "indented by tabs"),
    ];
    let none = Escapes::default();
    let lower = Escapes { non_ascii: NonAscii::Lower, ..none };
    let escapes = [
        (none, ""),
        (lower, ", with other characters than ASCII escaped (\\u00fc)"),
        (
            Escapes { slashes: true, ..lower },
            ", with slashes and other characters than ASCII escaped",
        ),
        (Escapes { slashes: true, ..none }, ", with slashes escaped (\\/)"),
        (Escapes { html: true, ..none }, ", with <, > and & escaped (\\u003c)"),
        (
            Escapes { non_ascii: NonAscii::Upper, ..none },
            ", with other characters than ASCII escaped in upper case (\\u00FC)",
        ),
    ];
    let styles = [false, true].into_iter().flat_map(move |is_sorted| {
        let layouts = layouts.into_iter();
        layouts.flat_map(move |layout| escapes.map(|escapes| (is_sorted, layout, escapes)))
    });
    let texts = styles.filter_map(move |(is_sorted, (layout, laid_out), (escapes, escaped))| {
        let text = json.as_ref()?.write(Style { layout, is_sorted, escapes });
        let sorted = if is_sorted { ", its members sorted by name" } else { "" };
        let what = format!("the same JSON {laid_out}{escaped}{sorted}");
        Some((Change::about("json-rewritten", what, JSON_FIX), text))
    });
    texts.flat_map(|(change, text)| {
        let mut with_newline = change.clone();
        with_newline.what = format!("{} and with a line break at its end", change.what).into();
        let line = format!("{text}\n").into_bytes();
        [(change, text.into_bytes()), (with_newline, line)]
            .map(|(change, body)| (change, body.into()))
    })
}

fn with_cr_lf(body: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(body.len() + body.len() / 16);
    let mut before = 0;
    for &byte in body {
        if byte == b'\n' && before != b'\r' {
            changed.push(b'\r');
        }
        changed.push(byte);
        before = byte;
    }
    changed
}

fn without_cr(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.iter().copied().peekable();
    iter::from_fn(|| {
        let byte = bytes.next()?;
        if byte == b'\r' && bytes.peek() == Some(&b'\n') { bytes.next() } else { Some(byte) }
    })
    .collect()
}

/// The content of a body in gzip, zlib or raw deflate.
fn inflated(body: &[u8]) -> Option<Vec<u8>> {
    let options = || DeflateOptions::default().set_limit(INFLATED_BYTES_MAX);
    let decoder = |body| DeflateDecoder::new_with_options(body, options());
    match body {
        [0x1f, 0x8b, ..] => decoder(body).decode_gzip().ok(),
        // A zlib stream has two bytes before the raw one, and its checksum after it.
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, rest @ ..] => decoder(rest).decode_deflate().ok(),
        _ => None,
    }
}

fn percent_decoded(body: &[u8]) -> Option<Vec<u8>> {
    if !body.contains(&b'%') {
        return None;
    }
    // As the name of the only field of a form: `+` is a space, too.
    let escaped = escape_separators(body);
    let (name, _) = form_urlencoded::parse(&escaped).next()?;
    Some(name.into_owned().into_bytes())
}

fn escape_separators(body: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(body.len());
    for byte in body {
        match byte {
            b'&' => escaped.extend(b"%26"),
            b'=' => escaped.extend(b"%3D"),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

fn form_fields(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    if !body.contains(&b'=') || body.trim_ascii_start().starts_with(b"{") {
        return Vec::new();
    }
    let fields = form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty());
    let fields = fields.map(|(name, value)| (shown(&name), value.into_owned().into_bytes()));
    fields.take(WRAPPED_MAX).collect()
}

/// The texts that a gateway puts a body into: `{"body": "{…}", "isBase64Encoded": false}`.
fn text_members(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let Ok(text) = std::str::from_utf8(body) else { return Vec::new() };
    if let Ok(inner) = serde_json::from_str::<String>(text) {
        return vec![("(the whole text)".to_owned(), inner.into_bytes())];
    }
    let members = WRAPPERS.map(|name| path::Path::try_from(name.to_owned()).ok());
    let paths: Vec<_> = members.iter().flatten().collect();
    let values = path::values(text, &paths, true).unwrap_or_default();
    let mut found = Vec::new();
    for (name, value) in WRAPPERS.into_iter().zip(values) {
        let Some(value) = value else { continue };
        if let Ok(decoded) = general_purpose::STANDARD.decode(value.as_bytes()) {
            found.push((name.to_owned(), decoded));
        }
        found.push((name.to_owned(), value.into_owned().into_bytes()));
    }
    found
}

/// The bytes before something took each of them for a Latin-1 character and wrote that in UTF-8.
fn from_latin_1(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_ascii())?;
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// A name from the request, short and printable.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(40).collect()
}

const NEWLINE_ADDED: Change = Change::new(
    "final-newline-added",
    "the body without the line break at its end",
    "find what appends a line break on the way, and pass the body on as it is",
);
const NEWLINE_REMOVED: Change = Change::new(
    "final-newline-removed",
    "the body with a line break at its end",
    "find what cuts the final line break off on the way (`curl -d` does, `curl --data-binary` does not)",
);
const SPACE_ADDED: Change = Change::new(
    "final-space-added",
    "the body without the white space at its end",
    "find what appends white space on the way, and pass the body on as it is",
);
const CR_LF_TO_LF: Change = Change::new(
    "cr-lf-to-lf",
    "the body with CR LF at the end of each line",
    "find what turns CR LF into LF on the way, and pass the body on as binary data",
);
const LF_TO_CR_LF: Change = Change::new(
    "lf-to-cr-lf",
    "the body with LF instead of CR LF at the end of each line",
    "find what turns LF into CR LF on the way, and pass the body on as binary data",
);
const BOM_ADDED: Change = Change::new(
    "bom-added",
    "the body without the byte order mark at its beginning",
    "find what puts a byte order mark before the body, and pass the body on as it is",
);
const BOM_REMOVED: Change = Change::new(
    "bom-removed",
    "the body with a byte order mark at its beginning",
    "find what removes the byte order mark on the way, and pass the body on as it is",
);
const DECOMPRESSED: Change = Change::new(
    "compressed",
    "the body decompressed",
    "switch off compression of requests in the proxy, or have it decompress them: the sender signs the \
     plain body",
);
const BASE64: Change = Change::new(
    "base64",
    "the body decoded from base64",
    "have the gateway pass the body on as text or binary data, not in base64",
);
const PERCENT: Change = Change::new(
    "percent-encoded",
    "the body with its %XX decoded",
    "find what encodes the body as a form on the way, and pass the body on as it is",
);
const LATIN_1: Change = Change::new(
    "latin-1-to-utf-8",
    "the body before it was converted from Latin-1 to UTF-8",
    "find what takes the body for Latin-1 text, and pass it on as binary data or as UTF-8",
);
const EMPTY: Change = Change::new(
    "empty",
    "an empty body",
    "look at the sender: it signs before it has the body, or something replaces the body on the way",
);
const FORM_FIX: &str = "choose the content type application/json at the provider, not a form";
const WRAPPED_FIX: &str =
    "have the gateway pass the request through, instead of wrapping it in JSON";
const JSON_FIX: &str = "something on the way reads the JSON and writes it again (a gateway, a function, a \
                        security filter): have it pass the raw body on";
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Members into which gateways and queues put the body of a request.
const WRAPPERS: [&str; 6] = ["body", "Body", "payload", "data", "message", "Message"];
/// Form fields that are looked at.
const WRAPPED_MAX: usize = 16;
/// The largest JSON text that is written again in other styles.
const JSON_BYTES_MAX: usize = 4 << 20;
/// How large a compressed body may become.
const INFLATED_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_common_change_is_undone() {
        // Python: gzip.compress(b'{"a":1}', mtime=0), and zlib.compress.
        let gzip: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x54\xb2\x32\xac\x05\x00\xaf\xac\x1b\x56\x07\x00\x00\x00";
        let zlib: &[u8] = b"\x78\x9c\xab\x56\x4a\x54\xb2\x32\xac\x05\x00\x08\x2a\x02\x09";
        let rows: Vec<(&str, &[u8], &[u8])> = vec![
            ("final-newline-added", b"{}\n", b"{}"),
            ("final-newline-added", b"{}\r\n", b"{}"),
            ("final-newline-removed", b"{}", b"{}\n"),
            ("final-newline-removed", b"{}", b"{}\r\n"),
            ("final-space-added", b"{} \n ", b"{}"),
            ("cr-lf-to-lf", b"{\n\n}", b"{\r\n\r\n}"),
            ("lf-to-cr-lf", b"{\r\n\r}", b"{\n\r}"),
            ("bom-added", b"\xef\xbb\xbf{}", b"{}"),
            ("bom-removed", b"{}", b"\xef\xbb\xbf{}"),
            ("compressed", gzip, b"{\"a\":1}"),
            ("compressed", zlib, b"{\"a\":1}"),
            ("base64", b"e30=", b"{}"),
            ("form-field", b"payload=%7B%7D&a=b", b"{}"),
            ("wrapped-in-json", br#"{"body":"{}","isBase64Encoded":false}"#, b"{}"),
            ("wrapped-in-json", br#"{"body":"e30="}"#, b"{}"),
            ("wrapped-in-json", br#""{}""#, b"{}"),
            ("percent-encoded", b"%7B%22a%22:+1%7D", b"{\"a\": 1}"),
            ("latin-1-to-utf-8", "{\"Ã¤\":1}".as_bytes(), "{\"ä\":1}".as_bytes()),
            ("empty", b"{}", b""),
            ("json-rewritten", b"{\"b\": 1.0, \"a\": []}", b"{\"b\":1.0,\"a\":[]}"),
            ("json-rewritten", b"{\"b\":1.0,\"a\":[]}", b"{\"b\": 1.0, \"a\": []}\n"),
            ("json-rewritten", b"{\"b\":1,\"a\":2}", b"{\"a\":2,\"b\":1}"),
            ("json-rewritten", "[\"ä/\"]".as_bytes(), b"[\"\\u00e4\\/\"]"),
            ("json-rewritten", b"{\"a\":1}", b"{\n    \"a\": 1\n}"),
        ];
        for (id, received, signed) in rows {
            let found = changed(received).find(|(_, body)| body[..] == *signed);
            let text = String::from_utf8_lossy(received);
            assert_eq!(found.map(|(change, _)| change.id), Some(id), "{text}");
        }
    }

    #[test]
    fn what_is_not_compressed_after_all_is_left_alone() {
        for body in [&[0x1f, 0x8b, 8, 0][..], &[0x78, 0x9c, 0xff, 0xff, 0xff], b"x"] {
            assert!(inflated(body).is_none(), "{body:?}");
        }
    }
}
