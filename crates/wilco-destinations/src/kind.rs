//! What a kind of destination is. Each kind is one file, and `kinds.rs` lists them.

use std::{any::Any, fmt, ops::Deref, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use wilco::Event;
use wilco_config::{Key, TableReader, TableView, Unresolved};

use crate::preview::PreviewPart;

/// A kind of destination that a file can name.
#[derive(Debug)]
pub struct Kind {
    /// Its name, the value of `type`.
    pub name: &'static str,
    /// The keys that it has in addition to those of every destination.
    pub keys: &'static [Key],
    /// The key with the path that it writes to, which no two destinations may share.
    pub written_path: Option<&'static str>,
    /// How many attempts may run at once, unless `concurrency` says otherwise.
    pub concurrency: usize,
    /// Reads its keys. What they only name, such as secrets and programs, is looked up when the result is
    /// resolved.
    pub read: fn(&mut TableReader<'_>) -> Unresolved<SharedSettings>,
}

/// Every kind of destination that a file can name.
#[derive(Clone, Copy, Debug)]
pub struct Kinds(pub &'static [&'static Kind]);

impl Kinds {
    /// The kind of this name.
    pub fn find(self, name: &str) -> Option<&'static Kind> {
        self.0.iter().find(|kind| kind.name == name).copied()
    }
}

/// The settings of one destination, as its kind has read them.
#[async_trait]
pub trait Settings: Same + fmt::Debug + Send + Sync {
    /// The name of its kind, for people.
    fn kind(&self) -> &'static str;

    /// Makes the destination ready to deliver. `name` is its name, and `timeout` the time for an attempt.
    async fn open(
        &self,
        name: &str,
        timeout: Duration,
    ) -> Result<Arc<dyn wilco_delivery::Destination>, OpenError>;

    /// What it would be given about an event, but for what is the same for every configuration: ids,
    /// times, a body as it was received.
    ///
    /// # Errors
    ///
    /// Why nothing can be sent about the event.
    fn preview(&self, _event: &Event) -> Result<Vec<PreviewPart>, String> {
        Ok(Vec::new())
    }

    /// The secrets that no result, log line or stored output may show, each with the text that replaces it.
    fn hidden(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// How many events one call of [`deliver_many`](wilco_delivery::Destination::deliver_many) may deliver.
    /// With more than 1, attempts that begin during a call wait for the next, which delivers them together
    /// and in their order.
    fn batch_max(&self) -> usize {
        1
    }

    /// How much of its output is kept, in bytes.
    fn output_bytes_max(&self) -> usize {
        OUTPUT_BYTES_MAX
    }

    /// The file that it writes, with others in the same folder.
    fn written_path(&self) -> Option<&Path> {
        None
    }

    /// Whether it starts programs.
    fn starts_programs(&self) -> bool {
        false
    }

    /// Warns about templates that probably do not do what was meant. `is_about` tells which events are
    /// routed here.
    fn advise(&self, _table: &TableView<'_>, _is_about: &dyn Fn(&str) -> bool) {}
}

/// Why a destination cannot be opened, and how to fix that.
#[derive(Debug, thiserror::Error)]
#[error("cannot open it: {0}")]
pub struct OpenError(pub String);

/// Settings of any kind. Their kind decides whether they are equal.
#[derive(Clone, Debug)]
pub struct SharedSettings(Arc<dyn Settings>);

impl SharedSettings {
    /// Wraps the settings of a kind.
    pub fn new(settings: impl Settings) -> Self {
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

/// How much of what an attempt sent is kept, in bytes.
pub(crate) const ATTEMPT_REQUEST_BYTES_MAX: usize = 4 << 10;
/// How much of a destination's output is kept, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// Equality behind `dyn`: a reload keeps destinations whose settings are the same.
pub trait Same: Any {
    /// Whether the other settings have the same type and are equal.
    fn is_same(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + Any> Same for T {
    fn is_same(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }
}
