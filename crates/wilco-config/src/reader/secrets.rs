//! Secrets: by reference, or in the file itself where that is allowed.

use std::path::Path;

use toml::de::DeValue;
use wilco::Secret;

use super::{References, TableReader, Value, with_article};
use crate::{diagnostics::Severity, key::is_credential_name, reference::look_up, setting::Setting};

impl<'a> TableReader<'a> {
    /// Reads a reference to a secret. A secret in the file itself is refused.
    pub fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let value = self.value(key)?;
        self.as_secret(value)
    }

    /// Reads a list of references to secrets.
    pub fn secrets(&mut self, key: &'static str) -> Option<Vec<Secret>> {
        let value = self.value(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            self.error(&value.span(), format!("{key} must be a list"), &self.example_hint(key));
            return Some(Vec::new());
        };
        if values.is_empty() {
            self.error(&value.span(), format!("{key} is empty"), &self.example_hint(key));
        }
        let secrets = values.iter().flat_map(|value| {
            // In this order, because a change of secrets ends by renaming the next file to the current one:
            // whatever the moment, the new secret is read from one of them.
            let next = self.next_secret(value);
            [self.as_secret(value), next]
        });
        // An invalid one among them was reported. The list is returned nevertheless, because the key
        // is not missing.
        Some(secrets.flatten().collect())
    }

    /// The secret in `FILE.new`, if the value is `{ file = "FILE" }` and there is such a file.
    fn next_secret(&self, value: Value<'a>) -> Option<Secret> {
        if self.references == References::Left {
            return None;
        }
        let file = value.get_ref().as_table()?.get("file")?.get_ref().as_str()?;
        let file = format!("{file}{NEXT_SECRET}");
        // One that cannot be read is an error: events that it signs would be refused.
        if !Path::new(&file).try_exists().unwrap_or(true) {
            return None;
        }
        match look_up("file", &file)? {
            Ok(bytes) => self.valid_secret(value, format!("file:{file}"), bytes),
            Err((what, hint)) => {
                self.error(&value.span(), what, &hint);
                None
            }
        }
    }

    /// Reads a reference to a secret of any length and form.
    pub fn setting(&mut self, key: &'static str) -> Option<Setting> {
        let value = self.value(key)?;
        if value.get_ref().is_str() {
            self.refuse_literal(value);
            return None;
        }
        self.as_setting(value)
    }

    /// Reads a text in the file, or a reference to one, and parses it. Because it may be a secret, the
    /// errors of `parse` must show nothing of it.
    pub fn parse_setting<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let bytes = self.text_or_reference(key, value)?;
        let parsed = match std::str::from_utf8(&bytes.0) {
            Ok(text) => parse(text),
            Err(_) => Err(format!("{key} is not UTF-8")),
        };
        parsed.map_err(|what| self.error(&value.span(), what, &self.example_hint(key))).ok()
    }

    /// Whether the value of a key is a reference, rather than in the file itself.
    pub fn is_by_reference(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| !value.get_ref().is_str())
    }

    /// Reads a table of names, each with a text in the file or a reference to one.
    pub fn settings(&mut self, key: &'static str) -> Vec<(String, Setting)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = self.as_table(key, value) else { return Vec::new() };
        let mut settings = Vec::new();
        for (name, value) in table {
            let name_text = name.get_ref().to_string();
            if name_text.is_empty()
                || name_text.contains(['=', '\0'])
                || name_text.starts_with("WILCO_")
            {
                let hint =
                    "a name has no =, and does not begin with WILCO_, which wilco uses itself";
                self.error(&name.span(), "invalid name of an environment variable".into(), hint);
            }
            if value.get_ref().is_str() && is_credential_name(&name_text) {
                let message =
                    "a credential is in the file itself, where everyone who reads it sees it"
                        .into();
                self.report(
                    Severity::Warning,
                    &value.span(),
                    message,
                    &format!("such as {REFERENCE_HINT}"),
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
        self.valid_secret(value, name, bytes)
    }

    fn valid_secret(&self, value: Value<'a>, name: String, bytes: Vec<u8>) -> Option<Secret> {
        Secret::new(name, bytes)
            .map_err(|error| self.error(&value.span(), error.to_string(), SECRET_HINT))
            .ok()
    }

    fn refuse_literal(&self, value: Value<'a>) {
        let what = "a secret must not be in the file itself".into();
        self.error(&value.span(), what, REFERENCE_HINT);
    }

    fn text_or_reference(&self, key: &str, value: Value<'a>) -> Option<Setting> {
        match value.get_ref() {
            DeValue::String(text) => Some(Setting(text.as_bytes().to_vec())),
            DeValue::Table(_) => self.as_setting(value),
            _ => {
                let what =
                    format!("{key} must be a text or a reference, not {}", with_article(value));
                self.error(&value.span(), what, &format!("\"…\", or {REFERENCE_HINT}"));
                None
            }
        }
    }

    pub(super) fn as_setting(&self, value: Value<'a>) -> Option<Setting> {
        let (name, bytes) = self.resolve(value)?;
        Secret::of_any_length(name, bytes)
            .map_err(|error| self.error(&value.span(), error.to_string(), SECRET_HINT))
            .map(|secret| Setting(secret.expose().to_vec()))
            .ok()
    }

    /// Follows a reference: returns its name and the value that it leads to.
    fn resolve(&self, value: Value<'a>) -> Option<(String, Vec<u8>)> {
        let Some(table) = value.get_ref().as_table() else {
            let what = format!("a reference must be a table, not {}", with_article(value));
            self.error(&value.span(), what, REFERENCE_HINT);
            return None;
        };
        let mut entries = table.iter();
        let (Some((kind, target)), None) = (entries.next(), entries.next()) else {
            self.error(
                &value.span(),
                "a reference must have exactly one key".into(),
                REFERENCE_HINT,
            );
            return None;
        };
        let Some(text) = target.get_ref().as_str() else {
            self.error(
                &target.span(),
                "a reference must name its place with a text".into(),
                REFERENCE_HINT,
            );
            return None;
        };
        let name = format!("{}:{text}", kind.get_ref());
        if self.references == References::Left {
            return Some((name, NOT_READ.to_vec()));
        }
        match look_up(kind.get_ref(), text) {
            Some(Ok(bytes)) => Some((name, bytes)),
            Some(Err((what, hint))) => {
                self.error(&target.span(), what, &hint);
                None
            }
            None => {
                let hint = "env, file or credential";
                self.error(&kind.span(), "unknown kind of reference".into(), hint);
                None
            }
        }
    }
}

/// What is appended to the path of a secret's file for that of the next secret, while it is changed.
pub const NEXT_SECRET: &str = ".new";
/// Replaces secrets that are not read. It is valid wherever a secret can be.
const NOT_READ: &[u8] = b"https://not-read.invalid/";
const SECRET_HINT: &str = "store the whole secret there, as plain text, and nothing else";
const REFERENCE_HINT: &str =
    "{ env = \"NAME\" }, { file = \"/path\" } or { credential = \"name\" }";
