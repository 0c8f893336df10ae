//! A table of the file, key by key. Whatever is wrong is noted with its place, and reading goes on.

use std::{cell::RefCell, ops::Range, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use wilco::Secret;

use super::look_up;
use crate::{
    config::{Complaints, Fault, Setting},
    rules::RuleError,
};

/// A table whose keys are asked for one by one. Those that nobody asked for are unknown.
pub(crate) struct Keys<'a> {
    table: &'a DeTable<'a>,
    place: Range<usize>,
    name: String,
    asked: Vec<&'static str>,
    complaints: &'a RefCell<Vec<Fault>>,
}

/// A text and where it stands.
#[derive(Clone)]
pub(crate) struct Quoted<'a> {
    pub(super) text: &'a str,
    pub(super) place: Range<usize>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Keys<'a> {
    pub(super) fn of_root(root: &'a Spanned<DeTable<'a>>, complaints: &'a Complaints) -> Self {
        let asked = Vec::new();
        Self { table: root.get_ref(), place: 0..0, name: String::new(), asked, complaints }
    }

    /// The last part of the table's name: `erp` of `[destination.erp]`.
    pub(super) fn name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Quoted<'a>> {
        let value = self.value(key)?;
        self.as_text(key, value)
    }

    pub(super) fn one<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        read(text.text).map_err(|what| self.complain_at(&text, what, None)).ok()
    }

    /// A rule or a text in the language of `rules`. What is wrong with it is shown at its place in
    /// it.
    pub(super) fn rule<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, RuleError>,
    ) -> Option<T> {
        let text = self.text(key)?;
        read(text.text).map_err(|error| self.complain_in(&text, key, &error)).ok()
    }

    /// Names, each with a text in the language of `rules`.
    pub(super) fn rules<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str, &str) -> Result<T, RuleError>,
    ) -> Vec<T> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = self.as_table(key, value) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, value) in table {
            let name = name.get_ref().as_ref();
            let Some(text) = self.as_text(name, value) else { continue };
            match read(name, text.text) {
                Ok(read) => found.push(read),
                Err(error) => self.complain_in(&text, name, &error),
            }
        }
        found
    }

    /// A text, or a list of texts.
    pub(super) fn each<T>(
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
            self.note(&value.span(), format!("{key} is empty"), None);
            return None;
        }
        // Every text is read, so that every fault among them is told.
        let read: Vec<_> = texts
            .into_iter()
            .map(|text| {
                let text = text?;
                read(text.text).map_err(|what| self.complain_at(&text, what, None)).ok()
            })
            .collect();
        read.into_iter().collect()
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
    ) -> Option<usize> {
        let value = self.value(key)?;
        let number = value.get_ref().as_integer().and_then(|i| i.as_str().parse().ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("{key} is a whole number from {} to {}", range.start(), range.end());
            self.note(&value.span(), what, None);
        }
        number
    }

    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("{key} is a number from {} to {}", range.start(), range.end());
            self.note(&value.span(), what, None);
        }
        number
    }

    pub(super) fn table(&mut self, key: &'static str) -> Option<Keys<'a>> {
        let value = self.value(key)?;
        let table = self.as_table(key, value);
        table.map(|table| self.below(key, table, value.span()))
    }

    /// The tables `[key.NAME]`.
    pub(super) fn tables_by_name(&mut self, key: &'static str) -> Vec<Keys<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(tables) = self.as_table(key, value) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, value) in tables {
            let full = format!("{key}.{}", name.get_ref());
            if let Some(table) = self.as_table(&full, value) {
                found.push(self.below(&full, table, name.span()));
            }
        }
        found
    }

    /// The NAMEs of `[key.NAME]`.
    pub(super) fn names(&self, key: &str) -> Vec<String> {
        let tables = self.table.get(key).and_then(|value| value.get_ref().as_table());
        tables.into_iter().flatten().map(|(name, _)| name.get_ref().to_string()).collect()
    }

    /// The tables `[[key]]`.
    pub(super) fn list_of_tables(&mut self, key: &'static str) -> Vec<Keys<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(values) = value.get_ref() else {
            self.note(&value.span(), format!("write [[{key}]], with two brackets"), None);
            return Vec::new();
        };
        let mut found = Vec::new();
        for value in values {
            if let Some(table) = self.as_table(key, value) {
                found.push(self.below(key, table, value.span()));
            }
        }
        found
    }

    /// A secret by reference. A secret in the file itself is refused.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let value = self.value(key)?;
        self.as_secret(value)
    }

    /// A list of secrets by reference.
    pub(super) fn secrets(&mut self, key: &'static str) -> Option<Vec<Secret>> {
        let value = self.value(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            self.note(&value.span(), format!("{key} is a list"), Some(&secrets_example(key)));
            return Some(Vec::new());
        };
        if values.is_empty() {
            self.note(&value.span(), format!("{key} is empty"), Some(&secrets_example(key)));
        }
        // Every one is read, so that every fault among them is told; the key itself was given.
        Some(values.iter().filter_map(|value| self.as_secret(value)).collect())
    }

    /// A secret of any length and form, by reference.
    pub(super) fn setting(&mut self, key: &'static str) -> Option<Setting> {
        let value = self.value(key)?;
        if value.get_ref().is_str() {
            self.refuse_literal(value);
            return None;
        }
        self.as_setting(value)
    }

    /// A text in the file, or by reference where it is a secret.
    pub(super) fn one_setting<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let bytes = self.text_or_reference(value)?;
        let text = String::from_utf8(bytes.0).ok();
        match text {
            Some(text) => {
                let read = read(&text).map_err(|what| match value.get_ref().is_str() {
                    true => what,
                    // What a reference leads to may be a secret.
                    false => what.replace(&format!("{text:?}"), &format!("the {key} it leads to")),
                });
                read.map_err(|what| self.note(&value.span(), what, None)).ok()
            }
            None => {
                self.note(&value.span(), format!("{key} is not UTF-8"), None);
                None
            }
        }
    }

    /// Names and values, each a text in the file or by reference.
    pub(super) fn settings(&mut self, key: &'static str) -> Vec<(String, Setting)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = self.as_table(key, value) else { return Vec::new() };
        let mut settings = Vec::new();
        for (name, value) in table {
            let name_text = name.get_ref().to_string();
            if name_text.is_empty()
                || name_text.contains(['=', '\0'])
                || name_text.starts_with("WILCO_")
            {
                let way_out = Some("names that begin with WILCO_ are wilco's own");
                self.note(&name.span(), format!("{name_text:?} cannot be a variable"), way_out);
            }
            if let Some(setting) = self.text_or_reference(value) {
                settings.push((name_text, setting));
            }
        }
        settings
    }

    /// Notes that `key` has to be there; says nothing where it is and was complained about.
    pub(super) fn demand(&mut self, key: &'static str, example: &str) {
        if !self.table.contains_key(key) {
            let what = format!("[{}] needs {key}", self.name);
            self.note(&self.place.clone(), what, Some(&format!("such as {example}")));
        }
    }

    pub(super) fn complain(&mut self, what: &str, way_out: Option<&str>) {
        self.note(&self.place.clone(), what.into(), way_out);
    }

    pub(super) fn complain_at(&self, text: &Quoted<'_>, what: String, way_out: Option<&str>) {
        self.note(&text.place, what, way_out);
    }

    fn complain_in(&self, text: &Quoted<'_>, key: &str, error: &RuleError) {
        // Behind the quote that it begins with; where escapes or three quotes shift it, the whole.
        let length = text.place.len();
        let inner = text.place.start + 1..text.place.end.saturating_sub(1);
        let place = match &error.place {
            Some(place) if text.text.len() + 2 == length => {
                let start = (inner.start + place.start).min(inner.end.saturating_sub(1));
                let end = (inner.start + place.end).clamp(start + 1, inner.end.max(start + 1));
                start..end
            }
            _ => text.place.clone(),
        };
        let at = error.place.as_ref().and_then(|place| text.text.get(place.start..));
        let way_out = match at {
            Some(rest) if rest.starts_with('=') && !rest.starts_with("==") => "write == to compare",
            _ => RULES_HINT,
        };
        match error.place {
            Some(_) => {
                self.note(&place, format!("{key} cannot be read: {}", error.what), Some(way_out));
            }
            None => self.note(&place, format!("{key}: {}", error.what), None),
        }
    }

    pub(super) fn complain_about(&self, key: &str, what: String, way_out: Option<&str>) {
        let place = self.table.get(key).map_or(self.place.clone(), Spanned::span);
        self.note(&place, what, way_out);
    }

    /// Every key that nobody asked for is a fault, with the nearest that somebody did.
    pub(super) fn finish(self) {
        for (key, value) in self.table {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                let near = nearest(name, self.asked.iter().copied());
                let place = if self.name.is_empty() {
                    String::new()
                } else {
                    format!(" in [{}]", self.name)
                };
                let way_out = near.map_or_else(
                    || format!("known here: {}", self.asked.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                self.complaints.borrow_mut().push(Fault {
                    place: key.span(),
                    what: format!("unknown key {name}{place}"),
                    way_out: Some(way_out),
                    hidden: is_of_a_secret(name).then(|| value.span()),
                });
            }
        }
    }

    fn below(&self, name: &str, table: &'a DeTable<'a>, place: Range<usize>) -> Keys<'a> {
        let name = match self.name.as_str() {
            "" => name.to_owned(),
            above => format!("{above}.{name}"),
        };
        Keys { table, place, name, asked: Vec::new(), complaints: self.complaints }
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
            self.note(&value.span(), what, Some("put it between quotes"));
        }
        text.map(|text| Quoted { text, place: value.span() })
    }

    fn as_table(&self, key: &str, value: Value<'a>) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let what = format!("{key} is a table, not {}", kind(value));
            self.note(&value.span(), what, None);
        }
        table
    }

    fn as_secret(&self, value: Value<'a>) -> Option<Secret> {
        if value.get_ref().is_str() {
            self.refuse_literal(value);
            return None;
        }
        let (name, bytes) = self.resolve(value)?;
        Secret::new(name, bytes)
            .map_err(|error| self.note(&value.span(), error.to_string(), None))
            .ok()
    }

    fn refuse_literal(&self, value: Value<'a>) {
        let way_out = "{ env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }";
        self.complaints.borrow_mut().push(Fault {
            place: value.span(),
            what: "a secret does not stand in the file itself".into(),
            way_out: Some(way_out.into()),
            hidden: Some(value.span()),
        });
    }

    fn text_or_reference(&self, value: Value<'a>) -> Option<Setting> {
        match value.get_ref().as_str() {
            Some(text) => Some(Setting(text.as_bytes().to_vec())),
            None => self.as_setting(value),
        }
    }

    fn as_setting(&self, value: Value<'a>) -> Option<Setting> {
        let (_, mut bytes) = self.resolve(value)?;
        trim_line_break(&mut bytes);
        Some(Setting(bytes))
    }

    /// Where a reference leads: its name and what is there.
    fn resolve(&self, value: Value<'a>) -> Option<(String, Vec<u8>)> {
        let table = self.as_table("a reference", value)?;
        let mut entries = table.iter();
        let (Some((kind, target)), None) = (entries.next(), entries.next()) else {
            let way_out = "{ env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }";
            self.note(&value.span(), "a reference has one key".into(), Some(way_out));
            return None;
        };
        let text = self.as_text(kind.get_ref(), target)?;
        let Some(found) = look_up(kind.get_ref(), text.text) else {
            let what = format!("unknown kind of reference: {}", kind.get_ref());
            self.note(&kind.span(), what, Some("env, file or credential"));
            return None;
        };
        match found {
            Ok(bytes) => Some((format!("{}:{}", kind.get_ref(), text.text), bytes)),
            Err((what, way_out)) => {
                self.note(&target.span(), what, Some(&way_out));
                None
            }
        }
    }

    fn note(&self, place: &Range<usize>, what: String, way_out: Option<&str>) {
        let (place, way_out) = (place.clone(), way_out.map(Into::into));
        self.complaints.borrow_mut().push(Fault { place, what, way_out, hidden: None });
    }
}

/// Whether a key of this name probably has a secret: it may be misspelt, or in the wrong table.
pub(super) fn is_of_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["secret", "token", "password", "signing"].iter().any(|word| name.contains(word))
}

/// The word that was probably meant.
pub(super) fn nearest<'n>(word: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
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

fn trim_line_break(bytes: &mut Vec<u8>) {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
}

fn secrets_example(key: &str) -> String {
    format!("{key} = [{{ env = \"FREISPACE_SECRET\" }}]")
}

const RULES_HINT: &str = "here; it is Jinja, as in Ansible";
