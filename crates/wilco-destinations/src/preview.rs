//! What a destination would be given about an event, for comparison: nothing is sent.

use wilco_config::Setting;

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
