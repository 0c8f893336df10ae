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
    /// When wilco did not run, newest first.
    pub gaps: Vec<Gap>,
}

/// A time in which wilco did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
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

/// How long after the round that closed a gap an event counts as taken in for it.
pub(crate) const GAP_TAIL_MS: i64 = 15 * 60_000;
