//! Finds the event that a person names.

use wilco::EventId;
use wilco_server::admin::{EventSummary, ListEvents};

use crate::{
    Failure, Record,
    id_ref::{IdRef, ULID_CHARS},
    visible,
};

/// An event as a person names it.
pub(crate) type EventRef = IdRef<EventId>;

impl EventRef {
    /// The id of the event. A complete id is not looked up.
    pub(super) async fn resolve(&self, record: &Record) -> Result<EventId, Failure> {
        match self {
            Self::Id(id) => Ok(*id),
            Self::Prefix(prefix) => only(prefix, &starting_with(record, prefix).await?),
            Self::Latest => {
                let query = ListEvents { limit: Some(1), ..ListEvents::default() };
                let latest = record.events(&query).await?.items.pop();
                latest.map(|event| event.id).ok_or_else(|| {
                    let sample = "`wilco send booking.created` sends a sample";
                    Failure::failed(format!("the store has no events yet; {sample}"))
                })
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

/// The events whose ids begin with these characters, oldest first.
async fn starting_with(record: &Record, prefix: &str) -> Result<Vec<EventSummary>, Failure> {
    let Ok(first) = format!("evt_{prefix:0<ULID_CHARS$}").parse::<EventId>() else {
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
        [] if prefix.len() == ULID_CHARS => {
            Err(Failure::failed(format!("event evt_{prefix} not found")))
        }
        [] => Err(Failure::failed(format!(
            "no event has an id that begins with evt_{prefix}; `wilco events list` shows the latest"
        ))),
        several => {
            let shown = several.iter().take(CANDIDATES_MAX);
            let shown = shown.map(|event| format!("{} {}", event.id, visible(&event.event)));
            let shown = shown.collect::<Vec<_>>().join(", ");
            let more = if several.len() > CANDIDATES_MAX { ", and more" } else { "" };
            Err(Failure::failed(format!("several ids begin with evt_{prefix}: {shown}{more}")))
        }
    }
}

const CANDIDATES_MAX: usize = 5;
const LOOKED_AT: usize = 100;
/// A millisecond, in the bits of an id.
pub(crate) const MILLISECOND: u128 = 1 << 80;

#[cfg(test)]
mod tests {
    use wilco_server::admin::PayloadState;

    use super::*;

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
            payload: PayloadState::Kept,
            deliveries: Vec::new(),
        }
    }
}
