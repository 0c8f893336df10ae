//! The page about one event, and what can be done with it.

use std::{fmt::Write as _, sync::Arc};

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use wilco::{EventId, provider::TEST_USER_AGENT};

use super::{
    super::{
        Attempt, CancelRequest, Cancelled, Delivery, DeliveryState, DestinationStatus, EventDetail,
        Header, ReplayRequest, Replayed, RouteDecision, RouteDecisions,
    },
    Dashboard, Layout, Line, Notice, Parameters, Payload, Problem, back_to, held, plural_of,
};
use crate::redaction::REDACTED;

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage<'p> {
    layout: &'p Layout,
    event: &'p EventDetail,
    /// How the routes decide about it now, or why that is not known.
    routes: Result<Vec<RouteDecision>, String>,
    payload: Payload,
    curl: Option<String>,
    /// Whether wilco itself sent it.
    is_test: bool,
    /// Whether something more can happen to it.
    is_under_way: bool,
    /// Every destination, if a delivery waits for one.
    destinations: Vec<DestinationStatus>,
}

impl EventPage<'_> {
    /// The attempts of a delivery that are folded, which are all but the last unless they are few, and the others.
    fn attempts(delivery: &Delivery) -> (&[Attempt], &[Attempt]) {
        let history = &delivery.history;
        history.split_at(if history.len() > SHOWN_ATTEMPTS_MAX { history.len() - 1 } else { 0 })
    }

    /// The deliveries that are dead or retried.
    fn failing(&self) -> Vec<&Delivery> {
        let is_failing = |delivery: &&Delivery| match delivery.state {
            DeliveryState::Dead => delivery.replaced_by.is_none(),
            state => state == DeliveryState::Retrying,
        };
        self.event.summary.deliveries.iter().filter(is_failing).collect()
    }

    /// Why a delivery that is due is not attempted.
    fn held(&self, delivery: &Delivery) -> String {
        let name = &delivery.destination;
        match self.destinations.iter().find(|to| to.destination == *name) {
            Some(DestinationStatus { kind: None, .. }) | None => {
                format!("{name} is not configured any more; configure it again, or cancel this")
            }
            Some(to) => held(to, &self.layout.now).unwrap_or_else(|| "others come first".into()),
        }
    }
}

pub(super) async fn show(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = event_id(&id)?;
    let event: EventDetail = dashboard.get(&format!("/api/v1/events/{id}")).await?;
    let routes = dashboard.get::<RouteDecisions>(&format!("/api/v1/events/{id}/why")).await;
    let routes = routes.map(|decisions| decisions.routes).map_err(|problem| problem.detail);
    let payload = Payload::of(event.body.as_deref(), event.body_base64.as_deref());
    let payload = payload.unwrap_or(match event.summary.payload.is_kept() {
        true => Payload::TooLarge,
        false => Payload::Gone,
    });
    let curl = event.body.as_deref().and_then(|body| curl(&event.headers, body));
    let (layout, event) = (&layout, &event);
    let summary = &event.summary;
    let is_under_way =
        !summary.routed || summary.deliveries.iter().any(|delivery| !is_done(delivery.state));
    let is_test = event.headers.iter().any(|header| {
        header.name.eq_ignore_ascii_case("user-agent") && header.value.starts_with(TEST_USER_AGENT)
    });
    let is_due = |delivery: &Delivery| delivery.due_at.is_some_and(|due| due <= layout.now);
    let destinations = if summary.deliveries.iter().any(is_due) {
        dashboard.destinations().await?
    } else {
        Vec::new()
    };
    Ok(layout.page(&EventPage {
        layout,
        event,
        routes,
        payload,
        curl,
        is_test,
        is_under_way,
        destinations,
    }))
}

