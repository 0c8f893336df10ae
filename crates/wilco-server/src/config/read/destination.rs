//! A destination: its kind, with the keys of that, and the keys that every destination has.

use wilco::SourceName;
use wilco_delivery::{BreakerPolicy, OnDead, Policy, RetryPolicy, Rule};

use super::{Keys, duration, rate};
use crate::config::{Destination, Kind, SharedSettings};

pub(super) fn read(mut keys: Keys<'_>) -> Option<Destination> {
    let kind = kind(&mut keys);
    let settings = kind.and_then(|kind| (kind.read)(&mut keys));
    read_shared(keys, kind.map_or(1, |kind| kind.concurrency), settings)
}

/// Without a kind none of the keys that only some kinds have is known to be wrong.
fn kind(keys: &mut Keys<'_>) -> Option<&'static Kind> {
    let kinds = keys.kinds();
    let text = keys.text("type");
    if let Some(kind) = text.as_ref().and_then(|text| keys.choose_kind(text.text)) {
        return Some(kind);
    }
    let names = names(kinds);
    match text {
        None => keys.require_such("type", &format!("such as type = {names}")),
        Some(other) => {
            let what = format!("no such type of destination: {:?}", other.text);
            keys.complain_at(&other, what, &names);
        }
    }
    let of_kinds = kinds.iter().flat_map(|kind| kind.keys).map(|key| key.name);
    keys.allow(of_kinds.filter(|name| !name.contains('.')));
    None
}

/// `"command", "http" or "print"`.
fn names(kinds: &[&Kind]) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| format!("{:?}", kind.name)).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The keys that every destination has, whatever its kind.
fn read_shared(
    mut keys: Keys<'_>,
    usual_concurrency: usize,
    settings: Option<SharedSettings>,
) -> Option<Destination> {
    let name = keys.name().to_owned();
    if let Err(error) = SourceName::new(&name) {
        keys.complain(&error.to_string(), "such as [destination.crew-chat]");
    }
    let concurrency = keys.integer("concurrency", 1..=CONCURRENCY_MAX);
    let rate = keys.one("rate", rate);
    let timeout = keys.one("timeout", duration);
    let retry = keys.table("retry").map_or_else(|| Some(RetryPolicy::default()), retry);
    let breaker = keys.table("breaker").map_or_else(|| Some(BreakerPolicy::default()), breaker);
    let order_by = keys.rule("order_by", Rule::new);
    let on_dead = keys.one("on_dead", |text| match text {
        "skip" => Ok(OnDead::Skip),
        "block" => Ok(OnDead::Block),
        _ => Err(format!("{text:?} is neither \"skip\" nor \"block\"")),
    });
    if on_dead.is_some() && order_by.is_none() {
        let hint = "add order_by = \"id\", or leave on_dead out";
        keys.complain_about("on_dead", "on_dead is about those behind in an order".into(), hint);
    }
    keys.finish();
    let retry = retry?;
    let defaults = Destination::new(&name, settings?);
    let policy = Policy {
        concurrency: concurrency.unwrap_or(usual_concurrency),
        rate,
        breaker: breaker?,
        order_by,
        on_dead: on_dead.unwrap_or(OnDead::Skip),
        longest_wait: retry.max,
        retry,
    };
    Some(Destination { timeout: timeout.unwrap_or(defaults.timeout), policy, ..defaults })
}

fn retry(mut keys: Keys<'_>) -> Option<RetryPolicy> {
    let default = RetryPolicy::default();
    let retry = RetryPolicy {
        first: keys.one("first", duration).unwrap_or(default.first),
        factor: keys.number("factor", 1.0..=100.0).unwrap_or(default.factor),
        max: keys.one("max", duration).unwrap_or(default.max),
        give_up_after: keys.one("give_up_after", duration).unwrap_or(default.give_up_after),
    };
    keys.finish();
    Some(retry)
}

fn breaker(mut keys: Keys<'_>) -> Option<BreakerPolicy> {
    let default = BreakerPolicy::default();
    let failures = keys.integer("failures", 1..=FAILURES_MAX).and_then(|n| u32::try_from(n).ok());
    let probe_after = keys.one("probe_after", duration).unwrap_or(default.probe_after);
    let probe_max = keys.one("probe_max", duration);
    if probe_max.is_some_and(|max| max < probe_after) {
        let what = "probe_max is shorter than probe_after".into();
        keys.complain_about("probe_max", what, "make it longer, or leave it out");
    }
    keys.finish();
    Some(BreakerPolicy {
        failures: failures.unwrap_or(default.failures),
        probe_after,
        probe_max: probe_max.unwrap_or(default.probe_max.max(probe_after)),
    })
}

const CONCURRENCY_MAX: usize = 1_024;
const FAILURES_MAX: usize = 1_000_000;
