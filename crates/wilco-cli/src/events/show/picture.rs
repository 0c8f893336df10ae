//! The text that `wilco events show` prints.

use std::time::Duration;

use wilco::{EventId, counted};
use wilco_server::admin::{Delivery, DeliveryState, DestinationStatus, EventDetail, PayloadState};

use super::{about, deliveries};
use crate::{Screen, Times, readable, visible};

/// The event with its deliveries, and what holds them up.
pub(super) fn picture(
    shown: &EventDetail,
    destinations: &[DestinationStatus],
    times: &Times,
    screen: Screen,
) -> String {
    let event = &shown.summary;
    let mut text = format!("{}\n", event.id);
    for (name, value) in [
        ("event", visible(&event.event)),
        ("source", event.source.clone()),
        ("about", about(event)),
        ("received", times.full(event.received_at)),
        (if event.fetched { "fetched" } else { "signed by" }, visible(&event.secret_name)),
        ("body", counted(event.bytes, "byte", "bytes")),
        ("sha256", event.sha256.clone()),
    ] {
        text.push_str(&format!("  {name:<9}  {value}\n"));
    }
    if event.backfilled {
        text.push_str("  backfilled it did not arrive by itself\n");
    }
    if shown.conflict {
        text.push_str(
            "  conflict   the provider sent this delivery id before, with another body\n",
        );
    }
    if let Some(why) = why_removed(event.payload) {
        text.push_str(&format!("  {:<9}  {why}\n", event.payload.as_str()));
    }
    text.push_str("\nheaders\n");
    for header in &shown.headers {
        text.push_str(&format!("  {}: {}\n", visible(&header.name), visible(&header.value)));
    }
    text.push_str("\ndeliveries\n");
    if event.deliveries.is_empty() {
        let state = deliveries(event);
        let why = match event.routed && !event.damaged {
            true => format!(": no route took it; `wilco events why {}` says why", event.id),
            false => String::new(),
        };
        text.push_str(&format!("  {}{why}\n", screen.painted(&state)));
    }
    for delivery in &event.deliveries {
        let destination = destinations.iter().find(|row| row.destination == delivery.destination);
        let state = screen.painted(delivery.state.as_str());
        text.push_str(&line(delivery, &state, destination, event.id, times));
        text.push_str(&attempts(delivery, times, screen));
    }
    text.push_str("\nbody\n");
    match &shown.body {
        Some(body) => {
            for line in body.lines() {
                text.push_str(&format!("  {}\n", visible(line)));
            }
        }
        None if !event.payload.is_kept() => text.push_str("  not kept\n"),
        None if shown.body_base64.is_some() => {
            text.push_str("  not text; see it with --raw\n");
        }
        None => text.push_str("  too large to be shown here; see it with --raw\n"),
    }
    text
}

/// Why an event has neither headers nor body, if that is so.
fn why_removed(payload: PayloadState) -> Option<&'static str> {
    match payload {
        PayloadState::Kept => None,
        PayloadState::Pruned => Some("headers and body were removed because of their age"),
        PayloadState::Erased => {
            Some("headers, body and what the event is about were removed by hand")
        }
    }
}

/// A delivery, and when or why not it is tried next.
fn line(
    delivery: &Delivery,
    state: &str,
    destination: Option<&DestinationStatus>,
    event_id: EventId,
    times: &Times,
) -> String {
    let item = delivery.item.map_or_else(String::new, |item| format!(", item {item}"));
    let destination_name = visible(&delivery.destination);
    let mut text = format!("  {destination_name}{item}: {state}");
    if let Some(due) = delivery.due_at {
        text.push_str(&format!(", due {}", times.full(due)));
    } else if delivery.state == DeliveryState::Pending {
        text.push_str(", behind another with its key");
    }
    let is_unfinished = [DeliveryState::Pending, DeliveryState::Retrying].contains(&delivery.state);
    if let Some(destination) = destination.filter(|_| is_unfinished) {
        if destination.paused {
            let name = visible(&destination.destination);
            text.push_str(&format!("; paused: wilco destinations resume {name}"));
        }
        if let Some(waits) = destination.waits(|until| times.full(until)) {
            text.push_str(&format!("; {waits}"));
        }
    }
    match delivery.replaced_by {
        Some(id) if id == event_id && delivery.state == DeliveryState::Superseded => {
            text.push_str(", superseded by a later item");
        }
        Some(id) if id == event_id => text.push_str(", replayed since"),
        Some(id) => text.push_str(&format!(", superseded by {id}")),
        None => {}
    }
    if let Some(key) = &delivery.order_key {
        text.push_str(&format!(", key {}", visible(key)));
    }
    if let Some(reason) = &delivery.reason {
        text.push_str(&format!(" ({})", visible(reason)));
    }
    text + "\n"
}

fn attempts(delivery: &Delivery, times: &Times, screen: Screen) -> String {
    let mut text = String::new();
    for (number, attempt) in (1..).zip(&delivery.history) {
        let took = readable(Duration::from_secs_f64(attempt.took_ms / 1_000.0));
        let at = times.full(attempt.started_at);
        // A result is text of the destination, unless it is that word alone.
        let result = match attempt.result.as_str() {
            delivered @ "delivered" => screen.painted(delivered),
            other => visible(other),
        };
        text.push_str(&format!("    {number}. {at}  {took}  {result}\n"));
        // Those of the attempts before it are nearly the same.
        let is_last = number == delivery.history.len();
        for line in attempt.request.lines().filter(|_| is_last) {
            text.push_str(&format!("       > {}\n", visible(line)));
        }
        for line in attempt.output.lines() {
            text.push_str(&format!("       | {}\n", visible(line)));
        }
    }
    text
}
