//! What is sent: samples as new events, or fixed bytes.

use std::{
    fs,
    io::{self, Read as _},
};

use jiff::{ToSpan as _, civil::Date};
use wilco::freispace;
use wilco_server::clock;

use crate::{Failure, did_you_mean};

/// The bodies to send: a sample, with a new id each time, or fixed bytes.
pub(super) enum Bodies {
    Sample(&'static str),
    Fixed(Vec<u8>),
}

impl Bodies {
    pub(super) fn of(what: &str) -> Result<Self, Failure> {
        if let Some(sample) = freispace::sample(what) {
            return Ok(Self::Sample(sample));
        }
        if what == "-" {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body)?;
            return Ok(Self::Fixed(body));
        }
        fs::read(what).map(Self::Fixed).map_err(|error| {
            let names: Vec<_> = freispace::SAMPLES.iter().map(|(name, _)| *name).collect();
            Failure::usage(match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "{what:?} is neither a sample nor a file; the samples are {}{}",
                    names.join(", "),
                    did_you_mean(what, names.iter().copied())
                ),
                _ => format!("cannot read {what}: {error}"),
            })
        })
    }

    /// Whether every body has the same bytes.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    /// The next body; a sample gets a new id, and dates around today.
    pub(super) fn body(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Fixed(body) => Ok(body.clone()),
            Self::Sample(sample) => {
                let id = sample_id(sample).unwrap_or_default();
                let today = clock::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
                Ok(moved_to(&sample.replace(&id, &uuid()?), today).into_bytes())
            }
        }
    }
}

/// Moves all dates of a sample by the same number of whole weeks, so that the project in it begins
/// within the week before today.
fn moved_to(sample: &str, today: Date) -> String {
    let days = (today - SAMPLES_BEGIN).get_days();
    let weeks = days.div_euclid(7);
    let mut moved = String::with_capacity(sample.len());
    // A date stands at the beginning of a text: "2026-05-12" or "2026-05-12T00:00:00".
    for (number, part) in sample.split('"').enumerate() {
        if number > 0 {
            moved.push('"');
        }
        let date = part.get(..10).filter(|_| part.len() == 10 || part[10..].starts_with('T'));
        let date = date.and_then(|date| date.parse::<Date>().ok());
        match date.and_then(|date| date.checked_add(weeks.weeks()).ok()) {
            Some(date) => moved.push_str(&format!("{date}{}", &part[10..])),
            None => moved.push_str(part),
        }
    }
    moved
}

/// The id of the resource that a sample is about.
fn sample_id(sample: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(sample).ok()?;
    Some(value.get("id")?.as_str()?.to_owned())
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Ok(parts.join("-"))
}

/// When the project in the samples begins.
const SAMPLES_BEGIN: Date = jiff::civil::date(2026, 4, 13);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_becomes_a_new_valid_event_each_time() {
        for (name, sample) in freispace::SAMPLES {
            let bodies = Bodies::of(name).unwrap_or_else(|_| panic!("{name}"));
            let [first, second] = [(); 2].map(|()| bodies.body().ok().unwrap());
            assert!(first != second && first != sample.as_bytes(), "{name}");
            let shape = |body: &str| shape(&serde_json::from_str(body).unwrap());
            let first = std::str::from_utf8(&first).unwrap();
            assert_eq!(shape(first), shape(sample), "{name}");
            assert_ne!(sample_id(first), sample_id(sample), "{name}");
            assert_eq!(sample_id(first).unwrap().len(), 36, "{name}");
        }
    }

    /// A value with all digits alike.
    fn shape(value: &serde_json::Value) -> String {
        let is_hex = |c: char| c.is_ascii_hexdigit();
        value.to_string().chars().map(|c| if is_hex(c) { '0' } else { c }).collect()
    }

    #[test]
    fn only_dates_move_and_by_whole_weeks() {
        let text =
            r#"{"at":"2026-04-14T09:30:00","day":"2026-04-13","n":"2026-04-13x","k":"P318-1"}"#;
        for (today, expected) in [
            ((2026, 4, 13), text.to_owned()),
            ((2026, 4, 19), text.to_owned()),
            ((2026, 12, 1), text.replace("04-14T", "12-01T").replace("04-13\"", "11-30\"")),
        ] {
            let (year, month, day) = today;
            assert_eq!(moved_to(text, jiff::civil::date(year, month, day)), expected);
        }
    }
}
