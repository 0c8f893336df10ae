//! A table of the file, key by key. Whatever is wrong is noted with its place, and reading goes on.

mod references;
mod tables;

use std::ops::{Range, RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use wilco_delivery::{Advice, RuleError};

use super::written;
use crate::config::{
    Diagnostic, Found, Kind, Known, Setting, Severity, heading, is_of_a_credential, is_ordinary,
};

/// A table whose keys are asked for one by one. Those that nobody asked for are unknown.
#[derive(Clone)]
pub(crate) struct Keys<'a> {
    table: &'a DeTable<'a>,
    place: Range<usize>,
    name: String,
    asked: Vec<&'static str>,
    /// Keys that have to be there and are not, each with a hint.
    missing: Vec<(&'static str, String)>,
    found: &'a Found,
    known: Known,
    /// Of a destination, and of the tables in it.
    kind: Option<&'static Kind>,
    references: References,
}

/// What becomes of `{ env = … }` and the like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum References {
    /// They are followed to the secret, and one that leads nowhere is a fault.
    Followed,
    /// They are left alone, and what has to be a secret is none.
    Left,
}

/// A text and where it stands.
#[derive(Clone)]
pub(crate) struct Quoted<'a> {
    pub(crate) text: &'a str,
    pub(crate) place: Range<usize>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Keys<'a> {
    pub(crate) fn of_root(
        root: &'a Spanned<DeTable<'a>>,
        found: &'a Found,
        known: Known,
        references: References,
    ) -> Self {
        let (table, name) = (root.get_ref(), String::new());
        let (asked, missing) = (Vec::new(), Vec::new());
        Self { table, place: 0..0, name, asked, missing, found, known, kind: None, references }
    }

    /// The table's whole name, such as `destination.erp`.
    pub(crate) fn full_name(&self) -> &str {
        &self.name
    }

    /// The last part of the table's name: `erp` of `[destination.erp]`.
    pub(crate) fn name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// A text that is there, without a word about one that is not.
    pub(crate) fn quoted(&self, key: &str) -> Option<Quoted<'a>> {
        self.table.get(key).and_then(quoted)
    }

    /// As [`Keys::quoted`], of a list or a single text.
    pub(crate) fn all_quoted(&self, key: &str) -> Vec<Quoted<'a>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(values) => values.iter().filter_map(quoted).collect(),
            _ => quoted(value).into_iter().collect(),
        }
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Option<Quoted<'a>> {
        let value = self.value(key)?;
        self.as_text(key, value)
    }

    pub(crate) fn one<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        read(text.text).map_err(|what| self.complain_at(&text, what, &self.such_as(key))).ok()
    }

    /// A rule or a text in the language of `rules`. What is wrong with it is shown at its place in
    /// it.
    pub(crate) fn rule<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, RuleError>,
    ) -> Option<T> {
        let text = self.text(key)?;
        read(text.text).map_err(|error| self.complain_in(&text, key, &error)).ok()
    }

    /// Names, each with a text in the language of `rules`, or with a reference.
    pub(crate) fn rules<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str, &str) -> Result<T, RuleError>,
        read_secret: impl Fn(&str, Setting) -> Result<T, RuleError>,
    ) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = self.as_table(key, value) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, value) in table {
            let name = name.get_ref().as_ref();
            if value.get_ref().is_table() {
                let read = self.as_setting(value).map(|setting| read_secret(name, setting));
                match read {
                    Some(Ok(read)) => found.push(read),
                    Some(Err(error)) => {
                        self.note(&value.span(), format!("{name}: {}", error.what), REFERENCE);
                    }
                    None => {}
                }
                continue;
            }
            let Some(text) = self.as_text(name, value) else { continue };
            if is_of_a_credential(name) && !text.text.contains("{{") {
                let message = format!("{name} stands in the file itself, for all who can read it");
                let hint = format!("such as {name} = {{ env = \"ERP_TOKEN\" }}");
                self.warn_at(&text, None, message, &hint);
            }
            match read(name, text.text) {
                Ok(read) => found.push(read),
                Err(error) => self.complain_in(&text, name, &error),
            }
        }
        found
    }

    /// A text, or a list of texts.
    pub(crate) fn each<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let texts: Vec<_> = match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|v| self.as_text(key, v)).collect(),
            _ => vec![self.as_text(key, value)],
        };
        if texts.is_empty() {
            self.note(&value.span(), format!("{key} is empty"), &self.such_as(key));
            return None;
        }
        // Every text is read, so that every fault among them is told.
        let read: Vec<_> = texts
            .into_iter()
            .map(|text| {
                let text = text?;
                read(text.text)
                    .map_err(|what| self.complain_at(&text, what, &self.such_as(key)))
                    .ok()
            })
            .collect();
        read.into_iter().collect()
    }

    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer().and_then(|i| i.as_str().parse().ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("{key} is a whole number from {} to {}", range.start(), range.end());
            self.note(&value.span(), what, &self.such_as(key));
        }
        number
    }

    pub(crate) fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("{key} is a number from {} to {}", range.start(), range.end());
            self.note(&value.span(), what, &self.such_as(key));
        }
        number
    }

    /// Notes that `key` has to be there; says nothing where it is and was complained about.
    pub(crate) fn require(&mut self, key: &'static str) {
        self.require_such(key, &self.such_as(key));
    }

    pub(crate) fn require_such(&mut self, key: &'static str, hint: &str) {
        if !self.table.contains_key(key) {
            self.missing.push((key, hint.into()));
        }
    }

    /// These keys are right here, though nobody asks for them.
    pub(crate) fn allow(&mut self, keys: impl Iterator<Item = &'static str>) {
        self.asked.extend(keys);
    }

    /// Whether what came by a reference is what that leads to.
    pub(crate) fn has_secrets(&self) -> bool {
        self.references == References::Followed
    }

    /// Whether the file has this key, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// How a line with this key looks.
    pub(crate) fn such_as(&self, key: &str) -> String {
        let example = self.example(key);
        format!("such as {key} = {example}")
    }

    fn example(&self, key: &str) -> &'static str {
        let key = self.known.key(&self.name, self.kind, key);
        key.map_or("\"text\"", |key| key.example)
    }

    /// Every kind of destination that this file can name.
    pub(crate) fn kinds(&self) -> &'static [&'static Kind] {
        self.known.0
    }

    /// Finds the kind of this name. From here on the examples are of its keys.
    pub(crate) fn choose_kind(&mut self, name: &str) -> Option<&'static Kind> {
        self.kind = self.known.kind(name);
        self.kind
    }

    pub(crate) fn complain(&self, what: &str, hint: &str) {
        self.note(&self.place, what.into(), hint);
    }

    pub(crate) fn complain_at(&self, text: &Quoted<'_>, what: String, hint: &str) {
        self.note(&text.place, what, hint);
    }

    pub(crate) fn complain_about(&self, key: &str, what: String, hint: &str) {
        self.note(&self.place_of(key), what, hint);
    }

    /// Says that this table can be used, but probably was not meant so.
    pub(crate) fn warn(&self, message: &str, hint: &str) {
        self.push(Severity::Warning, &self.place, message.into(), hint);
    }

    /// Says that a value can be used, but probably was not meant so.
    pub(crate) fn warn_about(&self, key: &str, message: String, hint: &str) {
        self.push(Severity::Warning, &self.place_of(key), message, hint);
    }

    /// As [`Keys::warn_about`], of one text, or of a part of it: `within` counts its bytes.
    pub(crate) fn warn_at(
        &self,
        text: &Quoted<'_>,
        within: Option<&Range<usize>>,
        message: String,
        hint: &str,
    ) {
        let place = within.map_or_else(|| text.place.clone(), |within| text.part(within));
        self.push(Severity::Warning, &place, message, hint);
    }

    /// Passes on what the rules say about the text of a key, each at its words.
    pub(crate) fn advise(&mut self, key: &'static str, advice: Vec<Advice>) {
        let Some(text) = self.text(key) else { return };
        for Advice { message, hint, words } in advice {
            let start = words.as_ref().and_then(|words| text.text.find(words.as_str()));
            let within = start.zip(words).map(|(start, words)| start..start + words.len());
            self.warn_at(&text, within.as_ref(), message, &hint);
        }
    }

    fn place_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.place.clone(), Spanned::span)
    }

    fn complain_in(&self, text: &Quoted<'_>, key: &str, error: &RuleError) {
        let Some(within) = &error.place else {
            return self.note(&text.place, format!("{key}: {}", error.what), RULES_HINT);
        };
        let hint = match text.text.get(within.start..) {
            Some(rest) if rest.starts_with('=') && !rest.starts_with("==") => "write == to compare",
            _ => RULES_HINT,
        };
        self.note(&text.part(within), format!("{key} cannot be read: {}", error.what), hint);
    }

    /// Every key that nobody asked for is a fault, with the nearest that somebody did; and every key
    /// that is missing, unless one of those was probably meant for it.
    pub(crate) fn finish(self) {
        let mut meant = Vec::new();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let near = nearest(name, self.asked.iter().copied());
            meant.extend(near);
            let shown = if is_ordinary(name, self.known) {
                format!("unknown key {name}")
            } else {
                "unknown key".into()
            };
            let table =
                if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let hint = match near {
                None => format!("known here: {}", self.asked.join(", ")),
                Some(near) if self.name.is_empty() => format!("did you mean {}?", heading(near)),
                Some(near) => format!("did you mean {near}?"),
            };
            self.note(&key.span(), format!("{shown}{table}"), &hint);
        }
        for (key, hint) in self.missing.iter().filter(|(key, _)| !meant.contains(key)) {
            self.note(&self.place, format!("[{}] needs {key}", self.name), hint);
        }
    }

    fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key)
    }

    fn as_text(&self, key: &str, value: Value<'a>) -> Option<Quoted<'a>> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let what = format!("{key} is a text, not {}", kind(value));
            self.note(&value.span(), what, &self.meant(key, value));
        }
        text.map(|text| Quoted { text, place: value.span() })
    }

    /// The line that was meant by a value of the wrong kind, where that can be told.
    fn meant(&self, key: &str, value: Value<'_>) -> String {
        let example = self.example(key);
        let number: Option<u64> =
            value.get_ref().as_integer().and_then(|n| n.as_str().parse().ok());
        let Some(number) = number.filter(|_| self.known.is_harmless(key)) else {
            return self.such_as(key);
        };
        let unit = example.trim_matches('"').trim_start_matches(|c: char| c.is_ascii_digit());
        match unit {
            " MiB" | " KiB" => format!("write {key} = \"{}\"", written(number)),
            " ms" | " s" | " min" | " h" | " days" | "/s" => {
                format!("write {key} = \"{number}{unit}\"")
            }
            _ => self.such_as(key),
        }
    }

    fn as_table(&self, key: &str, value: Value<'a>) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let what = format!("{key} is a table, not {}", kind(value));
            self.note(&value.span(), what, &self.such_as(key));
        }
        table
    }

    fn note(&self, place: &Range<usize>, message: String, hint: &str) {
        self.push(Severity::Fault, place, message, hint);
    }

    fn push(&self, severity: Severity, place: &Range<usize>, message: String, hint: &str) {
        let (place, hint) = (place.clone(), hint.into());
        self.found.borrow_mut().push(Diagnostic { severity, place, message, hint });
    }
}

impl Quoted<'_> {
    /// Where these bytes of it are in the file; the whole of it where escapes or three quotes shift
    /// them.
    fn part(&self, within: &Range<usize>) -> Range<usize> {
        if self.text.len() + 2 != self.place.len() {
            return self.place.clone();
        }
        let (first, end) = (self.place.start + 1, self.place.end - 1);
        let start = (first + within.start).min(end.saturating_sub(1));
        start..(first + within.end).clamp(start + 1, end.max(start + 1))
    }
}

fn quoted<'a>(value: Value<'a>) -> Option<Quoted<'a>> {
    Some(Quoted { text: value.get_ref().as_str()?, place: value.span() })
}

/// The word that was probably meant.
pub fn nearest<'n>(word: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let distance = |name: &str| strsim::damerau_levenshtein(word, name);
    let near = known.min_by_key(|name| distance(name))?;
    (distance(near) <= word.len().max(near.len()) / 3 + 1).then_some(near)
}

/// What a value is, with its article.
fn kind(value: Value<'_>) -> String {
    let kind = value.get_ref().type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

const REFERENCE: &str = "{ env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }";
const RULES_HINT: &str = "it is Jinja, as in Ansible; see docs/rules.md";
