//! What wakes the loops that wait for work.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

/// Wakes the loops of the outbound half. A ring is kept until it is heard, so none is lost.
#[derive(Debug, Default)]
pub struct Bells {
    pub(crate) recorded: Notify,
    due: Mutex<HashMap<String, Arc<Notify>>>,
    pub(crate) damaged: Notify,
    pub(crate) failed: Notify,
}

impl Bells {
    /// Rings when an event was recorded.
    pub fn recorded(&self) -> &Notify {
        &self.recorded
    }

    /// Rings when a delivery of this destination came to wait.
    pub fn due(&self, destination: &str) -> Arc<Notify> {
        let mut bells = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(bells.entry(destination.into()).or_default())
    }

    /// Rings when a damaged event was found.
    pub fn damaged(&self) -> &Notify {
        &self.damaged
    }

    /// Rings once, when the store has latched: the process should end.
    pub fn failed(&self) -> &Notify {
        &self.failed
    }
}
