//! Values that may be secrets: references, and texts where those are allowed.

use toml::{Spanned, de::DeValue};

use super::{TableReader, Value, with_article};
use crate::{
    key::ReferenceKind,
    reference::{Reference, check_target},
    view::{SpannedStr, TableView},
};

/// A text in the file, or a reference to one.
pub enum TextOrReference<'a> {
    /// In the file.
    Text(SpannedStr<'a>),
    /// Elsewhere.
    Reference(Reference),
}

impl<'a> TableReader<'a> {
    /// Reads a reference to a secret. A secret in the file itself is refused.
    pub fn reference(&mut self, key: &'static str) -> Option<Reference> {
        let value = self.value(key)?;
        self.as_reference(value)
    }

    /// Reads a list of references to secrets.
    pub fn references(&mut self, key: &'static str) -> Option<Vec<Reference>> {
        let value = self.value(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            self.error(&value.span(), format!("{key} must be a list"), &self.example_hint(key));
            return None;
        };
        if values.is_empty() {
            self.error(&value.span(), format!("{key} is empty"), &self.example_hint(key));
        }
        // An invalid one among them was reported, which does not keep the others from being followed.
        Some(values.iter().filter_map(|value| self.as_reference(value)).collect())
    }

    /// Reads a text, or a reference to one.
    pub fn text_or_reference(&mut self, key: &'static str) -> Option<TextOrReference<'a>> {
        let value = self.value(key)?;
        self.as_text_or_reference(key, value)
    }

    /// Reads a table of names, each with a text or a reference to one.
    pub fn entries(&mut self, key: &'static str) -> Vec<(SpannedStr<'a>, TextOrReference<'a>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = self.as_table(key, value) else { return Vec::new() };
        let entries = table.iter().filter_map(|(name, value)| {
            let name = SpannedStr { text: name.get_ref(), span: name.span() };
            let value = self.as_text_or_reference(name.text, value)?;
            Some((name, value))
        });
        entries.collect()
    }
}

impl<'a> TableView<'a> {
    fn as_text_or_reference(&self, name: &str, value: Value<'a>) -> Option<TextOrReference<'a>> {
        match value.get_ref() {
            DeValue::String(_) => SpannedStr::of(value).map(TextOrReference::Text),
            DeValue::Table(_) => self.as_reference(value).map(TextOrReference::Reference),
            _ => {
                let what =
                    format!("{name} must be a text or a reference, not {}", with_article(value));
                self.error(&value.span(), what, &format!("\"…\", or {REFERENCE_HINT}"));
                None
            }
        }
    }

    /// Checks how a reference is written, and follows it nowhere.
    fn as_reference(&self, value: Value<'a>) -> Option<Reference> {
        let refuse = |span: std::ops::Range<usize>, what: String, hint: &str| {
            self.error(&span, what, hint);
            None
        };
        let table = match value.get_ref() {
            DeValue::Table(table) => table,
            DeValue::String(_) => {
                let what = "a secret must not be in the file itself".into();
                return refuse(value.span(), what, REFERENCE_HINT);
            }
            _ => {
                let what = format!("a reference must be a table, not {}", with_article(value));
                return refuse(value.span(), what, REFERENCE_HINT);
            }
        };
        let mut entries = table.iter();
        let (Some((kind, target)), None) = (entries.next(), entries.next()) else {
            let what = "a reference must have exactly one key".into();
            return refuse(value.span(), what, REFERENCE_HINT);
        };
        let Some(text) = target.get_ref().as_str() else {
            let what = "a reference must name its place with a text".into();
            return refuse(target.span(), what, REFERENCE_HINT);
        };
        let Some(found) = ReferenceKind::find(kind.get_ref()) else {
            let what = "unknown kind of reference".into();
            return refuse(kind.span(), what, "env, file or credential");
        };
        if let Err((what, hint)) = check_target(found, text) {
            return refuse(target.span(), what, &hint);
        }
        let (span, target_span) = (value.span(), Spanned::span(target));
        Some(Reference { kind: found, target: text.into(), span, target_span })
    }
}

const REFERENCE_HINT: &str =
    "{ env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }";
