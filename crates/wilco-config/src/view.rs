//! A table of the file: its name, where its keys are, and what is reported about them.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostics::{Advice, Diagnostic, DiagnosticSink, Severity, TextError},
    key::{Key, Schema},
};

/// A table, for checks after its keys were read: it reads nothing, and reports at the right place.
#[derive(Clone)]
pub struct TableView<'a> {
    pub(crate) table: &'a DeTable<'a>,
    pub(crate) span: Range<usize>,
    pub(crate) name: String,
    /// The keys that this table can have.
    pub(crate) rows: Vec<&'static Key>,
    pub(crate) diagnostics: &'a DiagnosticSink,
    pub(crate) schema: &'a Schema,
}

/// A text and its span in the file.
#[derive(Clone)]
pub struct SpannedStr<'a> {
    /// What it says, without quotes and escapes.
    pub text: &'a str,
    /// Its bytes in the file, with the quotes.
    pub span: Range<usize>,
}

impl<'a> TableView<'a> {
    /// The table's full name, such as `destination.erp`.
    pub fn full_name(&self) -> &str {
        &self.name
    }

    /// The last part of the table's name: `erp` of `[destination.erp]`.
    pub fn name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Whether the table has this key, whatever its value.
    pub fn contains(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The text of a key, if it is one.
    pub fn peek(&self, key: &str) -> Option<SpannedStr<'a>> {
        self.table.get(key).and_then(SpannedStr::of)
    }

    /// The texts of a key that is a list or a single text.
    pub fn peek_list(&self, key: &str) -> Vec<SpannedStr<'a>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(values) => values.iter().filter_map(SpannedStr::of).collect(),
            _ => SpannedStr::of(value).into_iter().collect(),
        }
    }

    /// The table in this one, such as `retry = { … }`, if it is one.
    pub fn inner(&self, key: &'static str) -> Option<Self> {
        let value = self.table.get(key)?;
        let keys = self.row(key).map_or(&[][..], Key::keys);
        Some(self.of(key, keys, value.get_ref().as_table()?, value.span()))
    }

    /// A table in this one.
    pub(crate) fn of(
        &self,
        name: &str,
        keys: &'static [Key],
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        let name = match self.name.as_str() {
            "" => name.to_owned(),
            above => format!("{above}.{name}"),
        };
        Self { table, span, name, rows: keys.iter().collect(), ..*self }
    }

    /// A hint that shows a line with this key.
    pub fn example_hint(&self, key: &str) -> String {
        format!("such as {key} = {}", self.example(key))
    }

    pub(crate) fn example(&self, key: &str) -> &'static str {
        self.row(key).map_or("\"text\"", |row| row.example)
    }

    pub(crate) fn row(&self, key: &str) -> Option<&'static Key> {
        // A key that was added for a variant has the better example, so the last row counts.
        self.rows.iter().rfind(|row| row.name == key).copied()
    }

    /// Reports an error about the table as a whole.
    pub fn error_here(&self, message: &str, hint: &str) {
        self.error(&self.span, message.into(), hint);
    }

    /// Reports an error about a text.
    pub fn error_at(&self, text: &SpannedStr<'_>, message: String, hint: &str) {
        self.error(&text.span, message, hint);
    }

    /// Reports an error about the value of a key.
    pub fn error_about(&self, key: &str, message: String, hint: &str) {
        self.error(&self.span_of(key), message, hint);
    }

    /// Reports an error at a place in a text, which has this name.
    pub fn error_within(&self, text: &SpannedStr<'_>, name: &str, error: &TextError) {
        let TextError { message, span, hint } = error;
        match span {
            None => self.error(&text.span, format!("{name}: {message}"), hint),
            Some(span) => {
                self.error(&text.part(span), format!("{name} cannot be read: {message}"), hint);
            }
        }
    }

    /// Warns about the table as a whole.
    pub fn warn_here(&self, message: &str, hint: &str) {
        self.report(Severity::Warning, &self.span, message.into(), hint);
    }

    /// Warns about the value of a key.
    pub fn warn_about(&self, key: &str, message: String, hint: &str) {
        self.report(Severity::Warning, &self.span_of(key), message, hint);
    }

    /// Warns about a text, or about the bytes `within` of it.
    pub fn warn_at(
        &self,
        text: &SpannedStr<'_>,
        within: Option<&Range<usize>>,
        message: String,
        hint: &str,
    ) {
        let span = within.map_or_else(|| text.span.clone(), |within| text.part(within));
        self.report(Severity::Warning, &span, message, hint);
    }

    /// Reports advice about the text of a key, each at the words that it is about.
    pub fn advise(&self, key: &str, advice: Vec<Advice>) {
        let Some(text) = self.peek(key) else { return };
        for Advice { message, hint, words } in advice {
            let start = words.as_ref().and_then(|words| text.text.find(words.as_str()));
            let within = start.zip(words).map(|(start, words)| start..start + words.len());
            self.warn_at(&text, within.as_ref(), message, &hint);
        }
    }

    fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    pub(crate) fn error(&self, span: &Range<usize>, message: String, hint: &str) {
        self.report(Severity::Error, span, message, hint);
    }

    fn report(&self, severity: Severity, span: &Range<usize>, message: String, hint: &str) {
        let (span, hint) = (span.clone(), hint.into());
        self.diagnostics.borrow_mut().push(Diagnostic { severity, span, message, hint });
    }
}

impl<'a> SpannedStr<'a> {
    pub(crate) fn of(value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        Some(Self { text: value.get_ref().as_str()?, span: value.span() })
    }

    /// Where these bytes of the text are in the file; the span of the whole text if escapes or triple
    /// quotes shift them.
    fn part(&self, within: &Range<usize>) -> Range<usize> {
        if self.text.len() + 2 != self.span.len() {
            return self.span.clone();
        }
        let (first, end) = (self.span.start + 1, self.span.end - 1);
        let start = (first + within.start).min(end.saturating_sub(1));
        start..(first + within.end).clamp(start + 1, end.max(start + 1))
    }
}
