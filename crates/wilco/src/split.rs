//! One request, several events: the items of an array in a body, and where each is in its bytes.

use std::fmt;

use serde::{
    Deserializer as _,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::path::{self, Path};

/// Where the array is in a body that holds several events: `events`, `data.items`; or the body itself,
/// written as an empty text or `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayPath(Path);

/// One item of such an array: its number, and where it is in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// From 0, as in `events[0]`.
    pub number: u32,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends, in bytes.
    pub end: usize,
}

/// Why a body has no items.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// It is not JSON in UTF-8.
    #[error("the body is not JSON")]
    NotJson,
    /// There is nothing at the path, or another kind of value.
    #[error("the body has no array at {0:?}")]
    NoArray(String),
    /// The body itself is something else.
    #[error("the body is not an array")]
    NotAnArray,
    /// There are more items than one event is split into.
    #[error("the array has {count} items, more than {max}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// The body is too large for that, or cannot be read.
    #[error("{0}")]
    Unread(String),
}

impl ArrayPath {
    /// The items of the array in a body, in their order. Nothing is copied, and no tree is built.
    ///
    /// # Errors
    ///
    /// [`SplitError`] if the array is missing, or has more than `max` items.
    pub fn items(&self, body: &[u8], max: usize) -> Result<Vec<Item>, SplitError> {
        let text = std::str::from_utf8(body).map_err(|_| SplitError::NotJson)?;
        let found = path::raw(text, &self.0).map_err(|_| SplitError::NotJson)?;
        let array = found.map(RawValue::get).filter(|value| value.starts_with('['));
        let Some(array) = array else {
            return Err(match self.0.is_empty() {
                true => SplitError::NotAnArray,
                false => SplitError::NoArray(self.0.to_string()),
            });
        };
        let mut reader = serde_json::Deserializer::from_str(array);
        let (values, count) =
            reader.deserialize_seq(Items { max }).map_err(|_| SplitError::NotJson)?;
        if count > max {
            return Err(SplitError::TooMany { count, max });
        }
        let item = |(number, value): (u32, &RawValue)| {
            // Each value is a part of the body.
            let start = value.get().as_ptr().addr() - body.as_ptr().addr();
            Item { number, start, end: start + value.get().len() }
        };
        Ok((0..).zip(values).map(item).collect())
    }
}

impl TryFrom<&str> for ArrayPath {
    type Error = String;

    fn try_from(text: &str) -> Result<Self, String> {
        match text {
            "" | "." => Ok(Self(Path::default())),
            text => Path::try_from(text.to_owned()).map(Self),
        }
    }
}

impl fmt::Display for ArrayPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads an array: its first values, and how many it has.
struct Items {
    max: usize,
}

impl<'b> Visitor<'b> for Items {
    type Value = (Vec<&'b RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while values.len() < self.max {
            match items.next_element()? {
                Some(value) => values.push(value),
                None => return Ok((values.clone(), values.len())),
            }
        }
        let mut count = values.len();
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((values, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(path: &str, body: &[u8]) -> Result<Vec<String>, SplitError> {
        let items = ArrayPath::try_from(path).unwrap().items(body, 3)?;
        let text = |item: Item| String::from_utf8(body[item.start..item.end].to_vec()).unwrap();
        Ok(items.into_iter().map(text).collect())
    }

    #[test]
    fn each_item_is_exactly_what_was_sent() {
        let rows: [(&str, &str, &[&str]); 8] = [
            (
                "",
                "[{\"a\":1}\r\n,\r\n{ \"b\" : 1.0e+2 }\r\n]",
                &["{\"a\":1}", "{ \"b\" : 1.0e+2 }"],
            ),
            (
                ".",
                " [ 12345678901234567890123 , \"\\ud83d\\\"]\" , null ] ",
                &["12345678901234567890123", "\"\\ud83d\\\"]\"", "null"],
            ),
            (
                "events",
                r#"{"x":[9],"events":[{"z":1,"a":[1,2]},[]]}"#,
                &[r#"{"z":1,"a":[1,2]}"#, "[]"],
            ),
            ("data.events", r#"{"data":{"events":["ä"]},"events":[7]}"#, &["\"ä\""]),
            ("a[1].b", r#"{"a":[{"b":[1]},{"b":[2]}]}"#, &["2"]),
            ("events", r#"{"events":[1],"events":[2,3]}"#, &["2", "3"]),
            ("ev\u{e9}", r#"{"ev\u00e9":[1]}"#, &["1"]),
            ("events", r#"{"events":[ ]}"#, &[]),
        ];
        for (path, body, expected) in rows {
            assert_eq!(split(path, body.as_bytes()).unwrap(), expected, "{path} {body}");
        }
    }

    #[test]
    fn a_body_without_the_array_says_what_is_missing() {
        let no_array = || SplitError::NoArray("events".into());
        let rows: [(&str, &[u8], SplitError); 12] = [
            ("events", b"", SplitError::NotJson),
            ("events", b"a=b", SplitError::NotJson),
            ("events", b"{\"events\":[1]} x", SplitError::NotJson),
            ("events", b"{\"events\":[1}", SplitError::NotJson),
            ("events", b"{\"events\":[\"\xff\"]}", SplitError::NotJson),
            ("events", b"{}", no_array()),
            ("events", b"[]", no_array()),
            ("events", b"{\"events\":{\"0\":1}}", no_array()),
            ("events", b"{\"events\":[1],\"events\":null}", no_array()),
            ("", b"{}", SplitError::NotAnArray),
            ("", b"null", SplitError::NotAnArray),
            ("", b"[1,2,3,4,5]", SplitError::TooMany { count: 5, max: 3 }),
        ];
        for (path, body, expected) in rows {
            let shown = String::from_utf8_lossy(body);
            assert_eq!(split(path, body).unwrap_err(), expected, "{path} {shown}");
        }
    }

    #[test]
    fn an_item_may_be_nested_to_any_depth() {
        let deep = format!("[{}{}]", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(split("", deep.as_bytes()).unwrap(), [&deep[1..deep.len() - 1]]);
    }
}