/// Delivers one event again.
pub(super) async fn replay(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Path(id): Path<String>,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let (destination, reason) = (form.text("destination"), form.text("reason"));
    let ids = vec![event_id(&id)?];
    let request = ReplayRequest { ids, destination, reason, ..ReplayRequest::default() };
    let replayed: Replayed = dashboard.post("/api/v1/replay", &request, layout.role).await?;
    let event = replayed.events.first().ok_or_else(unknown)?;
    let notice = match event.deliveries {
        0 => Notice::NotDone("Nothing was replayed: no route takes the event there now.".into()),
        _ => Notice::Done(format!("Replayed to {}.", event.destinations.join(", "))),
    };
    Ok(back_to(form.back(), &notice))
}

/// Cancels the pending deliveries of an event, or one of them.
pub(super) async fn cancel(
    State(dashboard): State<Arc<Dashboard>>,
    layout: Layout,
    Path(id): Path<String>,
    Extension(form): Extension<Parameters>,
) -> Result<Response, Problem> {
    let path = format!("/api/v1/events/{}/cancel", event_id(&id)?);
    let request = CancelRequest { destination: form.text("destination") };
    let Cancelled { cancelled } = dashboard.post(&path, &request, layout.role).await?;
    let notice = match cancelled {
        0 => Notice::NotDone("Nothing was cancelled: no delivery is pending any more.".into()),
        count => {
            let deliveries = plural_of(count as u64, "delivery", "deliveries");
            Notice::Done(format!("Cancelled {deliveries}."))
        }
    };
    Ok(back_to(form.back(), &notice))
}

fn is_done(state: DeliveryState) -> bool {
    !matches!(state, DeliveryState::Pending | DeliveryState::Running | DeliveryState::Retrying)
}

/// A command that sends the body to a handler on the machine of whoever looks. Its signature is that of the
/// provider, which may be too old by then. `None` if the body is too long, or has characters that a terminal takes
/// for keys when the command is pasted, and so could run what a sender wrote.
fn curl(headers: &[Header], body: &str) -> Option<String> {
    let is_key = |c: char| c.is_control() && c != '\n' && c != '\t';
    let mut texts = headers.iter().map(|header| header.value.as_str()).chain([body]);
    if body.len() > CURL_BODY_BYTES_MAX || texts.any(|text| text.contains(is_key)) {
        return None;
    }
    let mut command = String::from("curl http://localhost:3000/");
    let hidden = ["host", "content-length", "connection", "transfer-encoding", "accept-encoding"];
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        if hidden.contains(&name.as_str()) || header.value == REDACTED {
            continue;
        }
        // Without a value, a colon would leave the header out.
        let field = match header.value.trim() {
            "" => format!("{name};"),
            value => format!("{name}: {value}"),
        };
        // Writing to a text in memory does not fail.
        let _ = write!(command, " \\\n  -H {}", quoted(&field));
    }
    // --data and --data-binary would send a file in place of a body that begins with @.
    let _ = write!(command, " \\\n  --data-raw {}", quoted(body));
    Some(command)
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn event_id(text: &str) -> Result<EventId, Problem> {
    text.parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::not_found("there is no such event")
}

const SHOWN_ATTEMPTS_MAX: usize = 3;
/// The longest argument of a program on Linux is 128 KiB.
const CURL_BODY_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_sends_exactly_the_body_and_runs_nothing_else() {
        let header = |value: &str| Header { name: "x-a".into(), value: value.into() };
        for (value, body, expected) in [
            ("1", "{}", Some("-H 'x-a: 1' \\\n  --data-raw '{}'")),
            ("", "@/etc/passwd", Some("-H 'x-a;' \\\n  --data-raw '@/etc/passwd'")),
            ("it's", "a'b\n\tc", Some("-H 'x-a: it'\\''s' \\\n  --data-raw 'a'\\''b\n\tc'")),
            ("1", "\u{3}\nid", None),
            ("1", "\u{1b}[201~\nid", None),
            ("1", "\u{9b}201~\nid", None),
            ("1", "a\rid", None),
            ("\u{3}", "{}", None),
        ] {
            let command = curl(&[header(value)], body);
            let start = "curl http://localhost:3000/ \\\n  ";
            let expected = expected.map(|expected| format!("{start}{expected}"));
            assert_eq!(command, expected, "{value:?} {body:?}");
        }
    }
}
