//! What can be wrong with a signature.

/// Why a signature was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The signature, or what it needs, is not there or is empty.
    #[error(
        "{place} is missing or empty; is this the provider's endpoint, and does a proxy drop it?"
    )]
    Missing {
        /// Where it was expected: `header x-hub-signature-256`.
        place: String,
    },
    /// A header came more than once. Which one would count is a guess, so none does.
    #[error("header {header} occurs {times} times; providers send it once")]
    Repeated {
        /// The header's name.
        header: String,
        /// How often it came.
        times: usize,
    },
    /// A value is there and cannot be what the scheme has there.
    #[error("{place} is not {expected}")]
    Malformed {
        /// Where it is.
        place: String,
        /// What the scheme expects of the value.
        expected: String,
    },
    /// A signature, made with another secret or over other bytes.
    #[error(
        "no secret of this source matches the signature; is it another secret, or was the body changed on \
         its way?"
    )]
    Wrong,
    /// A right signature, made too long ago or in the future: a replay, or a clock that is wrong.
    #[error(
        "the signature is valid but {age_secs} s old, and at most {tolerance_secs} s are allowed; is a \
         clock wrong, or was the request delayed?"
    )]
    OutOfTime {
        /// Its age in seconds; negative where it is from the future.
        age_secs: i64,
        /// The age in seconds that the scheme allows, either way.
        tolerance_secs: i64,
    },
    /// The signature is valid but does not cover this body.
    #[error("the signature is valid but does not cover the body; was the body changed on its way?")]
    BodyNotCovered,
}
