//! What the inbound half asks of the SQLite store.

use std::io;

use async_trait::async_trait;
use wilco::{Envelope, Proof};

use super::{Kind, Prepared, SqliteStore};
use crate::{Duplicates, InboundStore, Receipt, Rejection, StoreError};

/// The body of an event that is about to be recorded cannot be read.
pub(crate) fn unread(error: io::Error) -> StoreError {
    StoreError::Internal(format!("the body cannot be read: {error}"))
}

#[async_trait]
impl InboundStore for SqliteStore {
    async fn record_proven(
        &self,
        proof: Proof,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError> {
        self.writer.require_space()?;
        let mut prepared = Prepared::of(proof, envelope).map_err(unread)?;
        self.writer.write(Kind::Event, move |state| state.record(&mut prepared, duplicates)).await
    }

    fn reject(&self, rejection: Rejection) -> bool {
        self.writer.require_space().is_ok() && self.writer.reject(rejection.clamped())
    }

    fn set_secrets(&self, secrets: Vec<(String, String)>) {
        let now = self.now();
        self.writer.repair(move |state| state.set_secrets(&secrets, now));
    }
}
