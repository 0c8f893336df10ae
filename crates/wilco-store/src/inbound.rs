//! What the inbound half may do: record what was verified, and keep what was refused.

use async_trait::async_trait;
use wilco::{Envelope, Proof, Verified};

use crate::{Duplicates, Receipt, Rejection, Spool, StoreError};

/// The store as the inbound half sees it. It cannot route, claim or settle anything.
#[async_trait]
pub trait InboundStore: Send + Sync {
    /// Records an event, or recognises it as one that is already there, by the rule of
    /// [`Duplicates`]. One whose record is damaged is not there: it is recorded again. On `Ok` it is durable. Goes on to its end if the caller stops waiting.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing may be acknowledged.
    async fn record(
        &self,
        verified: Verified,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError> {
        self.record_proven(Proof::Signed(verified), envelope, duplicates).await
    }

    /// As [`record`](Self::record), whatever the proof is. What the provider was asked to send again, by
    /// [`ask_again`](crate::BackfillStore::ask_again), is marked. Of one delivery id, a fetched event and one
    /// that was signed are the same, even if their bytes differ: the list
    /// of a provider need not have the bytes that it signed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing may be acknowledged.
    async fn record_proven(
        &self,
        proof: Proof,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError>;

    /// A place on the disk of the store for a large body that is not verified yet. What is written there is
    /// not in the store, and is gone with its last user.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: there is no space for it.
    fn spool(&self) -> Result<Spool, StoreError>;

    /// Stores a rejected request for a limited time, so that a person can find out why, and accept it. Never
    /// waits, and promises nothing: rejections are written while no event and no delivery waits, at
    /// most once in [`REJECTION_INTERVAL`](crate::REJECTION_INTERVAL). Of a body that is not kept completely, the first
    /// [`REJECTION_BODY_BYTES_MAX`](crate::REJECTION_BODY_BYTES_MAX) are stored, and of all rejections the newest
    /// [`REJECTIONS_MAX`](crate::REJECTIONS_MAX) with at most [`REJECTION_BYTES_MAX`](crate::REJECTION_BYTES_MAX).
    ///
    /// False where it is dropped: [`REJECTION_QUEUE_MAX`](crate::REJECTION_QUEUE_MAX) or
    /// [`REJECTION_QUEUE_BYTES_MAX`](crate::REJECTION_QUEUE_BYTES_MAX) wait already, or the store is full or closed.
    fn reject(&self, rejection: Rejection) -> bool;

    /// Says which secrets are configured, each by its source and its name. The matches of each secret are
    /// counted from now on, and those of secrets that are no longer configured are forgotten. Never waits: it
    /// is written as soon as the store can take it.
    fn set_secrets(&self, secrets: Vec<(String, String)>);
}
