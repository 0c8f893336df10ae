//! The page that says at a glance whether all is well, and if not, what to look at.

use std::{fmt::Write as _, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use jiff::Timestamp;

use super::{
    super::{
        Activity, DestinationStatus, FailureGroup, Latency, Overview, PAGE_ITEMS_MAX, StoreContents,
    },
    CAUSES_MAX, Cause, Dashboard, Layout, Parameters, Problem, count, duration, held, plural,
    plural_of, relative,
};
use crate::readable::{size, span};

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'p> {
    layout: &'p Layout,
    overview: &'p Overview,
    store: StoreContents,
    concerns: Vec<Concern<'p>>,
    /// Events in each minute of the last hour.
    events: Bars,
    /// How long the slowest acknowledgements of each minute took.
    ack: Bars,
    ack_hour: Option<Latency>,
    backlog: u64,
    earliest_due_at: Option<Timestamp>,
    dead: u64,
}

/// Something to look at.
struct Concern<'f> {
    /// `alarm` or `warning`.
    kind: &'static str,
    text: String,
    /// The most frequent failure.
    cause: Option<&'f Cause<'f>>,
    link: Option<Link>,
}

#[derive(Clone)]
struct Link {
    words: &'static str,
    /// What they are about, which those who see the page see above.
    about: String,
    url: String,
}

/// A small chart.
struct Bars {
    /// The path of an SVG that is 60 wide and 20 high.
    path: String,
    /// The highest of its values.
    most: String,
    /// What it shows, in words.
    label: String,
}

pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
) -> Result<Response, Problem> {
    let overview: Overview = dashboard.get("/api/v1/overview").await?;
    let store = dashboard.get("/api/v1/store").await?;
    let failures = dashboard.main_failures(&overview.destinations).await?;
    let mut causes = Vec::new();
    for group in &failures {
        causes.push(dashboard.cause(group).await);
    }
    let sum =
        |number: fn(&DestinationStatus) -> u64| overview.destinations.iter().map(number).sum();
    let events: Vec<_> = overview.minutes.iter().map(|minute| precise(minute.events)).collect();
    let ack = overview.minutes.iter();
    let ack: Vec<_> = ack.map(|minute| minute.ack.map_or(0.0, |ack| ack.p99_ms)).collect();
    Ok(layout.page(&OverviewPage {
        layout: &layout,
        concerns: concerns(&overview, &causes),
        events: Bars::new(&events, "Events a minute in the last hour", |most| format!("{most:.0}")),
        ack: Bars::new(&ack, "99th percentile of each minute in the last hour", duration),
        ack_hour: overview.last_hour.as_ref().and_then(|hour| hour.ack),
        backlog: sum(|to| to.pending + to.running + to.retrying),
        earliest_due_at: overview.destinations.iter().filter_map(|to| to.earliest_due_at).min(),
        dead: sum(|to| to.dead),
        overview: &overview,
        store,
    }))
}

impl Bars {
    fn new(values: &[f64], what: &str, text: impl FnOnce(&f64) -> String) -> Self {
        let most = values.iter().copied().fold(0.0, f64::max);
        let mut path = String::new();
        let first = HOUR_MINUTES.saturating_sub(values.len());
        for (at, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let height = (value / most * 20.0).max(1.0);
            // Writing to a text in memory does not fail.
            let _ = write!(path, "M{} {:.1}h.7V20h-.7z", first + at, 20.0 - height);
        }
        let most = text(&most);
        Self { path, label: format!("{what}, at most {most}"), most }
    }
}

impl Dashboard {
    /// The largest group of failures of each destination that has any.
    async fn main_failures(
        &self,
        destinations: &[DestinationStatus],
    ) -> Result<Vec<FailureGroup>, Problem> {
        if destinations.iter().all(|to| to.dead == 0 && to.failures == 0) {
            return Ok(Vec::new());
        }
        let all = Parameters::default().with("limit", &PAGE_ITEMS_MAX.to_string());
        let failures = self.failures(&all).await?;
        let mut main: Vec<FailureGroup> = Vec::new();
        for group in failures.items {
            if main.iter().all(|other| other.destination != group.destination) {
                main.push(group);
            }
        }
        main.truncate(CAUSES_MAX);
        Ok(main)
    }
}

