//! The answers that a provider wants instead of the usual 200, 400 and 403.

use serde::Deserialize;

use crate::words::words;

/// The answers to a webhook where they are not the usual ones.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// To an event that was recorded, or is a duplicate.
    pub accepted: Option<Accepted>,
    /// The status if the signature is missing.
    pub missing: Option<RefusedStatus>,
    /// The status if the signature is wrong.
    pub invalid: Option<RefusedStatus>,
}

/// A status that says no.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u16")]
pub struct RefusedStatus(pub u16);

/// What a provider wants to read when its event was accepted.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "AcceptedText")]
pub struct Accepted {
    /// 200 to 299.
    pub status: u16,
    /// Empty for none.
    pub body: String,
    /// The type of the body.
    pub content_type: Option<AnswerType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AcceptedText {
    status: u16,
    #[serde(default)]
    body: String,
    content_type: Option<AnswerType>,
}

impl TryFrom<u16> for RefusedStatus {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, String> {
        match status {
            400..=599 => Ok(Self(status)),
            _ => Err(format!("invalid status {status}: a refusal has one of 400 to 599")),
        }
    }
}

impl TryFrom<AcceptedText> for Accepted {
    type Error = String;

    fn try_from(text: AcceptedText) -> Result<Self, String> {
        let AcceptedText { status, body, content_type } = text;
        if !(200..=299).contains(&status) {
            return Err(format!(
                "invalid status {status}: what was accepted has one of 200 to 299"
            ));
        }
        check_body(status, &body)?;
        Ok(Self { status, content_type: content_type.or(AnswerType::of(&body)), body })
    }
}

/// Checks that an answer with this status can have this body.
pub(in crate::provider) fn check_body(status: u16, body: &str) -> Result<(), String> {
    match status {
        204 if !body.is_empty() => Err("an answer with the status 204 has no body".into()),
        _ if body.len() > ANSWER_BYTES_MAX => {
            Err(format!("the body of an answer has at most {ANSWER_BYTES_MAX} bytes"))
        }
        _ => Ok(()),
    }
}

words! {
    /// The type of an answer's body. Nothing that a browser would run or draw: what answers a handshake
    /// repeats what a stranger sent.
    pub enum AnswerType {
        /// Plain text.
        Text = "text/plain",
        /// Plain text in UTF-8.
        TextUtf8 = "text/plain; charset=utf-8",
        /// JSON.
        Json = "application/json",
        /// JSON, which is always in UTF-8.
        JsonUtf8 = "application/json; charset=utf-8",
    }
}

impl AnswerType {
    /// The type of this body, if a file does not name one.
    pub(super) fn of(body: &str) -> Option<Self> {
        (!body.is_empty()).then_some(Self::Text)
    }

    pub(super) fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonUtf8)
    }
}

const ANSWER_BYTES_MAX: usize = 4_096;
