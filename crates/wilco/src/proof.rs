//! Why an event is believed: it was signed, or it was fetched from the provider.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Arrival, Digest, Head, Origin, SourceName, Verified};

/// Why an event is believed. Without one of these nothing is recorded.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A right signature.
    Signed(Verified),
    /// The provider's own list of events.
    Fetched(Fetched),
}

impl Proof {
    /// The source that it belongs to.
    pub fn source(&self) -> &SourceName {
        match self {
            Self::Signed(verified) => verified.source(),
            Self::Fetched(fetched) => &fetched.source,
        }
    }

    /// How the event got here, as far as the request shows it.
    pub fn origin(&self) -> Origin {
        match self {
            Self::Signed(_) => Origin::Webhook,
            Self::Fetched(_) => Origin::Fetched,
        }
    }

    /// The name of the secret that matched, or of the token with which the event was fetched.
    pub fn secret_name(&self) -> &str {
        match self {
            Self::Signed(verified) => verified.secret_name(),
            Self::Fetched(fetched) => &fetched.token_name,
        }
    }

    /// SHA-256 of the body.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Signed(verified) => verified.digest(),
            Self::Fetched(fetched) => fetched.digest,
        }
    }

    /// What arrived.
    pub fn arrival(&self) -> &Arrival {
        match self {
            Self::Signed(verified) => verified.arrival(),
            Self::Fetched(fetched) => &fetched.arrival,
        }
    }

    /// What arrived, to be kept.
    pub fn into_arrival(self) -> Arrival {
        match self {
            Self::Signed(verified) => verified.into_arrival(),
            Self::Fetched(fetched) => fetched.arrival,
        }
    }
}

/// An event out of the provider's own list. Only [`ListedEvents::read`] makes one: no signature
/// was checked, and its bytes are those of the list, which need not be those that were signed.
#[derive(Clone, Debug)]
pub struct Fetched {
    source: SourceName,
    token_name: String,
    digest: Digest,
    arrival: Arrival,
}

impl Fetched {
    /// What was read.
    pub fn arrival(&self) -> &Arrival {
        &self.arrival
    }
}

/// One page of a list of events as Stripe has it: `{"data": [{"id": …}, …], "has_more": true}`.
#[derive(Debug)]
pub struct ListedEvents {
    /// Its events, in the order of the page: newest first.
    pub events: Vec<Fetched>,
    /// The id of its last event, if more follow: where the next page begins.
    pub next: Option<String>,
}

impl ListedEvents {
    /// Reads a page that was fetched from the provider, over a connection that authenticated the
    /// provider, with the token of this name.
    ///
    /// # Errors
    ///
    /// The page does not have this form.
    pub fn read(
        page: &[u8],
        source: &SourceName,
        token_name: &str,
        received_at: Timestamp,
    ) -> Result<Self, ListError> {
        #[derive(Deserialize)]
        struct List<'a> {
            #[serde(borrow)]
            data: Vec<&'a RawValue>,
            has_more: bool,
        }
        #[derive(Deserialize)]
        struct WithId {
            id: String,
        }
        let list: List<'_> = serde_json::from_slice(page).map_err(ListError)?;
        let last = list.data.last().filter(|_| list.has_more);
        let last = last.map(|event| serde_json::from_str::<WithId>(event.get())).transpose();
        let events = list.data.iter().map(|event| {
            let body = event.get().as_bytes().to_vec();
            Fetched {
                source: source.clone(),
                token_name: token_name.to_owned(),
                digest: Digest::of(&body),
                arrival: Arrival { received_at, head: Head::default(), body: body.into() },
            }
        });
        Ok(Self { events: events.collect(), next: last.map_err(ListError)?.map(|event| event.id) })
    }
}

/// A page is not a list of events.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not a list of events: line {} column {}", .0.line(), .0.column())]
pub struct ListError(serde_json::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_each_event_byte_for_byte_and_where_the_next_one_begins() {
        let source = SourceName::new("stripe").unwrap();
        let read = |page: &str| {
            ListedEvents::read(page.as_bytes(), &source, "env:T", Timestamp::UNIX_EPOCH)
        };
        let page =
            r#"{"object":"list","data":[{"id":"evt_2", "a":1.50},{"id":"evt_1"}],"has_more":true}"#;
        let listed = read(page).unwrap();
        let bodies: Vec<_> = listed
            .events
            .iter()
            .map(|event| event.arrival().body.contiguous(99).unwrap())
            .collect();
        assert_eq!(bodies, [&br#"{"id":"evt_2", "a":1.50}"#[..], br#"{"id":"evt_1"}"#]);
        assert_eq!(listed.next.as_deref(), Some("evt_1"));
        let proof = Proof::Fetched(listed.events[0].clone());
        assert_eq!((proof.origin(), proof.secret_name()), (Origin::Fetched, "env:T"));
        assert_eq!(read(r#"{"data":[{"id":"a"}],"has_more":false}"#).unwrap().next, None);
        for wrong in ["", "[]", r#"{"data":{}}"#, r#"{"data":[7],"has_more":true}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
