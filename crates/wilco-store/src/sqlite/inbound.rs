//! What the inbound half asks of the SQLite store.

use async_trait::async_trait;
use wilco::{Envelope, Proof};

use super::{Kind, Prepared, SqliteStore};
use crate::{Duplicates, InboundStore, Receipt, Rejection, StoreError};

#[async_trait]
impl InboundStore for SqliteStore {
    async fn record_proven(
        &self,
        proof: Proof,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError> {
        self.writer.require_space()?;
        let mut prepared = Prepared::of(proof, envelope);
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
