//! Writes a JSON text in the ways in which common languages and proxies write it.

use std::{borrow::Cow, fmt, fmt::Write as _};

use serde::{
    Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A JSON text with its members in order and its numbers as they are written.
pub(super) enum Json<'a> {
    /// A number, `true`, `false` or `null`.
    Plain(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// How a JSON text is written.
#[derive(Clone, Copy, Default)]
pub(super) struct Style {
    pub(super) layout: Layout,
    pub(super) is_sorted: bool,
    pub(super) escapes: Escapes,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Layout {
    /// `{"a":1,"b":2}`: JavaScript, Go, PHP, Java.
    #[default]
    Compact,
    /// `{"a": 1, "b": 2}`: Python.
    Spaced,
    /// One member a line, indented with this.
    Indented(&'static str),
}

/// Which characters are escaped although they need not be.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Escapes {
    pub(super) non_ascii: NonAscii,
    /// `/` as `\/`: PHP.
    pub(super) slashes: bool,
    /// `<`, `>` and `&` as `\u003c`, `\u003e` and `\u0026`: Go.
    pub(super) html: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum NonAscii {
    #[default]
    AsItIs,
    /// `\u00fc`.
    Lower,
    /// `\u00FC`.
    Upper,
}

impl<'a> Json<'a> {
    /// `None` if the text is not JSON, or is nested so deeply that nobody would write it by hand.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        Self::parse_at(text.trim_ascii(), 0)
    }

    fn parse_at(text: &'a str, depth: usize) -> Option<Self> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let parsed = match text.bytes().next()? {
            b'{' => {
                let members = reader.deserialize_map(Members).ok()?;
                let members = members
                    .into_iter()
                    .map(|(name, value)| Some((name, Self::parse_at(value.get(), depth + 1)?)));
                Self::Object(members.collect::<Option<_>>()?)
            }
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let items = items.into_iter().map(|item| Self::parse_at(item.get(), depth + 1));
                return Some(Self::Array(items.collect::<Option<_>>()?));
            }
            b'"' => return Some(Self::Text(Cow::Owned(serde_json::from_str(text).ok()?))),
            _ => {
                let value: &RawValue = serde_json::from_str(text).ok()?;
                return Some(Self::Plain(value.get()));
            }
        };
        reader.end().ok()?;
        Some(parsed)
    }

    pub(super) fn write(&self, style: Style) -> String {
        let mut text = String::new();
        self.write_at(style, 0, &mut text);
        text
    }

    fn write_at(&self, style: Style, depth: usize, out: &mut String) {
        let (open, close, len) = match self {
            Self::Plain(text) => return out.push_str(text),
            Self::Text(text) => return write_text(text, style.escapes, out),
            Self::Array(items) => ('[', ']', items.len()),
            Self::Object(members) => ('{', '}', members.len()),
        };
        out.push(open);
        let begin_item = |at: usize, out: &mut String| {
            match (at, style.layout) {
                (0, Layout::Compact | Layout::Spaced) => {}
                (0, Layout::Indented(_)) => out.push('\n'),
                (_, Layout::Compact) => out.push(','),
                (_, Layout::Spaced) => out.push_str(", "),
                (_, Layout::Indented(_)) => out.push_str(",\n"),
            }
            if let Layout::Indented(indent) = style.layout {
                out.push_str(&indent.repeat(depth + 1));
            }
        };
        match self {
            Self::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    begin_item(at, out);
                    item.write_at(style, depth + 1, out);
                }
            }
            Self::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if style.is_sorted {
                    members.sort_by(|a, b| a.0.cmp(&b.0));
                }
                for (at, (name, value)) in members.into_iter().enumerate() {
                    begin_item(at, out);
                    write_text(name, style.escapes, out);
                    out.push_str(if style.layout == Layout::Compact { ":" } else { ": " });
                    value.write_at(style, depth + 1, out);
                }
            }
            Self::Plain(_) | Self::Text(_) => {}
        }
        if let (Layout::Indented(indent), true) = (style.layout, len > 0) {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
        out.push(close);
    }
}

fn write_text(text: &str, escapes: Escapes, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if escapes.slashes => out.push_str("\\/"),
            '<' | '>' | '&' if escapes.html => push_escaped(c, false, out),
            c if c < ' ' => push_escaped(c, false, out),
            c if c.is_ascii() => out.push(c),
            c => match escapes.non_ascii {
                NonAscii::AsItIs => out.push(c),
                NonAscii::Lower => push_escaped(c, false, out),
                NonAscii::Upper => push_escaped(c, true, out),
            },
        }
    }
    out.push('"');
}

fn push_escaped(c: char, is_upper: bool, out: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a string cannot fail.
        let _ = match is_upper {
            true => write!(out, "\\u{unit:04X}"),
            false => write!(out, "\\u{unit:04x}"),
        };
    }
}

/// The members of one object, in order, each as often as it occurs.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// Deeper texts are not rewritten.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_in_each_style_with_its_numbers_as_they_were() {
        let text = "{\"b\":[1.0,{}, []],\n \"a\": \"\\u00fc/<\\ud83d\\ude00\\n\" }";
        let json = Json::parse(text).unwrap();
        let escaped = Escapes { non_ascii: NonAscii::Lower, slashes: true, html: true };
        for (style, expected) in [
            (Style::default(), r#"{"b":[1.0,{},[]],"a":"ü/<😀\n"}"#),
            (
                Style { layout: Layout::Spaced, ..Style::default() },
                r#"{"b": [1.0, {}, []], "a": "ü/<😀\n"}"#,
            ),
            (Style { is_sorted: true, ..Style::default() }, r#"{"a":"ü/<😀\n","b":[1.0,{},[]]}"#),
            (
                Style { escapes: escaped, ..Style::default() },
                r#"{"b":[1.0,{},[]],"a":"\u00fc\/\u003c\ud83d\ude00\n"}"#,
            ),
            (
                Style { layout: Layout::Indented("  "), ..Style::default() },
                "{\n  \"b\": [\n    1.0,\n    {},\n    []\n  ],\n  \"a\": \"ü/<😀\\n\"\n}",
            ),
        ] {
            assert_eq!(json.write(style), expected);
        }
    }

    #[test]
    fn what_is_not_json_is_not_written() {
        for text in ["", "{", "{} x", "[1,]", "\"\\ud83d\"", "nul"] {
            assert!(Json::parse(text).is_none(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(Json::parse(&deep).is_none());
    }
}
