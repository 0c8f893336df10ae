//! Connections that look and never write.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::Shared;
use crate::StoreError;

/// Connections that look and never write.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    free: Arc<Semaphore>,
    connections: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Runs `look` on a connection, away from the threads that serve requests.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.shared.require_opened()?;
        let readers = Arc::clone(self);
        let free = Arc::clone(&self.free);
        let permit = free.acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let seen = tokio::task::spawn_blocking(move || {
            // The place goes with the connection, and not with a caller who may stop waiting.
            let seen = readers.lend(look);
            drop(permit);
            seen
        })
        .await;
        seen.map_err(|error| StoreError::Internal(error.to_string()))?
    }

    /// Those of a store that is not open yet: none.
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        let free = Arc::new(Semaphore::new(0));
        Self { shared: Arc::clone(shared), free, connections: Mutex::default() }
    }

    pub(super) fn add(&self, connections: Vec<Connection>) {
        let permits = connections.len();
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).extend(connections);
        self.free.add_permits(permits);
    }

    fn lend<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lent = self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = lent.ok_or(StoreError::Closed)?;
        let seen = look(&connection);
        if !self.free.is_closed() {
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        seen
    }

    pub(super) fn close(&self) {
        self.free.close();
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
