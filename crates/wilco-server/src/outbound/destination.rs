//! Where events go. Each kind is a file; what they have in common is here.

mod command;
mod function;
mod http;
mod print;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use wilco_store::Claim;

use crate::config::{self, Kind};

pub(crate) use function::Function;

/// A place that events are delivered to.
#[async_trait]
pub(super) trait Destination: Send + Sync {
    /// Tries once, within its time. What happened is in the reply; there is no other error.
    async fn deliver(&self, claim: &Claim) -> Reply;
}

/// How an attempt went.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) verdict: Verdict,
    /// In a few words, for people: `exit 1`, `503 Service Unavailable`.
    pub(super) result: String,
    /// The last of what it said, at most [`OUTPUT_BYTES_MAX`].
    pub(super) output: Vec<u8>,
}

/// What a destination's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has the event.
    Delivered,
    /// Not now; perhaps it said how long to wait.
    Failed {
        /// It asked not to be tried before so much time has passed.
        not_before: Option<Duration>,
    },
    /// Not ever: it said that trying again is of no use.
    Refused,
}

impl Reply {
    pub(super) fn delivered() -> Self {
        Self { verdict: Verdict::Delivered, result: "delivered".into(), output: Vec::new() }
    }

    pub(super) fn failed(result: String) -> Self {
        Self { verdict: Verdict::Failed { not_before: None }, result, output: Vec::new() }
    }
}

/// Makes the destination that the configuration describes.
pub(super) fn open(config: &config::Destination, functions: &[Function]) -> Arc<dyn Destination> {
    match &config.kind {
        Kind::Print => Arc::new(print::Print),
        Kind::Command { command, environment } => {
            Arc::new(command::Command::new(command, environment, config.timeout))
        }
        Kind::Http { url, secret } => {
            Arc::new(http::Http::new(url, secret.as_ref(), config.timeout))
        }
        Kind::Function(index) => match functions.get(*index) {
            Some(function) => Arc::new(function::Call::new(function, config.timeout)),
            None => Arc::new(print::Print),
        },
    }
}

/// What is kept of what a destination said, in bytes.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
