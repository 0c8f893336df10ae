//! What holds for all resources; what one of them holds is tested beside it.

use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::{Digest, EventId, Headers, Origin, SourceName, provider};

/// The event that this body would become.
pub(super) fn event(body: &str) -> Event {
    #[derive(Deserialize)]
    struct Named {
        event: Option<String>,
    }
    let Named { event } = serde_json::from_str(body).unwrap();
    Event {
        id: EventId::from_bits(1),
        source: SourceName::new("freispace").unwrap(),
        provider: "freispace".into(),
        name: event.unwrap_or("unknown".to_owned()),
        subject: None,
        received_at: Timestamp::UNIX_EPOCH,
        secret_name: "test".to_owned(),
        digest: Digest::of(body.as_bytes()),
        conflict: false,
        origin: Origin::Webhook,
        item: None,
        headers: Headers::default(),
        body: body.to_owned().into(),
    }
}

/// The data of a whole body.
pub(super) fn data<T: DeserializeOwned>(body: &str) -> T {
    event(body).data().unwrap()
}

/// The data alone, without a body around it.
pub(super) fn read<T: DeserializeOwned>(value: &Value) -> T {
    data(&json!({ "data": value }).to_string())
}

/// A body that no sample shows: what freispace may send and does not say, or said before.
pub(super) fn fixture(name: &str) -> &'static str {
    FIXTURES.iter().find(|(fixture, _)| *fixture == name).unwrap().1
}

#[test]
fn every_documented_name_is_known_and_has_a_sample() {
    let freispace = provider::find("freispace").unwrap();
    for documented in freispace.events() {
        let name = Name::from(documented);
        assert!(!matches!(name, Name::Other(_)), "{documented}");
        assert_eq!(name.to_string(), documented);
        assert_eq!(Name::of(&event(sample(documented).unwrap())), name);
    }
    assert_eq!(SAMPLES.len(), freispace.events().count());
}

#[test]
fn a_quote_is_an_offer_and_the_rest_is_other() {
    for (sent, name) in [
        ("quote.finalized", Name::OfferFinalized),
        ("quote.status_updated", Name::OfferStatusUpdated),
        ("quote.created", Name::Other("quote.created".to_owned())),
        ("Booking.Created", Name::Other("Booking.Created".to_owned())),
        ("", Name::Other(String::new())),
    ] {
        assert_eq!(Name::from(sent), name);
        assert_eq!(sample(sent).is_some(), !matches!(name, Name::Other(_)), "{sent}");
    }
}

#[test]
fn every_body_becomes_the_change_that_its_event_name_says() {
    for (name, body) in SAMPLES.iter().chain(FIXTURES) {
        let change = Change::of(&event(body)).unwrap();
        let resource = match change {
            Change::Booking(_) => "booking",
            Change::Project(_) => "project",
            Change::Offer(_) => "offer",
            Change::Invoice(_) => "invoice",
            Change::StorageProject(_) => "storage_project",
            Change::Unknown => "unknown",
        };
        let sent = name.split('.').next().unwrap();
        assert_eq!(resource, if sent == "quote" { "offer" } else { sent }, "{name}");
    }
}

#[test]
fn no_member_of_a_body_is_lost() {
    for (name, body) in SAMPLES.iter().chain(FIXTURES) {
        let event = event(body);
        let kept = match Change::of(&event).unwrap() {
            Change::Unknown => continue,
            change => format!("{change:?}"),
        };
        let mut sent = Vec::new();
        leaves(&event.data().unwrap(), &mut sent);
        for leaf in sent {
            assert!(kept.contains(&leaf), "{name} lost {leaf}: {kept}");
        }
    }
}

#[test]
fn a_sample_has_no_member_that_is_not_documented() {
    for (name, body) in SAMPLES {
        let change = format!("{:?}", Change::of(&event(body)).unwrap());
        assert!(!change.contains("other: {\""), "{name}: {change}");
    }
}

#[test]
fn the_samples_are_about_one_project() {
    for (name, body) in SAMPLES {
        let tells = ["Salt Roads", "Project storage"].iter().any(|word| body.contains(word));
        assert!(tells && body.contains("app.freispace.com"), "{name}");
        assert!((600..1_800).contains(&body.len()), "{name} has {} bytes", body.len());
    }
}

#[test]
fn a_documented_event_without_data_is_an_error_that_names_it() {
    for body in [
        r#"{"event":"booking.updated"}"#,
        r#"{"event":"booking.updated","data":null}"#,
        r#"{"event":"booking.updated","data":{"start":"soon"}}"#,
    ] {
        let error = Change::of(&event(body)).unwrap_err().to_string();
        assert!(error.starts_with("data of booking.updated"), "{error}");
    }
    assert_eq!(Change::of(&event(r#"{"event":"door.opened"}"#)).unwrap(), Change::Unknown);
}

#[test]
fn an_undocumented_number_is_kept_as_precisely_as_a_json_value_can() {
    for (sent, kept) in [
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        ("12.50", "12.5"),
    ] {
        let booking: Booking = data(&format!(r#"{{"data":{{"n":{sent},"o":[{sent}]}}}}"#));
        assert_eq!(booking.other["n"].to_string(), kept);
        assert_eq!(booking.other["o"][0].to_string(), kept);
    }
}

#[test]
fn a_number_that_no_json_value_can_hold_is_an_error() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for sent in ["1e400", deep.as_str()] {
        let body = format!(r#"{{"event":"booking.updated","data":{{"n":{sent}}},"url":"u"}}"#);
        assert!(Change::of(&event(&body)).is_err());
    }
}

#[test]
fn the_url_is_read_if_it_is_a_string() {
    let created = event(sample("storage_project.created").unwrap());
    let storage: StorageProject = created.data().unwrap();
    let expected =
        format!("https://app.freispace.com/server-storage/{}/overview", storage.storage.id);
    assert_eq!(url(&created), Some(expected));
    for body in ["{}", r#"{"url":null}"#, r#"{"url":7}"#] {
        assert_eq!(url(&event(body)), None, "{body}");
    }
}

/// Every text and number of a value in the form that `Debug` has for it.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => found.push(number.to_string()),
        Value::String(text) => found.push(match text.as_str() {
            "active" => "Active".to_owned(),
            "archive" => "Archive".to_owned(),
            "accepted" => "Accepted".to_owned(),
            "on-prem" => "OnPrem".to_owned(),
            time if time.parse::<Timestamp>().is_ok() => {
                time.parse::<Timestamp>().unwrap().to_string()
            }
            date if date.parse::<DateTime>().is_ok() => date.to_owned(),
            text => format!("{text:?}"),
        }),
        Value::Array(values) => values.iter().for_each(|value| leaves(value, found)),
        Value::Object(members) => members.values().for_each(|value| leaves(value, found)),
    }
}

const FIXTURES: &[(&str, &str)] = &[
    ("booking.extended", include_str!("fixtures/booking.extended.json")),
    ("booking.inner-nulls", include_str!("fixtures/booking.inner-nulls.json")),
    ("booking.older", include_str!("fixtures/booking.older.json")),
    ("booking.unicode", include_str!("fixtures/booking.unicode.json")),
    ("project.extended", include_str!("fixtures/project.extended.json")),
    ("quote.finalized", include_str!("fixtures/quote.finalized.json")),
    ("storage_project.extended", include_str!("fixtures/storage_project.extended.json")),
    ("unknown", include_str!("fixtures/unknown.json")),
];
