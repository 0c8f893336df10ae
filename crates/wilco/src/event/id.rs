//! The ids of what wilco keeps: a prefix that says what it is, and a ULID.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use ulid::Ulid;

/// Makes the type of an id, and that of the error of a text which is none.
macro_rules! id {
    ($(#[$doc:meta])* $id:ident, $error:ident, $prefix:literal, $message:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(Ulid);

        impl $id {
            /// From the 128 bits of a ULID: 48 bits of Unix time in milliseconds, then 80 of choice.
            pub const fn from_bits(bits: u128) -> Self {
                Self(Ulid(bits))
            }

            /// The 128 bits of the ULID.
            pub const fn to_bits(self) -> u128 {
                self.0.0
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $id {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                text.strip_prefix($prefix)
                    .and_then(|ulid| Ulid::from_string(ulid).ok())
                    .map(Self)
                    .ok_or_else(|| $error(text.chars().take(40).collect()))
            }
        }

        /// As text, in JSON and the like.
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        /// The text is not such an id.
        #[derive(Debug, thiserror::Error)]
        #[error($message)]
        pub struct $error(String);
    };
}

id! {
    /// The id of an event: `evt_` and a ULID, so that ids sort by the time at which they were given.
    EventId, EventIdError, "evt_",
    "invalid event id {0:?}: expected one like evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEF"
}

id! {
    /// The id of a rejection: `rej_` and a ULID, so that ids sort by the time at which they were given.
    RejectionId, RejectionIdError, "rej_",
    "invalid rejection id {0:?}: expected one like rej_01JQ8ZK4N3W8T1V5R7Y9ABCDEF"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_survives_its_text_and_sorts_by_time() {
        let [early, late] = [1_u128 << 80, 2 << 80].map(EventId::from_bits);
        assert_eq!(early.to_string().parse::<EventId>().unwrap(), early);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().len(), 30);
    }

    #[test]
    fn an_invalid_event_id_is_refused_with_an_example() {
        for text in [
            "",
            "evt_",
            "01JQ8ZK4N3W8T1V5R7Y9ABCDEF",
            "evt_01JQ",
            "evt_01JQ8ZK4N3W8T1V5R7Y9ABCDEFG",
        ] {
            let error = text.parse::<EventId>().unwrap_err().to_string();
            assert!(error.contains("expected one like evt_"), "{error}");
        }
    }
}
