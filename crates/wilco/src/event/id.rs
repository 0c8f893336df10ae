//! The id of an event.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::Ulid;

/// The id of an event: `evt_` and a ULID, so that ids sort by the time at which they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Ulid);

impl EventId {
    /// From the 128 bits of a ULID: 48 bits of Unix time in milliseconds, then 80 of choice.
    pub const fn from_bits(bits: u128) -> Self {
        Self(Ulid(bits))
    }

    /// The 128 bits of the ULID.
    pub const fn to_bits(self) -> u128 {
        self.0.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{EVENT_ID_PREFIX}{}", self.0)
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        text.strip_prefix(EVENT_ID_PREFIX)
            .and_then(|ulid| Ulid::from_string(ulid).ok())
            .map(Self)
            .ok_or_else(|| EventIdError(text.chars().take(40).collect()))
    }
}

/// As text, in JSON and the like.
impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The text is not the id of an event.
#[derive(Debug, thiserror::Error)]
#[error("invalid event id {0:?}: expected one like evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF")]
pub struct EventIdError(String);

const EVENT_ID_PREFIX: &str = "evt_";
