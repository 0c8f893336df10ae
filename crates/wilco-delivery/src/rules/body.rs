//! Reads a JSON body into the values of the language, in one pass.
//!
//! The text was found to be valid JSON by `serde_json`; reading is done here because a rule has to
//! see more than that crate hands out: numbers by their digits, and a
//! text with a lone surrogate (half an emoji, left by software that cuts texts by UTF-16 units) with
//! U+FFFD in its place.

use std::collections::BTreeMap;

use minijinja::Value;

use super::Exact;

/// A JSON object, or any other value.
pub(super) enum Body {
    Object(BTreeMap<String, Value>),
    Other(Value),
}

/// Reads a JSON text; `None` where it is not JSON.
pub(super) fn read(text: &str) -> Option<Body> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    Some(match reader.peek()? {
        b'{' => Body::Object(reader.members(0)?),
        _ => Body::Other(reader.value(0)?),
    })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Skips white space and the byte after it, and returns that byte.
    fn next(&mut self) -> Option<u8> {
        self.skip_space();
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space();
        match self.peek()? {
            b'{' | b'[' if depth >= DEPTH_MAX => {
                self.skip_nested()?;
                Some(Value::UNDEFINED)
            }
            b'{' => Some(Value::from_pairs(self.members(depth)?)),
            b'[' => Some(Value::from(self.items(depth)?)),
            b'"' => Some(Value::from(self.string()?)),
            _ => Some(self.scalar()),
        }
    }

    fn members(&mut self, depth: usize) -> Option<BTreeMap<String, Value>> {
        let mut members = BTreeMap::new();
        self.next()?;
        loop {
            match self.next()? {
                b'}' => return Some(members),
                b'"' => {
                    self.at -= 1;
                    let name = self.string()?;
                    self.next()?;
                    members.insert(name, self.value(depth + 1)?);
                }
                _comma => {}
            }
        }
    }

    fn items(&mut self, depth: usize) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        self.next()?;
        loop {
            match self.next()? {
                b']' => return Some(items),
                b',' => {}
                _ => {
                    self.at -= 1;
                    items.push(self.value(depth + 1)?);
                }
            }
        }
    }

    /// Skips an object or a list, however deep it is.
    fn skip_nested(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Some(());
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.find(['"', '\\'])?;
            out.push_str(&rest[..plain]);
            self.at += plain + 1;
            if rest.as_bytes()[plain] == b'"' {
                return Some(out);
            }
            out.push(self.escaped()?);
        }
    }

    /// The character that is written behind a backslash.
    fn escaped(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.code_unit()?;
                let second = (HIGH.contains(&unit)).then(|| self.low_surrogate()).flatten();
                let units = [unit, second.unwrap_or(0)];
                char::decode_utf16(units).next()?.unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => char::from(other),
        })
    }

    fn code_unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }

    /// The second half of a pair, where it follows; nothing is skipped where it does not.
    fn low_surrogate(&mut self) -> Option<u16> {
        let before = self.at;
        if self.text.as_bytes().get(self.at..self.at + 2)? == b"\\u" {
            self.at += 2;
            if let Some(unit) = self.code_unit().filter(|unit| LOW.contains(unit)) {
                return Some(unit);
            }
        }
        self.at = before;
        None
    }

    fn scalar(&mut self) -> Value {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
        self.at += end;
        match &rest[..end] {
            "true" => Value::from(true),
            "false" => Value::from(false),
            // What is null is as if it were not there.
            "null" => Value::UNDEFINED,
            text => Exact::read(text),
        }
    }
}

/// How deep rules look into a body.
const DEPTH_MAX: usize = 64;
const HIGH: std::ops::RangeInclusive<u16> = 0xD800..=0xDBFF;
const LOW: std::ops::RangeInclusive<u16> = 0xDC00..=0xDFFF;

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let value = match read(text).unwrap() {
            Body::Object(members) => Value::from_pairs(members),
            Body::Other(value) => value,
        };
        minijinja::Environment::new()
            .compile_expression("x | tojson")
            .and_then(|expression| expression.eval(minijinja::context! { x => value }))
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_body_is_read_as_it_was_sent() {
        for (text, expected) in [
            (
                r#" { "a" : [ 1 , -2.5, true,false , null ] , "b":{} } "#,
                r#"{"a": [1, -2.5, true, false, null], "b": {}}"#,
            ),
            ("[]", "[]"),
            ("12345678901234567890123", "12345678901234567890123"),
            (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#),
            (r#""\"\\\/\n\u00e9\ud83c\udfac""#, r#""\"\\/\né🎬""#),
            (r#""half \ud83d""#, "\"half \u{fffd}\""),
            (r#""\ude00 half""#, "\"\u{fffd} half\""),
            (
                r#""\ud83d\u0041 \ud83d\n \ud83d\ud83c\udfac""#,
                "\"\u{fffd}A \u{fffd}\\n \u{fffd}🎬\"",
            ),
            (r#"{"na\ud83dme":1}"#, "{\"na\u{fffd}me\": 1}"),
        ] {
            assert_eq!(json(text), expected, "{text}");
        }
        for text in ["", "{", "[1", "plain", "1 2", "\"a", "{\"a\":}"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_value_nested_too_deep_is_undefined_and_what_follows_it_is_read() {
        for depth in [DEPTH_MAX, 100_000] {
            let deep = format!("{}\"]\"{}", "[".repeat(depth), "]".repeat(depth));
            let text = format!("{{\"deep\":{deep},\"after\":1}}");
            let Some(Body::Object(members)) = read(&text) else { panic!("{depth}") };
            assert_eq!(members["after"], Value::from(1), "{depth}");
        }
    }
}
