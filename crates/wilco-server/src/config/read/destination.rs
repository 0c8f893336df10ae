//! The keys that every destination has, whatever it is.

use wilco::SourceName;

use super::{Keys, duration, rate};
use crate::{
    config::{Breaker, Destination, Kind, OnDead, Retry},
    rules::Rule,
};

pub(super) fn read(mut keys: Keys<'_>, kind: Option<Kind>) -> Option<Destination> {
    let name = keys.name().to_owned();
    if let Err(error) = SourceName::new(&name) {
        keys.complain(&error.to_string(), "such as [destination.crew-chat]");
    }
    let concurrency = keys.integer("concurrency", 1..=CONCURRENCY_MAX);
    let rate = keys.one("rate", rate);
    let timeout = keys.one("timeout", duration);
    let retry = keys.table("retry").map_or_else(|| Some(Retry::default()), retry);
    let breaker = keys.table("breaker").map_or_else(|| Some(Breaker::default()), breaker);
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
    let (kind, retry) = (kind?, retry?);
    let defaults = Destination::new(&name, kind);
    let usual = match defaults.kind {
        Kind::Http { .. } => HTTP_CONCURRENCY,
        _ => defaults.concurrency,
    };
    Some(Destination {
        timeout: timeout.unwrap_or(defaults.timeout),
        concurrency: concurrency.unwrap_or(usual),
        rate,
        breaker: breaker?,
        order_by,
        on_dead: on_dead.unwrap_or(OnDead::Skip),
        longest_wait: retry.max,
        retry,
        ..defaults
    })
}

fn retry(mut keys: Keys<'_>) -> Option<Retry> {
    let default = Retry::default();
    let retry = Retry {
        first: keys.one("first", duration).unwrap_or(default.first),
        factor: keys.number("factor", 1.0..=100.0).unwrap_or(default.factor),
        max: keys.one("max", duration).unwrap_or(default.max),
        give_up_after: keys.one("give_up_after", duration).unwrap_or(default.give_up_after),
    };
    keys.finish();
    Some(retry)
}

fn breaker(mut keys: Keys<'_>) -> Option<Breaker> {
    let default = Breaker::default();
    let failures = keys.integer("failures", 1..=FAILURES_MAX).and_then(|n| u32::try_from(n).ok());
    let probe_after = keys.one("probe_after", duration).unwrap_or(default.probe_after);
    let probe_max = keys.one("probe_max", duration);
    if probe_max.is_some_and(|max| max < probe_after) {
        let what = "probe_max is shorter than probe_after".into();
        keys.complain_about("probe_max", what, "make it longer, or leave it out");
    }
    keys.finish();
    Some(Breaker {
        failures: failures.unwrap_or(default.failures),
        probe_after,
        probe_max: probe_max.unwrap_or(default.probe_max.max(probe_after)),
    })
}

const HTTP_CONCURRENCY: usize = 8;
const CONCURRENCY_MAX: usize = 1_024;
const FAILURES_MAX: usize = 1_000_000;
