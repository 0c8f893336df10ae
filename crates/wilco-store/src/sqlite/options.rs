//! How a store behaves, and how much it does at once.

use std::{sync::Arc, time::Duration};

use crate::{CommitObserver, SCANNED_EVENTS_MAX};

/// How a store behaves.
pub struct Options {
    /// Free space of the file system, in bytes, below which nothing is recorded.
    pub reserve: u64,
    /// Called after every commit.
    pub observer: CommitObserver,
    /// From the opening until the file is read through for the first time, to look for damage; then
    /// it is read through once a day.
    pub scrub_after: Duration,
    /// How much is done at once.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve: 0,
            observer: Arc::new(|_, _| {}),
            // What a start has to do goes first.
            scrub_after: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

/// How much a store does at once, and how long it waits. The defaults suit every size of store;
/// smaller ones reach the border of a slice with few events. A number of 0 counts as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows that one write changes, unless a single item has more. Longer work takes several
    /// transactions, so that it does not hold up an acknowledgement.
    pub write_rows: usize,
    /// Events that a listing, or the search for the last one of a source, looks at in its first
    /// read; each further read looks at eight times as many.
    pub listing_events_first: usize,
    /// Events that it looks at in any one read.
    pub listing_events_max: usize,
    /// Events that it looks at in all, after which it ends early.
    pub listing_scanned_max: usize,
    /// How long one listing searches bodies, which may have to come from a slow disk.
    pub search_time: Duration,
    /// Bytes of bodies that it searches however long that takes.
    pub search_bytes_min: usize,
    /// Unfinished deliveries up to which they are counted whenever somebody asks. If there are more, a count serves for
    /// 20 times as long as it took, and for 1 s at least.
    pub counted_each_time: u64,
    /// Keys of the latest events that are gathered in memory before they are flushed. Twice as many
    /// are held, about 6 MB, and as many events are read at a start.
    pub index_keys: usize,
    /// Keys that one commit flushes when the store is closed, when no event waits for it.
    pub index_keys_at_close: usize,
    /// Bytes of a store up to which it is checked before it opens after an unclean stop. A larger
    /// one is checked while it is in use, because this many take about half a second.
    pub first_check_bytes_max: u64,
    /// Events that one slice of the background check reads.
    pub scrub_events: usize,
    /// Rows of any other table that one slice of the background check reads.
    pub scrub_rows: usize,
    /// Pause between two slices of the background check.
    pub scrub_pause: Duration,
    /// A further pause where something was committed meanwhile.
    pub scrub_busy_pause: Duration,
    /// Events that one slice of pruning removes; of those with many deliveries and attempts, four times as many
    /// rows.
    pub prune_rows: usize,
    /// Bytes that it removes, or by which it makes the file shorter, unless a single row has more.
    pub prune_bytes: usize,
    /// Events among which it looks for them.
    pub prune_looks: usize,
    /// Events that one slice counts.
    pub count_rows: usize,
    /// Pages that one read looks at for copies of what was removed.
    pub overwrite_looks: usize,
    /// Pages in which one slice overwrites such copies.
    pub overwrite_pages: usize,
    /// Free pages that stay in the file, if an eighth of all pages are fewer.
    pub free_pages: u64,
    /// How long a start waits for the lock of another process.
    pub lock_wait: Duration,
    /// How long a start waits for another program's read transaction.
    pub reader_wait: Duration,
    /// From one try to open the store to the next.
    pub open_retry: Duration,
}

impl Limits {
    /// None of them is 0: work in slices of nothing would never end.
    pub(super) fn at_least_one(self) -> Self {
        Self {
            write_rows: self.write_rows.max(1),
            listing_events_first: self
                .listing_events_first
                .clamp(1, self.listing_events_max.max(1)),
            listing_events_max: self.listing_events_max.max(1),
            listing_scanned_max: self.listing_scanned_max.max(1),
            search_bytes_min: self.search_bytes_min.max(1),
            index_keys: self.index_keys.max(1),
            index_keys_at_close: self.index_keys_at_close.max(1),
            scrub_events: self.scrub_events.max(1),
            scrub_rows: self.scrub_rows.max(1),
            prune_rows: self.prune_rows.max(1),
            prune_bytes: self.prune_bytes.max(1),
            prune_looks: self.prune_looks.max(1),
            count_rows: self.count_rows.max(1),
            overwrite_looks: self.overwrite_looks.max(1),
            overwrite_pages: self.overwrite_pages.max(1),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            write_rows: 512,
            listing_events_first: 256,
            listing_events_max: 10_000,
            listing_scanned_max: SCANNED_EVENTS_MAX,
            search_time: Duration::from_millis(50),
            search_bytes_min: 512 << 10,
            counted_each_time: 10_000,
            index_keys: 32_768,
            index_keys_at_close: 8_192,
            first_check_bytes_max: 128 << 20,
            scrub_events: 256,
            scrub_rows: 1_024,
            scrub_pause: Duration::from_millis(100),
            scrub_busy_pause: Duration::from_millis(900),
            prune_rows: 256,
            prune_bytes: 1 << 20,
            prune_looks: 1_024,
            count_rows: 4_096,
            overwrite_looks: 4_096,
            overwrite_pages: 64,
            free_pages: 4_096,
            lock_wait: Duration::from_secs(3),
            reader_wait: Duration::from_secs(2),
            open_retry: Duration::from_millis(500),
        }
    }
}
