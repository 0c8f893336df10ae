//! How pages say times, sizes and states.

use std::borrow::Borrow;

use jiff::Timestamp;

use super::super::{Delivery, DeliveryState, DestinationStatus, EventSummary};

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

/// A length of time in its largest unit.
pub(in crate::admin) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
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

/// A time of the configuration, in the largest unit in which it is a whole number.
pub(in crate::admin) fn interval(millis: &u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let unit = units.into_iter().find(|(length, _)| *millis > 0 && millis.is_multiple_of(*length));
    let (length, unit) = unit.unwrap_or((1, "ms"));
    format!("{} {unit}", millis / length)
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

/// A number of bytes in a readable unit.
pub(in crate::admin) fn size(bytes: &u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
    let number = *bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", number / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", number / 1_048_576.0),
        _ => format!("{:.1} GiB", number / 1_073_741_824.0),
    }
}

/// The one word for an event: the state of the delivery that most needs attention.
pub(in crate::admin) fn state(event: &EventSummary) -> &'static str {
    if event.damaged {
        return "damaged";
    }
    if !event.routed {
        return "pending";
    }
    let rank = |delivery: &&Delivery| match delivery.state {
        DeliveryState::Dead if delivery.replaced_by.is_none() => 7,
        DeliveryState::Retrying => 6,
        DeliveryState::Running => 5,
        DeliveryState::Pending => 4,
        DeliveryState::Delivered => 3,
        DeliveryState::Superseded => 2,
        DeliveryState::Cancelled => 1,
        DeliveryState::Skipped | DeliveryState::Dead => 0,
    };
    let foremost = event.deliveries.iter().max_by_key(rank);
    foremost.map_or("skipped", |delivery| delivery.state.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_largest_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (at, expected) in [
            (1_000_000, "now"),
            (999_999, "1 s ago"),
            (999_940, "1 min ago"),
            (996_400, "1 h ago"),
            (900_000, "1 d ago"),
            (1_000_059, "in 59 s"),
        ] {
            assert_eq!(relative(&Timestamp::from_second(at).unwrap(), &now), expected);
        }
    }

    #[test]
    fn numbers_are_readable() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (3 << 30, "3.0 GiB"),
        ] {
            assert_eq!(size(&bytes), expected);
        }
        for (number, expected) in
            [(0, "0 events"), (1, "1 event"), (999, "999 events"), (1_234_567, "1,234,567 events")]
        {
            assert_eq!(plural(number, "event"), expected);
        }
    }
}
