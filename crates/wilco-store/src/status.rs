//! How the store and its destinations are, which both deliveries and people ask for.

use async_trait::async_trait;

use crate::{DestinationStatus, StoreError, Usage};

/// The status of the store and of its destinations.
#[async_trait]
pub trait StoreStatus: Send + Sync {
    /// Whether an event could be committed now.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the reason why it could not.
    fn ready(&self) -> Result<(), StoreError>;

    /// Waits until the store gets to this call. A store that hangs never does; one that can record
    /// nothing, such as for want of space, does.
    async fn respond(&self);

    /// What the store takes and leaves of its disk, where that means anything.
    fn usage(&self) -> Option<Usage>;

    /// The status of a destination; one that was never used is not paused, and its breaker is closed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn destination_status(&self, destination: &str) -> Result<DestinationStatus, StoreError>;

    /// How many events were found damaged: by the check in the background, by routing, by a delivery,
    /// by a listing, by a sender who sent one again, or by a person who looked at one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store cannot be read.
    async fn damaged_events(&self) -> Result<u64, StoreError>;
}
