//! The rows of the table that the demo prints.

use std::time::Duration;

use http::StatusCode;
use wilco_store::{EventDetail, State};

use super::{Expected, Step};
use crate::{Column, Screen, Table, readable};

/// A line of the table.
pub(super) struct Row {
    label: String,
    about: String,
    answer: String,
    handled: String,
    after: String,
    is_as_expected: bool,
}

impl Row {
    pub(super) fn of(step: &Step, shown: Option<&EventDetail>) -> Self {
        let is_handled = shown.is_some_and(is_handled);
        let took = readable(step.took);
        let status = step.answer.as_u16();
        let (handled, after, is_as_expected) = match (step.expected, shown) {
            (Expected::Handled, Some(shown)) => {
                (said(shown), after(shown), is_handled && step.answer.is_success())
            }
            (Expected::Duplicate, _) => {
                ("not repeated".into(), "-".into(), step.answer.is_success())
            }
            (Expected::Refused, _) => {
                let is_refused = step.answer == StatusCode::FORBIDDEN;
                ("not recorded".into(), "-".into(), is_refused)
            }
            (Expected::Handled, None) => ("missing".into(), "-".into(), false),
        };
        Self {
            label: step.label.into(),
            about: about(&step.body),
            answer: format!("{status} in {took}"),
            handled,
            after,
            is_as_expected,
        }
    }

    /// An event that the demo did not send itself.
    pub(super) fn of_another(shown: &EventDetail) -> Self {
        Self {
            label: shown.event.name.clone(),
            about: about(&shown.event.body.contiguous(usize::MAX).unwrap_or_default()),
            answer: "200".into(),
            handled: said(shown),
            after: after(shown),
            is_as_expected: true,
        }
    }

    pub(super) fn cells(&self) -> Vec<String> {
        let sign = if self.is_as_expected { '✓' } else { '✗' };
        vec![
            format!("  {}", self.label),
            self.about.clone(),
            self.answer.clone(),
            format!("{sign} {}", self.handled),
            self.after.clone(),
        ]
    }

    pub(super) fn is_as_expected(&self) -> bool {
        self.is_as_expected
    }
}

pub(super) fn is_handled(shown: &EventDetail) -> bool {
    let is_delivered = |delivery: &wilco_store::Delivery| delivery.state == State::Delivered;
    shown.is_routed && shown.deliveries.iter().all(is_delivered)
}

/// Which handlers handled the event.
fn said(shown: &EventDetail) -> String {
    let of = |delivery: &wilco_store::Delivery| match delivery.state {
        State::Delivered => delivery.destination.clone(),
        state => format!("{} {state}", delivery.destination),
    };
    shown.deliveries.iter().map(of).collect::<Vec<_>>().join(", ")
}

/// From the last byte of the request to the end of the last handler.
fn after(shown: &EventDetail) -> String {
    let attempts = shown.deliveries.iter().flat_map(|delivery| &delivery.history);
    let ended = attempts.map(|attempt| {
        let began = attempt.started_at.duration_since(shown.event.received_at);
        Duration::try_from(began).unwrap_or_default() + attempt.took
    });
    ended.max().map_or_else(|| "-".into(), readable)
}

/// The name that people use for what the event is about.
fn about(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let data = &body["data"];
    let names = [&data["name"], &data["subject"], &data["storage"]["name"]];
    let name = names.iter().find_map(|name| name.as_str()).unwrap_or("-");
    name.into()
}

pub(super) fn table() -> Table {
    let columns = [
        Column::fixed("  event"),
        Column::text("about", 10),
        Column::fixed("answered"),
        Column::state("handled by", 14),
        Column::fixed("after"),
    ];
    Table::new(columns, Screen::stdout())
}
