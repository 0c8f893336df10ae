//! The routes and destinations of the configuration, as the API describes them.

use std::{sync::Arc, time::Duration};

use wilco::Event;
use wilco_delivery::{Clause, Debounce, Policy, Route, Routes};

use super::{ConfiguredDebounce, ConfiguredRoute, RouteClause, RouteDecision};

/// The routes and destinations of a configuration.
pub(crate) struct Routing {
    pub(crate) routes: Arc<Routes>,
    pub(crate) destinations: Vec<ConfiguredDestination>,
}

/// A destination of the configuration.
pub(crate) struct ConfiguredDestination {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Failures in a row that open its circuit breaker.
    pub(crate) failures_max: u32,
}

impl Routing {
    /// Takes the name, kind and policy of each destination.
    pub(crate) fn new<'a>(
        routes: Arc<Routes>,
        destinations: impl Iterator<Item = (&'a str, &'static str, &'a Policy)>,
    ) -> Self {
        let destinations = destinations.map(|(name, kind, policy)| ConfiguredDestination {
            name: name.into(),
            kind,
            failures_max: policy.breaker.failures,
        });
        Self { routes, destinations: destinations.collect() }
    }

    /// How each route decides about an event.
    pub(crate) fn decisions(&self, event: &Event) -> Vec<RouteDecision> {
        let clauses = self.routes.why(event).into_iter().zip(1..);
        let decisions = clauses.map(|((route, clause), number)| RouteDecision {
            route: number,
            to: route.to.clone(),
            takes: matches!(clause, Clause::Takes | Clause::Splits { takes: 1.., .. }),
            failed: match clause {
                Clause::Fails(_) | Clause::Unsplit(_) => true,
                Clause::Splits { takes, fails, .. } => takes == 0 && fails > 0,
                Clause::Takes | Clause::From | Clause::Events | Clause::When => false,
            },
            clause: match clause {
                Clause::Takes | Clause::Splits { takes: 1.., .. } => None,
                Clause::Unsplit(_) | Clause::Splits { of: 0, .. } => Some(RouteClause::Split),
                Clause::From => Some(RouteClause::From),
                Clause::Events => Some(RouteClause::Events),
                Clause::When | Clause::Splits { .. } | Clause::Fails(_) => Some(RouteClause::When),
            },
            why: clause.explain(route, event),
        });
        decisions.collect()
    }

    /// The routes, in the order of the configuration.
    pub(crate) fn configured(&self) -> Vec<ConfiguredRoute> {
        self.routes.configured().iter().zip(1..).map(configured).collect()
    }
}

fn configured((route, number): (&Route, usize)) -> ConfiguredRoute {
    let millis = |time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX);
    let debounce = |debounce: &Debounce| ConfiguredDebounce {
        by: debounce.by.source().to_owned(),
        quiet_ms: millis(debounce.quiet),
        at_most_ms: millis(debounce.at_most),
    };
    ConfiguredRoute {
        route: number,
        from: route.from.as_ref().map(ToString::to_string),
        events: route.events.iter().map(|glob| glob.glob().glob().to_owned()).collect(),
        split: route.split.as_ref().map(ToString::to_string),
        when: route.when.as_ref().map(|when| when.source().to_owned()),
        debounce: route.debounce.as_ref().map(debounce),
        to: route.to.clone(),
    }
}
