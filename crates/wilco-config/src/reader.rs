//! Reads a table of the file key by key. Every mistake is reported with its span, and reading goes on.

mod secrets;
mod tables;
mod text;

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostics::{Advice, Diagnostic, DiagnosticSink, Severity, TextError},
    excerpt::is_ordinary,
    key::{Key, Schema, is_credential_name},
    nearest::nearest,
    setting::Setting,
};

pub use secrets::NEXT_SECRET;
pub use text::SpannedStr;

/// Reads one table. Keys without a row are unknown, and reported by [`finish`](TableReader::finish).
#[derive(Clone)]
pub struct TableReader<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
    name: String,
    /// The keys that this table can have.
    rows: Vec<&'static Key>,
    /// The keys that were read so far.
    read: Vec<&'static str>,
    /// Required keys that are missing, each with a hint.
    missing: Vec<(&'static str, String)>,
    diagnostics: &'a DiagnosticSink,
    schema: &'a Schema,
    references: References,
}

/// What a reader does with references such as `{ env = "NAME" }`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum References {
    /// Follows them to the secret. One that leads nowhere is an error.
    Followed,
    /// Leaves them alone, and uses a placeholder for the secret.
    Left,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> TableReader<'a> {
    /// Reads the root of a file, whose keys are the tables of `schema`.
    pub fn of_root(
        root: &'a Spanned<DeTable<'a>>,
        diagnostics: &'a DiagnosticSink,
        schema: &'a Schema,
        references: References,
    ) -> Self {
        let (table, name) = (root.get_ref(), String::new());
        let (rows, read, missing) = (Vec::new(), Vec::new(), Vec::new());
        Self { table, span: 0..0, name, rows, read, missing, diagnostics, schema, references }
    }

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

    /// Whether secrets are the real ones, because references were followed.
    pub fn follows_references(&self) -> bool {
        self.references == References::Followed
    }

    /// Adds keys that the table can have because of the value of another one.
    pub fn add_keys(&mut self, keys: impl IntoIterator<Item = &'static Key>) {
        self.rows.extend(keys);
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
    pub fn one_of<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
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

    /// Reads a table of names, each with a template or a reference to a secret.
    pub fn templates<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str, &str) -> Result<T, TextError>,
        parse_secret: impl Fn(&str, Setting) -> Result<T, TextError>,
    ) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = self.as_table(key, value) else { return Vec::new() };
        let read = |(name, value): (&Spanned<_>, Value<'a>)| {
            let name: &str = AsRef::as_ref(name.get_ref());
            match value.get_ref().is_table() {
                true => self.as_secret_template(name, value, &parse_secret),
                false => self.as_template(name, value, &parse),
            }
        };
        table.iter().filter_map(read).collect()
    }

    fn as_template<T>(
        &self,
        name: &str,
        value: Value<'a>,
        parse: impl Fn(&str, &str) -> Result<T, TextError>,
    ) -> Option<T> {
        let text = self.as_text(name, value)?;
        if is_credential_name(name) && !text.text.contains("{{") {
            let message =
                format!("{name} is in the file itself, where everyone who reads it sees it");
            let hint = format!("such as {name} = {{ env = \"ERP_TOKEN\" }}");
            self.warn_at(&text, None, message, &hint);
        }
        parse(name, text.text).map_err(|error| self.error_within(&text, name, &error)).ok()
    }

    fn as_secret_template<T>(
        &self,
        name: &str,
        value: Value<'a>,
        parse: impl Fn(&str, Setting) -> Result<T, TextError>,
    ) -> Option<T> {
        let setting = self.as_setting(value)?;
        parse(name, setting)
            .map_err(|TextError { message, hint, .. }| {
                self.error(&value.span(), format!("{name}: {message}"), &hint);
            })
            .ok()
    }

    /// Reads a whole number in this range.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<usize>) -> Option<usize> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer().and_then(|i| i.as_str().parse().ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let message = format!("invalid {key}: expected a whole number from {least} to {most}");
            self.error(&value.span(), message, &self.example_hint(key));
        }
        number
    }

    /// Reads a number in this range.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
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

    /// A hint that shows a line with this key.
    pub fn example_hint(&self, key: &str) -> String {
        format!("such as {key} = {}", self.example(key))
    }

    fn example(&self, key: &str) -> &'static str {
        self.row(key).map_or("\"text\"", |row| row.example)
    }

    fn row(&self, key: &str) -> Option<&'static Key> {
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

    /// Reports an error at a place in a text.
    fn error_within(&self, text: &SpannedStr<'_>, key: &str, error: &TextError) {
        let TextError { message, span, hint } = error;
        match span {
            None => self.error(&text.span, format!("{key}: {message}"), hint),
            Some(span) => {
                self.error(&text.part(span), format!("{key} cannot be read: {message}"), hint);
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
    fn warn_at(
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

    /// Reports unknown keys, each with the known one that was probably meant, and keys that are missing
    /// although their row requires them, except those that an unknown one was probably meant for.
    pub fn finish(self) {
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
                missing.push((key, self.example_hint(key)));
            }
        }
        for (key, hint) in missing.iter().filter(|(key, _)| !meant.contains(key)) {
            self.error(&self.span, format!("[{}] needs {key}", self.name), hint);
        }
    }

    /// Reports unknown tables. For the root of the file.
    pub fn finish_root(self) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.schema.table(name).is_some() {
                continue;
            }
            let near = nearest(name, self.schema.table_names());
            let hint = match near.and_then(|near| self.schema.table(near)) {
                Some(near) => format!("did you mean {}?", near.heading()),
                None => {
                    let known: Vec<_> = self.schema.table_names().collect();
                    format!("known here: {}", known.join(", "))
                }
            };
            let shown = if is_ordinary(name, self.schema) { name } else { "" };
            self.error(&key.span(), format!("unknown key {shown}").trim_end().into(), &hint);
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

    fn as_table(&self, key: &str, value: Value<'a>) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let message = format!("{key} must be a table, not {}", with_article(value));
            self.error(&value.span(), message, &self.example_hint(key));
        }
        table
    }

    fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    fn error(&self, span: &Range<usize>, message: String, hint: &str) {
        self.report(Severity::Error, span, message, hint);
    }

    fn report(&self, severity: Severity, span: &Range<usize>, message: String, hint: &str) {
        let (span, hint) = (span.clone(), hint.into());
        self.diagnostics.borrow_mut().push(Diagnostic { severity, span, message, hint });
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
fn with_article(value: Value<'_>) -> String {
    let name = value.get_ref().type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}
