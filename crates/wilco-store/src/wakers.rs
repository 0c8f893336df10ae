//! What wakes the loops that wait for work, and those who follow along.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, watch};

/// Wakes the loops of the outbound half, and those who follow what happens. A notification is kept until somebody waits for it, so none is
/// lost.
#[derive(Debug, Default)]
pub struct Wakers {
    pub(crate) recorded: Notify,
    due: Mutex<HashMap<String, Arc<Notify>>>,
    pub(crate) damaged: Notify,
    pub(crate) failed: Notify,
    pub(crate) changed: watch::Sender<u64>,
}

impl Wakers {
    /// Notified when an event was recorded.
    pub fn recorded(&self) -> &Notify {
        &self.recorded
    }

    /// Notified when a delivery of this destination was made or falls due.
    pub fn due(&self, destination: &str) -> Arc<Notify> {
        let mut wakers = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(wakers.entry(destination.into()).or_default())
    }

    /// Notified when a damaged event was found.
    pub fn damaged(&self) -> &Notify {
        &self.damaged
    }

    /// Notified once, when the store has latched: the process should end.
    pub fn failed(&self) -> &Notify {
        &self.failed
    }
}
