//! A file as it may be shown: everything is hidden but what is known to be harmless.
//!
//! A secret can be pasted anywhere: under a misspelt key, as a text where a list belongs, into a
//! comment, into a line that is not TOML at all. So nothing is hidden because it looks like a
//! secret; it is shown because a key of this name cannot have one.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::config::Known;

/// The text, byte for byte, with a star for everything that may be a secret or a part of one.
pub(super) fn without_secrets(text: &str, known: Known) -> String {
    let mut shown = Shown { bytes: vec![false; text.len()], known };
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

struct Shown {
    bytes: Vec<bool>,
    known: Known,
}

impl Shown {
    fn show(&mut self, place: Range<usize>) {
        self.set(place, true);
    }

    fn set(&mut self, place: Range<usize>, is_shown: bool) {
        self.bytes.get_mut(place).unwrap_or_default().fill(is_shown);
    }

    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            self.set(key.span(), is_ordinary(name, self.known));
            self.value(name, value);
        }
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(values) => values.iter().for_each(|value| self.value(key, value)),
            DeValue::String(text) if target(key, text).is_some() => self.show(value.span()),
            _ if self.known.is_harmless(key) => self.show(value.span()),
            DeValue::String(_) => {
                let Range { start, end } = value.span();
                self.set(start + 1..end.saturating_sub(1), false);
            }
            _ => self.set(value.span(), false),
        }
    }

    /// A known word that a line begins with, even where the file is not TOML.
    fn beginning(&mut self, line: &str, start: usize) {
        let rest = line.trim_start_matches([' ', '\t', '[']);
        let word = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '_').unwrap_or(rest.len());
        if self.known.is_known(&rest[..word]) {
            let after = rest[word..].trim_start_matches([' ', '=', '.', '[', ']', '"']);
            self.show(start..start + line.len() - after.len());
        }
    }
}

/// Whether a key is none of a secret pasted in its place.
pub(crate) fn is_ordinary(key: &str, known: Known) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ');
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    known.is_known(key)
        || key.len() <= KEY_BYTES_SHOWN && digits <= DIGITS_SHOWN && key.chars().all(is_plain)
}

/// What a reference of this kind names, unless it may be the secret itself.
pub(crate) fn target<'t>(kind: &str, text: &'t str) -> Option<&'t str> {
    let is_harmless = match kind {
        "env" => is_variable(text),
        "file" => is_path(text),
        _ => false,
    };
    is_harmless.then_some(text)
}

/// A name as shells and units write it: `FREISPACE_SECRET`. A key in capitals and digits is none.
fn is_variable(text: &str) -> bool {
    let is_written = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_one_word = !text.contains('_');
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && text.chars().all(is_written)
        && !(is_one_word && text.len() > 8 && text.contains(|c: char| c.is_ascii_digit()))
}

/// A path that is written as one, of one line.
pub(crate) fn is_path(text: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| text.starts_with(start)) && !text.contains(['\n', '\r'])
}

/// The characters between keys and values.
const LAYOUT: [char; 9] = ['[', ']', '{', '}', '=', ',', '.', '"', '#'];
/// The longest unknown key that is shown, in bytes.
const KEY_BYTES_SHOWN: usize = 24;
/// Most digits of an unknown key that is shown.
const DIGITS_SHOWN: usize = 3;
