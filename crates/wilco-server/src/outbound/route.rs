//! Which event goes where.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wilco::{Event, provider};
use wilco_store::{Routed, Store, StoreError};

use super::Plan;
use crate::{clock, config};

/// The routes of a configuration.
pub(crate) struct Routes(Vec<config::Route>);

impl Routes {
    pub(crate) fn new(routes: Vec<config::Route>) -> Self {
        Self(routes)
    }

    /// The destinations of an event, each once, in the order of the routes that name them.
    pub(crate) fn route(&self, event: &Event) -> Vec<String> {
        let names = provider::synonyms(&event.name);
        let mut destinations: Vec<String> = Vec::new();
        for route in &self.0 {
            let is_from = route.from.as_ref().is_none_or(|from| *from == event.source);
            if is_from && names.iter().any(|name| route.events.is_match(name)) {
                destinations.extend(route.to.iter().cloned());
            }
        }
        let mut seen = std::collections::HashSet::new();
        destinations.retain(|name| seen.insert(name.clone()));
        destinations
    }
}

/// Holds whatever was recorded against the routes, oldest first, until `stop`.
pub(super) async fn run(
    store: Arc<dyn Store>,
    plan: watch::Receiver<Arc<Plan>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let plan = Arc::clone(&plan.borrow());
        let wait = match route_some(store.as_ref(), &plan.routes).await {
            Ok(0) => LOOK_AGAIN,
            Ok(_) => continue,
            Err(StoreError::Closed | StoreError::Latched(_)) => return,
            Err(error) => {
                tracing::warn!(%error, "events wait to be routed");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = store.bells().recorded().notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn route_some(store: &dyn Store, routes: &Routes) -> Result<usize, StoreError> {
    let events = store.unrouted(BATCH).await?;
    let routed: Vec<_> = events
        .iter()
        .map(|event| {
            let destinations = routes.route(event);
            tracing::debug!(event = %event.id, name = event.name, ?destinations, "routed");
            Routed { event_id: event.id, destinations }
        })
        .collect();
    if routed.is_empty() {
        return Ok(0);
    }
    if routed.iter().all(|routed| routed.destinations.is_empty()) {
        // Nobody waits for it, so others may join: each fan-out is a commit.
        tokio::time::sleep(UNHURRIED).await;
    }
    store.fan_out(routed, clock::now()).await?;
    Ok(events.len())
}

/// Events that are routed in one transaction.
const BATCH: usize = 1_024;
const UNHURRIED: Duration = Duration::from_millis(10);
/// Nothing is missed while the bell works; this is for the day when it does not.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use globset::{Glob, GlobSet};
    use wilco::{Digest, EventId, Headers, SourceName};

    use super::*;

    fn globs(globs: &[&str]) -> GlobSet {
        GlobSet::new(globs.iter().map(|glob| Glob::new(glob).unwrap())).unwrap()
    }

    fn route(from: Option<&str>, events: &[&str], to: &[&str]) -> config::Route {
        config::Route {
            from: from.map(|name| SourceName::new(name).unwrap()),
            events: globs(events),
            to: to.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn an_event_goes_once_to_each_destination_that_its_routes_name() {
        let routes = Routes::new(vec![
            route(Some("freispace"), &["booking.*"], &["chat", "erp"]),
            route(None, &["*.created"], &["erp", "log"]),
            route(Some("freispace"), &["offer.*"], &["offers"]),
            route(Some("freispace"), &["quote.finalized"], &["quotes"]),
        ]);
        for (source, name, expected) in [
            ("freispace", "booking.updated", &["chat", "erp"][..]),
            ("freispace", "booking.created", &["chat", "erp", "log"]),
            ("github", "booking.created", &["erp", "log"]),
            ("github", "push", &[]),
            ("freispace", "offer.finalized", &["offers", "quotes"]),
            ("freispace", "quote.finalized", &["offers", "quotes"]),
            ("freispace", "quote.status_updated", &["offers"]),
            ("freispace", "bookings.created", &["erp", "log"]),
        ] {
            let event = Event {
                id: EventId::from_bits(1),
                source: SourceName::new(source).unwrap(),
                name: name.into(),
                subject: None,
                received_at: jiff::Timestamp::UNIX_EPOCH,
                secret: String::new(),
                digest: Digest::of(b""),
                conflict: false,
                headers: Headers::default(),
                body: bytes::Bytes::new(),
            };
            assert_eq!(routes.route(&event), expected, "{source} {name}");
        }
    }
}
