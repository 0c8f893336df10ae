//! The typed events of freispace, with which post houses plan and bill their work.
//!
//! An endpoint function that cares about one resource takes it from the event:
//! `let booking: Booking = event.data()?;`. One that cares about several asks which it is:
//!
//! ```
//! use wilco::freispace::{Change, booking::Period, offer::Status};
//! use wilco::{DataError, Event};
//!
//! fn note(event: &Event) -> Result<(), DataError> {
//!     match Change::of(event)? {
//!         Change::Booking(booking) => match booking.period() {
//!             Some(Period::Days { first, last }) => println!("from {first} to {last}"),
//!             Some(Period::Times { start, end }) => println!("from {start} to {end}"),
//!             None => println!("{} has no date yet", booking.name),
//!         },
//!         Change::Offer(offer) if offer.status == Some(Status::Accepted) => {
//!             println!("sold: {} {:?} cents", offer.subject, offer.total_sum_net);
//!         }
//!         _ => {}
//!     }
//!     Ok(())
//! }
//! ```
//!
//! freispace may add to what it sends at any time, so reading is lenient. A member that is absent
//! or null leaves its field empty (`None`, an empty list, an empty text, `false`). A word that is
//! not documented becomes the variant `Other` of its enum. A member that is not documented is kept
//! in `other`, which every resource and every part of one has.
//!
//! Money and sizes are `i64`: minor units of the currency, and bytes. In `other`, a whole number
//! that fits 64 bits is kept to the digit, and any other number becomes an `f64` close to it. A
//! number beyond the largest `f64` is a [`DataError`], and so is a nesting of more than 128 levels.
//! [`Event::body`] has all of it as it was sent.

pub mod booking;
pub mod invoice;
pub mod offer;
pub mod project;
mod sample;
pub mod storage_project;

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

pub use self::{
    booking::Booking,
    invoice::Invoice,
    offer::Offer,
    project::Project,
    sample::{SAMPLES, new_event, sample},
    storage_project::StorageProject,
};
use crate::{DataError, Event};

/// What happened: the fifteen documented events, and [`Name::Other`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Name {
    /// `project.created`
    ProjectCreated,
    /// `project.updated`
    ProjectUpdated,
    /// `project.archived`
    ProjectArchived,
    /// `project.unarchived`: it is active again.
    ProjectUnarchived,
    /// `project.deleted`
    ProjectDeleted,
    /// `booking.created`
    BookingCreated,
    /// `booking.updated`: the booking itself or what it reserves.
    BookingUpdated,
    /// `booking.deleted`
    BookingDeleted,
    /// `offer.finalized`, which one page calls `quote.finalized`.
    OfferFinalized,
    /// `offer.status_updated`, which one page calls `quote.status_updated`: accepted or declined.
    OfferStatusUpdated,
    /// `invoice.finalized`
    InvoiceFinalized,
    /// `invoice.canceled`: about the invoice that was canceled. None comes for the cancellation.
    InvoiceCanceled,
    /// `storage_project.created`
    StorageProjectCreated,
    /// `storage_project.updated`: only for `is_active` and `storage_size_estimated`.
    StorageProjectUpdated,
    /// `storage_project.deleted`. An archived one comes as `storage_project.updated`.
    StorageProjectDeleted,
    /// An event that freispace does not document, by the name that it sent.
    Other(String),
}

impl Name {
    /// The name of this event.
    pub fn of(event: &Event) -> Self {
        Self::from(event.name.as_str())
    }

