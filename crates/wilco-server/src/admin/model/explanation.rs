//! What the API says of a signature that does not match.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wilco::doctor::{Change, Diagnosis};

/// Why a request is refused, and what is to be done about it. Shows neither signatures nor secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Why the request is refused with the current secrets; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The name of the secret that matches the signature, with the changes; absent if none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// With what the signature matches.
    pub changes: Vec<ExplainedChange>,
    /// How many possibilities were tried.
    pub tried: usize,
    /// Whether all were tried that it knows. If not, the time was up.
    pub complete: bool,
}

/// A difference between what was sent and what was received, or between both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedChange {
    /// A word for programs, such as `final-newline-added`.
    pub id: String,
    /// What the signature matches.
    #[serde(rename = "with")]
    pub what: String,
    /// What is to be done.
    pub fix: String,
}

impl From<Diagnosis> for Explanation {
    fn from(diagnosis: Diagnosis) -> Self {
        let Diagnosis { mismatch, found, tried, is_complete } = diagnosis;
        let (secret_name, changes) = match found {
            Some(found) => (Some(found.secret_name), found.changes),
            None => (None, Vec::new()),
        };
        Self {
            refused: mismatch.map(|mismatch| mismatch.to_string()),
            secret_name,
            changes: changes.into_iter().map(ExplainedChange::from).collect(),
            tried,
            complete: is_complete,
        }
    }
}

impl From<Change> for ExplainedChange {
    fn from(change: Change) -> Self {
        Self { id: change.id.into(), what: change.what.into_owned(), fix: change.fix.into() }
    }
}
