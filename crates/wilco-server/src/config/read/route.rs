//! A route: which events go where.

use globset::{GlobBuilder, GlobSetBuilder};
use wilco::SourceName;
use wilco_delivery::{Debounce, Route, Rule};

use super::{Keys, Names, duration, known};
use crate::config::BURST_QUIETS;

pub(super) fn read(mut keys: Keys<'_>, names: &Names) -> Option<Route> {
    let from = keys.one("from", |text| known(text, "source", &names.sources));
    let to = keys.each("to", |text| known(text, "destination", &names.destinations));
    if to.is_none() {
        keys.require("to");
    }
    let globs = keys.each("events", |text| match GlobBuilder::new(text).build() {
        Ok(glob) => Ok((text.to_owned(), glob)),
        Err(error) => Err(format!("{text:?} is no glob: {}", error.kind())),
    });
    let all = || GlobBuilder::new("*").build().map(|glob| ("*".into(), glob)).into_iter().collect();
    let globs: Vec<_> = globs.unwrap_or_else(all);
    let mut events = GlobSetBuilder::new();
    for (_, glob) in &globs {
        events.add(glob.clone());
    }
    let when = keys.rule("when", Rule::new);
    let debounce = keys.table("debounce").map(debounce);
    keys.finish();
    Some(Route {
        from: from.map(|name| SourceName::new(&name)).transpose().ok()?,
        events: events.build().ok()?,
        globs: globs.into_iter().map(|(text, _)| text).collect(),
        when,
        debounce: debounce.map_or(Some(None), |debounce| debounce.map(Some))?,
        to: to?,
    })
}

fn debounce(mut keys: Keys<'_>) -> Option<Debounce> {
    let by = keys.rule("by", Rule::new);
    if by.is_none() {
        keys.require("by");
    }
    let quiet = keys.one("quiet", duration);
    if quiet.is_none() {
        keys.require("quiet");
    }
    let at_most = keys.one("at_most", duration);
    if at_most.zip(quiet).is_some_and(|(at_most, quiet)| at_most < quiet) {
        let what = "at_most is shorter than quiet".into();
        keys.complain_about("at_most", what, "make it longer, or leave it out");
    }
    keys.finish();
    let quiet = quiet?;
    let at_most = at_most.unwrap_or_else(|| quiet.saturating_mul(BURST_QUIETS));
    Some(Debounce { by: by?, quiet, at_most })
}
