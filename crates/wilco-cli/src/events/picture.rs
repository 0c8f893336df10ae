//! One event as `wilco events show` draws it.

use std::time::Duration;

use wilco_server::admin::{DeliveryRow, DestinationRow, EventRow, ShownRow};

use crate::{Times, readable, visible};

/// The event with its deliveries, and what holds them up.
pub(super) fn picture(shown: &ShownRow, destinations: &[DestinationRow], times: &Times) -> String {
    let event = &shown.event;
    let mut text = format!(
        "{}\n  event      {}\n  source     {}\n  about      {}\n  received   {}\n  signed by  {}\n  \
         body       {} bytes, sha256 {}\n",
        event.id,
        visible(&event.event),
        event.source,
        about(event),
        times.full(event.received_at),
        visible(&event.secret),
        event.bytes,
        event.sha256,
    );
    if shown.conflict {
        text.push_str(
            "  conflict   the provider sent this delivery id before, with another body\n",
        );
    }
    text.push_str("\nheaders\n");
    for (name, value) in &shown.headers {
        text.push_str(&format!("  {}: {}\n", visible(name), visible(value)));
    }
    text.push_str("\ndeliveries\n");
    if event.deliveries.is_empty() {
        text.push_str(&format!("  {}\n", super::deliveries(event)));
    }
    for delivery in &event.deliveries {
        let destination = destinations.iter().find(|row| row.destination == delivery.destination);
        text.push_str(&line(delivery, destination, &event.id, times));
        text.push_str(&attempts(delivery, times));
    }
    text.push_str("\nbody\n");
    match &shown.body {
        Some(body) => {
            for line in body.lines() {
                text.push_str(&format!("  {}\n", visible(line)));
            }
        }
        None => text.push_str("  not text; see it with --raw\n"),
    }
    text
}

/// What people call it, and its name for machines.
pub(super) fn about(event: &EventRow) -> String {
    let subject = visible(event.subject.as_deref().unwrap_or("-"));
    match &event.title {
        Some(title) => format!("{} ({subject})", visible(title)),
        None => subject,
    }
}

/// A delivery, and when or why not it is tried next.
fn line(
    delivery: &DeliveryRow,
    destination: Option<&DestinationRow>,
    event_id: &str,
    times: &Times,
) -> String {
    let mut text = format!("  {}: {}", visible(&delivery.destination), delivery.state);
    if let Some(due) = delivery.due_at {
        text.push_str(&format!(", due {}", times.full(due)));
    } else if delivery.state == "pending" {
        text.push_str(", behind another with its key");
    }
    let is_unfinished = ["pending", "retrying"].contains(&delivery.state.as_str());
    if let Some(destination) = destination.filter(|_| is_unfinished) {
        if destination.paused {
            let name = visible(&destination.destination);
            text.push_str(&format!("; paused: wilco destinations resume {name}"));
        }
        if let Some(waits) = destination.waits(|until| times.full(until)) {
            text.push_str(&format!("; {waits}"));
        }
    }
    if delivery.replaced_by.as_deref() == Some(event_id) {
        text.push_str(", replayed since");
    }
    for (what, value) in [
        ("superseded by", delivery.replaced_by.as_ref().filter(|id| *id != event_id)),
        ("key", delivery.order_key.as_ref()),
    ] {
        if let Some(value) = value {
            text.push_str(&format!(", {what} {}", visible(value)));
        }
    }
    if let Some(reason) = &delivery.reason {
        text.push_str(&format!(" ({})", visible(reason)));
    }
    text + "\n"
}

fn attempts(delivery: &DeliveryRow, times: &Times) -> String {
    let mut text = String::new();
    for (number, attempt) in (1..).zip(&delivery.history) {
        let took = readable(Duration::from_secs_f64(attempt.took_ms / 1_000.0));
        let at = times.full(attempt.started_at);
        text.push_str(&format!("    {number}. {at}  {took}  {}\n", visible(&attempt.result)));
        for line in attempt.output.lines() {
            text.push_str(&format!("       | {}\n", visible(line)));
        }
    }
    text
}

/// Colours the states of the deliveries, and nothing that a sender wrote.
pub(super) fn painted(text: &str) -> String {
    let Some((head, rest)) = text.split_once("\ndeliveries\n") else { return text.into() };
    let Some((deliveries, body)) = rest.split_once("\nbody\n") else { return text.into() };
    format!("{head}\ndeliveries\n{}\nbody\n{body}", crate::painted(deliveries))
}
