//! `[destination.NAME]`: its kind, with the keys of that, and the keys that every destination has.

use std::time::Duration;

use wilco::SourceName;
use wilco_config::{
    Form, Key, Table, TableReader, TableView, Unresolved, ValueType, choice_hint, duration, one_of,
    rate,
};
use wilco_delivery::{BreakerPolicy, OnDead, Policy, RateLimit, RetryPolicy, Rule};
use wilco_destinations::{DestinationConfig, Kind, Kinds, SharedSettings};

pub(super) static TABLE: Table = Table {
    name: "destination",
    form: Form::Named("crew-chat"),
    without: None,
    keys: &[
        Key::new("type", ValueType::Text, "\"http\"").required().doc("its kind"),
        Key::new("timeout", ValueType::Duration, "\"30 s\"")
            .default("\"30 s\"")
            .doc("how long one attempt may take"),
        Key::new("concurrency", ValueType::Integer(1, CONCURRENCY_MAX), "2")
            .absence("1; `\"http\"`: 8; `\"file\"`: 64")
            .doc("attempts that run at the same time, 1 to 1,024"),
        Key::new("rate", ValueType::Rate, "\"10/s\"")
            .doc("attempts that may begin: `\"10/s\"`, `\"100/min\"`, `\"1000/h\"`"),
        Key::new(
            "retry",
            ValueType::Table("retry", RETRY),
            "{ first = \"5 s\", factor = 2.0, max = \"1 h\", give_up_after = \"24 h\" }",
        )
        .absence("its defaults")
        .doc("when a failed attempt is [made again](deliveries.md#retry)"),
        Key::new(
            "breaker",
            ValueType::Table("breaker", BREAKER),
            "{ failures = 10, probe_after = \"30 s\", probe_max = \"5 min\" }",
        )
        .absence("its defaults")
        .doc(
            "when the [circuit breaker](deliveries.md#concurrency-rate-breaker) \
             pauses it",
        ),
        Key::new("order_by", ValueType::Expression, "\"id\"").doc(
            "events for which it gives the same key are delivered [one after \
             another](deliveries.md#order)",
        ),
        Key::new("on_dead", ValueType::OneOf(&["skip", "block"]), "\"skip\"")
            .default("\"skip\"")
            .doc(
                "`\"skip\"` or `\"block\"`: what a dead delivery does to those behind it \
                 in an order",
            ),
    ],
};

const RETRY: &[Key] = &[
    Key::new("first", ValueType::Duration, "\"5 s\"")
        .default("\"5 s\"")
        .doc("the wait after the first failure"),
    Key::new("factor", ValueType::Number(1.0, 100.0), "2.0")
        .default("2.0")
        .doc("by which each wait is longer than the one before, 1 to 100"),
    Key::new("max", ValueType::Duration, "\"1 h\"").default("\"1 h\"").doc("the longest wait"),
    Key::new("give_up_after", ValueType::Duration, "\"24 h\"")
        .default("\"24 h\"")
        .doc("when a delivery becomes dead"),
];

const BREAKER: &[Key] = &[
    Key::new("failures", ValueType::Integer(1, 1_000_000), "10")
        .default("10")
        .doc("failures in a row that open it, 1 to 1,000,000"),
    Key::new("probe_after", ValueType::Duration, "\"30 s\"")
        .default("\"30 s\"")
        .doc("when it lets the first attempt through"),
    Key::new("probe_max", ValueType::Duration, "\"5 min\"")
        .default("\"5 min\"")
        .doc("the longest wait between such attempts"),
];

/// The table as the file has it.
pub(super) struct DestinationInFile {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) policy: Policy,
    timeout: Option<Duration>,
    settings: Unresolved<SharedSettings>,
}

