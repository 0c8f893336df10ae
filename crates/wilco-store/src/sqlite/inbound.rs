//! What the inbound half asks of the SQLite store.

use std::{io, sync::Arc};

use async_trait::async_trait;
use tokio::{sync::Semaphore, task::spawn_blocking};
use wilco::{Envelope, Proof};

use super::{Kind, Prepared, SqliteStore};
use crate::{Duplicates, InboundStore, Receipt, Rejection, Spool, StoreError};

/// The body of an event that is about to be recorded cannot be read.
pub(crate) fn unread(error: &io::Error) -> StoreError {
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
        let mut prepared = match proof.arrival().body.is_stored() {
            true => {
                static READING: Semaphore = Semaphore::const_new(BODIES_READ_MAX);
                let _permit = READING.acquire().await.map_err(|_| StoreError::Closed)?;
                let read = spawn_blocking(move || Prepared::of(proof, envelope)).await;
                read.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
            false => Prepared::of(proof, envelope),
        }
        .map_err(|error| unread(&error))?;
        if prepared.is_large() {
            return self.writer.record_large(prepared, duplicates).await;
        }
        self.writer.write(Kind::Event, move |state| state.record(&mut prepared, duplicates)).await
    }

    fn spool(&self) -> Result<Spool, StoreError> {
        self.writer.require_space()?;
        let shared = Arc::clone(self.writer.shared());
        let folder = shared.space.folder().to_owned();
        Spool::new(&folder, Arc::new(move || shared.space.require_for_spool()))
    }

    fn reject(&self, rejection: Rejection) -> bool {
        self.writer.require_space().is_ok() && self.writer.reject(rejection.clamped())
    }

    fn set_secrets(&self, secrets: Vec<(String, String)>) {
        let now = self.now();
        self.writer.repair(move |state| state.set_secrets(&secrets, now));
    }
}

/// Large bodies that are read at a time, to compute their checksums.
const BODIES_READ_MAX: usize = 2;
