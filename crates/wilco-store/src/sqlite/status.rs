//! How the SQLite store and its destinations are.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::{Kind, SqliteStore, damaged_events, destination_status};
use crate::{DestinationStatus, StoreError, StoreStatus, Usage};

#[async_trait]
impl StoreStatus for SqliteStore {
    fn ready(&self) -> Result<(), StoreError> {
        self.writer.ready()
    }

    async fn respond(&self) {
        // A full queue answers at once, whether or not the thread behind it still works.
        while let Err(StoreError::Busy) = self.writer.write(Kind::Delivery, |_| Ok(())).await {
            sleep(BUSY_PAUSE).await;
        }
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

const BUSY_PAUSE: Duration = Duration::from_millis(100);
