//! What a destination would be given about an event, for comparison: nothing is sent.

use wilco_config::Setting;

/// What is shown in place of a secret.
pub(crate) const NOT_SHOWN: &str = "…";
/// What is shown in place of a body that was not changed.
pub(crate) const AS_RECEIVED: &str = "(the body as it was received)";

/// The parts as text, a line for each, for the record of an attempt. Secrets are not in it.
pub(crate) fn shown(parts: &[PreviewPart]) -> String {
    let line = |part: &PreviewPart| match &part.value {
        PreviewValue::Text(text) => format!("{}: {text}\n", part.name),
        PreviewValue::Secret(_) => format!("{}: {NOT_SHOWN}\n", part.name),
    };
    parts.iter().map(line).collect()
}

/// A part of what a destination would be given about an event: a header, the text of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewPart {
    /// Its name, as the file has it where it is a key.
    pub name: String,
    /// What it holds.
    pub value: PreviewValue,
}

/// What a part holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreviewValue {
    /// A text that may be shown.
    Text(String),
    /// A value that may only be compared.
    Secret(Setting),
}

impl PreviewPart {
    /// A part that may be shown.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: PreviewValue::Text(value.into()) }
    }

    /// A part that may only be compared.
    pub fn secret(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: PreviewValue::Secret(Setting(value.into())) }
    }
}
