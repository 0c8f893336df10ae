//! What the API says of wilco as a whole.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::DestinationStatus;

/// Whether all is well, and if not, what is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// The version of wilco.
    pub version: String,
    /// The time of this overview.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// When wilco started; absent if it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Whether an event could be received and recorded now.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unready: Option<String>,
    /// What happened within the last minute, or since the start; absent if wilco does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_minute: Option<Activity>,
    /// What happened within the last hour, or since the start; absent if wilco does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_hour: Option<Activity>,
    /// The same for each minute of the last hour, the oldest first. The last one is not over yet.
    pub minutes: Vec<Activity>,
    /// The destinations of the configuration, and others that have unfinished deliveries.
    pub destinations: Vec<DestinationStatus>,
    /// The sources of the configuration; none if it cannot be read.
    pub sources: Vec<SourceStatus>,
    /// The store.
    pub store: StoreUsage,
    /// When the certificate expires; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub certificate_expires_at: Option<Timestamp>,
}

impl Overview {
    /// Whether the certificate has expired, or will so soon that somebody should look.
    pub fn is_certificate_expiring(&self) -> bool {
        let left = self.certificate_expires_at.map(|at| at.duration_since(self.now));
        left.is_some_and(|left| left < CERTIFICATE_WARNING)
    }
}

/// What happened within some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// When that time began.
    #[schema(value_type = String, format = DateTime)]
    pub began_at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// Requests by outcome, such as `recorded`.
    pub requests: BTreeMap<String, u64>,
    /// Events recorded, without duplicates.
    pub events: u64,
    /// From the head of a request to its 2xx; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<Latency>,
    /// Commits of the store.
    pub commits: u64,
    /// Attempts to deliver by outcome: `delivered`, `failed` (and retried), `dead`, `skipped`.
    pub attempts: BTreeMap<String, u64>,
}

/// How long something took, estimated from the buckets of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// How often it happened.
    pub count: u64,
    /// Half of them took at most this many milliseconds.
    pub p50_ms: f64,
    /// 99 % of them took at most this many milliseconds.
    pub p99_ms: f64,
}

/// The status of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceStatus {
    /// The source's name.
    pub source: String,
    /// Who sends to it.
    pub provider: String,
    /// The path of its endpoint.
    pub path: String,
    /// When its last event came, or its last duplicate; absent if that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_event_at: Option<Timestamp>,
    /// Within how many seconds an event is expected (`expect_every`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect_every_secs: Option<u64>,
    /// Whether none came for longer than that.
    pub silent: bool,
}

/// What the store takes and leaves of its disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreUsage {
    /// Free space of its file system, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Free space below which nothing is recorded, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve_bytes: Option<u64>,
    /// Its size without the write-ahead log, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_bytes: Option<u64>,
    /// The size of the write-ahead log, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_bytes: Option<u64>,
    /// Commits lost to damage in the log when the store was opened, at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_commits: Option<u64>,
    /// Events whose record was found to be damaged.
    pub damaged_events: u64,
}

impl StoreUsage {
    /// Whether so little space is free that somebody should look.
    pub fn is_space_low(&self) -> bool {
        let space = self.free_bytes.zip(self.reserve_bytes);
        space.is_some_and(|(free, reserve)| free < reserve.saturating_mul(2))
    }
}

const CERTIFICATE_WARNING: SignedDuration = SignedDuration::from_hours(14 * 24);
