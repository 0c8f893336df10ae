//! Made-up events, to try things out.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::Name;

/// A made-up body of this event, to try things out. `None` for an event that is not documented.
pub fn sample(event: &str) -> Option<&'static str> {
    let name = Name::from(event);
    SAMPLES.iter().find(|(sample, _)| *sample == name.as_str()).map(|(_, body)| *body)
}

/// A [`sample`] as a new event: about a resource with this id, and with dates around today.
pub fn new_event(sample: &str, id: &str, now: Timestamp) -> String {
    let today = now.to_zoned_datetime(TimeZone::UTC).date();
    let sample = match sample_id(sample) {
        Some(old) => sample.replace(&old, id),
        None => sample.to_owned(),
    };
    moved_to(&sample, today)
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

/// A made-up body for each documented event, with its name. In this order they tell the story of
/// one project in a small post house, from the quote to the cleared storage. They have the members
/// that freispace documents and no others.
pub const SAMPLES: &[(&str, &str)] = &[
    ("project.created", include_str!("samples/project.created.json")),
    ("offer.finalized", include_str!("samples/offer.finalized.json")),
    ("offer.status_updated", include_str!("samples/offer.status_updated.json")),
    ("storage_project.created", include_str!("samples/storage_project.created.json")),
    ("booking.created", include_str!("samples/booking.created.json")),
    ("booking.updated", include_str!("samples/booking.updated.json")),
    ("booking.deleted", include_str!("samples/booking.deleted.json")),
    ("project.updated", include_str!("samples/project.updated.json")),
    ("invoice.finalized", include_str!("samples/invoice.finalized.json")),
    ("invoice.canceled", include_str!("samples/invoice.canceled.json")),
    ("project.archived", include_str!("samples/project.archived.json")),
    ("project.unarchived", include_str!("samples/project.unarchived.json")),
    ("storage_project.updated", include_str!("samples/storage_project.updated.json")),
    ("storage_project.deleted", include_str!("samples/storage_project.deleted.json")),
    ("project.deleted", include_str!("samples/project.deleted.json")),
];
/// When the project in the samples begins.
const SAMPLES_BEGIN: Date = jiff::civil::date(2026, 4, 13);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_becomes_a_new_event_of_the_same_form() {
        let now = "2026-11-30T08:00:00Z".parse().unwrap();
        for (name, sample) in SAMPLES {
            let [first, second] = ["1", "2"].map(|digit| new_event(sample, &digit.repeat(36), now));
            assert!(first != second && first != *sample, "{name}");
            assert_eq!(shape(&second), shape(&first), "{name}");
            assert_eq!(
                shape(&first.replace(&"1".repeat(36), &sample_id(sample).unwrap())),
                shape(sample),
                "{name}"
            );
            assert_eq!(sample_id(&first), Some("1".repeat(36)), "{name}");
        }
    }

    /// A value with all digits alike.
    fn shape(value: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(value).unwrap();
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
