//! A booking: which suites, machines and people a project has, and when.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::{ProjectLink, or_default, utc};

/// A booking, as a `booking.*` event has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Booking {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// When it starts. Mind [`all_day`](Self::all_day), or ask [`period`](Self::period).
    #[serde(deserialize_with = "utc")]
    pub start: Option<DateTime>,
    /// The time zone in which `start` was entered, such as `Europe/Berlin`.
    pub start_timezone: Option<String>,
    /// When it ends, exclusive. Mind [`all_day`](Self::all_day), or ask [`period`](Self::period).
    #[serde(deserialize_with = "utc")]
    pub end: Option<DateTime>,
    /// The time zone in which `end` was entered.
    pub end_timezone: Option<String>,
    /// Where true, `start` and `end` are midnights of the calendar on the wall, in no time zone.
    /// Where false, they are UTC.
    #[serde(deserialize_with = "or_default")]
    pub all_day: bool,
    /// A second line under the name.
    pub byline: Option<String>,
    /// May hold HTML.
    pub description: Option<String>,
    /// Such as `#00ff00`.
    pub color: Option<String>,
    /// Whether it is only pencilled in.
    #[serde(deserialize_with = "or_default")]
    pub optional: bool,
    /// How certain it is, in the post house's words.
    pub status: Option<Status>,
    /// The project that it is for. `None` for a booking without one.
    pub project: Option<ProjectLink>,
    /// What it reserves.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Booking {
    /// When it is: whole days for an all-day booking, otherwise instants. `None` without a start or
    /// an end.
    ///
    /// An all-day booking whose start or end is not a midnight gives instants: a calendar day
    /// cannot be told from it.
    pub fn period(&self) -> Option<Period> {
        let (start, end) = (self.start?, self.end?);
        if self.all_day && start.time() == Time::midnight() && end.time() == Time::midnight() {
            let last = end.date().yesterday().ok()?;
            return Some(Period::Days { first: start.date(), last: last.max(start.date()) });
        }
        let instant = |time| TimeZone::UTC.to_timestamp(time).ok();
        Some(Period::Times { start: instant(start)?, end: instant(end)? })
    }
}

/// When a booking is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// Whole days, wherever the reader is: do not shift them by a time zone.
    Days {
        /// The first day.
        first: Date,
        /// The last day, which belongs to the booking.
        last: Date,
    },
    /// From one instant to another.
    Times {
        /// The first instant.
        start: Timestamp,
        /// The instant after the last.
        end: Timestamp,
    },
}

