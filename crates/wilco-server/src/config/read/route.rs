//! A route: which events go where.

use globset::{GlobBuilder, GlobSetBuilder};
use wilco::SourceName;
use wilco_config::{TableReader, duration};
use wilco_delivery::{Debounce, Route, Rule};

use super::{Names, known};
use crate::config::BURST_QUIETS;

pub(super) fn read(mut keys: TableReader<'_>, names: &Names) -> Option<Route> {
    let from = keys.parse("from", |text| known(text, "source", &names.sources));
    let to = keys.parse_list("to", |text| known(text, "destination", &names.destinations));
    if to.is_none() {
        keys.require("to");
    }
    let globs = keys.parse_list("events", |text| match GlobBuilder::new(text).build() {
        Ok(glob) => Ok((text.to_owned(), glob)),
        Err(error) => Err(format!("invalid glob {text:?}: {}", error.kind())),
    });
    let all = || GlobBuilder::new("*").build().map(|glob| ("*".into(), glob)).into_iter().collect();
    let globs: Vec<_> = globs.unwrap_or_else(all);
    let mut events = GlobSetBuilder::new();
    for (_, glob) in &globs {
        events.add(glob.clone());
    }
    let when = keys.template("when", Rule::parse);
    let debounce = keys.inner("debounce").map(debounce);
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

fn debounce(mut keys: TableReader<'_>) -> Option<Debounce> {
    let by = keys.template("by", Rule::parse);
    if by.is_none() {
        keys.require("by");
    }
    let quiet = keys.parse("quiet", duration);
    if quiet.is_none() {
        keys.require("quiet");
    }
    let at_most = keys.parse("at_most", duration);
    if at_most.zip(quiet).is_some_and(|(at_most, quiet)| at_most < quiet) {
        let what = "at_most is shorter than quiet".into();
        keys.error_about("at_most", what, "make it longer, or leave it out");
    }
    keys.finish();
    let quiet = quiet?;
    let at_most = at_most.unwrap_or_else(|| quiet.saturating_mul(BURST_QUIETS));
    Some(Debounce { by: by?, quiet, at_most })
}
