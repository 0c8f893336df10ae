//! How the SQLite store and its destinations are.

use async_trait::async_trait;

use super::{SqliteStore, damaged_events, destination_status};
use crate::{DestinationStatus, StoreError, StoreStatus, Usage};

#[async_trait]
impl StoreStatus for SqliteStore {
    fn ready(&self) -> Result<(), StoreError> {
        self.writer.ready()
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.writer.shared().usage())
    }

    async fn destination_status(&self, destination: &str) -> Result<DestinationStatus, StoreError> {
        let (name, now) = (destination.to_owned(), self.now());
        self.readers.read(move |connection| destination_status(connection, &name, now)).await
    }

    async fn damaged_events(&self) -> Result<u64, StoreError> {
        self.query_readers.read(damaged_events).await
    }
}
