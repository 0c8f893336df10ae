//! What the sender may have set as the secret.

use base64::{Engine as _, engine::general_purpose};

use super::Change;
use crate::{KeyText, Secret};

/// Every other form of a secret that common mistakes give, the likeliest first: the bytes that the sender
/// may have, and how they are read.
pub(super) fn forms(secret: &Secret, own: KeyText) -> Vec<(Change, Secret, KeyText)> {
    let text = secret.expose();
    let mut rows: Vec<(Change, Vec<u8>, KeyText)> = Vec::new();
    let readings = [
        (KeyText::Text, AS_TEXT),
        (KeyText::Base64, FROM_BASE64),
        (KeyText::Hex, FROM_HEX),
        (KeyText::StandardWebhooks, FROM_STANDARD_WEBHOOKS),
    ];
    let other_readings = readings.into_iter().filter(|(reading, _)| *reading != own);
    rows.extend(other_readings.map(|(reading, change)| (change, text.to_vec(), reading)));

    if let Some((prefix, rest)) = without_prefix(text) {
        let what = format!("the secret without {prefix:?}, as text");
        let change = Change::about("secret-without-prefix", what, PREFIX_FIX);
        rows.push((change, rest.to_vec(), KeyText::Text));
        let what = format!("the secret without {prefix:?}, decoded from base64");
        let change = Change::about("secret-without-prefix", what, PREFIX_FIX);
        rows.push((change, rest.to_vec(), KeyText::Base64));
    }
    for prefix in ["whsec_", "sha256="] {
        if !text.starts_with(prefix.as_bytes()) {
            let what = format!("the secret with {prefix:?} before it, as text");
            let change = Change::about("secret-with-prefix", what, PREFIX_FIX);
            rows.push((change, [prefix.as_bytes(), text].concat(), KeyText::Text));
        }
    }
    let with = |before: &str, after: &str| [before.as_bytes(), text, after.as_bytes()].concat();
    let texts = [
        (WITH_NEWLINE, with("", "\n")),
        (WITH_NEWLINE, with("", "\r\n")),
        (WITH_SPACE, with("", " ")),
        (WITH_SPACE, with(" ", "")),
        (WITH_QUOTES, with("\"", "\"")),
        (WITH_QUOTES, with("'", "'")),
        (TO_BASE64, general_purpose::STANDARD.encode(text).into_bytes()),
        (TO_HEX, base16ct::lower::encode_string(text).into_bytes()),
        (LOWER, text.to_ascii_lowercase()),
        (UPPER, text.to_ascii_uppercase()),
        (NONE, Vec::new()),
        (PERCENT, percent_decoded(text)),
        (FIRST_LINE, text.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec()),
    ];
    let texts = texts.into_iter().filter(|(_, bytes)| bytes != text);
    rows.extend(texts.map(|(change, bytes)| (change, bytes, KeyText::Text)));
    let named = rows
        .into_iter()
        .map(|(change, bytes, reading)| (change, Secret::as_it_is(secret.name(), bytes), reading));
    named.collect()
}

/// The secret after a prefix such as `whsec_` or `sk_live_`, and that prefix.
fn without_prefix(text: &[u8]) -> Option<(&'static str, &[u8])> {
    // A prefix names the kind of secret and is the same for everybody; what else is before a _ may be secret.
    let known = KNOWN_PREFIXES.into_iter().filter(|prefix| text.starts_with(prefix.as_bytes()));
    let prefix = known.max_by_key(|prefix| prefix.len())?;
    let rest = &text[prefix.len()..];
    (!rest.is_empty()).then_some((prefix, rest))
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let fields = form_urlencoded::parse(text);
    let [(name, value)] = &fields.collect::<Vec<_>>()[..] else { return text.to_vec() };
    if value.is_empty() { name.as_bytes().to_vec() } else { text.to_vec() }
}

const KNOWN_PREFIXES: [&str; 8] =
    ["whsec_", "whpk_", "v1,whsec_", "sk_", "sk_live_", "sk_test_", "sha256=", "secret_"];
const PREFIX_FIX: &str =
    "look at which text the provider takes as its key, and give both sides the same one";
