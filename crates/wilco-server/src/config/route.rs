//! `[[route]]`: which events go where.

use globset::Glob;
use wilco::{ArrayPath, SourceName};
use wilco_config::{Form, Key, Table, TableReader, ValueType, duration};
use wilco_delivery::{Debounce, Route, Rule};

use super::Names;

pub(super) static TABLE: Table = Table {
    name: "route",
    form: Form::List,
    without: None,
    keys: &[
        Key::new("from", ValueType::Text, "\"freispace\"")
            .absence("every source")
            .doc("the name of a source"),
        Key::new("events", ValueType::ListOf(&ValueType::Text), "[\"booking.*\"]")
            .absence("every event")
            .doc("globs over the name: `booking.*`, `*.created`, `{offer,invoice}.*`"),
        Key::new("split", ValueType::Text, "\"events\"")
            .absence("the whole event")
            .doc("the path of an array in the body, `\"\"` where the body is one: each item is [a delivery of its own](deliveries.md#batches)"),
        Key::new("when", ValueType::Expression, "'data.status.name == \"Confirmed\"'")
            .absence("every event")
            .doc("a condition on what is in the event, or in the item"),
        Key::new(
            "debounce",
            ValueType::Table("debounce", DEBOUNCE),
            "{ by = \"id\", quiet = \"30 s\", at_most = \"5 min\" }",
        )
        .doc("delivers only the last event of a [burst](deliveries.md#debounce)"),
        Key::new("to", ValueType::ListOf(&ValueType::Text), "[\"name-of-a-destination\"]")
            .required()
            .doc("the names of destinations"),
    ],
};

const DEBOUNCE: &[Key] = &[
    Key::new("by", ValueType::Expression, "\"id\"")
        .required()
        .doc("events for which it gives the same key are one burst"),
    Key::new("quiet", ValueType::Duration, "\"30 s\"")
        .required()
        .doc("the burst ends when no event has arrived for this long"),
    Key::new("at_most", ValueType::Duration, "\"5 min\"")
        .absence("ten times `quiet`")
        .doc("the longest burst"),
];

pub(super) fn read(keys: &mut TableReader<'_>, names: &Names) -> Option<Route> {
    let from = keys.parse("from", |text| names.source(text));
    let to = keys.parse_list("to", |text| names.destination(text));
    let events = keys.parse_list("events", |text| match Glob::new(text) {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => Err(format!("invalid glob {text:?}: {}", error.kind())),
    });
    let all = || Glob::new("*").iter().map(Glob::compile_matcher).collect();
    let split = keys.parse("split", |path| ArrayPath::try_from(path));
    let when = keys.template("when", Rule::parse);
    let debounce = keys.table("debounce", debounce);
    Some(Route {
        from: from.map(|name| SourceName::new(&name)).transpose().ok()?,
        events: events.unwrap_or_else(all),
        split,
        when,
        debounce: debounce.map_or(Some(None), |debounce| debounce.map(Some))?,
        to: to?,
    })
}

fn debounce(keys: &mut TableReader<'_>) -> Option<Debounce> {
    let by = keys.template("by", Rule::parse);
    let quiet = keys.parse("quiet", duration);
    let at_most = keys.parse("at_most", duration);
    if at_most.zip(quiet).is_some_and(|(at_most, quiet)| at_most < quiet) {
        let what = "at_most is shorter than quiet".into();
        keys.error_about("at_most", what, "make it longer, or leave it out");
    }
    let quiet = quiet?;
    let at_most = at_most.unwrap_or_else(|| quiet.saturating_mul(BURST_QUIETS));
    Some(Debounce { by: by?, quiet, at_most })
}

/// How many times its `quiet` a burst lasts at the most, unless `at_most` says otherwise.
const BURST_QUIETS: u32 = 10;
