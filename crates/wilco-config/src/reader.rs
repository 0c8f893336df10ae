//! Reads a table of the file key by key. Every mistake is reported with its span, and reading goes on.
//! Nothing but the file is looked at: what it only names is looked up later ([`Unresolved`](crate::Unresolved)).

mod references;

use std::ops::Deref;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use crate::{
    diagnostics::{Severity, TextError},
    excerpt::is_ordinary,
    key::{Key, ValueType},
    nearest::nearest,
    units::format_size,
    view::{SpannedStr, TableView},
};

pub use references::TextOrReference;

/// Reads one table. Keys without a row are unknown, and reported at the end.
pub struct TableReader<'a> {
    view: TableView<'a>,
    /// The keys that were read so far.
    read: Vec<&'static str>,
    /// Required keys that are missing, each with a hint.
    missing: Vec<(&'static str, String)>,
    /// Whether serde has read the table, which reports by itself what is unknown and missing.
    is_deserialized: bool,
}

pub(crate) type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Deref for TableReader<'a> {
    type Target = TableView<'a>;

    fn deref(&self) -> &TableView<'a> {
        &self.view
    }
}

impl<'a> TableReader<'a> {
    /// Reads a table, and reports unknown and missing keys.
    pub(crate) fn read<T>(
        view: TableView<'a>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> (TableView<'a>, T) {
        let (known, missing) = (Vec::new(), Vec::new());
        let mut reader = Self { view, read: known, missing, is_deserialized: false };
        let value = read(&mut reader);
        if !reader.is_deserialized {
            reader.report_unknown_and_missing();
        }
        (reader.view, value)
    }

    /// Adds keys that the table can have because of the value of another one.
    pub fn add_keys(&mut self, keys: impl IntoIterator<Item = &'static Key>) {
        self.view.rows.extend(keys);
    }

