//! Warnings about rules, in the light of what a provider documents.

use wilco::{ArrayPath, provider};
use wilco_config::TableView;
use wilco_delivery::{Route, unmatched};

use super::{DestinationConfig, InFile, Source};

/// Warns about events, conditions and templates that cannot mean what they say.
pub(super) fn about_rules(
    sources: &[InFile<'_, Option<Source>>],
    routes: &[InFile<'_, Option<Route>>],
    destinations: &[InFile<'_, Option<DestinationConfig>>],
) {
    let sources: Vec<_> = sources.iter().filter_map(|(_, source)| source.as_ref()).collect();
    for (table, route) in routes {
        if let Some(route) = route.as_ref().filter(|route| is_documented(route, &sources)) {
            about_route(table, route);
        }
    }
    for (table, route) in routes {
        if let Some(route) = route {
            about_split(table, route, &sources);
        }
    }
    for (table, destination) in destinations {
        let Some(destination) = destination else { continue };
        let leads_here = |route: &&Route| route.to.contains(&destination.name);
        let routes = routes.iter().filter_map(|(_, route)| route.as_ref());
        let routes: Vec<_> = routes.filter(leads_here).collect();
        if routes.iter().all(|route| is_documented(route, &sources)) {
            about_destination(table, destination, &routes);
        }
    }
}

/// Whether all that the route sees comes from a provider of which there are samples.
fn is_documented(route: &Route, sources: &[&Source]) -> bool {
    let mut from =
        sources.iter().filter(|source| route.from.as_ref().is_none_or(|f| *f == source.name));
    from.all(|source| source.provider.name == SAMPLED)
}

fn takes(route: &Route, event: &str) -> bool {
    provider::synonyms(SAMPLED, event).iter().any(|name| route.takes_name(name))
}

/// Warns where a route splits its events by another array than its provider documents.
fn about_split(table: &TableView<'_>, route: &Route, sources: &[&Source]) {
    let Some(split) = &route.split else { return };
    let from =
        sources.iter().filter(|source| route.from.as_ref().is_none_or(|f| *f == source.name));
    for Source { provider, .. } in from {
        let name = &provider.name;
        let (message, hint) = match provider.batch() {
            Some(batch) if ArrayPath::try_from(batch).as_ref() == Ok(split) => continue,
            Some(batch) => (
                format!("{name} puts its events into another array"),
                format!("probably split = {batch:?}"),
            ),
            None => (
                format!("{name} is not known to send several events in one request"),
                "leave split out, unless you know of an array in its bodies".into(),
            ),
        };
        return table.warn_about("split", message, &hint);
    }
}

fn about_route(table: &TableView<'_>, route: &Route) {
    for glob in &route.events {
        let is_match =
            |event: &str| provider::synonyms(SAMPLED, event).iter().any(|name| glob.is_match(name));
        if let Some(advice) = unmatched(glob.glob().glob(), &is_match) {
            table.warn_about("events", advice.message, &advice.hint);
        }
    }
    let is_about = |event: &str| takes(route, event);
    if let Some(when) = &route.when {
        let advice = when.advice(&is_about);
        table.advise("when", advice);
    }
    if let Some(debounce) = &route.debounce
        && let Some(inner) = table.inner("debounce")
    {
        inner.advise("by", debounce.by.advice(&is_about));
    }
}

fn about_destination(table: &TableView<'_>, destination: &DestinationConfig, routes: &[&Route]) {
    let is_about = |event: &str| routes.iter().any(|route| takes(route, event));
    if let Some(rule) = &destination.policy.order_by {
        table.advise("order_by", rule.advice(&is_about));
    }
    destination.settings.advise(table, &is_about);
}

/// The provider of which there are samples.
const SAMPLED: &str = "freispace";
