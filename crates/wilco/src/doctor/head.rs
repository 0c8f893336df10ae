//! What the signature's header may have been.

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD},
};

use super::Change;
use crate::{Algorithm, Head, Headers, Scheme};

/// The head with each text that could be a signature put where the scheme expects it, and as it writes it.
pub(super) fn read_leniently(scheme: &Scheme, head: &Head) -> Vec<(Change, Head)> {
    let mut found: Vec<(Change, Head)> = Vec::new();
    for (name, value) in candidates(scheme, head) {
        let is_own = scheme.header().is_some_and(|header| header == name);
        for (text, is_part) in parts(value) {
            let readings = match scheme.algorithm() {
                Algorithm::Token => as_token(text),
                _ => decoded(text),
            };
            for (form, bytes) in readings {
                let Some(headers) = with_signature(scheme, head, &bytes) else { continue };
                let of = if is_part { "part of the header" } else { "the header" };
                let what = format!("{of} {name}, read as {form}");
                let change = match is_own {
                    true => Change::about("signature-form", what, FORM_FIX),
                    false => Change::about("signature-header", what, HEADER_FIX),
                };
                found.push((change, Head { headers, ..head.clone() }));
            }
        }
        if found.len() >= READINGS_MAX {
            break;
        }
    }
    found.truncate(READINGS_MAX);
    found
}

/// The headers that may have a signature: first the scheme's own, then those that are called so.
fn candidates<'h>(scheme: &Scheme, head: &'h Head) -> Vec<(&'h str, &'h [u8])> {
    let is_own = |name: &str| scheme.header().is_some_and(|header| header == name);
    let is_called_so = |name: &str| CALLED.iter().any(|part| name.contains(part));
    let own = head.headers.iter().filter(|(name, _)| is_own(name));
    let others = head.headers.iter().filter(|(name, _)| !is_own(name) && is_called_so(name));
    own.chain(others).filter(|(_, value)| value.len() <= VALUE_BYTES_MAX).collect()
}

/// A value, and what it may be made of: `sha256=…`, `t=…,v1=…`, `v1,… v1,…`, `Bearer …`, two values that a
/// proxy joined.
fn parts(value: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let bare = value.trim_ascii();
    let items = bare.split(|byte| matches!(byte, b',' | b';' | b' ')).map(<[u8]>::trim_ascii);
    let after_name = |item: &'_ [u8]| -> Option<usize> {
        let at = item.iter().position(|byte| matches!(byte, b'=' | b':'))?;
        (at + 1 < item.len() && item[at + 1] != b'=').then_some(at + 1)
    };
    let values = items.clone().filter_map(move |item| item.get(after_name(item)?..));
    let quoted = |item: &'_ [u8]| item.len() > 2 && item[0] == b'"' && item.ends_with(b"\"");
    let unquoted =
        items.clone().filter(move |item| quoted(item)).map(|item| &item[1..item.len() - 1]);
    let rest = items.chain(values).chain(unquoted);
    let rest = rest.filter(move |item| !item.is_empty() && *item != bare).map(|item| (item, true));
    [(bare, false)].into_iter().chain(rest)
}

/// The tokens that a text can be read as.
fn as_token(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let base64 = STANDARD.decode(text).ok().map(|bytes| ("base64", bytes));
    [("text", text.to_vec())].into_iter().chain(base64).collect()
}

/// The signatures that a text can be read as.
fn decoded(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let lenient = NO_PAD.with_decode_allow_trailing_bits(true);
    let bare = text.iter().rposition(|byte| *byte != b'=').map_or(text, |last| &text[..=last]);
    let base64 = |alphabet| GeneralPurpose::new(alphabet, lenient).decode(bare).ok();
    let readings = [
        ("hexadecimal digits", base16ct::mixed::decode_vec(text).ok()),
        ("base64", base64(&alphabet::STANDARD)),
        ("URL-safe base64", base64(&alphabet::URL_SAFE)),
    ];
    let mut decoded: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for (form, bytes) in readings {
        let Some(bytes) = bytes else { continue };
        // The digits of a hash in hex, which were then written in base64.
        if let Ok(inner) = base16ct::mixed::decode_vec(&bytes)
            && is_digest(&inner)
        {
            decoded.push(("base64 of hexadecimal digits", inner));
        }
        if is_digest(&bytes) && decoded.iter().all(|(_, other)| *other != bytes) {
            decoded.push((form, bytes));
        }
    }
    decoded
}

fn is_digest(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 20 | 32 | 48 | 64)
}

/// The headers with this signature where the scheme expects it; the rest as it came.
fn with_signature(scheme: &Scheme, head: &Head, signature: &[u8]) -> Option<Headers> {
    let (own, text, split) = scheme.write_signature(signature)?;
    let mut value = text.into_bytes();
    if let (Some(split), Some(before)) = (split, head.headers.all(&own).next()) {
        value = [before, split.to_string().as_bytes(), &value].concat();
    }
    let others = head.headers.iter().filter(|(name, _)| *name != own);
    let own = std::iter::once((own.as_str(), value.as_slice()));
    Some(Headers::from_pairs(others.chain(own)))
}

/// Parts of the names of headers in which signatures are sent.
const CALLED: [&str; 7] = ["sign", "hmac", "digest", "token", "authorization", "hash", "-mac"];
const FORM_FIX: &str = "the sender writes its signature in another form than this provider: is it another \
                        provider, or an older version of it?";
const HEADER_FIX: &str = "the sender puts its signature into another header than this provider: is it \
                          another provider, or does a proxy rename it?";
/// Longer values are not looked at.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// Readings of one request.
const READINGS_MAX: usize = 64;
