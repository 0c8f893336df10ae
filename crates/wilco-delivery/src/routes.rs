//! Routes: which events go to which destinations.

mod parts;
mod targets;

use std::{collections::HashMap, time::Duration};

use globset::{Glob, GlobMatcher};
use wilco::{ArrayPath, Event, Item, SourceName, counted, provider};
use wilco_store::{ALERTS, Burst, Target};

use crate::{
    policy::Policy,
    rules::{Rule, RuleError, View, contained},
};
use parts::{Looked, Parts, why_not_split};
use targets::Targets;

pub use parts::SPLIT_ITEMS_MAX;

/// Which events go to which destinations.
#[derive(Clone, Debug)]
pub struct Route {
    /// The source; `None` for every source.
    pub from: Option<SourceName>,
    /// The patterns of event names, any of which may match.
    pub events: Vec<GlobMatcher>,
    /// Where the array is whose items are delivered one by one; `None` for the whole event.
    pub split: Option<ArrayPath>,
    /// The condition that an event has to meet, or an item of it.
    pub when: Option<Rule>,
    /// If set, only the last event of a burst is delivered.
    pub debounce: Option<Debounce>,
    /// The names of the destinations.
    pub to: Vec<String>,
}

impl Route {
    /// A route for every event whose name matches this glob; `None` if the glob is invalid.
    pub fn new(glob: &str, to: Vec<String>) -> Option<Self> {
        let events = vec![Glob::new(glob).ok()?.compile_matcher()];
        Some(Self { from: None, events, split: None, when: None, debounce: None, to })
    }

    /// Whether it takes events of this name.
    pub fn takes_name(&self, name: &str) -> bool {
        self.events.iter().any(|glob| glob.is_match(name))
    }
}

/// Debouncing: only the last event of a burst is delivered.
#[derive(Clone, Debug)]
pub struct Debounce {
    /// Events for which this expression gives the same key form a burst.
    pub by: Rule,
    /// The burst is over when no event has followed for this long.
    pub quiet: Duration,
    /// The burst is over this long after its first event at the latest.
    pub at_most: Duration,
}

/// The routes of a configuration.
pub struct Routes {
    routes: Vec<Route>,
    /// The order key of each destination that has one.
    order_by: HashMap<String, Rule>,
}

/// What a route decides about an event, and because of which clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clause {
    /// The route takes the event.
    Takes,
    /// The route splits the event, and decides about each item.
    Splits {
        /// Items that it takes.
        takes: usize,
        /// Items about which its condition failed to run: a replay asks again.
        fails: usize,
        /// All items.
        of: usize,
    },
    /// The route cannot split the event, for this reason.
    Unsplit(String),
    /// The event is of another source.
    From,
    /// The event has another name.
    Events,
    /// The condition does not hold.
    When,
    /// The condition failed to run, for this reason: a replay asks again.
    Fails(String),
}

impl Clause {
    /// The decision as text, for `wilco events why`.
    pub fn explain(&self, route: &Route, event: &Event) -> String {
        let when = route.when.as_ref().map_or("", Rule::source);
        match self {
            Self::Takes if when.is_empty() => matched(route, event),
            Self::Takes => {
                format!("{}; holds: {when}{}", matched(route, event), found(route, event))
            }
            Self::Splits { of: 0, .. } => "takes nothing: the array is empty".into(),
            Self::Splits { takes, fails, of } => {
                let takes = if *takes == 0 { "none".into() } else { takes.to_string() };
                let colon = if when.is_empty() { "" } else { ": " };
                let items = counted(*of, "item", "items");
                let fails = match fails {
                    0 => String::new(),
                    fails => format!("; {fails} could not be decided"),
                };
                format!("takes {takes} of {items}{colon}{when}{fails}")
            }
            Self::Unsplit(why) => format!("could not be split: {why}"),
            Self::From if event.source.as_str() == ALERTS => {
                "alerts go where [alerts] says, not along routes".into()
            }
            Self::From => {
                let from = route.from.as_ref().map_or("", |from| from.as_str());
                format!("takes only events from {from}; this one is from {}", event.source)
            }
            Self::Events => {
                let globs: Vec<_> = route.events.iter().map(|glob| glob.glob().glob()).collect();
                format!("takes only {}; the event is {}", globs.join(", "), event.name)
            }
            Self::When => format!("does not hold: {when}{}", found(route, event)),
            Self::Fails(why) => format!("could not be decided: {when}: {why}"),
        }
    }
}

