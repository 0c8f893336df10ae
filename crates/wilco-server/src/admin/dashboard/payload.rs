//! A body as a page shows it. JSON is cut into its tokens and laid out, never read and written again: digits, escapes,
//! the order of keys and keys that occur twice stay as they were sent.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::de::IgnoredAny;

/// A body, ready to be shown.
pub(in crate::admin) enum Payload {
    /// JSON, line by line.
    Json(Vec<Line>),
    /// Any other text, perhaps only its beginning.
    Text { text: String, is_cut_off: bool },
    /// The beginning of anything else, in hexadecimal.
    Binary { dump: String, is_cut_off: bool },
    /// Nothing.
    Empty,
    /// Too large for a page.
    TooLarge,
    /// Removed.
    Gone,
}

/// One line of JSON.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::admin) enum Line {
    /// An object or an array begins, which can be folded.
    Begin { key: Option<String>, bracket: char, items: usize },
    /// It ends.
    End { bracket: char, has_comma: bool },
    /// A text, a number, a literal, or an empty object or array.
    Value { key: Option<String>, kind: &'static str, text: String, has_comma: bool },
}

impl Payload {
    /// A body as the API gives it, as text or in Base64; `None` if it gives none.
    pub(in crate::admin) fn of(text: Option<&str>, base64: Option<&str>) -> Option<Self> {
        match text {
            Some(text) => Some(Self::of_text(text)),
            None => Some(Self::of_bytes(&BASE64_STANDARD.decode(base64?).unwrap_or_default())),
        }
    }

    fn of_text(text: &str) -> Self {
        if text.is_empty() {
            return Self::Empty;
        }
        let json = (text.len() <= JSON_BYTES_MAX).then(|| json(text)).flatten();
        json.map_or_else(|| Self::cut_off(text), Self::Json)
    }

    fn cut_off(text: &str) -> Self {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        Self::Text { text: text[..end].into(), is_cut_off: end < text.len() }
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(DUMP_BYTES_MAX)];
        let mut dump = String::new();
        for (row, bytes) in shown.chunks(16).enumerate() {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x} ")).collect();
            let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
            let text =
                bytes.iter().map(|byte| if is_plain(byte) { char::from(*byte) } else { '.' });
            // Writing to a text in memory does not fail.
            let _ = writeln!(dump, "{:06x}  {hex:<48} {}", row * 16, text.collect::<String>());
        }
        Self::Binary { dump, is_cut_off: shown.len() < bytes.len() }
    }
}

/// The lines of a text that is JSON; `None` if it is not, is nested too deeply, or has too many lines.
fn json(text: &str) -> Option<Vec<Line>> {
    let _: IgnoredAny = serde_json::from_str(text).ok()?;
    let mut lines = Vec::new();
    // The places of the lines that began what is still open, each with the items so far.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut key = None;
    let mut rest = text.trim_ascii_start();
    while let Some(first) = rest.chars().next() {
        let length = token_length(rest);
        let (token, behind) = rest.split_at(length);
        rest = behind.trim_ascii_start();
        let is_key = first == '"' && rest.starts_with(':');
        if !is_key
            && !matches!(first, '}' | ']' | ',' | ':')
            && let Some((_, items)) = open.last_mut()
        {
            *items += 1;
        }
        match first {
            ',' => set_comma(&mut lines),
            ':' => {}
            _ if is_key => key = Some(token.to_owned()),
            '{' | '[' if rest.starts_with(['}', ']']) => {
                rest = rest[1..].trim_ascii_start();
                let text = if first == '{' { "{}" } else { "[]" }.into();
                lines.push(Line::Value { key: key.take(), kind: "empty", text, has_comma: false });
            }
            '{' | '[' => {
                open.push((lines.len(), 0));
                lines.push(Line::Begin { key: key.take(), bracket: first, items: 0 });
            }
            '}' | ']' => {
                let (at, count) = open.pop()?;
                if let Line::Begin { items, .. } = &mut lines[at] {
                    *items = count;
                }
                lines.push(Line::End { bracket: first, has_comma: false });
            }
            _ => {
                let kind = match first {
                    '"' => "string",
                    't' | 'f' | 'n' => "literal",
                    _ => "number",
                };
                let text = token.to_owned();
                lines.push(Line::Value { key: key.take(), kind, text, has_comma: false });
            }
        }
        if lines.len() > JSON_LINES_MAX || open.len() > JSON_DEPTH_MAX {
            return None;
        }
    }
    Some(lines)
}

