//! A delivery and its attempts: one event on its way to one destination.
//!
//! ```text
//!                           claim               settle
//!   fan_out ──▶  pending ──────────▶ running ───────────▶ delivered, skipped, dead
//!   replay        │   │              ▲     │
//!   record_alert  │   │        claim │     │ settle; the end of the lease
//!                 │   │              │     ▼
//!         fan_out │   │ cancel      retrying
//!                 │   │                 │ cancel
//!                 ▼   ▼                 ▼
//!        superseded   cancelled     cancelled
//! ```
//!
//! Nobody else changes a state, but that `claim` gives back what it could not read (retrying) and
//! marks what is damaged (dead), and that `cancel` ends a dead one which holds its key.
//!
//! Deliveries of one destination with the same order key are made one after another: only one of them, the
//! head, can be due or running; the others are held, without a time.
//!
//! | state | due | in its order key | changed by |
//! |---|---|---|---|
//! | pending | now, or when its burst is over | head | `claim`, `fan_out` (its burst), `cancel` |
//! | pending | never | held | the head that leaves, `fan_out` (its burst), `cancel` |
//! | running | when its lease ends | head | `settle`; `claim`, if the lease has ended |
//! | retrying | at its next attempt | head | `claim`, `cancel` |
//! | dead | never | head while it holds the key, else left | `cancel` while it holds the key |
//! | delivered, skipped, superseded, cancelled | never | left | nothing |
//!
//! `replay` makes a new delivery and leaves the dead one as it is, but for a note of what went in its
//! place; where the dead one held the key, the new one takes that over. `release_keys` has the dead of
//! a destination leave their keys. Whoever leaves a key as its head lets the oldest that is held fall
//! due, in the same transaction.
//!
//! A claim is a lease: whoever makes an attempt renews it. Where the lease ends first, the delivery is
//! due again, and the next `claim` starts another attempt. All leases of an earlier process have ended
//! when a store that only one process can open is opened.
//!
//! `settle` writes only if the claim is not stale: the delivery is running, and the number of the
//! attempt is that of the claim.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use wilco::{Event, EventId, Item};

/// Where an event goes: to which destination, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name of the destination.
    pub destination: String,
    /// Deliveries of one destination with one key are made one after another, in the order in which they
    /// were made; `None` for those that wait for nobody.
    pub order_key: Option<String>,
    /// Only the last of a burst is delivered.
    pub burst: Option<Burst>,
    /// The item that goes there; `None` for the whole event.
    pub item: Option<Item>,
    /// A rule of the route failed, so the route is evaluated again before each attempt.
    pub needs_reevaluation: bool,
}

impl Target {
    /// A target with no rules.
    pub fn to(destination: impl Into<String>) -> Self {
        let destination = destination.into();
        Self { destination, order_key: None, burst: None, item: None, needs_reevaluation: false }
    }
}

/// What a delivery has to wait for when more about the same thing may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Deliveries of one destination with one key are one burst while none of them was tried.
    pub key: String,
    /// How long nothing may follow before the last is delivered.
    pub quiet: Duration,
    /// How long after its first a burst is over at the latest.
    pub at_most: Duration,
}

/// An event that is to be delivered again.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The event.
    pub event_id: EventId,
    /// Where it goes this time.
    pub targets: Vec<Target>,
    /// Why, in words: each delivery that is made for it names it.
    pub reason: String,
}

/// The state of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationStatus {
    /// A person has stopped it: nothing is claimed until it is resumed.
    pub is_paused: bool,
    /// Its breaker.
    pub breaker: Breaker,
}

/// The state of a circuit breaker: closed while `open_for` is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Attempts that failed one after another.
    pub failures: u32,
    /// No attempt is made before this time has passed, and then one. Zero once it has.
    pub open_for: Option<Duration>,
    /// Counts the changes of this breaker. Of two states that are written at the same time the one
    /// with the higher number stays.
    pub revision: u64,
}

/// The right to try a delivery once. Only a [`Store`](crate::Store) makes one.
#[derive(Clone, Debug)]
pub struct Claim {
    pub(crate) delivery: i64,
    pub(crate) destination: String,
    pub(crate) attempt: u32,
    pub(crate) waited: Duration,
    pub(crate) needs_reevaluation: bool,
    pub(crate) lease: Duration,
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