impl DestinationInFile {
    pub(super) fn resolve(self, table: &TableView<'_>) -> Option<DestinationConfig> {
        let Self { name, kind: _, policy, timeout, settings } = self;
        let defaults = DestinationConfig::new(&name, settings.resolve(table)?);
        Some(DestinationConfig { timeout: timeout.unwrap_or(defaults.timeout), policy, ..defaults })
    }
}

pub(super) fn read(keys: &mut TableReader<'_>, kinds: Kinds) -> Option<DestinationInFile> {
    let kind = kind(keys, kinds);
    let settings = kind.map(|kind| (kind.read)(keys));
    let name = keys.name().to_owned();
    if let Err(error) = SourceName::new(&name) {
        keys.error_here(&error.to_string(), "such as [destination.crew-chat]");
    }
    let timeout = keys.parse("timeout", duration);
    let policy = policy(keys, kind.map_or(1, |kind| kind.concurrency));
    Some(DestinationInFile { name, kind: kind?.name, policy, timeout, settings: settings? })
}

fn kind(keys: &mut TableReader<'_>, kinds: Kinds) -> Option<&'static Kind> {
    let text = keys.text("type");
    if let Some(kind) = text.as_ref().and_then(|text| kinds.find(text.text)) {
        keys.add_keys(kind.keys);
        return Some(kind);
    }
    let names: Vec<_> = kinds.0.iter().map(|kind| kind.name).collect();
    match text {
        None => keys.require_with_hint("type", &format!("such as type = {}", one_of(&names))),
        Some(other) => {
            let message = format!("no such type of destination: {:?}", other.text);
            keys.error_at(&other, message, &choice_hint(other.text, &names));
        }
    }
    // Without a kind, no key that some kind has can be called unknown.
    keys.add_keys(kinds.0.iter().flat_map(|kind| kind.keys));
    None
}

/// The keys that say how deliveries are treated, whatever the kind.
fn policy(keys: &mut TableReader<'_>, usual_concurrency: usize) -> Policy {
    let concurrency = keys.integer("concurrency").unwrap_or(usual_concurrency);
    let rate = keys.parse("rate", rate).map(|(count, per)| RateLimit { count, per });
    let retry = keys.table("retry", retry).unwrap_or_default();
    let breaker = keys.table("breaker", breaker).unwrap_or_default();
    let order_by = keys.template("order_by", Rule::parse);
    let on_dead = keys.one_of("on_dead", &[("skip", OnDead::Skip), ("block", OnDead::Block)]);
    if on_dead.is_some() && order_by.is_none() {
        let hint = "add order_by = \"id\", or leave on_dead out";
        keys.error_about("on_dead", "on_dead needs order_by".into(), hint);
    }
    let on_dead = on_dead.unwrap_or(OnDead::Skip);
    Policy { concurrency, rate, breaker, order_by, on_dead, longest_wait: retry.max, retry }
}

fn retry(keys: &mut TableReader<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    RetryPolicy {
        first: keys.parse("first", duration).unwrap_or(default.first),
        factor: keys.number("factor").unwrap_or(default.factor),
        max: keys.parse("max", duration).unwrap_or(default.max),
        give_up_after: keys.parse("give_up_after", duration).unwrap_or(default.give_up_after),
    }
}

fn breaker(keys: &mut TableReader<'_>) -> BreakerPolicy {
    let default = BreakerPolicy::default();
    let failures = keys.integer("failures").unwrap_or(default.failures);
    let probe_after = keys.parse("probe_after", duration).unwrap_or(default.probe_after);
    let probe_max = keys.parse("probe_max", duration);
    if probe_max.is_some_and(|max| max < probe_after) {
        let what = "probe_max is shorter than probe_after".into();
        keys.error_about("probe_max", what, "make it longer, or leave it out");
    }
    let probe_max = probe_max.unwrap_or(default.probe_max.max(probe_after));
    BreakerPolicy { failures, probe_after, probe_max }
}

/// Attempts that may run at the same time, at the most.
const CONCURRENCY_MAX: u64 = 1_024;
