//! Reads single values of a JSON body by their paths, in one pass and without building a tree.

mod stored;

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

use crate::{BODY_CHUNK_BYTES, Body};
pub(crate) use stored::stored_values;

/// Where a value is in a JSON body: `event`, `data.object.id`, `items[0].name`, `[0].event`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Path(Vec<Step>);

impl Path {
    /// Whether it is that of the body itself.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a text at this path of a body, with the objects and arrays that lead to it, unless that takes a very
    /// long array.
    pub(crate) fn put(&self, body: &mut Value, text: &str) {
        let mut place = body;
        for step in &self.0 {
            place = match step {
                Step::Member(name) => {
                    if !place.is_object() {
                        *place = json!({});
                    }
                    &mut place[name]
                }
                Step::Item(PUT_ITEMS_MAX..) => return,
                Step::Item(number) => {
                    let mut items = match place.take() {
                        Value::Array(items) => items,
                        _ => Vec::new(),
                    };
                    items.resize(items.len().max(number + 1), Value::Null);
                    *place = items.into();
                    &mut place[*number]
                }
            };
        }
        *place = text.into();
    }
}

/// Where a text or a number is in a JSON body, such as `data.customer.email`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValuePath(Path);

impl ValuePath {
    /// The text or number there, a number as it is written. `None` if there is none, or the body is neither a JSON
    /// object nor an array.
    pub fn value_in(&self, body: &Body) -> Option<String> {
        let values = match body.contiguous(BODY_CHUNK_BYTES) {
            Ok(bytes) => {
                let text = std::str::from_utf8(&bytes).ok()?;
                let found = values(text, &[&self.0], true).ok()?;
                found.into_iter().map(|value| value.map(Cow::into_owned)).collect()
            }
            Err(_) => stored_values(body, &[&self.0], true).ok()?,
        };
        values.into_iter().next().flatten()
    }
}

impl FromStr for ValuePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Path::try_from(text.to_owned()).map(Self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let invalid = || {
            format!(
                "invalid path {text:?}: expected members and items, such as \"data.items[0].id\""
            )
        };
        let mut steps = Vec::new();
        for (at, part) in text.split('.').enumerate() {
            let (member, items) = part.split_at(part.find('[').unwrap_or(part.len()));
            match (member, items) {
                ("", "") => return Err(invalid()),
                ("", _) if at > 0 => return Err(invalid()),
                ("", _) => {}
                _ => steps.push(Step::Member(member.into())),
            }
            for item in items.split_inclusive(']') {
                let number = item.strip_prefix('[').and_then(|item| item.strip_suffix(']'));
                steps.push(Step::Item(number.and_then(|n| n.parse().ok()).ok_or_else(invalid)?));
            }
        }
        Ok(Self(steps))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Member(name) if at == 0 => f.write_str(name)?,
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Item(number) => write!(f, "[{number}]")?,
            }
        }
        Ok(())
    }
}

/// The texts and numbers at `paths`, in their order; `None` for a value that is absent, `null`, a
/// boolean, an object or an array. If a member occurs twice, the last one counts, as in PHP, Python
/// and Ruby.
///
/// # Errors
///
/// If `text` is not one object or, with `is_array_allowed`, one array.
pub(crate) fn values<'b>(
    text: &'b str,
    paths: &[&Path],
    is_array_allowed: bool,
) -> Result<Vec<Option<Cow<'b, str>>>, serde_json::Error> {
    let mut found = vec![None; paths.len()];
    let wanted = paths.iter().enumerate().map(|(at, path)| (at, path.0.as_slice())).collect();
    let mut reader = serde_json::Deserializer::from_str(text);
    let level = Level { wanted, found: &mut found };
    match is_array_allowed && text.trim_ascii_start().starts_with('[') {
        true => reader.deserialize_seq(level)?,
        false => reader.deserialize_map(level)?,
    }
    reader.end()?;
    Ok(found)
}

/// The value at a path as it is written, a part of `text`; `None` if there is none. If a member occurs
/// twice, the last one counts.
///
/// # Errors
///
/// If `text` is not JSON.
pub(crate) fn raw<'b>(
    text: &'b str,
    path: &Path,
) -> Result<Option<&'b RawValue>, serde_json::Error> {
    let mut value: &RawValue = serde_json::from_str(text)?;
    for step in &path.0 {
        let mut reader = serde_json::Deserializer::from_str(value.get());
        let found = match (step, value.get().as_bytes()) {
            (Step::Member(_), [b'{', ..]) => reader.deserialize_map(Child(step))?,
            (Step::Item(_), [b'[', ..]) => reader.deserialize_seq(Child(step))?,
            _ => None,
        };
        match found {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// The value at one step in an object or array.
struct Child<'p>(&'p Step);

impl<'b> Visitor<'b> for Child<'_> {
    type Value = Option<&'b RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object or array")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((key, value)) = map.next_entry::<&'b RawValue, &'b RawValue>()? {
            if matches!((self.0, scalar(key)), (Step::Member(name), Some(key)) if *name == key) {
                found = Some(value);
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut number) = (None, 0);
        while let Some(value) = items.next_element::<&'b RawValue>()? {
            if *self.0 == Step::Item(number) {
                found = Some(value);
            }
            number += 1;
        }
        Ok(found)
    }
}

