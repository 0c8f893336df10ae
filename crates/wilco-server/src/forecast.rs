//! What a configuration would deliver about a recorded event, and how that differs from another configuration.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Serialize;
use wilco::{Event, Item};
use wilco_delivery::{Clause, Routes};
use wilco_destinations::{Kinds, PreviewPart, PreviewValue, SharedSettings};
use wilco_store::Target;

use crate::config::{self, Diagnostics};

/// A configuration file, as far as it decides about deliveries.
pub struct Forecast {
    routes: Routes,
    /// The type of each destination, and its settings if everything that they name was found.
    destinations: BTreeMap<String, (&'static str, Option<SharedSettings>)>,
    unresolved: Vec<String>,
}

/// How the deliveries of one event to one destination differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The name of the destination.
    pub destination: String,
    /// The number of the item, if a route splits the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Whether the delivery is new, gone, or another.
    pub change: Change,
    /// The position of the route that takes the event there, from 1: in the candidate, or, if the delivery is
    /// gone, in the file that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<usize>,
    /// What differs.
    pub parts: Vec<PartDifference>,
}

/// What happens to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the candidate has it.
    Added,
    /// The candidate does not have it.
    Gone,
    /// Both have it, and it is not the same.
    Changed,
}

/// A part of a delivery that differs. Secrets are compared and not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartDifference {
    /// The name of the part, as the file has it where it is a key.
    pub name: String,
    /// What it is without the candidate, if there is one.
    pub before: Option<String>,
    /// What it is with the candidate, if there is one.
    pub after: Option<String>,
}

impl Forecast {
    /// Reads a file. Secrets that cannot be found are not an error: what a destination would be given is not
    /// compared then.
    ///
    /// # Errors
    ///
    /// Every error and warning about the file.
    pub fn read(path: &Path, kinds: Kinds) -> Result<Self, Diagnostics> {
        let (outline, resolved, unresolved) = config::outline_with_settings(path, kinds)?;
        let policies = outline.destinations.iter();
        let policies = policies.map(|(name, _, policy)| (name.as_str(), policy));
        let routes = Routes::new(&outline.routes, policies);
        let mut settings: BTreeMap<_, _> =
            resolved.into_iter().map(|found| (found.name, found.settings)).collect();
        let destinations = outline.destinations.into_iter();
        let destinations = destinations.map(|(name, kind, _)| {
            let settings = settings.remove(&name);
            (name, (kind, settings))
        });
        let destinations = destinations.collect();
        Ok(Self { routes, destinations, unresolved: unresolved.lines().collect() })
    }

    /// Why what some destinations would be given is not compared, a line for each reason.
    pub fn unresolved(&self) -> &[String] {
        &self.unresolved
    }

    /// The names of its destinations.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        self.destinations.keys().map(String::as_str)
    }

    /// The targets of an event, by destination and number of the item.
    fn targets(&self, event: &Event) -> BTreeMap<(String, Option<u32>), Target> {
        let targets = self.routes.route(event).into_iter();
        let key = |target: &Target| {
            let number = target.item.map(|item| item.number);
            (target.destination.clone(), number)
        };
        targets.map(|target| (key(&target), target)).collect()
    }

    /// The position of the first route that takes an event to a destination.
    fn route_to(&self, event: &Event, destination: &str) -> Option<usize> {
        let takes = |clause: &Clause| match clause {
            Clause::Takes | Clause::Fails(_) | Clause::Unsplit(_) => true,
            Clause::Splits { takes, fails, .. } => takes + fails > 0,
            Clause::From | Clause::Events | Clause::When => false,
        };
        let decisions = self.routes.why(event).into_iter().zip(1..);
        let mut taken = decisions.filter(|((route, clause), _)| {
            takes(clause) && route.to.iter().any(|to| to == destination)
        });
        taken.next().map(|(_, number)| number)
    }

    /// The parts of a delivery that both files can be compared in: without what a destination would be given
    /// where its settings are not known.
    fn parts(&self, event: &Event, target: &Target, with_settings: bool) -> Vec<PreviewPart> {
        let Some((kind, settings)) = self.destinations.get(&target.destination) else {
            return Vec::new();
        };
        let mut parts = vec![PreviewPart::text("type", *kind)];
        parts.extend(timing(target));
        if let Some(settings) = settings.as_ref().filter(|_| with_settings) {
            let preview = part_of(event, target.item).and_then(|event| settings.preview(&event));
            match preview {
                Ok(preview) => parts.extend(preview),
                Err(why) => parts.push(PreviewPart::text("cannot be sent", why)),
            }
        }
        parts
    }

    fn has_settings(&self, destination: &str) -> bool {
        self.destinations.get(destination).is_none_or(|(_, settings)| settings.is_some())
    }
}