    /// How long it has waited between attempts so far. A stopped process and a clock that was set
    /// do not count.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether its route has to be asked before it is tried.
    pub fn needs_reevaluation(&self) -> bool {
        self.needs_reevaluation
    }

    /// How long it is exclusive, from when it was made or [renewed](crate::OutboundStore::renew).
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// What to deliver: the event, or one of its items.
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }
}

/// How one try went. Its `Debug` shows the length of request and output and nothing of their content.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it ended, in a few words: `exit 1`, `503 Service Unavailable`.
    pub result: String,
    /// What was sent, without secrets and cut off where it is long. Empty if nothing was, or if that follows from
    /// the event.
    pub request: String,
    /// What the destination said, at most 64 KiB: the end of a command's output, the beginning of a
    /// response's body.
    pub output: Vec<u8>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { started_at, took, result, request, output } = self;
        f.debug_struct("Attempt")
            .field("started_at", started_at)
            .field("took", took)
            .field("result", result)
            .field("request_bytes", &request.len())
            .field("output_bytes", &output.len())
            .finish()
    }
}

/// What follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered,
    /// It is tried again.
    Retry {
        /// Not before this time has passed since the outcome was written.
        after: Duration,
        /// How long it has waited then, all waits together.
        waited: Duration,
    },
    /// It is not tried again.
    Dead {
        /// Those behind it with the same order key wait until it is replayed.
        holds_key: bool,
    },
    /// It turned out that no route takes it there.
    Skipped,
}

/// Whether an outcome was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was, and all that follows from it.
    Written,
    /// Nothing was: the claim was settled before, its lease ended and the delivery was claimed again,
    /// or it was made before the store was opened. After a call that failed this can be the answer to
    /// its repetition, if the first was written after all.
    Stale,
}

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not tried yet.
    Pending,
    /// An attempt is under way.
    Running,
    /// Done.
    Delivered,
    /// Tried, failed, waiting for the next attempt.
    Retrying,
    /// Given up.
    Dead,
    /// No route takes it there.
    Skipped,
    /// A person stopped it.
    Cancelled,
    /// A later one of the same burst went in its place.
    Superseded,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Delivered,
        Self::Retrying,
        Self::Dead,
        Self::Skipped,
        Self::Cancelled,
        Self::Superseded,
    ];

    /// The word that users see and that the store holds.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Delivered => "delivered",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Superseded => "superseded",
        }
    }

    /// Its place in [`State::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The state that goes by this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// One event for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The name of the destination.
    pub destination: String,
    /// The number of the item that it delivers; `None` for the whole event.
    pub item: Option<u32>,
    /// Its state.
    pub state: State,
    /// How many attempts were begun.
    pub attempts: u32,
    /// When it is tried next, while it waits for a time and not for another delivery.
    pub due_at: Option<Timestamp>,
    /// What it is ordered by, where it is.
    pub order_key: Option<String>,
    /// Why it was made, where it was not by a route: a replay's reason.
    pub reason: Option<String>,
    /// The event that went in its place: of a superseded one the last of its burst, of a dead one
    /// itself, once it was replayed.
    pub replaced_by: Option<EventId>,
    /// How the last attempt ended, where it failed.
    pub last_error: Option<String>,
    /// The attempts that ended, oldest first; empty in a listing.
    pub history: Vec<Attempt>,
}

impl Delivery {
    /// About how much memory it takes without its history, in bytes.
    pub(crate) fn listed_bytes(&self) -> usize {
        let Self { destination, last_error, order_key, reason, .. } = self;
        let optional = [last_error, order_key, reason];
        let optional = optional.into_iter().flatten().map(String::len).sum::<usize>();
        size_of::<Self>() + destination.len() + optional
    }

    /// Whether a replay of an item, or of the whole event, goes in its place: it is dead, was not replayed
    /// yet, and is about the same. An item is a part of the whole.
    pub fn is_replaced_by(&self, item: Option<u32>) -> bool {
        let is_same = self.item == item || self.item.is_none() || item.is_none();
        self.state == State::Dead && self.replaced_by.is_none() && is_same
    }
}
