//! What a rotation has done so far, in a file next to the secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Failure, freispace::Endpoint};

/// The state of a rotation.
#[derive(Serialize, Deserialize)]
pub(super) struct State {
    pub(super) source: String,
    pub(super) api: String,
    pub(super) old: Endpoint,
    /// In the description of the new endpoint: identifies one whose creation was interrupted before its id
    /// was known here.
    mark: String,
    pub(super) new: Option<Successor>,
    pub(super) old_removed_at: Option<Timestamp>,
}

/// The endpoint that takes the place of the old one.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Successor {
    pub(super) id: String,
    pub(super) created_at: Timestamp,
}

impl State {
    pub(super) fn new(source: &str, api: &str, old: Endpoint) -> Result<Self, Failure> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(Failure::failed)?;
        let mark = format!("{MARK}{:08x})", u32::from_be_bytes(bytes));
        let (source, api) = (source.into(), api.into());
        Ok(Self { source, api, old, mark, new: None, old_removed_at: None })
    }

    /// The description of the new endpoint: that of the old one with another mark.
    pub(super) fn description(&self) -> String {
        let old = self.old.description.as_deref().unwrap_or_default();
        let text = old.split(MARK).next().unwrap_or_default();
        let text = if text.is_empty() { "wilco" } else { text };
        let kept = DESCRIPTION_CHARS_MAX - self.mark.len();
        text.chars().take(kept).chain(self.mark.chars()).collect()
    }

    /// Whether an endpoint was created by this rotation.
    pub(super) fn is_successor(&self, endpoint: &Endpoint) -> bool {
        let description = endpoint.description.as_deref().unwrap_or_default();
        endpoint.id != self.old.id && description.ends_with(&self.mark)
    }
}

const MARK: &str = " (rotated ";
const DESCRIPTION_CHARS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_keeps_its_text_and_changes_its_mark() {
        let long = "ä".repeat(255);
        for (old, expected) in [
            (None, "wilco (rotated "),
            (Some("Production"), "Production (rotated "),
            (Some("Production (rotated 00c0ffee)"), "Production (rotated "),
            (Some(long.as_str()), "ää"),
        ] {
            let description = old.map(str::to_owned);
            let (id, url, events) = (String::from("1"), String::new(), Vec::new());
            let old = Endpoint { id, url, description, events, status: None };
            let state = State::new("freispace", "https://api", old.clone()).ok().unwrap();
            let new = state.description();
            assert!(new.starts_with(expected) && new.chars().count() <= 255, "{new}");
            assert_eq!(new.matches(MARK).count(), 1, "{new}");
            let new = Endpoint { id: "2".into(), description: Some(new), ..old.clone() };
            assert!(state.is_successor(&new) && !state.is_successor(&old));
        }
    }
}
