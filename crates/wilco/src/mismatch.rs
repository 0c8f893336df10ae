//! What can be wrong with a signature.

use std::io;

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The signature, or a value that it covers, is missing or empty.
    #[error(
        "{place} is missing or empty; is this the provider's endpoint, and does a proxy drop it?"
    )]
    Missing {
        /// Where it was expected: `header x-hub-signature-256`.
        place: String,
    },
    /// A header occurs more than once. Choosing one would be a guess.
    #[error("header {header} occurs {times} times; providers send it once")]
    Repeated {
        /// The header's name.
        header: String,
        /// How often it occurs.
        times: usize,
    },
    /// A value has another form than the scheme gives it.
    #[error("{place} is not {expected}")]
    Malformed {
        /// Where it is.
        place: String,
        /// What the scheme expects of the value.
        expected: String,
    },
    /// The signature was made with another secret or over other bytes.
    #[error(
        "no secret of this source matches the signature; is it another secret, or was the body changed on \
         its way?"
    )]
    Wrong,
    /// The signature is valid, but was made too long ago or in the future: a replay, or a wrong
    /// clock.
    #[error(
        "the signature is valid but {age_secs} s old, and at most {tolerance_secs} s are allowed; is a \
         clock wrong, or was the request delayed?"
    )]
    OutOfTime {
        /// Its age in seconds; negative if it is from the future.
        age_secs: i64,
        /// The age in seconds that the scheme allows, in both directions.
        tolerance_secs: i64,
    },
    /// The token is signed, but not valid at this time.
    #[error("the token's signature is valid but the token {what}; is a clock wrong?")]
    TokenOutOfTime {
        /// `has expired` or `is not valid yet`.
        what: &'static str,
    },
    /// The signature is valid but does not cover this body.
    #[error("the signature is valid but does not cover the body; was the body changed on its way?")]
    BodyNotCovered,
    /// The body is not there to be checked.
    #[error("the body cannot be checked: {why}")]
    BodyUnread {
        /// Why it cannot be read.
        why: String,
    },
}

impl Mismatch {
    pub(crate) fn unread(error: &io::Error) -> Self {
        Self::BodyUnread { why: error.to_string() }
    }
}