/// The length of the token at the start of valid JSON.
fn token_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => {
            let mut at = 1;
            while at < bytes.len() && bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            (at + 1).min(bytes.len())
        }
        Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => 1,
        _ => {
            let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",:]}".contains(byte);
            bytes.iter().position(is_end).unwrap_or(bytes.len())
        }
    }
}

fn set_comma(lines: &mut [Line]) {
    if let Some(Line::End { has_comma, .. } | Line::Value { has_comma, .. }) = lines.last_mut() {
        *has_comma = true;
    }
}

/// Larger JSON is shown as text.
const JSON_BYTES_MAX: usize = 256 << 10;
/// JSON with more lines is shown as text.
const JSON_LINES_MAX: usize = 10_000;
/// JSON that is nested more deeply is shown as text; browsers have a limit too.
const JSON_DEPTH_MAX: usize = 100;
/// Of a longer text, only the start is shown.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Of more bytes, only the first are shown.
const DUMP_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines with nothing between them.
    fn joined(lines: &[Line]) -> String {
        let comma = |has_comma: &bool| if *has_comma { "," } else { "" };
        let key =
            |key: &Option<String>| key.as_ref().map(|key| format!("{key}:")).unwrap_or_default();
        let texts = lines.iter().map(|line| match line {
            Line::Begin { key: of, bracket, .. } => format!("{}{bracket}", key(of)),
            Line::End { bracket, has_comma } => format!("{bracket}{}", comma(has_comma)),
            Line::Value { key: of, text, has_comma, .. } => {
                format!("{}{text}{}", key(of), comma(has_comma))
            }
        });
        texts.collect()
    }

    #[test]
    fn json_keeps_digits_escapes_and_the_order_of_keys() {
        for body in [
            r#"{"b":1.10,"a":100000000000000000001,"b":-0.0e+05}"#,
            r#"{"text":"\u00e4\"\\","empty":{},"list":[],"nested":[[1,{"x":null}],true]}"#,
            r#""alone""#,
            "12",
            "[false]",
            r#"["a,b:c]}",{"{":"["}]"#,
            "[\"\u{00e4}\u{1f600}\"]",
        ] {
            let lines = json(body).unwrap();
            assert_eq!(joined(&lines), body);
            let spaced = body.replace(":", " : ").replace("\" :", "\"\r\n\t:");
            if !body.contains("a,b") {
                assert_eq!(joined(&json(&format!(" {spaced}\n")).unwrap()), body);
            }
        }
    }

    #[test]
    fn a_folded_object_says_how_many_items_it_has() {
        let lines = json(r#"{"a":[1,[2,3],{}],"b":{"c":"d"}}"#).unwrap();
        let items = lines.iter().filter_map(|line| match line {
            Line::Begin { items, .. } => Some(*items),
            _ => None,
        });
        assert_eq!(items.collect::<Vec<_>>(), [2, 3, 2, 1]);
    }

    #[test]
    fn anything_else_is_text_or_bytes() {
        let is_text = |text: &str| matches!(Payload::of_text(text), Payload::Text { .. });
        let deep = "[".repeat(200) + &"]".repeat(200);
        let long = format!("[{}1]", "1,".repeat(JSON_LINES_MAX));
        let large = format!("\"{}\"", "x".repeat(JSON_BYTES_MAX));
        for text in ["{", "a=1&b=2", "{\"a\":1}x", "{'a':1}", "[1,]", &deep, &long, &large] {
            assert!(is_text(text), "{text:.40}");
        }
        let Payload::Text { text, is_cut_off: true } = Payload::of_text(&"ä".repeat(40_000))
        else {
            panic!("not cut off")
        };
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        let Payload::Binary { dump, is_cut_off: false } = Payload::of_bytes(b"\x00\xffab <") else {
            panic!("cut off")
        };
        assert!(dump.starts_with("000000  00 ff 61 62 20 3c "), "{dump}");
        assert!(dump.ends_with(" ..ab <\n"), "{dump}");
    }
}
