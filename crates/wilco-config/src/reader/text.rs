//! Texts of the file, with their spans.

use std::ops::Range;

use toml::de::DeValue;

use super::{TableReader, Value, with_article};
use crate::units::format_size;

/// A text and its span in the file.
#[derive(Clone)]
pub struct SpannedStr<'a> {
    /// What it says, without quotes and escapes.
    pub text: &'a str,
    /// Its bytes in the file, with the quotes.
    pub span: Range<usize>,
}

impl SpannedStr<'_> {
    /// Where these bytes of the text are in the file; the span of the whole text if escapes or triple
    /// quotes shift them.
    pub(super) fn part(&self, within: &Range<usize>) -> Range<usize> {
        if self.text.len() + 2 != self.span.len() {
            return self.span.clone();
        }
        let (first, end) = (self.span.start + 1, self.span.end - 1);
        let start = (first + within.start).min(end.saturating_sub(1));
        start..(first + within.end).clamp(start + 1, end.max(start + 1))
    }
}

impl<'a> TableReader<'a> {
    /// The text of a key, if it is one. Reports nothing.
    pub fn peek(&self, key: &str) -> Option<SpannedStr<'a>> {
        self.table.get(key).and_then(as_spanned)
    }

    /// The texts of a key that is a list or a single text. Reports nothing.
    pub fn peek_list(&self, key: &str) -> Vec<SpannedStr<'a>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(values) => values.iter().filter_map(as_spanned).collect(),
            _ => as_spanned(value).into_iter().collect(),
        }
    }

    pub(super) fn as_text(&self, key: &str, value: Value<'a>) -> Option<SpannedStr<'a>> {
        let text = as_spanned(value);
        if text.is_none() {
            let message = format!("{key} must be a text, not {}", with_article(value));
            self.error(&value.span(), message, &self.text_hint(key, value));
        }
        text
    }

    /// The line that was probably meant by a value that is not a text: a number without its unit.
    fn text_hint(&self, key: &str, value: Value<'_>) -> String {
        let number = value.get_ref().as_integer().and_then(|n| n.as_str().parse().ok());
        let Some(number) = number.filter(|_: &u64| self.schema.is_harmless(key)) else {
            return self.example_hint(key);
        };
        let example = self.example(key).trim_matches('"');
        match example.trim_start_matches(|c: char| c.is_ascii_digit()) {
            " MiB" | " KiB" => format!("write {key} = \"{}\"", format_size(number)),
            unit @ (" ms" | " s" | " min" | " h" | " days" | "/s") => {
                format!("write {key} = \"{number}{unit}\"")
            }
            _ => self.example_hint(key),
        }
    }
}

fn as_spanned<'a>(value: Value<'a>) -> Option<SpannedStr<'a>> {
    Some(SpannedStr { text: value.get_ref().as_str()?, span: value.span() })
}
