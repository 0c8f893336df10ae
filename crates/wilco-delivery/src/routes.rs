//! Routes: which events go to which destinations.

use std::{cell::OnceCell, collections::HashMap, time::Duration};

use globset::{Glob, GlobMatcher};
use wilco::{Event, SourceName, provider};
use wilco_store::{ALERTS, Burst, Target};

use crate::rules::{Rule, RuleError, View, contained};

/// Which events go to which destinations.
#[derive(Clone, Debug)]
pub struct Route {
    /// The source; `None` for every source.
    pub from: Option<SourceName>,
    /// The patterns of event names, any of which may match.
    pub events: Vec<GlobMatcher>,
    /// The condition that an event has to meet.
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
        Some(Self { from: None, events, when: None, debounce: None, to })
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
            Self::Takes if when.is_empty() => "takes it".into(),
            Self::Takes => format!("takes it: {when}"),
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
            Self::When => {
                let found = route.when.as_ref().zip(View::of(event).ok());
                let found = found.map_or_else(Vec::new, |(when, view)| when.found(&view));
                let found = if found.is_empty() {
                    String::new()
                } else {
                    format!("; {}", found.join(", "))
                };
                format!("does not hold: {when}{found}")
            }
            Self::Fails(why) => format!("could not be decided: {when}: {why}"),
        }
    }
}

/// An event, parsed when the first rule needs it.
struct Looked<'e> {
    event: &'e Event,
    view: OnceCell<Result<View, RuleError>>,
}

impl Routes {
    /// Makes routes, with the order key of each destination that has one.
    pub fn new(routes: &[Route], order_by: impl IntoIterator<Item = (String, Rule)>) -> Self {
        Self { routes: routes.to_vec(), order_by: order_by.into_iter().collect() }
    }

    /// The targets of an event, one for each destination, in the order of the routes that name them.
    ///
    /// If routing panics over the event, every destination becomes a target that is evaluated again in a
    /// separate attempt: the caller continues with other events, and nothing is lost.
    pub fn route(&self, event: &Event) -> Vec<Target> {
        contained_targets(self, event, Self::route_uncontained)
    }

    fn route_uncontained(&self, event: &Event) -> Vec<Target> {
        let looked = Looked::at(event);
        let mut targets: Vec<Target> = Vec::new();
        for route in &self.routes {
            let is_sure = match judge(route, &looked) {
                Ok(true) => true,
                Ok(false) => continue,
                Err(_) => false,
            };
            for destination in &route.to {
                let target = match self.target(route, destination, &looked) {
                    Ok(target) if is_sure => target,
                    _ => Target { needs_reevaluation: true, ..Target::to(destination.as_str()) },
                };
                match targets.iter_mut().find(|before| before.destination == *destination) {
                    None => targets.push(target),
                    // One route that certainly takes the event is enough.
                    Some(before) if before.needs_reevaluation && !target.needs_reevaluation => {
                        *before = target;
                    }
                    Some(_) => {}
                }
            }
        }
        targets
    }

    /// A target for every destination that a route names, to be evaluated again before an attempt.
    fn in_doubt(&self, event: &Event) -> Vec<Target> {
        if event.source.as_str() == ALERTS {
            return Vec::new();
        }
        let mut names: Vec<_> = self.routes.iter().flat_map(|route| &route.to).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.into_iter().map(String::as_str);
        names.map(|name| Target { needs_reevaluation: true, ..Target::to(name) }).collect()
    }

    /// Evaluates again whether an event goes to a destination.
    ///
    /// # Errors
    ///
    /// [`RuleError`] if a rule still fails or panics, so that it remains unknown.
    pub fn takes(&self, event: &Event, destination: &str) -> Result<bool, RuleError> {
        contained(|| {
            let looked = Looked::at(event);
            // A target that cannot be made is as uncertain as a condition that cannot be evaluated.
            let takes = |route: &Route| {
                let takes = judge(route, &looked)?;
                if takes {
                    self.target(route, destination, &looked)?;
                }
                Ok(takes)
            };
            let mut failure = None;
            for route in
                self.routes.iter().filter(|route| route.to.iter().any(|to| to == destination))
            {
                match takes(route) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            failure.map_or(Ok(false), Err)
        })
    }

    /// What each route decides about an event, in the order of the file.
    pub fn why(&self, event: &Event) -> Vec<(&Route, Clause)> {
        let looked = Looked::at(event);
        self.routes.iter().map(|route| (route, clause(route, &looked))).collect()
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
        Ok(Target { order_key, burst, ..Target::to(destination) })
    }
}

impl<'e> Looked<'e> {
    fn at(event: &'e Event) -> Self {
        Self { event, view: OnceCell::new() }
    }

    fn view(&self) -> Result<&View, RuleError> {
        self.view.get_or_init(|| View::of(self.event)).as_ref().map_err(Clone::clone)
    }
}

fn judge(route: &Route, looked: &Looked<'_>) -> Result<bool, RuleError> {
    match clause_or_error(route, looked)? {
        Clause::Takes => Ok(true),
        Clause::From | Clause::Events | Clause::When | Clause::Fails(_) => Ok(false),
    }
}

fn clause(route: &Route, looked: &Looked<'_>) -> Clause {
    clause_or_error(route, looked).unwrap_or_else(|error| Clause::Fails(error.what))
}

fn clause_or_error(route: &Route, looked: &Looked<'_>) -> Result<Clause, RuleError> {
    let event = looked.event;
    // An alert of wilco itself has its destination already.
    let is_alert = event.source.as_str() == ALERTS;
    if is_alert || route.from.as_ref().is_some_and(|from| *from != event.source) {
        return Ok(Clause::From);
    }
    let names = provider::synonyms(&event.provider, &event.name);
    if !names.iter().any(|name| route.takes_name(name)) {
        return Ok(Clause::Events);
    }
    match &route.when {
        Some(when) if !when.holds(looked.view()?)? => Ok(Clause::When),
        _ => Ok(Clause::Takes),
    }
}

fn contained_targets(
    routes: &Routes,
    event: &Event,
    route: fn(&Routes, &Event) -> Vec<Target>,
) -> Vec<Target> {
    contained(|| Ok(route(routes, event))).unwrap_or_else(|_| routes.in_doubt(event))
}

#[cfg(test)]
mod tests;
