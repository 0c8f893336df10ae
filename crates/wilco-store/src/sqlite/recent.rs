//! The newest events, kept in memory, so that what was just written is not read back. Events with large
//! bodies are not kept.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wilco::Event;

use super::{chunk_count, seq_of};

/// The end of the table of events: every event behind a certain place, or none.
pub(crate) struct RecentEvents(Mutex<Inner>);

struct Inner {
    events: VecDeque<Recent>,
    /// About how much memory the events take.
    bytes: usize,
    /// The place behind which every event is kept here.
    behind: i64,
    routed_through: i64,
}

/// An event with what is looked for: an event of a while ago is in no cache of the processor any more.
struct Recent {
    seq: i64,
    bytes: usize,
    event: Arc<Event>,
}

impl RecentEvents {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner { events: VecDeque::new(), bytes: 0, behind: 0, routed_through: 0 }))
    }

    /// The store was opened, with these places.
    pub(super) fn begin(&self, last_seq: i64, routed_through: i64) {
        let mut inner = self.lock();
        inner.behind = last_seq;
        inner.routed_through = routed_through;
    }

    /// These events were committed, in this order.
    pub(super) fn extend(&self, events: Vec<Arc<Event>>) {
        let mut inner = self.lock();
        for event in events {
            if chunk_count(event.body.len()) > 0 {
                // It is read from the file, and with it what was recorded before it and is not routed.
                inner.events.clear();
                (inner.bytes, inner.behind) = (0, seq_of(event.id));
                continue;
            }
            let bytes = bytes_of(&event);
            inner.bytes += bytes;
            inner.events.push_back(Recent { seq: seq_of(event.id), bytes, event });
        }
        while inner.events.len() > EVENTS_MAX || inner.bytes > BYTES_MAX {
            let Some(oldest) = inner.events.pop_front() else { break };
            inner.bytes -= oldest.bytes;
            inner.behind = oldest.seq;
        }
    }

    /// The payloads of these were removed: all events up to the last of them are read from the file from now on.
    pub(super) fn remove(&self, places: &[i64]) {
        let Some(last) = places.iter().copied().max() else { return };
        let mut inner = self.lock();
        inner.behind = inner.behind.max(last);
        while let Some(oldest) = inner.events.pop_front_if(|oldest| oldest.seq <= last) {
            inner.bytes -= oldest.bytes;
        }
    }

    pub(super) fn routed(&self, through: i64) {
        let mut inner = self.lock();
        inner.routed_through = inner.routed_through.max(through);
    }

    /// The oldest unrouted events; `None` where some of them are not kept any more.
    pub(super) fn unrouted(&self, limit: usize) -> Option<Vec<Arc<Event>>> {
        let inner = self.lock();
        if inner.routed_through < inner.behind {
            return None;
        }
        let start = inner.events.partition_point(|recent| recent.seq <= inner.routed_through);
        let unrouted = inner.events.range(start..).take(limit);
        Some(unrouted.map(|recent| Arc::clone(&recent.event)).collect())
    }

    /// The event in this place, if it is one of the newest.
    pub(super) fn get(&self, seq: i64) -> Option<Arc<Event>> {
        let inner = self.lock();
        let place = inner.events.binary_search_by_key(&seq, |recent| recent.seq).ok()?;
        inner.events.get(place).map(|recent| Arc::clone(&recent.event))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that an event takes: its head may have more bytes than its body.
fn bytes_of(event: &Event) -> usize {
    let Event { provider, name, subject, secret_name, headers, body, .. } = event;
    let subject = subject.as_ref().map_or(0, String::len);
    size_of::<Event>()
        + name.len()
        + provider.len()
        + subject
        + secret_name.len()
        + headers.as_bytes().len()
        + body.len()
}

const EVENTS_MAX: usize = 4_096;
/// Bytes of memory that they take.
const BYTES_MAX: usize = 8 << 20;
