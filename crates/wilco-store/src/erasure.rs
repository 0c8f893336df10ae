//! What a person has erased.

use wilco::{Body, EventId, ValuePath};

/// Which events to erase, and from where on to look for them.
#[derive(Clone, Debug)]
pub struct ErasureQuery {
    /// What they have in common.
    pub selection: Selection,
    /// Only of this source.
    pub source: Option<String>,
    /// Only recorded after this event.
    pub after: Option<EventId>,
}

/// What events to erase have in common.
#[derive(Clone, Debug)]
pub enum Selection {
    /// It is this one.
    Event(EventId),
    /// They are about this subject.
    Subject(String),
    /// Their bodies have this text or number at this place.
    Value {
        /// The place.
        path: ValuePath,
        /// The text, or the number as it is written.
        value: String,
    },
}

impl Selection {
    /// Whether an event is meant; its body is asked for only if that decides.
    pub(crate) fn is_about(
        &self,
        id: EventId,
        subject: Option<&str>,
        body: impl FnOnce() -> Option<Body>,
    ) -> bool {
        match self {
            Self::Event(event_id) => *event_id == id,
            Self::Subject(wanted) => subject == Some(wanted),
            Self::Value { path, value } => {
                body().and_then(|body| path.value_in(&body)).as_ref() == Some(value)
            }
        }
    }
}

/// Where the bytes of what was erased are overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwritten {
    /// In the unused parts of the file; `false` if this SQLite gives no access to its pages.
    pub file: bool,
    /// In the write-ahead log; `false` while another program reads the store.
    pub log: bool,
}

/// What became of an event that was to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// It is erased.
    Erased,
    /// It was not routed yet, or has a delivery that waits or that others wait for: nothing was done.
    Unfinished,
    /// An attempt runs: nothing was done.
    Running,
    /// It is not there, or was erased before.
    Gone,
}

/// The ids of events that a text has, such as that of an alert.
pub(crate) fn event_ids(text: &[u8]) -> Vec<EventId> {
    let text = String::from_utf8_lossy(text);
    let places = text.match_indices(PREFIX).map(|(start, _)| start);
    let ids = places.filter_map(|start| text.get(start..start + PREFIX.len() + ULID_CHARS));
    ids.filter_map(|id| id.parse().ok()).collect()
}

const PREFIX: &str = "evt_";
const ULID_CHARS: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_in_a_text_are_found() {
        let [one, two] = [7, 1 << 100].map(EventId::from_bits);
        let text = format!(r#"{{"text":"{one} is dead: evt_, evt_0","event_id":"{two}"}}"#);
        assert_eq!(event_ids(text.as_bytes()), [one, two]);
        assert_eq!(event_ids(b"evt_"), []);
    }
}
