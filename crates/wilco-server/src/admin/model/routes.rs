//! How the API explains what the routes decide about an event.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