fn concerns<'f>(overview: &Overview, causes: &'f [Cause<'f>]) -> Vec<Concern<'f>> {
    let mut concerns = Vec::new();
    let mut add =
        |kind, text: String, link| concerns.push(Concern { kind, text, link, cause: None });
    let now = overview.now;
    if let Some(why) = &overview.unready {
        add("alarm", format!("Nothing can be received: {why}"), None);
    }
    let store = &overview.store;
    if store.damaged_events > 0 {
        let count = plural(store.damaged_events, "event");
        add("alarm", format!("{count} damaged on disk; see `wilco events list`"), None);
    }
    if let (true, Some(free), Some(reserve)) =
        (store.is_space_low(), store.free_bytes, store.reserve_bytes)
    {
        let (free, reserve) = (size(free), size(reserve));
        add(
            "warning",
            format!("The disk has {free} left; below {reserve} nothing is recorded"),
            None,
        );
    }
    if let (true, Some(ends)) =
        (overview.is_certificate_expiring(), overview.certificate_expires_at)
    {
        let (kind, verb) = if ends <= now { ("alarm", "expired") } else { ("warning", "expires") };
        add(kind, format!("The certificate {verb} {}", relative(&ends, &now)), None);
    }
    for source in overview.sources.iter().filter(|source| source.silent) {
        let name = &source.source;
        let query = Parameters::default().with("source", name).query();
        let url = format!("/events?{query}");
        let link = Link { words: "Show events", about: name.clone(), url };
        let every = span(source.expect_every_secs.unwrap_or_default());
        let last = source.last_event_at.map_or_else(
            || "none has come yet".into(),
            |last| format!("the last came {}", relative(&last, &now)),
        );
        let text = format!("{name} is silent: an event is expected every {every}, {last}");
        add("warning", text, Some(link));
    }
    let of_destinations = overview.destinations.iter().flat_map(|to| concerns_of(to, causes, &now));
    concerns.extend(of_destinations);
    concerns.sort_by_key(|concern| concern.kind != "alarm");
    concerns
}

/// What to look at of one destination.
fn concerns_of<'f>(
    to: &DestinationStatus,
    causes: &'f [Cause<'f>],
    now: &Timestamp,
) -> Vec<Concern<'f>> {
    let mut concerns = Vec::new();
    let name = &to.destination;
    let cause = causes.iter().find(|cause| cause.group.destination == *name);
    let failures = Parameters::default().with("destination", name).query();
    let link = |words, url| Some(Link { words, about: name.clone(), url });
    let failures = link("Show failures", format!("/failures?{failures}"));
    if to.dead > 0 {
        let count = plural_of(to.dead, "delivery", "deliveries");
        let verb = if to.dead == 1 { "is" } else { "are" };
        let text = format!("{count} to {name} {verb} dead");
        concerns.push(Concern { kind: "alarm", text, cause, link: failures.clone() });
    }
    if let Some(held) = held(to, now) {
        let text = format!("{held}; {} waiting", count(to.pending + to.retrying));
        let cause = cause.filter(|_| to.open_until.is_some() && to.dead == 0);
        let link = link("Show the state", "/destinations".into());
        concerns.push(Concern { kind: "warning", text, cause, link });
    } else if to.failures > 0 && to.retrying > 0 {
        let count = plural_of(to.retrying, "delivery is", "deliveries are");
        let text = format!("{name} is failing: {count} retried");
        concerns.push(Concern { kind: "warning", text, cause, link: failures });
    }
    concerns
}

fn requests(activity: Option<&Activity>) -> Vec<(&str, u64)> {
    let requests = activity.into_iter().flat_map(|activity| &activity.requests);
    let requests = requests.map(|(outcome, count)| (outcome.as_str(), *count));
    requests.filter(|(_, count)| *count > 0).collect()
}

#[expect(clippy::cast_precision_loss, reason = "it becomes the height of a bar")]
fn precise(count: u64) -> f64 {
    count as f64
}

const HOUR_MINUTES: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_minute_is_at_the_right_and_the_most_is_as_high_as_the_chart() {
        let bars = Bars::new(&[0.0, 5.0, 10.0], "Events", f64::to_string);
        assert_eq!(
            (bars.path.as_str(), bars.label.as_str()),
            ("M58 10.0h.7V20h-.7zM59 0.0h.7V20h-.7z", "Events, at most 10")
        );
        assert_eq!(Bars::new(&[], "Events", f64::to_string).path, "");
        assert_eq!(Bars::new(&[0.0; 60], "Events", f64::to_string).path, "");
    }
}
