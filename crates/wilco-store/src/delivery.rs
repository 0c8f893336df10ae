//! A delivery and its attempts: one event on its way to one destination.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use wilco::{Event, EventId};

/// An event that was held against the routes, and where it goes.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The event.
    pub event_id: EventId,
    /// The names of its destinations; none is an answer too.
    pub destinations: Vec<String>,
}

/// The right to try a delivery once. Only a [`Store`](crate::Store) makes one.
#[derive(Clone, Debug)]
pub struct Claim {
    pub(crate) delivery: i64,
    pub(crate) destination: String,
    pub(crate) attempt: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) event: Arc<Event>,
}

impl Claim {
    /// The delivery's number, the same over all of its attempts.
    pub fn delivery(&self) -> i64 {
        self.delivery
    }

    /// Where it goes.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Which attempt this is, from 1. It counts attempts that a crash cut short.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the delivery was made: what its deadline is counted from.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// What to deliver.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }
}

/// How one try went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it ended, in a few words: `exit 1`, `503 Service Unavailable`.
    pub result: String,
    /// The last of what the destination said, at most 64 KiB.
    pub output: Vec<u8>,
}

/// What follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered,
    /// It is tried again, not before this time.
    Retry(Timestamp),
    /// It is not tried again.
    Dead,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not tried yet.
    Waiting,
    /// An attempt is under way.
    Running,
    /// Done.
    Delivered,
    /// Tried, failed, waiting for the next attempt.
    Retrying,
    /// Given up.
    Dead,
}

impl State {
    /// The word that users see and that the store holds.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Delivered => "delivered",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
        }
    }

    /// The state that goes by this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Running, Self::Delivered, Self::Retrying, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// One event's way to one destination, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The name of the destination.
    pub destination: String,
    /// Where it stands.
    pub state: State,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    pub due_at: Option<Timestamp>,
    /// How the last attempt ended, where it failed.
    pub last_error: Option<String>,
    /// The attempts that ended, oldest first; empty in a listing.
    pub history: Vec<Attempt>,
}
