//! One attempt to deliver an event: who makes it, and how it went.

use std::time::Duration;

use async_trait::async_trait;
use wilco_store::Claim;

/// A destination that is open.
#[async_trait]
pub(crate) trait Destination: Send + Sync {
    /// Tries once, within its time. What happened is in the reply; there is no other error.
    async fn deliver(&self, claim: &Claim) -> Reply;

    /// Releases what is kept between attempts; no further attempt follows.
    async fn close(&self) {}
}

/// How an attempt went.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) verdict: Verdict,
    /// In a few words, for people: `exit 1`, `503 Service Unavailable`.
    pub(crate) result: String,
    /// The last of what the destination said, bounded.
    pub(crate) output: Vec<u8>,
}

/// What a destination's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has the event.
    Delivered,
    /// Not now; perhaps it said how long to wait.
    Failed {
        /// It asked not to be tried before so much time has passed.
        not_before: Option<Duration>,
    },
    /// Not ever: trying again is of no use.
    Refused,
    /// Not ever, and it was never asked: no attempt can be made of this event. That says nothing about
    /// the destination.
    Unsendable,
}

impl Reply {
    pub(crate) fn delivered() -> Self {
        Self { verdict: Verdict::Delivered, result: "delivered".into(), output: Vec::new() }
    }

    pub(crate) fn failed(result: String) -> Self {
        Self { verdict: Verdict::Failed { not_before: None }, result, output: Vec::new() }
    }

    /// What can never be sent, so that trying again is of no use.
    pub(crate) fn unsendable(result: String) -> Self {
        Self { verdict: Verdict::Unsendable, result, output: Vec::new() }
    }
}
