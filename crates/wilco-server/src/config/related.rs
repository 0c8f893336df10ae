//! Checks that need more than one table, of what is in the file only.

use std::collections::{HashMap, hash_map::Entry};

use wilco_config::{SpannedStr, TableView, duration};
use wilco_destinations::Kinds;

use super::{DUPLICATE_WINDOW, File};

pub(super) fn check(file: &File<'_>, kinds: Kinds) {
    report_shared_addresses(file);
    report_shared_paths(file);
    report_shared_files(file, kinds);
    report_forgotten_duplicates(file);
    warn_about_unused(file);
}

/// Otherwise only a start would find out, when the second of them is in use. The system can choose port 0
/// several times.
fn report_shared_addresses(file: &File<'_>) {
    let mut addresses = Vec::new();
    if let Some((listen, _)) = &file.listen {
        addresses.extend(listen.peek_list("address").into_iter().map(|address| (listen, address)));
    }
    let (admin, _) = &file.admin;
    addresses.extend(admin.peek("address").map(|address| (admin, address)));
    addresses.retain(|(_, address)| address.text.contains(':') && !address.text.ends_with(":0"));
    let message = |first: &str, address: &str| format!("[{first}] listens on {address} too");
    report_repeats(addresses, message, "give each an address of its own");
}

fn report_shared_paths(file: &File<'_>) {
    let health_path = file.listen.as_ref().and_then(|(listen, _)| listen.peek("health_path"));
    let paths = file.sources.iter().filter_map(|(table, _)| Some((table, table.peek("path")?)));
    for (table, path) in paths.clone() {
        if health_path.as_ref().is_some_and(|health| health.text == path.text) {
            let message = format!("[listen] health_path is {} too", path.text);
            table.error_at(&path, message, "give one of them another path");
        }
    }
    let message = |first: &str, path: &str| format!("[{first}] has the path {path} too");
    report_repeats(paths.collect(), message, "give each source a path of its own");
}

fn report_shared_files(file: &File<'_>, kinds: Kinds) {
    let paths = file.destinations.iter().filter_map(|(table, _)| {
        let kind = kinds.find(table.peek("type")?.text)?;
        Some((table, table.peek(kind.written_path?)?))
    });
    let message = |first: &str, path: &str| format!("[{first}] writes to {path} too");
    report_repeats(
        paths.collect(),
        message,
        "give each a file of its own, or one route to one of them",
    );
}

/// A source cannot recognise copies of events that are gone.
fn report_forgotten_duplicates(file: &File<'_>) {
    let Some(records) = file.store.retention.records else { return };
    let hint = "raise keep_records in [store], or lower duplicate_window";
    let store = file.root.inner("store").filter(|store| store.contains("keep_records"));
    for (source, _) in &file.sources {
        let window = source.peek("duplicate_window");
        let window = window.and_then(|window| duration(window.text).ok());
        let is_kept = source.peek("duplicates").is_some_and(|text| text.text == "keep");
        if is_kept || window.unwrap_or(DUPLICATE_WINDOW) <= records {
            continue;
        }
        let Some(store) = &store else {
            let message =
                "duplicates cannot be recognised for longer than [store] keep_records, 180 days";
            source.error_about("duplicate_window", message.into(), hint);
            continue;
        };
        let message = format!(
            "[{}] recognises duplicates for longer than keep_records: what they are recognised by \
             would be gone",
            source.full_name()
        );
        return store.error_about("keep_records", message, hint);
    }
}

/// Of tables with the same text, which only one can have, every one but the first is an error.
fn report_repeats(
    mut texts: Vec<(&TableView<'_>, SpannedStr<'_>)>,
    message: impl Fn(&str, &str) -> String,
    hint: &str,
) {
    texts.sort_by_key(|(_, text)| text.span.start);
    let mut first: HashMap<&str, &str> = HashMap::new();
    for (table, text) in &texts {
        match first.entry(text.text) {
            Entry::Vacant(free) => drop(free.insert(table.full_name())),
            Entry::Occupied(first) => {
                table.error_at(text, message(first.get(), text.text), hint);
            }
        }
    }
}

/// Warns about destinations that get nothing, and about events that go nowhere. What is named counts,
/// also in a route with something wrong.
fn warn_about_unused(file: &File<'_>) {
    if file.routes.is_empty() {
        for (source, _) in &file.sources {
            source.warn_here("no route: its events are recorded and go nowhere", ROUTE_EXAMPLE);
        }
    }
    let routes = || file.routes.iter().map(|(table, _)| table);
    if routes().any(|route| !route.contains("to")) {
        return; // that is an error already, and any of them may have been meant
    }
    let tables = routes().chain(file.alerts.iter().map(|(table, _)| table));
    let named: Vec<_> = tables.flat_map(|table| table.peek_list("to")).collect();
    for (destination, _) in &file.destinations {
        if !named.iter().any(|to| to.text == destination.name()) {
            let message = format!("nothing goes to {}: no route names it", destination.name());
            let hint = format!("such as [[route]] with to = [{:?}]", destination.name());
            destination.warn_here(&message, &hint);
        }
    }
}

const ROUTE_EXAMPLE: &str = "such as [[route]] with to = [\"name-of-a-destination\"]";
