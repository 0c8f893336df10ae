//! What happens to the record, in order: for whoever follows along.
//!
//! Recorded events and changed deliveries share one sequence of numbers, which only grows and which the
//! store keeps. An event has its number for ever; a delivery has that of its last change, so what it went
//! through meanwhile is not told apart. Whoever remembers a [`Position`] finds everything behind it, after
//! a restart too.

use std::{fmt, num::ParseIntError, str::FromStr};

use wilco::EventId;

use crate::{Delivery, EventSummary};

/// A position in the sequence of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(crate) i64);

impl Position {
    /// Everything that the store has is behind it.
    pub const BEGINNING: Self = Self(0);
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Which changes to read.
#[derive(Clone, Debug)]
pub struct ChangeQuery {
    /// Only those behind this position.
    pub after: Position,
    /// Only of this source.
    pub source: Option<String>,
    /// Only of events of this name; a trailing `*` matches anything.
    pub name: Option<String>,
    /// Only of this destination; of events, those with a delivery to it.
    pub destination: Option<String>,
    /// Only changes of this kind.
    pub kind: Option<ChangeKind>,
    /// At most this many, including those that only the other conditions leave out.
    pub limit: usize,
}

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// An event was recorded.
    Event,
    /// A delivery changed.
    Delivery,
}

/// Some changes, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// The changes, each with its position.
    pub items: Vec<(Position, Change)>,
    /// Where the next query goes on.
    pub through: Position,
    /// Whether more is there already.
    pub has_more: bool,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An event was recorded, and routed since. Its deliveries are as they are now.
    Event(Box<EventSummary>),
    /// A delivery was made, cancelled, superseded or replayed, or an attempt ended. It is as it is now.
    Delivery(Box<DeliveryChange>),
}

impl Change {
    /// About how much memory it takes, in bytes.
    pub(crate) fn listed_bytes(&self) -> usize {
        match self {
            Self::Event(event) => event.listed_bytes(),
            Self::Delivery(change) => {
                let DeliveryChange { source, name, delivery, .. } = &**change;
                size_of::<DeliveryChange>() + source.len() + name.len() + delivery.listed_bytes()
            }
        }
    }
}

/// A delivery that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryChange {
    /// Its event.
    pub event_id: EventId,
    /// The source of the event.
    pub source: String,
    /// What happened.
    pub name: String,
    /// The delivery, without its history.
    pub delivery: Delivery,
}

impl ChangeQuery {
    /// Whether changes of this kind are asked for.
    pub(crate) fn is_about(&self, kind: ChangeKind) -> bool {
        self.kind.is_none_or(|only| only == kind)
    }

    /// Whether what happens to such an event is asked for.
    pub(crate) fn wants(&self, source: &str, name: &str) -> bool {
        self.source.as_ref().is_none_or(|wanted| wanted == source)
            && self.name.as_ref().is_none_or(|wanted| match wanted.strip_suffix('*') {
                Some(front) => name.starts_with(front),
                None => name == wanted,
            })
    }

    /// Whether what happens at this destination is asked for.
    pub(crate) fn wants_at(&self, delivery: &Delivery) -> bool {
        self.destination.as_ref().is_none_or(|wanted| *wanted == delivery.destination)
    }

    /// Whether an event with these deliveries is asked for.
    pub(crate) fn wants_any(&self, deliveries: &[Delivery]) -> bool {
        self.destination.is_none() || deliveries.iter().any(|delivery| self.wants_at(delivery))
    }
}

/// Bytes of the changes in one answer, after which it ends with the change that reached them.
pub(crate) const CHANGES_BYTES_MAX: usize = 512 << 10;
