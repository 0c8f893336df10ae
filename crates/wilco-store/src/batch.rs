//! Events on their way through the routes: a batch comes from the store and goes back to it.

use std::sync::Arc;

use wilco::{Event, EventId};

use crate::Target;

/// The oldest unrouted events. Only a [`Store`](crate::Store) makes one, so which events a fan-out
/// marks as routed is never a caller's choice.
#[derive(Clone, Debug)]
pub struct Batch {
    pub(crate) events: Vec<Arc<Event>>,
}

impl Batch {
    /// The events, oldest first.
    pub fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// Whether no event is unrouted.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Asks `targets` where each event goes, whole or item by item: to each destination at most once; the
    /// answer may be empty.
    #[must_use]
    pub fn route(self, mut targets: impl FnMut(&Event) -> Vec<Target>) -> RoutedBatch {
        let route = |event: Arc<Event>| Routed { event_id: event.id, targets: targets(&event) };
        RoutedBatch { routed: self.events.into_iter().map(route).collect() }
    }
}

/// A batch, each event with its targets.
#[derive(Clone, Debug)]
pub struct RoutedBatch {
    pub(crate) routed: Vec<Routed>,
}

impl RoutedBatch {
    /// Whether any event goes anywhere.
    pub fn has_targets(&self) -> bool {
        self.routed.iter().any(|routed| !routed.targets.is_empty())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Routed {
    pub(crate) event_id: EventId,
    pub(crate) targets: Vec<Target>,
}