/// How the deliveries of an event would differ, by destination and item.
pub fn differences(current: &Forecast, candidate: &Forecast, event: &Event) -> Vec<Difference> {
    let (mut before, after) = (current.targets(event), candidate.targets(event));
    let mut found = Vec::new();
    for (key, after) in after {
        let name = &key.0;
        let before = before.remove(&key);
        let with_settings = current.has_settings(name) && candidate.has_settings(name);
        let old = before.as_ref().map(|old| current.parts(event, old, with_settings));
        let change = if old.is_some() { Change::Changed } else { Change::Added };
        let new = candidate.parts(event, &after, with_settings);
        let parts = differing(&old.unwrap_or_default(), &new);
        if change == Change::Added || !parts.is_empty() {
            let route = candidate.route_to(event, name);
            let (destination, item) = key;
            found.push(Difference { destination, item, change, route, parts });
        }
    }
    for ((destination, item), target) in before {
        let route = current.route_to(event, &destination);
        let parts = differing(&current.parts(event, &target, true), &[]);
        found.push(Difference { destination, item, change: Change::Gone, route, parts });
    }
    found.sort_by(|a, b| (&a.destination, a.item).cmp(&(&b.destination, b.item)));
    found
}

/// The event, or the item of it that is delivered.
fn part_of(event: &Event, item: Option<Item>) -> Result<Event, String> {
    match item {
        Some(item) => event.item(item).map_err(|error| format!("the item cannot be read: {error}")),
        None => Ok(event.clone()),
    }
}

/// What a delivery waits for.
fn timing(target: &Target) -> Vec<PreviewPart> {
    let mut parts = Vec::new();
    parts.extend(target.order_key.iter().map(|key| PreviewPart::text("order_by", key)));
    if let Some(burst) = &target.burst {
        parts.push(PreviewPart::text("debounce.by", &burst.key));
        parts.push(PreviewPart::text("debounce.quiet", seconds(burst.quiet)));
        parts.push(PreviewPart::text("debounce.at_most", seconds(burst.at_most)));
    }
    if target.needs_reevaluation {
        parts.push(PreviewPart::text("route", "could not be decided"));
    }
    parts
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// The parts that differ, in the order of the new ones. Parts of one name are compared in their order.
fn differing(old: &[PreviewPart], new: &[PreviewPart]) -> Vec<PartDifference> {
    let mut left: Vec<_> = old.iter().collect();
    let mut found = Vec::new();
    for part in new {
        let before = left.iter().position(|old| old.name == part.name).map(|at| left.remove(at));
        if before.is_some_and(|before| before.value == part.value) {
            continue;
        }
        let is_hidden = |part: &PreviewPart| matches!(part.value, PreviewValue::Secret(_));
        let after = match before.is_some_and(is_hidden) && is_hidden(part) {
            true => "(another secret)".into(),
            false => shown(part),
        };
        let before = before.map(shown);
        found.push(PartDifference { name: part.name.clone(), before, after: Some(after) });
    }
    let gone = left.into_iter();
    found.extend(gone.map(|part| PartDifference {
        name: part.name.clone(),
        before: Some(shown(part)),
        after: None,
    }));
    found
}

fn shown(part: &PreviewPart) -> String {
    match &part.value {
        PreviewValue::Text(text) => text.clone(),
        PreviewValue::Secret(_) => "(secret)".into(),
    }
}