/// How certain a booking is. Each team makes its own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Status {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// Such as `Confirmed`.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// What the team means by it.
    pub description: Option<String>,
    /// The name of a picture, such as `check-circle`.
    pub icon: Option<String>,
    /// Such as `#00ff00`.
    pub color: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a booking reserves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Resources {
    /// Rooms.
    #[serde(deserialize_with = "or_default")]
    pub suites: Vec<Suite>,
    /// Machines and licences.
    #[serde(deserialize_with = "or_default")]
    pub resources: Vec<Resource>,
    /// People. The pages about webhooks do not show them; the name is that of the REST API.
    #[serde(deserialize_with = "or_default")]
    pub staffs: Vec<Staff>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A room.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Suite {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// A second line under the name.
    pub byline: Option<String>,
    /// May hold HTML.
    pub description: Option<String>,
    /// Such as `#00ff00`.
    pub color: Option<String>,
    /// Where the room is.
    pub site: Option<Site>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A house with suites.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Site {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// HTML.
    pub description: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A machine, a licence, or anything else to reserve besides rooms and people.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Resource {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The post house's own number.
    pub number: Option<String>,
    /// What one `cost_unit` of it costs the post house, such as `12.5`: not in minor units, and in
    /// a currency that is not said. A `Number`, because a whole one stays whole and exact.
    pub cost: Option<Number>,
    /// `minute`, `hour`, `day`, `week`, `month` or `usage`.
    pub cost_unit: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Staff {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// The person's name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// A second line under the name, such as the trade.
    pub byline: Option<String>,
    /// What else came: in the REST API, `photo_url` and `activity`.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::freispace::{
        SAMPLES, sample,
        tests::{data, fixture, read},
    };

    #[test]
    fn every_member_of_a_booking_is_read() {
        let booking: Booking = data(sample("booking.updated").unwrap());
        assert_eq!(booking.name, "Viewing, part one");
        assert_eq!(booking.start.unwrap().to_string(), "2026-05-13T12:30:00");
        assert_eq!(booking.end_timezone.as_deref(), Some("Europe/Berlin"));
        assert_eq!((booking.all_day, booking.optional), (false, false));
        assert_eq!(booking.status.unwrap().icon.as_deref(), Some("check-circle"));
        assert_eq!(booking.project.unwrap().number.as_deref(), Some("P318"));
        let [suite] = &booking.resources.suites[..] else { panic!("one suite") };
        assert_eq!(suite.site.as_ref().unwrap().name, "Färberhof");
        let [projector] = &booking.resources.resources[..] else { panic!("one resource") };
        assert_eq!(projector.cost.as_ref().unwrap().to_string(), "10.75");
        assert_eq!(projector.cost_unit.as_deref(), Some("hour"));
    }

    #[test]
    fn null_and_absent_members_are_none() {
        let nulls = json!({
            "id": null, "name": null, "start": null, "start_timezone": null, "end": null,
            "end_timezone": null, "all_day": null, "byline": null, "description": null,
            "color": null, "optional": null, "status": null, "project": null, "resources": null,
        });
        for empty in [nulls, json!({})] {
            let booking: Booking = read(&empty);
            assert_eq!(booking, Booking::default());
            assert_eq!(booking.period(), None);
        }
    }

    #[test]
    fn null_members_of_a_part_do_not_lose_the_part() {
        let booking: Booking = data(fixture("booking.inner-nulls"));
        assert_eq!(booking.status.unwrap().color, None);
        assert_eq!(booking.project.unwrap().number, None);
        assert_eq!(booking.resources.suites[0].site, None);
        assert_eq!(booking.resources.suites[1], Suite::default());
        let machine = &booking.resources.resources[0];
        assert_eq!((&machine.number, &machine.cost, &machine.cost_unit), (&None, &None, &None));
    }

    #[test]
    fn undocumented_members_are_kept() {
        let booking: Booking = data(fixture("booking.extended"));
        assert_eq!(booking.other["custom_fields"][0]["value"], "XAVC 300");
        assert_eq!(booking.other["length"], json!(i64::MAX));
        assert_eq!(booking.status.unwrap().other["order"], 3);
        assert_eq!(booking.resources.other["vehicles"], json!([]));
        let jonas = &booking.resources.staffs[0];
        assert_eq!((jonas.name.as_str(), jonas.byline.as_deref()), ("Jonas Weil", Some("Editor")));
        assert_eq!(jonas.other["activity"]["name"], "Conform");
    }

    #[test]
    fn a_text_is_kept_character_by_character() {
        let booking: Booking = data(fixture("booking.unicode"));
        assert_eq!(booking.name, "Größe 第三話 \u{1F469}\u{1F3FD}\u{200D}\u{1F4BB} e\u{301}");
        assert_eq!(
            booking.byline.as_deref(),
            Some("\u{202E}abc\u{202C} \u{2028}\u{2029} \u{200B}")
        );
        assert_eq!(booking.description.as_deref(), Some("\"q\" \\ / \u{7} \t \u{1F600} \0"));
        assert_eq!(booking.other["ключ"], "значение");
    }

    #[test]
    fn a_period_is_days_or_instants() {
        for (all_day, start, end, expected) in [
            (true, "2026-05-12T00:00:00", "2026-05-13T00:00:00", "2026-05-12 days 2026-05-12"),
            (true, "2026-02-27T00:00:00", "2026-03-02T00:00:00", "2026-02-27 days 2026-03-01"),
            (true, "2026-05-12T00:00:00", "2026-05-12T00:00:00", "2026-05-12 days 2026-05-12"),
            (true, "2026-05-12", "2026-05-14", "2026-05-12 days 2026-05-13"),
            (true, "2026-05-12T00:00:00Z", "2026-05-13T00:00:00Z", "2026-05-12 days 2026-05-12"),
            (
                true,
                "2026-05-11T22:00:00",
                "2026-05-12T22:00:00",
                "2026-05-11T22:00:00Z to 2026-05-12T22:00:00Z",
            ),
            (
                false,
                "2026-05-12T00:00:00",
                "2026-05-13T00:00:00",
                "2026-05-12T00:00:00Z to 2026-05-13T00:00:00Z",
            ),
            (
                false,
                "2026-05-12T08:30:00.000000Z",
                "2026-05-12T12:30:00+02:00",
                "2026-05-12T08:30:00Z to 2026-05-12T10:30:00Z",
            ),
        ] {
            let booking: Booking = read(&json!({ "all_day": all_day, "start": start, "end": end }));
            let period = match booking.period().unwrap() {
                Period::Days { first, last } => format!("{first} days {last}"),
                Period::Times { start, end } => format!("{start} to {end}"),
            };
            assert_eq!(period, expected, "{start} {end}");
        }
    }

    #[test]
    fn the_older_shape_has_no_time_zones() {
        let booking: Booking = data(fixture("booking.older"));
        assert_eq!((&booking.start_timezone, &booking.end_timezone), (&None, &None));
        assert!(matches!(booking.period(), Some(Period::Times { .. })));
    }

    #[test]
    fn the_samples_show_both_kinds_of_period() {
        let periods: Vec<_> = SAMPLES
            .iter()
            .filter(|(name, _)| name.starts_with("booking."))
            .map(|(_, body)| data::<Booking>(body).period().unwrap())
            .collect();
        assert!(matches!(
            periods[..],
            [Period::Days { .. }, Period::Times { .. }, Period::Times { .. }]
        ));
    }
}