    /// Reads the whole table as a value that describes itself to serde. The first mistake is reported where
    /// it is.
    pub fn deserialize<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.is_deserialized = true;
        let table = Spanned::new(self.span.clone(), DeValue::Table(self.table.clone()));
        let error = match T::deserialize(ValueDeserializer::from(table)) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| self.span.clone());
        let hint = format!("[{}] is read as the manual describes it", self.name);
        self.error(&span, error.message().to_owned(), &hint);
        None
    }

    /// Reads a table in this one, such as `retry = { … }`.
    pub fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut TableReader<'a>) -> T,
    ) -> Option<T> {
        let value = self.value(key)?;
        self.as_table(key, value)?;
        Some(TableReader::read(self.inner(key)?, read).1)
    }

    /// Reads a text.
    pub fn text(&mut self, key: &'static str) -> Option<SpannedStr<'a>> {
        let value = self.value(key)?;
        self.as_text(key, value)
    }

    /// Reads a text and parses it.
    pub fn parse<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(text.text).map_err(|what| self.error_at(&text, what, &self.example_hint(key))).ok()
    }

    /// Reads one of these words.
    pub fn one_of<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(key)?;
        debug_assert!(
            matches!(self.row(key).map(|row| row.value_type), Some(ValueType::OneOf(known))
                if known.iter().eq(words.iter().map(|(word, _)| word))),
            "[{}]: the row of {key} has other words",
            self.name
        );
        let found = words.iter().find(|(word, _)| *word == text.text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("invalid {key} {:?}", text.text);
            self.error_at(&text, message, &choice_hint(text.text, &known));
        }
        found.map(|(_, value)| *value)
    }

    /// Reads a list of texts, or a single text, and parses each.
    pub fn parse_list<T>(
        &mut self,
        key: &'static str,
        mut parse: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let texts: Vec<_> = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|v| self.as_text(key, v)).collect(),
            _ => vec![self.as_text(key, value)],
        };
        if texts.is_empty() {
            self.error(&value.span(), format!("{key} is empty"), &self.example_hint(key));
            return None;
        }
        // Every text is parsed before the first `None` ends it, so that all mistakes are reported.
        let parsed: Vec<_> = texts
            .into_iter()
            .map(|text| {
                let text = text?;
                parse(text.text)
                    .map_err(|what| self.error_at(&text, what, &self.example_hint(key)))
                    .ok()
            })
            .collect();
        parsed.into_iter().collect()
    }

    /// Reads a text in a language such as that of templates. An error is shown at its place in the
    /// text.
    pub fn template<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, TextError>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(text.text).map_err(|error| self.error_within(&text, key, &error)).ok()
    }

    /// Reads a whole number in the range of its row.
    pub fn integer<N: TryFrom<u64>>(&mut self, key: &'static str) -> Option<N> {
        let value = self.value(key)?;
        let Some(ValueType::Integer(least, most)) = self.row(key).map(|row| row.value_type) else {
            debug_assert!(false, "[{}]: the row of {key} has no range", self.name);
            return None;
        };
        let number = value.get_ref().as_integer().and_then(|i| i.as_str().parse().ok());
        let number = number.filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number: u64| N::try_from(number).ok());
        if number.is_none() {
            let message = format!("invalid {key}: expected a whole number from {least} to {most}");
            self.error(&value.span(), message, &self.example_hint(key));
        }
        number
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            let message = format!("invalid {key}: expected true or false");
            self.error(&value.span(), message, &self.example_hint(key));
        }
        found
    }

    /// Reads a number in the range of its row.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.value(key)?;
        let Some(ValueType::Number(least, most)) = self.row(key).map(|row| row.value_type) else {
            debug_assert!(false, "[{}]: the row of {key} has no range", self.name);
            return None;
        };
        let number = match value.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("invalid {key}: expected a number from {least} to {most}");
            self.error(&value.span(), message, &self.example_hint(key));
        }
        number
    }

    /// Reports this key if it is missing, although its row does not always require it. Says nothing if
    /// it has an invalid value, which was reported already.
    pub fn require(&mut self, key: &'static str) {
        self.require_with_hint(key, &self.example_hint(key));
    }

    /// As [`require`](TableReader::require), with a hint.
    pub fn require_with_hint(&mut self, key: &'static str, hint: &str) {
        if !self.contains(key) {
            self.missing.push((key, hint.into()));
        }
    }

    /// Reports unknown keys, each with the known one that was probably meant, and keys that are missing
    /// although their row requires them, except those that an unknown one was probably meant for.
    fn report_unknown_and_missing(&self) {
        let known = || self.rows.iter().map(|row| row.name);
        let mut meant = Vec::new();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.row(name).is_some() {
                debug_assert!(
                    self.read.contains(&name) || self.has_errors(),
                    "[{}]: nothing reads the key {name}, which has a row",
                    self.name
                );
                continue;
            }
            let near = nearest(name, known());
            meant.extend(near);
            let hint = match near {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
            };
            let shown = if is_ordinary(name, self.schema) { name } else { "" };
            let message = format!("unknown key {shown}").trim_end().to_owned();
            self.error(&key.span(), format!("{message} in [{}]", self.name), &hint);
        }
        let is_required = |key: &&&str| self.row(key).is_some_and(|row| row.is_required);
        let mut missing = self.missing.clone();
        for key in self.read.iter().filter(is_required).filter(|key| !self.contains(key)) {
            if missing.iter().all(|(known, _)| known != key) {
                let hint = match self.row(key).map(|row| row.value_type) {
                    Some(ValueType::OneOf(words)) => format!("such as {key} = {}", one_of(words)),
                    _ => self.example_hint(key),
                };
                missing.push((key, hint));
            }
        }
        for (key, hint) in missing.iter().filter(|(key, _)| !meant.contains(key)) {
            self.error(&self.span, format!("[{}] needs {key}", self.name), hint);
        }
    }

    fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.row(key).is_some(), "[{}]: add a row for the key {key}", self.name);
        self.read.push(key);
        self.table.get(key)
    }

    /// Whether any part of the file has an error, after which not every key is read.
    fn has_errors(&self) -> bool {
        self.diagnostics.borrow().iter().any(|found| found.severity == Severity::Error)
    }
}

impl<'a> TableView<'a> {
    fn as_text(&self, key: &str, value: Value<'a>) -> Option<SpannedStr<'a>> {
        let text = SpannedStr::of(value);
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

    fn as_table(&self, key: &str, value: Value<'a>) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let message = format!("{key} must be a table, not {}", with_article(value));
            self.error(&value.span(), message, &self.example_hint(key));
        }
        table
    }
}

/// A hint about an unknown word: the known one that was probably meant, or all of them.
pub fn choice_hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => one_of(known),
    }
}

/// `"a", "b" or "c"`.
pub fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    match words.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => words.concat(),
    }
}

/// The type of a value, with its article.
pub(crate) fn with_article(value: Value<'_>) -> String {
    let name = value.get_ref().type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}