/// The pattern that took the event.
fn matched(route: &Route, event: &Event) -> String {
    let glob = route.events.iter().find(|glob| glob.is_match(event.name.as_str()));
    match glob.map(|glob| glob.glob().glob()) {
        None | Some("*") => "takes every event".into(),
        Some(glob) => format!("takes {glob}; the event is {}", event.name),
    }
}

/// The values that the condition looked at, to be appended to it.
fn found(route: &Route, event: &Event) -> String {
    let found = route.when.as_ref().zip(View::of(event).ok());
    let found = found.map_or_else(Vec::new, |(when, view)| when.found(&view));
    if found.is_empty() { String::new() } else { format!("; {}", found.join(", ")) }
}

impl Routes {
    /// Makes routes to destinations that are treated by these policies, by name.
    pub fn new<'a>(
        routes: &[Route],
        policies: impl IntoIterator<Item = (&'a str, &'a Policy)>,
    ) -> Self {
        let order_by = policies.into_iter();
        let order_by =
            order_by.filter_map(|(name, policy)| Some((name.into(), policy.order_by.clone()?)));
        Self { routes: routes.to_vec(), order_by: order_by.collect() }
    }

    /// The routes, in the order of the file.
    pub fn configured(&self) -> &[Route] {
        &self.routes
    }

    /// The targets of an event, one for each destination, or one for each destination and item, in the
    /// order of the routes that name them.
    ///
    /// If routing panics over the event, every destination becomes a target that is evaluated again in a
    /// separate attempt: the caller continues with other events, and nothing is lost.
    pub fn route(&self, event: &Event) -> Vec<Target> {
        contained_targets(self, event, Self::route_uncontained)
    }

    fn route_uncontained(&self, event: &Event) -> Vec<Target> {
        let (mut parts, mut targets) = (Parts::of_event(event), Targets::default());
        let routes = self.routes.iter().filter(|route| refusal(route, event).is_none());
        for route in routes {
            match parts.of(route) {
                Ok(parts) => {
                    parts.iter().for_each(|part| self.add_targets(route, part, &mut targets));
                }
                // The attempt finds that again, and says so.
                Err(_) => route.to.iter().for_each(|to| targets.add(in_doubt(to, None))),
            }
        }
        targets.list
    }

    /// Adds the targets of an event, or of an item, by one route.
    fn add_targets(&self, route: &Route, looked: &Looked<'_>, targets: &mut Targets) {
        let is_sure = match holds(route, looked) {
            Ok(true) => true,
            Ok(false) => return,
            Err(_) => false,
        };
        for destination in &route.to {
            targets.add(match self.target(route, destination, looked) {
                Ok(target) if is_sure => target,
                _ => in_doubt(destination, looked.item),
            });
        }
    }

    /// A target for every destination that a route names, to be evaluated again before an attempt.
    fn all_in_doubt(&self, event: &Event) -> Vec<Target> {
        if event.source.as_str() == ALERTS {
            return Vec::new();
        }
        let mut names: Vec<_> = self.routes.iter().flat_map(|route| &route.to).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| in_doubt(name, None)).collect()
    }

    /// Evaluates again whether an event, or an item of one, goes to a destination.
    ///
    /// # Errors
    ///
    /// [`RuleError`] if a rule still fails or panics, so that it remains unknown; or if a route splits the
    /// event that is to be delivered whole.
    pub fn takes(&self, event: &Event, destination: &str) -> Result<bool, RuleError> {
        contained(|| {
            let looked = Looked::at(event);
            // A target that cannot be made is as uncertain as a condition that cannot be evaluated.
            let takes = |route: &Route| {
                let takes = holds(route, &looked)?;
                if takes {
                    self.target(route, destination, &looked)?;
                }
                Ok(takes)
            };
            let leads_there = |route: &&Route| {
                route.to.iter().any(|to| to == destination) && refusal(route, event).is_none()
            };
            let routes = self.routes.iter().filter(leads_there);
            let (splitting, whole): (Vec<_>, Vec<_>) =
                routes.partition(|route| route.split.is_some());
            let mut failure = None;
            for route in if event.item.is_some() { &splitting } else { &whole } {
                match takes(route) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            let paths: Vec<_> = splitting.iter().filter_map(|route| route.split.as_ref()).collect();
            if event.item.is_none() && !paths.is_empty() {
                failure = failure.or(Some(why_not_split(event, &paths)));
            }
            failure.map_or(Ok(false), Err)
        })
    }

    /// What each route decides about an event, in the order of the file.
    pub fn why(&self, event: &Event) -> Vec<(&Route, Clause)> {
        let mut parts = Parts::of_event(event);
        self.routes.iter().map(|route| (route, clause(route, event, &mut parts))).collect()
    }

    /// Whether any route splits events, so that one event may have many targets.
    pub fn has_split(&self) -> bool {
        self.routes.iter().any(|route| route.split.is_some())
    }

    fn target(
        &self,
        route: &Route,
        destination: &str,
        looked: &Looked<'_>,
    ) -> Result<Target, RuleError> {
        // Two sources may use the same keys.
        let of_source = |key: String| format!("{}:{key}", looked.event.source);
        let order_by = self.order_by.get(destination);
        let key = |rule: &Rule| rule.key(looked.view()?);
        let order_key = order_by.map(key).transpose()?.flatten();
        let burst_key = route.debounce.as_ref().map(|d| key(&d.by)).transpose()?.flatten();
        let burst = burst_key.zip(route.debounce.as_ref()).map(|(key, debounce)| Burst {
            key: of_source(key),
            quiet: debounce.quiet,
            at_most: debounce.at_most,
        });
        let order_key = order_key.map(of_source);
        Ok(Target { order_key, burst, item: looked.item, ..Target::to(destination) })
    }
}

