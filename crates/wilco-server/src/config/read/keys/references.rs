//! Values that are secrets: by reference, or in the file itself where that is allowed.

use toml::de::DeValue;
use wilco::Secret;

use super::{super::look_up, Keys, REFERENCE, References, Value, kind};
use crate::config::{Setting, Severity, is_of_a_credential};

impl<'a> Keys<'a> {
    /// A secret by reference. A secret in the file itself is refused.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let value = self.value(key)?;
        self.as_secret(value)
    }

    /// A list of secrets by reference.
    pub(crate) fn secrets(&mut self, key: &'static str) -> Option<Vec<Secret>> {
        let value = self.value(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            self.note(&value.span(), format!("{key} is a list"), &self.such_as(key));
            return Some(Vec::new());
        };
        if values.is_empty() {
            self.note(&value.span(), format!("{key} is empty"), &self.such_as(key));
        }
        // Every one is read, so that every fault among them is told; the key itself was given.
        Some(values.iter().filter_map(|value| self.as_secret(value)).collect())
    }

    /// A secret of any length and form, by reference.
    pub(crate) fn setting(&mut self, key: &'static str) -> Option<Setting> {
        let value = self.value(key)?;
        if value.get_ref().is_str() {
            self.refuse_literal(value);
            return None;
        }
        self.as_setting(value)
    }

    /// A text in the file, or by reference where it is a secret. What `read` says is wrong shows
    /// nothing of it.
    pub(crate) fn one_setting<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let bytes = self.text_or_reference(key, value)?;
        let read = match std::str::from_utf8(&bytes.0) {
            Ok(text) => read(text),
            Err(_) => Err(format!("{key} is not UTF-8")),
        };
        read.map_err(|what| self.note(&value.span(), what, &self.such_as(key))).ok()
    }

    /// Whether the value of a key is not in the file itself.
    pub(crate) fn is_by_reference(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| !value.get_ref().is_str())
    }

    /// Names and values, each a text in the file or by reference.
    pub(crate) fn settings(&mut self, key: &'static str) -> Vec<(String, Setting)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = self.as_table(key, value) else { return Vec::new() };
        let mut settings = Vec::new();
        for (name, value) in table {
            let name_text = name.get_ref().to_string();
            if name_text.is_empty()
                || name_text.contains(['=', '\0'])
                || name_text.starts_with("WILCO_")
            {
                let hint = "names that begin with WILCO_ are wilco's own, and none has a =";
                self.note(&name.span(), "this cannot be a variable".into(), hint);
            }
            if value.get_ref().is_str() && is_of_a_credential(&name_text) {
                let message = "this stands in the file itself, for all who can read it".into();
                self.push(
                    Severity::Warning,
                    &value.span(),
                    message,
                    &format!("such as {REFERENCE}"),
                );
            }
            if let Some(setting) = self.text_or_reference(&name_text, value) {
                settings.push((name_text, setting));
            }
        }
        settings
    }

    fn as_secret(&self, value: Value<'a>) -> Option<Secret> {
        if value.get_ref().is_str() {
            self.refuse_literal(value);
            return None;
        }
        let (name, bytes) = self.resolve(value)?;
        Secret::new(name, bytes)
            .map_err(|error| self.note(&value.span(), error.to_string(), SECRET_HINT))
            .ok()
    }

    fn refuse_literal(&self, value: Value<'a>) {
        let what = "a secret does not stand in the file itself".into();
        self.note(&value.span(), what, REFERENCE);
    }

    fn text_or_reference(&self, key: &str, value: Value<'a>) -> Option<Setting> {
        match value.get_ref() {
            DeValue::String(text) => Some(Setting(text.as_bytes().to_vec())),
            DeValue::Table(_) => self.as_setting(value),
            _ => {
                let what = format!("{key} is a text or a reference, not {}", kind(value));
                self.note(&value.span(), what, &format!("\"…\", or {REFERENCE}"));
                None
            }
        }
    }

    pub(crate) fn as_setting(&self, value: Value<'a>) -> Option<Setting> {
        let (name, bytes) = self.resolve(value)?;
        Secret::of_any_length(name, bytes)
            .map_err(|error| self.note(&value.span(), error.to_string(), SECRET_HINT))
            .map(|secret| Setting(secret.expose().to_vec()))
            .ok()
    }

    /// Where a reference leads: its name and what is there.
    fn resolve(&self, value: Value<'a>) -> Option<(String, Vec<u8>)> {
        let Some(table) = value.get_ref().as_table() else {
            let what = format!("a reference is a table, not {}", kind(value));
            self.note(&value.span(), what, REFERENCE);
            return None;
        };
        let mut entries = table.iter();
        let (Some((kind, target)), None) = (entries.next(), entries.next()) else {
            self.note(&value.span(), "a reference has one key".into(), REFERENCE);
            return None;
        };
        let Some(text) = target.get_ref().as_str() else {
            self.note(&target.span(), "a reference names its place by a text".into(), REFERENCE);
            return None;
        };
        let name = format!("{}:{text}", kind.get_ref());
        if self.references == References::Left {
            return Some((name, NOT_READ.to_vec()));
        }
        match look_up(kind.get_ref(), text) {
            Some(Ok(bytes)) => Some((name, bytes)),
            Some(Err((what, hint))) => {
                self.note(&target.span(), what, &hint);
                None
            }
            None => {
                let hint = "env, file or credential";
                self.note(&kind.span(), "unknown kind of reference".into(), hint);
                None
            }
        }
    }
}

/// Stands for a secret that is not read. It is right wherever a secret can be.
const NOT_READ: &[u8] = b"https://not-read.invalid/";
const SECRET_HINT: &str = "where it leads there is the secret alone, whole, as plain text";
