//! What the configuration knows of a kind of destination. Each kind is described where it is
//! implemented, and whoever reads a file brings the table of them.

use std::{any::Any, fmt, ops::Deref, sync::Arc, time::Duration};

use async_trait::async_trait;
use wilco_config::{Key, TableReader};

use super::OUTPUT_BYTES_MAX;

/// A kind of destination that a file can name.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What `type` calls it.
    pub(crate) name: &'static str,
    /// The keys that it has besides those of every destination.
    pub(crate) keys: &'static [Key],
    /// How many attempts may run at once, unless `concurrency` says otherwise.
    pub(crate) concurrency: usize,
    /// Reads its keys; `None` after at least one error was reported.
    pub(crate) read: fn(&mut TableReader<'_>) -> Option<SharedSettings>,
}

/// Every kind of destination that a file can name.
#[derive(Clone, Copy, Debug)]
pub struct Kinds(pub(crate) &'static [&'static Kind]);

impl Kinds {
    /// The kind of this name.
    pub(super) fn find(self, name: &str) -> Option<&'static Kind> {
        self.0.iter().find(|kind| kind.name == name).copied()
    }
}

/// One configured destination, in whatever its kind made of its keys.
#[async_trait]
pub(crate) trait Settings: Same + fmt::Debug + Send + Sync {
    /// The name of its kind, for people.
    fn kind(&self) -> &'static str;

    /// Makes the destination ready to deliver. `name` is its name, and `timeout` the time for an attempt.
    async fn open(
        &self,
        name: &str,
        timeout: Duration,
    ) -> Result<Arc<dyn wilco_delivery::Destination>, OpenError>;

    /// What no result, log line or stored output may show, each with the words that replace it.
    fn hidden(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// How much of what it says is kept, in bytes.
    fn output_bytes_max(&self) -> usize {
        OUTPUT_BYTES_MAX
    }

    /// Warns about templates that cannot mean what they say. `is_about` tells which events come here.
    fn advise(&self, _reader: &TableReader<'_>, _is_about: &dyn Fn(&str) -> bool) {}
}

/// Why a destination cannot be opened, and how to fix that.
#[derive(Debug, thiserror::Error)]
#[error("cannot open it: {0}")]
pub(crate) struct OpenError(pub(crate) String);

/// Settings of any kind. They are equal if their kind says so.
#[derive(Clone, Debug)]
pub(crate) struct SharedSettings(Arc<dyn Settings>);

impl SharedSettings {
    pub(crate) fn new(settings: impl Settings) -> Self {
        Self(Arc::new(settings))
    }
}

impl Deref for SharedSettings {
    type Target = dyn Settings;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl PartialEq for SharedSettings {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(other.0.as_ref())
    }
}

/// Equality behind `dyn`: a reload keeps destinations whose settings are the same.
pub(crate) trait Same: Any {
    /// Whether the other one is of this type, and equal.
    fn is_same(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + Any> Same for T {
    fn is_same(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
