//! Checks that need more than one table.

use std::collections::{HashMap, hash_map::Entry};

use wilco_config::{SpannedStr, TableReader};
use wilco_delivery::{AlertPolicy, Route};
use wilco_destinations::{DestinationConfig, Kinds};

use super::{Read, Source};

pub(super) fn paths_differ(sources: &Read<'_, Source>, health_path: Option<&str>) {
    let paths = sources.iter().filter_map(|(keys, _)| Some((keys, keys.peek("path")?)));
    for (keys, path) in paths.clone().filter(|(_, path)| Some(path.text) == health_path) {
        let message = format!("[listen] health_path is {} too", path.text);
        keys.error_at(&path, message, "give one of them another path");
    }
    let message = |first: &str, path: &str| format!("[{first}] has the path {path} too");
    differ(paths.collect(), message, "give each source a path of its own");
}

pub(super) fn written_paths_differ(destinations: &Read<'_, DestinationConfig>, kinds: Kinds) {
    let paths = destinations.iter().filter_map(|(keys, _)| {
        let kind = kinds.find(keys.peek("type")?.text)?;
        Some((keys, keys.peek(kind.written_path?)?))
    });
    let message = |first: &str, path: &str| format!("[{first}] writes to {path} too");
    differ(paths.collect(), message, "give each a file of its own, or one route to one of them");
}

/// Of tables with the same text, which only one can have, every one but the first is an error.
fn differ(
    mut texts: Vec<(&TableReader<'_>, SpannedStr<'_>)>,
    message: impl Fn(&str, &str) -> String,
    hint: &str,
) {
    texts.sort_by_key(|(_, text)| text.span.start);
    let mut first: HashMap<&str, &str> = HashMap::new();
    for (keys, text) in &texts {
        match first.entry(text.text) {
            Entry::Vacant(free) => drop(free.insert(keys.full_name())),
            Entry::Occupied(first) => {
                keys.error_at(text, message(first.get(), text.text), hint);
            }
        }
    }
}

/// Warns about destinations that get nothing, and about events that go nowhere. What is named counts,
/// also in a route with something wrong.
pub(super) fn unused(
    sources: &Read<'_, Source>,
    destinations: &Read<'_, DestinationConfig>,
    routes: &Read<'_, Route>,
    alerts: &Read<'_, AlertPolicy>,
) {
    if routes.is_empty() {
        for (source, _) in sources {
            source.warn_here("no route: its events are recorded and go nowhere", ROUTE_EXAMPLE);
        }
    }
    if routes.iter().any(|(keys, _)| !keys.contains("to")) {
        return; // that is an error already, and any of them may have been meant
    }
    let tables = routes.iter().map(|(keys, _)| keys).chain(alerts.iter().map(|(keys, _)| keys));
    let named: Vec<_> = tables.flat_map(|keys| keys.peek_list("to")).collect();
    for (destination, _) in destinations {
        if !named.iter().any(|to| to.text == destination.name()) {
            let message = format!("nothing goes to {}: no route names it", destination.name());
            let hint = format!("such as [[route]] with to = [{:?}]", destination.name());
            destination.warn_here(&message, &hint);
        }
    }
}

const ROUTE_EXAMPLE: &str = "such as [[route]] with to = [\"name-of-a-destination\"]";