/// Whether the condition of a route holds for what it delivers.
fn holds(route: &Route, looked: &Looked<'_>) -> Result<bool, RuleError> {
    route.when.as_ref().map_or(Ok(true), |when| when.holds(looked.view()?))
}

/// Why a route does not take an event, whatever is in its body.
fn refusal(route: &Route, event: &Event) -> Option<Clause> {
    // An alert of wilco itself has its destination already.
    let is_alert = event.source.as_str() == ALERTS;
    if is_alert || route.from.as_ref().is_some_and(|from| *from != event.source) {
        return Some(Clause::From);
    }
    let names = provider::synonyms(&event.provider, &event.name);
    (!names.iter().any(|name| route.takes_name(name))).then_some(Clause::Events)
}

fn clause(route: &Route, event: &Event, parts: &mut Parts<'_>) -> Clause {
    if let Some(clause) = refusal(route, event) {
        return clause;
    }
    let parts = match parts.of(route) {
        Ok(parts) => parts,
        Err(error) => return Clause::Unsplit(error.to_string()),
    };
    let mut decided = parts.iter().map(|part| holds(route, part));
    if route.split.is_none() {
        return match decided.next() {
            Some(Err(error)) => Clause::Fails(error.what),
            Some(Ok(false)) => Clause::When,
            Some(Ok(true)) | None => Clause::Takes,
        };
    }
    let (mut takes, mut fails) = (0, 0);
    for decision in decided {
        match decision {
            Ok(holds) => takes += usize::from(holds),
            Err(_) => fails += 1,
        }
    }
    Clause::Splits { takes, fails, of: parts.len() }
}

/// A target that is evaluated again before its attempt.
fn in_doubt(destination: &str, item: Option<Item>) -> Target {
    Target { needs_reevaluation: true, item, ..Target::to(destination) }
}

fn contained_targets(
    routes: &Routes,
    event: &Event,
    route: fn(&Routes, &Event) -> Vec<Target>,
) -> Vec<Target> {
    contained(|| Ok(route(routes, event))).unwrap_or_else(|_| routes.all_in_doubt(event))
}

#[cfg(test)]
mod tests;
