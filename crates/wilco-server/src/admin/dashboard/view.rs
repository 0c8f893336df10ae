//! How pages say times, numbers and states.

use std::{borrow::Borrow, time::Duration};

use jiff::Timestamp;

use super::super::{Delivery, DeliveryState, DestinationStatus, EventSummary};
use crate::{config, readable::span};

/// How long ago it was, or how long it still takes: `4 min ago`, `in 12 s`.
pub(in crate::admin) fn relative(at: &Timestamp, now: &Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    let text = span(seconds.unsigned_abs());
    match seconds {
        0 => "now".into(),
        1.. => format!("{text} ago"),
        _ => format!("in {text}"),
    }
}

/// How long something is kept.
pub(in crate::admin) fn kept(secs: &Option<u64>) -> String {
    secs.map_or_else(|| "kept forever".into(), |secs| format!("kept for {}", span(secs)))
}

/// A number with its thousands apart.
pub(in crate::admin) fn count(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, whose word takes an s.
pub(in crate::admin) fn plural(number: impl Borrow<u64>, thing: &str) -> String {
    plural_of(*number.borrow(), thing, &format!("{thing}s"))
}

/// A number of things.
pub(in crate::admin) fn plural_of(number: impl Borrow<u64>, one: &str, several: &str) -> String {
    let number = *number.borrow();
    let thing = if number == 1 { one } else { several };
    format!("{} {thing}", count(number))
}

/// How long something took.
pub(in crate::admin) fn duration(millis: &f64) -> String {
    match *millis {
        0.0..10.0 => format!("{millis:.1} ms"),
        10.0..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1_000.0),
    }
}

/// A time of the configuration.
pub(in crate::admin) fn interval(millis: &u64) -> String {
    config::format_duration(Duration::from_millis(*millis))
}

/// Why nothing is sent to a destination now, as far as that is its own state.
pub(in crate::admin) fn held(to: &DestinationStatus, now: &Timestamp) -> Option<String> {
    let name = &to.destination;
    if to.paused {
        return Some(format!("{name} is paused"));
    }
    if let Some(until) = to.open_until {
        let until = relative(&until, now);
        return Some(format!(
            "{name} keeps failing; its circuit breaker lets the next attempt through {until}"
        ));
    }
    let until = relative(&to.asked_until?, now);
    Some(format!("{name} asked to wait; the next attempt follows {until}"))
}

/// The whole time, in UTC.
pub(in crate::admin) fn absolute(at: &Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S.%3f UTC").to_string()
}

/// The one word for an event: the state of the delivery that most needs attention.
pub(in crate::admin) fn state(event: &EventSummary) -> &'static str {
    if event.damaged {
        return "damaged";
    }
    if !event.routed {
        return "pending";
    }
    by_urgency(event).first().map_or("skipped", |delivery| delivery.state.as_str())
}

/// The deliveries of an event: first those that need attention, each group in its order.
pub(in crate::admin) fn by_urgency(event: &EventSummary) -> Vec<&Delivery> {
    let mut deliveries: Vec<_> = event.deliveries.iter().collect();
    deliveries.sort_by_key(|delivery| match delivery.state {
        DeliveryState::Dead if delivery.replaced_by.is_none() => 0,
        DeliveryState::Retrying => 1,
        DeliveryState::Running => 2,
        DeliveryState::Pending => 3,
        DeliveryState::Delivered => 4,
        DeliveryState::Superseded => 5,
        DeliveryState::Cancelled => 6,
        DeliveryState::Skipped | DeliveryState::Dead => 7,
    });
    deliveries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_before_or_after_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (at, expected) in [
            (1_000_000, "now"),
            (999_999, "1 s ago"),
            (999_880, "2 min ago"),
            (1_000_059, "in 59 s"),
        ] {
            assert_eq!(relative(&Timestamp::from_second(at).unwrap(), &now), expected);
        }
    }

    #[test]
    fn numbers_are_readable() {
        for (number, expected) in
            [(0, "0 events"), (1, "1 event"), (999, "999 events"), (1_234_567, "1,234,567 events")]
        {
            assert_eq!(plural(number, "event"), expected);
        }
    }
}
