//! How a person names something that has an id: by the id, by the first characters of it, or as the latest.

use std::str::FromStr;

use wilco::{EventId, RejectionId};

use super::Screen;

/// What a person wrote. Only a listing tells whether it exists.
#[derive(Clone, Debug)]
pub(crate) enum IdRef<I> {
    Latest,
    Id(I),
    /// The first characters of an id, in capitals and without what all ids of its kind begin with.
    Prefix(String),
}

/// An id that consists of its kind and a ULID.
pub(crate) trait KnownId: FromStr {
    /// What all ids of this kind begin with.
    const KIND: &'static str;

    /// The text without what a person may have copied along with the id.
    fn bare(text: &str) -> &str {
        text
    }
}

impl KnownId for EventId {
    const KIND: &'static str = "evt_";

    /// Without the number of an item, with which a destination knows it: `evt_…_0`.
    fn bare(text: &str) -> &str {
        match text.rsplit_once('_') {
            Some((event, item))
                if event.len() >= ULID_CHARS && item.bytes().all(|b| b.is_ascii_digit()) =>
            {
                event
            }
            _ => text,
        }
    }
}

impl KnownId for RejectionId {
    const KIND: &'static str = "rej_";
}

impl<I: KnownId> FromStr for IdRef<I> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let (text, kind) = (I::bare(text), I::KIND);
        let ulid = text.strip_prefix(kind).unwrap_or(text).to_ascii_uppercase();
        if let Ok(id) = format!("{kind}{ulid}").parse() {
            return Ok(Self::Id(id));
        }
        let is_digit = |c: char| c.is_ascii_alphanumeric() && !"ILOU".contains(c);
        if (PREFIX_CHARS_MIN..ULID_CHARS).contains(&ulid.len()) && ulid.chars().all(is_digit) {
            return Ok(Self::Prefix(ulid));
        }
        Err(format!(
            "expected one like {kind}01JQ8ZK4N3W8T1V5R7Y9ABCDEF, at least {PREFIX_CHARS_MIN} of its \
             first characters, or latest"
        ))
    }
}

/// Ids as a listing shows them: complete, but on a terminal only as much as distinguishes them, which is also
/// enough to name one.
pub(crate) fn shown_ids<I: ToString>(ids: impl Iterator<Item = I>, screen: Screen) -> Vec<String> {
    let ids: Vec<_> = ids.map(|id| id.to_string()).collect();
    if !screen.is_terminal() {
        return ids;
    }
    let ulids: Vec<_> =
        ids.iter().map(|id| id.split_once('_').map_or(&**id, |(_, ulid)| ulid)).collect();
    let chars = distinct_chars(&ulids);
    ulids.iter().map(|ulid| ulid.chars().take(chars).collect()).collect()
}

/// How many characters distinguish each of these ids, without what they all begin with, from the others.
fn distinct_chars(ids: &[&str]) -> usize {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let common = |pair: &[&str]| {
        pair[0].bytes().zip(pair[1].bytes()).take_while(|(one, other)| one == other).count()
    };
    let most = sorted.windows(2).map(common).max().unwrap_or_default();
    (most + 1).max(SHORT_ID_CHARS)
}

pub(crate) const ULID_CHARS: usize = 26;
const PREFIX_CHARS_MIN: usize = 4;
/// The length of a short id: ten characters of time, and three to distinguish those of the same millisecond.
const SHORT_ID_CHARS: usize = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_full_by_its_beginning_or_as_latest() {
        fn check<I: KnownId + ToString>() {
            let id = format!("{}01JQ8ZK4N3W8T1V5R7Y9ABCDEF", I::KIND);
            for text in [&*id, &id[4..], &id.to_lowercase()] {
                assert!(
                    matches!(text.parse(), Ok(IdRef::<I>::Id(found)) if found.to_string() == id)
                );
            }
            for text in [&id[..8], "01jq", "01JQ8ZK4N3W8T1V5R7Y9ABCDE"] {
                assert!(matches!(text.parse(), Ok(IdRef::<I>::Prefix(p)) if p.starts_with("01JQ")));
            }
            assert!(matches!("latest".parse(), Ok(IdRef::<I>::Latest)));
            for text in ["", I::KIND, "01J", "../../etc/passwd", "evt_nonsense", &format!("{id}0")]
            {
                assert!(text.parse::<IdRef<I>>().is_err(), "{text}");
            }
        }
        check::<EventId>();
        check::<RejectionId>();
    }

    #[test]
    fn only_an_event_is_known_with_the_number_of_an_item() {
        let id = "01JQ8ZK4N3W8T1V5R7Y9ABCDEF";
        for item in ["0", "999"] {
            let event: Result<IdRef<EventId>, _> = format!("evt_{id}_{item}").parse();
            assert!(
                matches!(event, Ok(IdRef::Id(found)) if found.to_string() == format!("evt_{id}"))
            );
            assert!(format!("rej_{id}_{item}").parse::<IdRef<RejectionId>>().is_err());
        }
    }

    #[test]
    fn a_short_id_distinguishes_each_event() {
        assert_eq!(distinct_chars(&[]), SHORT_ID_CHARS);
        assert_eq!(distinct_chars(&["01JQ8ZK4N3W8T1V5R7Y9ABCDEF"]), SHORT_ID_CHARS);
        let near = ["01JQ8ZK4N3W8T1V5R7Y9ABCDEF", "02", "01JQ8ZK4N3W8T1V6R7Y9ABCDEF"];
        assert_eq!(distinct_chars(&near), 16);
    }
}
