//! What backfill keeps: how far each source is covered, and when wilco did not run.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{InboundStore, StoreError};

/// The store as the backfill sees it.
#[async_trait]
pub trait BackfillStore: InboundStore {
    /// Notes, when the service starts, that it did not run since the last
    /// [`note_running`](Self::note_running): a gap of each of these sources.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was noted.
    async fn note_start(&self, sources: Vec<String>) -> Result<(), StoreError>;

    /// Notes that the service runs.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it was not noted.
    async fn note_running(&self) -> Result<(), StoreError>;

    /// Up to when the provider was asked for what never arrived. A source that was never asked about
    /// counts as covered up to now.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where that is not known.
    async fn covered_through(&self, source: &str) -> Result<Timestamp, StoreError>;

    /// Forgets why the rounds of all but these sources failed: they have no backfill any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was forgotten.
    async fn forget_errors(&self, except: Vec<String>) -> Result<(), StoreError>;

    /// Notes that the provider is about to be asked to send this delivery again, unless that happened
    /// [`REDELIVERIES_MAX`] times. On `Ok` it is durable. The event is marked when it comes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it was not noted, and the provider must not be asked.
    async fn ask_again(&self, source: &str, delivery_id: &str) -> Result<Redelivery, StoreError>;

    /// Notes how a round ended: the source is covered up to this time, which closes the gaps before
    /// it, or why not. Answers since when its rounds have failed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it was not noted.
    async fn end_round(
        &self,
        source: &str,
        result: Result<Timestamp, String>,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Those of these delivery ids that no event of the source has.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn missing(&self, source: &str, ids: Vec<String>) -> Result<Vec<String>, StoreError>;
}

/// Whether a provider may be asked to send a delivery again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redelivery {
    /// It may, for the first time or once more.
    Ask,
    /// It was asked too often, and was given up just now.
    GivenUp,
    /// It was given up before.
    GivenUpBefore,
}

impl Redelivery {
    /// After this many requests, with or without an earlier decision to give up.
    pub(crate) fn after(asked: u32, is_given_up: bool) -> Self {
        match (asked < REDELIVERIES_MAX, is_given_up) {
            (true, _) => Self::Ask,
            (false, false) => Self::GivenUp,
            (false, true) => Self::GivenUpBefore,
        }
    }
}

/// What is known of the backfill of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillStatus {
    /// The source.
    pub source: String,
    /// Up to when the provider was asked.
    pub covered_through: Timestamp,
    /// Why the last round failed.
    pub error: Option<String>,
    /// Since when all rounds have failed.
    pub failing_since: Option<Timestamp>,
    /// Its events that never arrived by themselves.
    pub taken_in: u64,
    /// Deliveries that the provider was asked to send again, and that have not come yet.
    pub awaited: u64,
    /// Deliveries that were given up, because they did not come although the provider was asked
    /// [`REDELIVERIES_MAX`] times.
    pub given_up: u64,
}

/// Which gaps to list.
#[derive(Clone, Debug, Default)]
pub struct GapQuery {
    /// Only those of this source.
    pub source: Option<String>,
    /// Only those with a lower number: for the next part.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: usize,
}

/// A time in which wilco did not run, for one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its number; a later gap has a higher one.
    pub number: i64,
    /// The source.
    pub source: String,
    /// The last sign that it ran.
    pub from: Timestamp,
    /// When it ran again.
    pub to: Timestamp,
    /// When the first round that covers it had succeeded.
    pub closed_at: Option<Timestamp>,
    /// Events that were taken in from its end until a quarter of an hour after it was closed, because
    /// a provider that is asked to send again does so a little later.
    pub taken_in: u64,
}

/// Gaps that are kept of all sources together; a newer one takes the place of the oldest.
pub const GAPS_MAX: usize = 1_000;

/// How often a provider is asked to send the same delivery again.
pub const REDELIVERIES_MAX: u32 = 20;

/// Deliveries that were asked for and have not come, of all sources together; a newer one takes the place of
/// the oldest.
pub const AWAITED_MAX: usize = 50_000;

/// How long a delivery that was asked for is remembered: no provider lists it for as long.
pub(crate) const AWAITED_MS: i64 = 10 * 24 * 3_600_000;

/// How long after the round that closed a gap an event counts as taken in for it.
pub(crate) const GAP_TAIL_MS: i64 = 15 * 60_000;