    /// The name as freispace sends it; `offer.*` for what came as `quote.*`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ProjectCreated => "project.created",
            Self::ProjectUpdated => "project.updated",
            Self::ProjectArchived => "project.archived",
            Self::ProjectUnarchived => "project.unarchived",
            Self::ProjectDeleted => "project.deleted",
            Self::BookingCreated => "booking.created",
            Self::BookingUpdated => "booking.updated",
            Self::BookingDeleted => "booking.deleted",
            Self::OfferFinalized => "offer.finalized",
            Self::OfferStatusUpdated => "offer.status_updated",
            Self::InvoiceFinalized => "invoice.finalized",
            Self::InvoiceCanceled => "invoice.canceled",
            Self::StorageProjectCreated => "storage_project.created",
            Self::StorageProjectUpdated => "storage_project.updated",
            Self::StorageProjectDeleted => "storage_project.deleted",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        match name {
            "project.created" => Self::ProjectCreated,
            "project.updated" => Self::ProjectUpdated,
            "project.archived" => Self::ProjectArchived,
            "project.unarchived" => Self::ProjectUnarchived,
            "project.deleted" => Self::ProjectDeleted,
            "booking.created" => Self::BookingCreated,
            "booking.updated" => Self::BookingUpdated,
            "booking.deleted" => Self::BookingDeleted,
            "offer.finalized" | "quote.finalized" => Self::OfferFinalized,
            "offer.status_updated" | "quote.status_updated" => Self::OfferStatusUpdated,
            "invoice.finalized" => Self::InvoiceFinalized,
            "invoice.canceled" => Self::InvoiceCanceled,
            "storage_project.created" => Self::StorageProjectCreated,
            "storage_project.updated" => Self::StorageProjectUpdated,
            "storage_project.deleted" => Self::StorageProjectDeleted,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The resource that an event is about, as it was after the change. What the change was is in
/// [`Name::of`] the event.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Of a `booking.*` event.
    Booking(Booking),
    /// Of a `project.*` event.
    Project(Project),
    /// Of an `offer.*` or `quote.*` event.
    Offer(Offer),
    /// Of an `invoice.*` event.
    Invoice(Invoice),
    /// Of a `storage_project.*` event.
    StorageProject(StorageProject),
    /// Of an event that is not documented, so that the shape of its data is unknown.
    Unknown,
}

impl Change {
    /// Reads the resource out of an event.
    ///
    /// # Errors
    ///
    /// [`DataError`] if a documented event has no data, or data of another shape.
    pub fn of(event: &Event) -> Result<Self, DataError> {
        Ok(match Name::of(event) {
            Name::ProjectCreated
            | Name::ProjectUpdated
            | Name::ProjectArchived
            | Name::ProjectUnarchived
            | Name::ProjectDeleted => Self::Project(event.data()?),
            Name::BookingCreated | Name::BookingUpdated | Name::BookingDeleted => {
                Self::Booking(event.data()?)
            }
            Name::OfferFinalized | Name::OfferStatusUpdated => Self::Offer(event.data()?),
            Name::InvoiceFinalized | Name::InvoiceCanceled => Self::Invoice(event.data()?),
            Name::StorageProjectCreated
            | Name::StorageProjectUpdated
            | Name::StorageProjectDeleted => Self::StorageProject(event.data()?),
            Name::Other(_) => Self::Unknown,
        })
    }
}

/// The URL of the resource in the web application; for a storage project, that of its storage.
/// `None` if the event does not have one.
pub fn url(event: &Event) -> Option<String> {
    #[derive(Deserialize)]
    struct Url {
        url: Option<String>,
    }
    serde_json::from_reader::<_, Url>(event.body.reader()).ok()?.url
}

/// A project as another resource names it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ProjectLink {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// What people call it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The post house's own number, such as `P156-1`.
    pub number: Option<String>,
    /// A second line under the name. Comes with a booking.
    pub byline: Option<String>,
    /// Comes with the parent and the children of a project.
    pub status: Option<ProjectStatus>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Whether a project is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProjectStatus {
    /// `active`
    Active,
    /// `archive`
    Archive,
    /// Another word.
    #[serde(untagged)]
    Other(String),
}

/// The order to which an offer or an invoice belongs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Order {
    /// A UUID.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// The number that people see.
    pub number: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The company that issues an offer or an invoice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Issuer {
    /// A UUID.
    pub id: Option<String>,
    /// The company's name.
    pub name: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The addressee of an offer or an invoice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Recipient {
    /// The client's UUID.
    pub client_id: Option<String>,
    /// The UUID of the client's address.
    pub client_address_id: Option<String>,
    /// The UUID of the person at the client's.
    pub client_contact_id: Option<String>,
    /// The address as it is printed: lines with `\n` between them.
    pub address: Option<String>,
    /// Members that are not documented.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Reads null as the empty value of the type.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    input: D,
) -> Result<T, D::Error> {
    Option::deserialize(input).map(Option::unwrap_or_default)
}

/// A date-time in UTC, with or without an offset: freispace writes its date-times either way.
fn utc<'de, D: Deserializer<'de>>(input: D) -> Result<Option<DateTime>, D::Error> {
    let read = |text: String| match text.parse::<Timestamp>() {
        Ok(instant) => Ok(TimeZone::UTC.to_datetime(instant)),
        Err(_) => text.parse::<DateTime>(),
    };
    Option::deserialize(input)?.map(read).transpose().map_err(D::Error::custom)
}

/// Like [`utc`], but returns an instant.
fn instant<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Timestamp>, D::Error> {
    let time = utc(input)?.map(|time| TimeZone::UTC.to_timestamp(time));
    time.transpose().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests;
