//! A file without its secrets: hides everything except what is known to be harmless.
//!
//! A secret can be pasted anywhere: under a misspelt key, as a text instead of a list, into a
//! comment, into a line that is not TOML at all. So values are not hidden because they look like a
//! secret; they are shown only if no key of that name can have one.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{key::Schema, path::is_path};

/// The text, byte for byte, with an asterisk for everything that may be part of a secret.
pub(crate) fn without_secrets(text: &str, schema: &Schema) -> String {
    let mut shown = Shown { bytes: vec![false; text.len()], schema };
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        for (at, _) in text.match_indices(LAYOUT) {
            shown.show(at..at + 1);
        }
        shown.table(root.get_ref());
    }
    for line in text.lines() {
        let start = line.as_ptr() as usize - text.as_ptr() as usize;
        shown.beginning(line, start);
    }
    let masked = text.bytes().zip(&shown.bytes).map(|(byte, shown)| match byte {
        b'\n' | b'\r' | b' ' | b'\t' => byte,
        _ if *shown => byte,
        _ => b'*',
    });
    String::from_utf8_lossy(&masked.collect::<Vec<_>>()).into_owned()
}

/// Which bytes of the file are shown.
struct Shown<'s> {
    bytes: Vec<bool>,
    schema: &'s Schema,
}

impl Shown<'_> {
    fn show(&mut self, span: Range<usize>) {
        self.set(span, true);
    }

    fn set(&mut self, span: Range<usize>, is_shown: bool) {
        self.bytes.get_mut(span).unwrap_or_default().fill(is_shown);
    }

    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            self.set(key.span(), is_ordinary(name, self.schema));
            self.value(name, value);
        }
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(values) => values.iter().for_each(|value| self.value(key, value)),
            DeValue::String(text) if shown_target(key, text).is_some() => self.show(value.span()),
            DeValue::String(text) if self.schema.is_path(key) && is_path(text) => {
                self.show(value.span());
            }
            _ if self.schema.is_harmless(key) => self.show(value.span()),
            DeValue::String(_) => {
                let Range { start, end } = value.span();
                self.set(start + 1..end.saturating_sub(1), false);
            }
            _ => self.set(value.span(), false),
        }
    }

    /// Shows a known word at the beginning of a line, even if the file is not TOML.
    fn beginning(&mut self, line: &str, start: usize) {
        let rest = line.trim_start_matches([' ', '\t', '[']);
        let word = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '_').unwrap_or(rest.len());
        if self.schema.is_known(&rest[..word]) {
            let after = rest[word..].trim_start_matches([' ', '=', '.', '[', ']', '"']);
            self.show(start..start + line.len() - after.len());
        }
    }
}

/// Whether a key can be shown: it is not a secret that was pasted in its place.
pub(crate) fn is_ordinary(key: &str, schema: &Schema) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    schema.is_known(key)
        || key.len() <= KEY_BYTES_SHOWN && digits <= DIGITS_SHOWN && key.chars().all(is_plain)
}

/// What a reference of this kind names, unless that may be the secret itself.
pub(crate) fn shown_target<'t>(kind: &str, text: &'t str) -> Option<&'t str> {
    let is_harmless = match kind {
        "env" => is_usual_variable(text),
        "file" => is_path(text),
        _ => false,
    };
    is_harmless.then_some(text)
}

/// A name as shells and units write it: `FREISPACE_SECRET`. An API key in capitals and digits is not
/// one.
fn is_usual_variable(text: &str) -> bool {
    let is_written = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_one_word = !text.contains('_');
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && text.chars().all(is_written)
        && !(is_one_word && text.len() > 8 && text.contains(|c: char| c.is_ascii_digit()))
}

/// The characters between keys and values.
const LAYOUT: [char; 9] = ['[', ']', '{', '}', '=', ',', '.', '"', '#'];
/// The longest unknown key that is shown, in bytes.
const KEY_BYTES_SHOWN: usize = 24;
/// Most digits of an unknown key that is shown.
const DIGITS_SHOWN: usize = 3;
