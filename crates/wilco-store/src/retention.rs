//! How long events are kept, and their removal when that is over.

use std::{ops::AddAssign, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{StoreError, StoreStatus};

/// How long what is finished is kept; `None` for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Headers and bodies of events, what attempts put out, and rejections.
    pub payloads: Option<Duration>,
    /// The rest of an event, its deliveries and their attempts, and what duplicates are detected by. At least as
    /// long as the payloads.
    pub records: Option<Duration>,
}

/// The store as what prunes it sees it.
#[async_trait]
pub trait RetentionStore: StoreStatus {
    /// Removes a part of what is older than it is to be kept, in one transaction of bounded size, the oldest
    /// first. A round begins at the default place, and goes on behind what the last call answered.
    ///
    /// An event that has not been routed, or has a delivery that is pending, running or retrying, is kept
    /// whatever its age, and so is one with a dead delivery that others wait for. Any other dead delivery keeps
    /// its payload for as long as its record is kept, because it can be replayed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was removed, and the same call may be made again.
    async fn prune(
        &self,
        retention: Retention,
        place: PrunePlace,
    ) -> Result<(Pruned, Option<PrunePlace>), StoreError>;
}

/// How much a store has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Events.
    pub events: u64,
    /// Those of them that have headers and body.
    pub payloads: u64,
    /// The bytes of these bodies.
    pub body_bytes: u64,
    /// Rejections.
    pub rejections: u64,
    /// The bytes of their headers and bodies.
    pub rejection_bytes: u64,
    /// Bytes of file and write-ahead log that the next events will use.
    pub unused_bytes: u64,
    /// Of what was removed before this time there are no copies left, in the file or its log.
    pub overwritten_through: Option<Timestamp>,
    /// When the oldest event was received.
    pub oldest_event_at: Option<Timestamp>,
    /// When the oldest one was received that has headers and body.
    pub oldest_payload_at: Option<Timestamp>,
}

/// How far a round has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrunePlace {
    pub(crate) stage: PruneStage,
    /// Everything up to this place was looked at in this stage.
    pub(crate) through: i64,
}

impl Default for PrunePlace {
    fn default() -> Self {
        Self::of(PruneStage::Payloads)
    }
}

impl PrunePlace {
    /// Where free space is given back to the file system.
    pub fn space() -> Self {
        Self::of(PruneStage::Space)
    }

    /// Whether free space is given back here.
    pub fn is_about_space(&self) -> bool {
        self.stage == PruneStage::Space
    }

    /// Whether copies of what was removed are overwritten here, which is the last that a round does. How far that has
    /// come is kept in the store, so that a round may end before all of it is done.
    pub fn is_about_copies(&self) -> bool {
        self.stage == PruneStage::Overwriting
    }

    /// Whether payloads are removed here, which is the first that a round does.
    pub fn is_about_payloads(&self) -> bool {
        self.stage == PruneStage::Payloads
    }

    /// The beginning of a stage.
    pub(crate) fn of(stage: PruneStage) -> Self {
        Self { stage, through: 0 }
    }
}

/// What a round does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PruneStage {
    Payloads,
    Records,
    Rejections,
    /// Counts what was recorded since the last round.
    Counting,
    /// Gives free pages of the file back to the file system.
    Space,
    /// Overwrites copies of what was removed in unused parts of the file, once a day.
    Overwriting,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events that have lost their payload.
    pub payloads: u64,
    /// The bytes of their bodies, and of what attempts put out.
    pub payload_bytes: u64,
    /// Events that are gone.
    pub records: u64,
    /// Rejections that are gone.
    pub rejections: u64,
    /// Bytes by which the file has become shorter.
    pub returned_bytes: u64,
    /// Pages of the file in which copies of what was removed were overwritten.
    pub overwritten_pages: u64,
}

impl AddAssign for Pruned {
    fn add_assign(&mut self, other: Self) {
        self.payloads += other.payloads;
        self.payload_bytes += other.payload_bytes;
        self.records += other.records;
        self.rejections += other.rejections;
        self.returned_bytes += other.returned_bytes;
        self.overwritten_pages += other.overwritten_pages;
    }
}
