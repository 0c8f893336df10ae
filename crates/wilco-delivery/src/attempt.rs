//! One attempt to deliver an event: the trait of what makes it, and its result.

use std::time::Duration;

use async_trait::async_trait;
use wilco_store::Claim;

/// An open destination.
#[async_trait]
pub trait Destination: Send + Sync {
    /// Makes one attempt, within its timeout. Errors are part of the reply.
    async fn deliver(&self, claim: &Claim) -> Reply;

    /// Makes one attempt for each of these, and gives a reply for each, in their order.
    async fn deliver_many(&self, claims: &[Claim]) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(claims.len());
        for claim in claims {
            replies.push(self.deliver(claim).await);
        }
        replies
    }

    /// Checks whether events can be delivered, without delivering one. `Ok` says what was found, and `Err`
    /// what is wrong and how to fix it.
    async fn check(&self) -> Result<String, String>;

    /// Releases what is kept between attempts; no further attempt follows.
    async fn close(&self) {}
}

/// The result of an attempt.
#[derive(Debug)]
pub struct Reply {
    /// What the answer means.
    pub verdict: Verdict,
    /// A short text for people: `exit 1`, `503 Service Unavailable`.
    pub result: String,
    /// What was sent, as people read it. Empty if nothing was, or if that follows from the event.
    pub request: String,
    /// What the destination said, bounded: the end of a command's output, the beginning of a response's body.
    pub output: Vec<u8>,
}

/// What a destination's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has the event.
    Delivered,
    /// The attempt failed; a later one may succeed.
    Failed {
        /// The shortest wait that the destination asked for.
        not_before: Option<Duration>,
    },
    /// The destination refused the event: another attempt would end the same way.
    Refused,
    /// The event cannot be sent at all, so the destination was not contacted. That says nothing about the
    /// destination.
    Unsendable,
}

impl Reply {
    /// A result of which nothing else is known.
    pub fn new(verdict: Verdict, result: String) -> Self {
        Self { verdict, result, request: String::new(), output: Vec::new() }
    }

    /// The event was delivered.
    pub fn delivered() -> Self {
        Self::new(Verdict::Delivered, "delivered".into())
    }

    /// The attempt failed and may be repeated.
    pub fn failed(result: String) -> Self {
        Self::new(Verdict::Failed { not_before: None }, result)
    }

    /// The event can never be sent, so another attempt would end the same way.
    pub fn unsendable(result: String) -> Self {
        Self::new(Verdict::Unsendable, result)
    }
}
