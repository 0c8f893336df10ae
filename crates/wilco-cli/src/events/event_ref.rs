//! How a person names an event: by its id, by the first characters of it, or as the latest.

use wilco::EventId;
use wilco_server::admin::{EventSummary, ListEvents};

use crate::{Failure, Record, visible};

/// An event as a person names it. Only `resolve` finds out whether it exists.
#[derive(Clone, Debug)]
pub(crate) enum EventRef {
    Latest,
    Id(EventId),
    /// The first characters of an id, in capitals and without `evt_`.
    Prefix(String),
}

impl std::str::FromStr for EventRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let text = without_item(text);
        let ulid = text.strip_prefix("evt_").unwrap_or(text).to_ascii_uppercase();
        let is_digit = |c: char| c.is_ascii_alphanumeric() && !"ILOU".contains(c);
        if let Ok(id) = format!("evt_{ulid}").parse() {
            return Ok(Self::Id(id));
        }
        if (PREFIX_CHARS_MIN..ID_CHARS).contains(&ulid.len()) && ulid.chars().all(is_digit) {
            return Ok(Self::Prefix(ulid));
        }
        Err(format!(
            "expected one like evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF, at least {PREFIX_CHARS_MIN} of its \
             first characters, or latest"
        ))
    }
}

impl EventRef {
    /// The id of the event. A complete id is not looked up.
    pub(super) async fn resolve(&self, record: &Record) -> Result<EventId, Failure> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Prefix(prefix) => only(prefix, &starting_with(record, prefix).await?),
            Self::Latest => {
                let query = ListEvents { limit: Some(1), ..ListEvents::default() };
                let latest = record.events(&query).await?.items.pop();
                let latest = latest.ok_or_else(|| Failure::failed("the store has no events yet"));
                Ok(latest?.id)
            }
        }
    }

    /// As [`resolve`](Self::resolve), but fails if there is no such event.
    pub(super) async fn resolve_recorded(&self, record: &Record) -> Result<EventId, Failure> {
        let Self::Id(id) = self else { return self.resolve(record).await };
        let text = id.to_string();
        let ulid = text.strip_prefix("evt_").unwrap_or(&text);
        only(ulid, &starting_with(record, ulid).await?)
    }
}

/// Without the number of an item, with which a destination knows it: `evt_…_0`.
fn without_item(text: &str) -> &str {
    match text.rsplit_once('_') {
        Some((event, item))
            if event.len() >= ID_CHARS && item.bytes().all(|b| b.is_ascii_digit()) =>
        {
            event
        }
        _ => text,
    }
}

/// The events whose ids begin with these characters, oldest first.
async fn starting_with(record: &Record, prefix: &str) -> Result<Vec<EventSummary>, Failure> {
    let Ok(first) = format!("evt_{prefix:0<ID_CHARS$}").parse::<EventId>() else {
        return Ok(Vec::new());
    };
    // A listing after an event also leaves out those that share its place, whatever their tail.
    let after = Some(EventId::from_bits(first.to_bits().saturating_sub(MILLISECOND)));
    let query = ListEvents { after, limit: Some(LOOKED_AT), ..ListEvents::default() };
    let mut found = record.events(&query).await?.items;
    let start = format!("evt_{prefix}");
    found.retain(|event| event.id.to_string().starts_with(&start));
    Ok(found)
}

fn only(prefix: &str, found: &[EventSummary]) -> Result<EventId, Failure> {
    match found {
        [event] => Ok(event.id),
        [] if prefix.len() == ID_CHARS => {
            Err(Failure::failed(format!("event evt_{prefix} not found")))
        }
        [] => Err(Failure::failed(format!("no event has an id that begins with evt_{prefix}"))),
        several => {
            let shown = several.iter().take(CANDIDATES_MAX);
            let shown = shown.map(|event| format!("{} {}", event.id, visible(&event.event)));
            let shown = shown.collect::<Vec<_>>().join(", ");
            let more = if several.len() > CANDIDATES_MAX { ", and more" } else { "" };
            Err(Failure::failed(format!("several ids begin with evt_{prefix}: {shown}{more}")))
        }
    }
}

/// How many characters distinguish each of these ids from the others.
pub(crate) fn distinct_chars(ids: &[&str]) -> usize {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let common = |pair: &[&str]| {
        pair[0].bytes().zip(pair[1].bytes()).take_while(|(one, other)| one == other).count()
    };
    let most = sorted.windows(2).map(common).max().unwrap_or_default();
    (most + 1).max(SHORT_ID_CHARS)
}

const ID_CHARS: usize = 26;
const PREFIX_CHARS_MIN: usize = 4;
/// The length of a short id without `evt_`: ten characters of time, and three to distinguish events
/// of the same millisecond.
const SHORT_ID_CHARS: usize = 13;
const CANDIDATES_MAX: usize = 5;
const LOOKED_AT: usize = 100;
/// A millisecond, in the bits of an id.
pub(crate) const MILLISECOND: u128 = 1 << 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_its_id_its_beginning_or_latest() {
        let id = "evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF";
        for text in [id, &id[4..], &id.to_lowercase(), &format!("{id}_0"), &format!("{id}_999")] {
            assert!(matches!(text.parse(), Ok(EventRef::Id(found)) if found.to_string() == id));
        }
        for text in ["evt_01JQ", "01jq", "01JQ8ZK4N3W8T1V5R7Y9ABCDE"] {
            assert!(matches!(text.parse(), Ok(EventRef::Prefix(p)) if p.starts_with("01JQ")));
        }
        assert!(matches!("latest".parse(), Ok(EventRef::Latest)));
        for text in ["", "evt_", "01J", "../../etc/passwd", "evt_nonsense", &format!("{id}0")] {
            assert!(text.parse::<EventRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_names_one_event_or_the_candidates() {
        let found =
            |ids: &[&str]| -> Vec<EventSummary> { ids.iter().map(|id| event(id)).collect() };
        let id = "evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF";
        let one = only("01JQ", &found(&[id])).unwrap_or_else(|failure| panic!("{}", failure.text));
        assert_eq!(one.to_string(), id);
        for (ids, said) in [
            (&[][..], "no event has an id that begins with evt_01JQ"),
            (
                &[id, id][..],
                "several ids begin with evt_01JQ: evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF x, evt_",
            ),
            (&[id; 6], ", and more"),
        ] {
            let failure = only("01JQ", &found(ids)).err().unwrap();
            assert!(failure.text.contains(said), "{}", failure.text);
        }
    }

    fn event(id: &str) -> EventSummary {
        EventSummary {
            backfilled: false,
            fetched: false,
            id: id.parse().unwrap(),
            source: "freispace".into(),
            event: "x".into(),
            subject: None,
            title: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            bytes: 0,
            sha256: String::new(),
            secret_name: String::new(),
            routed: false,
            damaged: false,
            deliveries: Vec::new(),
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