const AS_TEXT: Change = Change::new(
    "secret-as-text",
    "the secret as text, not decoded",
    "the sender uses the characters of the secret as its key: let it decode them, or choose a provider \
     whose keys are text",
);
const FROM_BASE64: Change = Change::new(
    "secret-from-base64",
    "the secret decoded from base64",
    "the sender decodes the secret: choose a provider whose keys are base64, or give the sender a text",
);
const FROM_HEX: Change = Change::new(
    "secret-from-hex",
    "the secret decoded from hexadecimal digits",
    "the sender decodes the secret: choose a provider whose keys are hex, or give the sender a text",
);
const FROM_STANDARD_WEBHOOKS: Change = Change::new(
    "secret-from-whsec",
    "the secret decoded from base64 after whsec_",
    "the sender signs as Standard Webhooks says: choose that provider, or give the sender a text",
);
const WITH_NEWLINE: Change = Change::new(
    "secret-with-newline",
    "the secret with a line break at its end",
    "the sender's secret ends with a line break (`echo` adds one, `printf %s` does not): set it again",
);
const WITH_SPACE: Change = Change::new(
    "secret-with-space",
    "the secret with a space around it",
    "the sender's secret has a space too many: set it again without it",
);
const WITH_QUOTES: Change = Change::new(
    "secret-with-quotes",
    "the secret in quotes",
    "the quotes became a part of the sender's secret: set it again without them",
);
const TO_BASE64: Change = Change::new(
    "secret-to-base64",
    "the secret written in base64",
    "the sender has the secret in base64 and this side has it decoded: give both the same text",
);
const TO_HEX: Change = Change::new(
    "secret-to-hex",
    "the secret written in hexadecimal digits",
    "the sender has the secret in hex and this side has it decoded: give both the same text",
);
const LOWER: Change = Change::new(
    "secret-lower-case",
    "the secret in lower case",
    "something wrote the sender's secret in lower case: copy it again",
);
const UPPER: Change = Change::new(
    "secret-upper-case",
    "the secret in upper case",
    "something wrote the sender's secret in upper case: copy it again",
);
const NONE: Change = Change::new(
    "secret-empty",
    "an empty secret",
    "the sender has no secret set: give it this one",
);
const PERCENT: Change = Change::new(
    "secret-percent-decoded",
    "the secret with its %XX decoded",
    "this side has the secret as it is written in a URL: copy the secret itself",
);
const FIRST_LINE: Change = Change::new(
    "secret-first-line",
    "the first line of the secret alone",
    "the file or variable of the secret has more than the secret: leave only its line",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_common_mistake_with_a_secret_is_among_the_forms() {
        for (own, text, id, expected, reading) in [
            (
                KeyText::Text,
                "MDEyMzQ1Njc4OQ==",
                "secret-from-base64",
                "MDEyMzQ1Njc4OQ==",
                KeyText::Base64,
            ),
            (KeyText::Text, "30313233", "secret-from-hex", "30313233", KeyText::Hex),
            (KeyText::Base64, "MDEyMzQ1", "secret-as-text", "MDEyMzQ1", KeyText::Text),
            (KeyText::Text, "whsec_abcdefgh", "secret-without-prefix", "abcdefgh", KeyText::Text),
            (KeyText::Text, "whsec_MDEy==", "secret-without-prefix", "MDEy==", KeyText::Base64),
            (
                KeyText::Text,
                "v1,whsec_abc_defgh",
                "secret-without-prefix",
                "abc_defgh",
                KeyText::Text,
            ),
            (KeyText::Text, "abcdefgh", "secret-with-prefix", "whsec_abcdefgh", KeyText::Text),
            (KeyText::Text, "abcdefgh", "secret-with-newline", "abcdefgh\n", KeyText::Text),
            (KeyText::Text, "abcdefgh", "secret-with-quotes", "\"abcdefgh\"", KeyText::Text),
            (KeyText::Text, "abcdefgh", "secret-with-space", "abcdefgh ", KeyText::Text),
            (KeyText::Text, "abcdefgh", "secret-to-base64", "YWJjZGVmZ2g=", KeyText::Text),
            (KeyText::Text, "abcdefgh", "secret-to-hex", "6162636465666768", KeyText::Text),
            (KeyText::Text, "ABCdefgh", "secret-lower-case", "abcdefgh", KeyText::Text),
            (KeyText::Text, "abc%2Fdefgh", "secret-percent-decoded", "abc/defgh", KeyText::Text),
            (KeyText::Text, "abcdefgh\nmore", "secret-first-line", "abcdefgh", KeyText::Text),
        ] {
            let secret = Secret::new("it", text.as_bytes().to_vec()).unwrap();
            let forms = forms(&secret, own);
            let found = forms.iter().find(|(change, secret, read)| {
                change.id == id && secret.expose() == expected.as_bytes() && *read == reading
            });
            assert!(found.is_some(), "{text} as {id}");
            for (change, ..) in &forms {
                assert!(!change.what.contains("abcdefgh"), "a change shows the secret: {change:?}");
            }
        }
    }

    #[test]
    fn a_prefix_is_named_only_if_everybody_has_it() {
        for text in ["verysecret_abcdefgh", "whsec_", "a=b=c"] {
            assert!(without_prefix(text.as_bytes()).is_none(), "{text}");
        }
    }
}
