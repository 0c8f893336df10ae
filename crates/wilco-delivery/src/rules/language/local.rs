//! The filter `local`: a time as local time in a zone.

use jiff::{Timestamp, civil, fmt::strtime, tz::TimeZone};
use minijinja::{Error, ErrorKind, Value, value::ValueKind};

use super::is_nothing;

/// Finds a zone of the time zone database.
pub(super) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("unknown time zone {name:?}: expected a name such as \"Europe/Berlin\"")
    })
}

/// `value | local(zone, format)`. Without a time, the result is empty; a zone that is absent or null means
/// UTC.
pub(super) fn local(
    value: &Value,
    zone_name: &Value,
    format: Option<&str>,
) -> Result<Value, Error> {
    let zone = match zone_name.as_str() {
        Some(name) => zone(name).map_err(invalid)?,
        None if is_nothing(zone_name) => TimeZone::UTC,
        None => return Err(invalid(format!("a time zone is a text, not a {}", zone_name.kind()))),
    };
    if is_nothing(value) {
        return Ok(Value::UNDEFINED);
    }
    let text = match time(value)? {
        Time::At(at) => {
            let utc = if is_nothing(zone_name) { " UTC" } else { "" };
            let usual = format!("{MINUTE}{utc}");
            strtime::format(format.unwrap_or(&usual), &at.to_zoned_datetime(zone))
        }
        // A day is the same day everywhere.
        Time::Day(day) => day
            .to_zoned_datetime(zone)
            .and_then(|begins| strtime::format(format.unwrap_or(DAY), &begins)),
    };
    text.map(Value::from).map_err(|error| invalid(format!("local: {error}")))
}

enum Time {
    At(Timestamp),
    Day(civil::Date),
}

/// A time with an offset, one without, which is UTC, a day, or Unix seconds.
fn time(value: &Value) -> Result<Time, Error> {
    let found = match (value.as_str(), value.kind()) {
        (Some(text), _) => read(text.trim()),
        (None, ValueKind::Number) => unix(value).map(Time::At),
        (None, _) => None,
    };
    found.ok_or_else(|| {
        let shown: String = value.to_string().chars().take(SHOWN_CHARS_MAX).collect();
        invalid(format!(
            "local: {shown:?} is not a time: expected \"2026-05-13T12:30:00Z\" or Unix seconds"
        ))
    })
}

fn read(text: &str) -> Option<Time> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Time::At(at));
    }
    if text.len() == "2026-05-13".len() {
        return text.parse().ok().map(Time::Day);
    }
    let civil: civil::DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok().map(Time::At)
}

fn unix(value: &Value) -> Option<Timestamp> {
    if value.is_integer() {
        return Timestamp::from_second(i64::try_from(value.clone()).ok()?).ok();
    }
    let seconds = f64::try_from(value.clone()).ok()?;
    Timestamp::UNIX_EPOCH.checked_add(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

fn invalid(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

const MINUTE: &str = "%Y-%m-%d %H:%M";
const DAY: &str = "%Y-%m-%d";
/// How much of a value that is not a time is shown.
const SHOWN_CHARS_MAX: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_in_local_time() {
        let berlin = "Europe/Berlin";
        for (value, zone, format, expected) in [
            (Value::from("2026-05-13T12:30:00"), berlin, None, "2026-05-13 14:30"),
            (Value::from("2026-05-13T12:30:00Z"), berlin, None, "2026-05-13 14:30"),
            (Value::from("2026-01-13T12:30:00.25+02:00"), berlin, None, "2026-01-13 11:30"),
            (Value::from("2026-05-13 12:30"), "America/New_York", None, "2026-05-13 08:30"),
            (Value::from("2026-05-13"), "America/New_York", None, "2026-05-13"),
            (Value::from("2026-05-13"), berlin, Some("%a %d %b"), "Wed 13 May"),
            (Value::from(1_778_675_400), berlin, Some("%H:%M %Z"), "14:30 CEST"),
            (Value::from(1_778_675_400.5), "UTC", Some("%H:%M:%S"), "12:30:00"),
            // The hour that is skipped when clocks go forward, and the one that occurs twice.
            (Value::from("2026-03-29T01:00:00Z"), berlin, Some("%H:%M%:z"), "03:00+02:00"),
            (Value::from("2026-10-25T00:30:00Z"), berlin, Some("%H:%M%:z"), "02:30+02:00"),
            (Value::from("2026-10-25T01:30:00Z"), berlin, Some("%H:%M%:z"), "02:30+01:00"),
        ] {
            let shown = local(&value, &Value::from(zone), format).unwrap();
            assert_eq!(shown.as_str(), Some(expected), "{value} {zone}");
        }
        let noon = Value::from("2026-05-13T12:00:00");
        assert_eq!(
            local(&noon, &Value::UNDEFINED, None).unwrap().as_str(),
            Some("2026-05-13 12:00 UTC")
        );
        assert!(local(&Value::UNDEFINED, &Value::from(berlin), None).unwrap().is_undefined());
    }

    #[test]
    fn an_invalid_time_or_zone_is_an_error() {
        for (value, zone, format, what) in [
            (Value::from("soon"), "UTC", None, "\"soon\" is not a time"),
            (Value::from(true), "UTC", None, "\"True\" is not a time"),
            (Value::from(i64::MAX), "UTC", None, "is not a time"),
            (Value::from(0), "Europe/Berlim", None, "unknown time zone \"Europe/Berlim\""),
            (Value::from(0), "UTC", Some("%!"), "local: "),
        ] {
            let error = local(&value, &Value::from(zone), format).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn time_zones_are_known_without_the_files_of_the_system() {
        let bundled = jiff::tz::TimeZoneDatabase::bundled();
        assert!(bundled.get("Europe/Berlin").is_ok());
    }
}
