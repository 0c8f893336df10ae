//! What the API says of routes, and what they decide about an event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A route as it is configured. No part of it can be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfiguredRoute {
    /// Its position in the configuration, from 1.
    pub route: usize,
    /// The source whose events it takes; absent for every source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The patterns of event names, any of which may match.
    pub events: Vec<String>,
    /// Where the array is whose items are delivered one by one; absent for the whole event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The condition as it is written; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Absent if every event of a burst is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debounce: Option<ConfiguredDebounce>,
    /// The names of the destinations.
    pub to: Vec<String>,
}

/// How a route finds the last event of a burst, which alone is delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfiguredDebounce {
    /// The expression as it is written: events for which it gives the same key are one burst.
    pub by: String,
    /// The burst ends when no event has arrived for this long, in milliseconds.
    pub quiet_ms: u64,
    /// The longest burst, in milliseconds.
    pub at_most_ms: u64,
}

/// How the routes decide about an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RouteDecisions {
    /// One decision for each route, in the order of the configuration.
    pub routes: Vec<RouteDecision>,
}

/// How one route decides about an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteDecision {
    /// The route's position in the configuration, from 1.
    pub route: usize,
    /// The destinations of the route.
    pub to: Vec<String>,
    /// Whether the route takes the event.
    pub takes: bool,
    /// Whether the condition of the route failed to run.
    pub failed: bool,
    /// The clause that decided; none if all of them accept the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<RouteClause>,
    /// The reason, in words.
    pub why: String,
}

/// A clause of a route, by its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteClause {
    /// The source.
    From,
    /// The names of events.
    Events,
    /// The array whose items are deliveries of their own: there is none, or it is empty.
    Split,
    /// The condition.
    When,
}
