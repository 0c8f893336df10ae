//! The text of a search, and whether an event has it.

use wilco::EventId;

/// The text of a search. Letters of ASCII are compared without their case.
#[derive(Clone, Debug)]
pub(crate) struct SearchText {
    lower: Vec<u8>,
    /// The first and the last id that begin with the text, if it is the beginning of an id.
    ids: Option<(EventId, EventId)>,
}

impl SearchText {
    pub(crate) fn new(text: &str) -> Self {
        let lower = text.trim().to_ascii_lowercase();
        let ids = lower.strip_prefix(ID_PREFIX).filter(|rest| !rest.is_empty()).and_then(|rest| {
            let padded = |with: char| {
                let rest = rest.to_ascii_uppercase();
                let padding = with.to_string().repeat(ID_LETTERS.saturating_sub(rest.len()));
                format!("{ID_PREFIX}{rest}{padding}").parse().ok()
            };
            Some((padded('0')?, padded('Z')?))
        });
        Self { lower: lower.into_bytes(), ids }
    }

    /// The first and the last id that begin with the text, which is looked for in nothing else then.
    pub(crate) fn ids(&self) -> Option<(EventId, EventId)> {
        self.ids
    }

    /// Whether it is in what a listing shows of an event.
    pub(crate) fn is_in_head(&self, id: EventId, name: &str, subject: Option<&str>) -> bool {
        match self.ids {
            Some((first, last)) => (first..=last).contains(&id),
            None => {
                self.is_in(name.as_bytes())
                    || subject.is_some_and(|subject| self.is_in(subject.as_bytes()))
            }
        }
    }

    /// Whether it is in these bytes.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        let Some((first, rest)) = self.lower.split_first() else { return true };
        let Some(starts) = bytes.len().checked_sub(rest.len()) else { return false };
        let upper = first.to_ascii_uppercase();
        let is_here = |at: usize| bytes[at + 1..][..rest.len()].eq_ignore_ascii_case(rest);
        memchr::memchr2_iter(*first, upper, &bytes[..starts]).any(is_here)
    }

    /// Bytes at the end of a chunk with which the text may begin that ends in the next chunk.
    pub(crate) fn overlap(&self) -> usize {
        self.lower.len().saturating_sub(1)
    }
}

const ID_PREFIX: &str = "evt_";
const ID_LETTERS: usize = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_whatever_the_case_of_its_ascii_letters() {
        for (text, bytes, is_there) in [
            ("", "", true),
            ("a", "", false),
            ("viewing", "{\"name\":\"VIEWING 7\"}", true),
            ("Viewing 7", "{\"name\":\"viewing 7\"}", true),
            (" viewing ", "viewing", true),
            ("viewings", "viewing", false),
            ("aab", "aaaab", true),
            ("ä", "Ä", false),
            ("ä", "xä", true),
        ] {
            assert_eq!(SearchText::new(text).is_in(bytes.as_bytes()), is_there, "{text} {bytes}");
        }
    }

    #[test]
    fn the_beginning_of_an_id_is_a_range_of_ids() {
        let ids = |text| {
            let (first, last) = SearchText::new(text).ids()?;
            Some((first.to_string(), last.to_string()))
        };
        let expected = ("evt_01M80000000000000000000000", "evt_01M8ZZZZZZZZZZZZZZZZZZZZZZ");
        for text in ["evt_01M8", "evt_01m8", "EVT_01M8"] {
            assert_eq!(ids(text), Some((expected.0.into(), expected.1.into())), "{text}");
        }
        for text in ["evt_", "evt_!", "01M8", "evt_01M89FXQAS000XWFNKEM3JNBGP7", "booking"] {
            assert_eq!(ids(text), None, "{text}");
        }
    }
}