/// One object or array, and which of its values are wanted: the place of each in the result, and
/// the steps that lead to it from here.
struct Level<'p, 'b, 'f> {
    wanted: Vec<(usize, &'p [Step])>,
    found: &'f mut [Option<Cow<'b, str>>],
}

impl<'p, 'b> Level<'p, 'b, '_> {
    /// Takes the wanted values from the value at this step.
    fn take(&mut self, is_here: impl Fn(&Step) -> bool, value: &'b RawValue) {
        let mut deeper: Vec<(usize, &'p [Step])> = Vec::new();
        for (place, steps) in &self.wanted {
            match steps {
                [last] if is_here(last) => self.found[*place] = scalar(value),
                [first, rest @ ..] if is_here(first) => {
                    self.found[*place] = None;
                    deeper.push((*place, rest));
                }
                _ => {}
            }
        }
        if deeper.is_empty() {
            return;
        }
        // The syntax of the value was checked when it was read; another kind of value has nothing
        // at these paths.
        let level = Level { wanted: deeper, found: self.found };
        let mut reader = serde_json::Deserializer::from_str(value.get());
        let _ = match value.get().starts_with('[') {
            true => reader.deserialize_seq(level),
            false => reader.deserialize_map(level),
        };
    }
}

impl<'b> Visitor<'b> for Level<'_, 'b, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'b>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<&'b RawValue, &'b RawValue>()? {
            let Some(key) = scalar(key) else { continue };
            self.take(|step| matches!(step, Step::Member(name) if *name == key), value);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(mut self, mut items: A) -> Result<(), A::Error> {
        let last = self.wanted.iter().filter_map(|(_, steps)| match steps.first() {
            Some(Step::Item(number)) => Some(*number),
            _ => None,
        });
        let last = last.max();
        let mut number = 0;
        while last.is_some_and(|last| number <= last) {
            let Some(value) = items.next_element::<&'b RawValue>()? else { return Ok(()) };
            self.take(|step| *step == Step::Item(number), value);
            number += 1;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// The text of a string, or a number as it is written. `None` for any other value.
fn scalar(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes() {
        [b'"', ..] => serde_json::from_str::<Text<'_>>(value.get()).ok().map(|Text(text)| text),
        [b'-' | b'0'..=b'9', ..] => Some(Cow::Borrowed(value.get())),
        _ => None,
    }
}

/// A text, borrowed from the body if it has no escapes. A lone surrogate escape, which JSON allows
/// and software writes that truncates a text by UTF-16 units, becomes U+FFFD.
struct Text<'b>(Cow<'b, str>);

impl<'b> Deserialize<'b> for Text<'b> {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Self, D::Error> {
        struct Legible;

        impl<'b> Visitor<'b> for Legible {
            type Value = Text<'b>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'b [u8]) -> Result<Text<'b>, E> {
                Ok(Text(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text<'b>, E> {
                // A lone surrogate is three bytes here, each of them invalid.
                let text =
                    String::from_utf8_lossy(bytes).replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}");
                Ok(Text(Cow::Owned(text)))
            }
        }

        // As a string it could not contain a lone surrogate.
        deserializer.deserialize_bytes(Legible)
    }
}

/// Items of an array that is made to put something into it.
const PUT_ITEMS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_put_where_its_path_finds_it_and_no_array_gets_very_long() {
        for (at, expected) in [
            ("a.b", r#"{"a":{"b":"x"}}"#),
            ("a[1].b", r#"{"a":[null,{"b":"x"}]}"#),
            ("a[18446744073709551615]", r#"{"a":null}"#),
        ] {
            let mut body = Value::Null;
            path(at).put(&mut body, "x");
            assert_eq!(body.to_string(), expected, "{at}");
        }
    }

    fn path(text: &str) -> Path {
        Path::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn values_are_found_by_their_paths_in_one_pass() {
        let text = r#"{"a":"x","b":{"c":[{"d":7},{"d":"y"}],"e":null},"f":[1,2],"a":"last"}"#;
        for (at, expected) in [
            ("a", Some("last")),
            ("b.c[1].d", Some("y")),
            ("b.c[0].d", Some("7")),
            ("b.c[2].d", None),
            ("b.e", None),
            ("b", None),
            ("b.c.d", None),
            ("f[1]", Some("2")),
            ("f[1].x", None),
            ("a.x", None),
        ] {
            let found = values(text, &[&path(at), &path("a")], false).unwrap();
            assert_eq!(found[0].as_deref(), expected, "{at}");
            assert_eq!(found[1].as_deref(), Some("last"), "with {at}");
        }
        assert_eq!(
            values(r#"[{"e":"x"},{}]"#, &[&path("[0].e")], true).unwrap()[0].as_deref(),
            Some("x")
        );
        assert!(values("[]", &[], false).is_err());
        assert!(values("[1}", &[&path("[0]")], true).is_err());
        assert!(values("[1] 2", &[&path("[0]")], true).is_err());
    }

    #[test]
    fn a_repeated_member_hides_what_was_inside_the_first() {
        let found = values(r#"{"a":{"b":"x"},"a":7}"#, &[&path("a.b")], false).unwrap();
        assert_eq!(found, [None]);
    }

    #[test]
    fn an_invalid_path_is_refused() {
        for text in ["", ".", "a.", "a..b", "a[", "a[x]", "a[0", "a.[0]", "a[0]b", "a]"] {
            let result = Path::try_from(text.to_owned());
            assert!(result.is_err() || text == "a]", "{text:?} gave {result:?}");
        }
    }
}
