//! Records an event with a large body: first its chunks, a few in each commit, then the event.
//!
//! All of it in one transaction would let everybody wait who is recorded meanwhile, and make the
//! write-ahead log as long as the body. An event refers to its chunks only once all of them are durable;
//! those that no event gets are removed.

use std::sync::Arc;

use tokio::{sync::oneshot, time::Instant};

use super::{
    CHUNKS_PER_COMMIT, Job, Prepared, Queue, REPAIR_PAUSE, WriterState, chunk_count, is_intact,
};
use crate::{Duplicates, Receipt, StoreError, rules::DuplicateDecision};

pub(crate) struct RecordLarge {
    queue: Arc<Queue>,
    prepared: Prepared,
    duplicates: Duplicates,
    /// Chunks that are durable.
    written: usize,
    done: Done,
    reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// What the current transaction has done.
enum Done {
    /// Chunks up to this one are written.
    Chunks(usize),
    Recorded(Receipt),
}

impl RecordLarge {
    pub(super) fn new(
        queue: &Arc<Queue>,
        prepared: Prepared,
        duplicates: Duplicates,
    ) -> (Self, oneshot::Receiver<Result<Receipt, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let (queue, done) = (Arc::clone(queue), Done::Chunks(0));
        (Self { queue, prepared, duplicates, written: 0, done, reply }, answer)
    }
}

impl Job for RecordLarge {
    fn run(&mut self, state: &mut WriterState) -> rusqlite::Result<()> {
        let chunks = match self.prepared.chunks {
            Some(chunks) => chunks,
            None => {
                // Nothing need be written of most duplicates.
                let decision = state.decide(&self.prepared, self.duplicates)?;
                if let DuplicateDecision::DuplicateOf(event_id) = decision
                    && is_intact(&state.connection, event_id)?
                {
                    state.changes.matches.add(self.prepared.event());
                    self.done = Done::Recorded(Receipt { event_id, is_first: false });
                    return Ok(());
                }
                *self.prepared.chunks.insert(state.next_chunks())
            }
        };
        state.recorded_chunks = Some(chunks);
        let body = &self.prepared.event().body;
        let count = chunk_count(body.len());
        let end = count.min(self.written + CHUNKS_PER_COMMIT);
        state.write_partial(chunks, body, self.written..end)?;
        self.done = match end == count {
            true => Done::Recorded(state.record(&mut self.prepared, self.duplicates)?),
            false => Done::Chunks(end),
        };
        Ok(())
    }

    fn answer(mut self: Box<Self>, committed: Result<(), StoreError>) {
        let receipt = match (committed, self.done) {
            (Ok(()), Done::Chunks(written)) => {
                self.written = written;
                self.done = Done::Chunks(written);
                let queue = Arc::clone(&self.queue);
                return queue.resume(self);
            }
            (Ok(()), Done::Recorded(receipt)) => Ok(receipt),
            (Err(error), _) => Err(error),
        };
        let is_used = receipt.as_ref().is_ok_and(|receipt| receipt.is_first);
        if let Some(chunks) = self.prepared.chunks.filter(|_| !is_used) {
            RemovePartial::begin(&self.queue, chunks);
        }
        // Nobody waits any more when the sender hung up; what was written stays.
        let _ = self.reply.send(receipt);
    }
}

/// Removes the chunks of a body that no event got.
pub(crate) struct RemovePartial {
    queue: Arc<Queue>,
    chunks: i64,
    has_more: bool,
}

impl RemovePartial {
    pub(super) fn begin(queue: &Arc<Queue>, chunks: i64) {
        let job = Box::new(Self { queue: Arc::clone(queue), chunks, has_more: true });
        queue.push_repairs(vec![job], None);
    }
}

impl Job for RemovePartial {
    fn run(&mut self, state: &mut WriterState) -> rusqlite::Result<()> {
        // Its event never comes.
        state.recorded_chunks = state.recorded_chunks.filter(|&chunks| chunks != self.chunks);
        self.has_more = state.remove_partial(self.chunks)?;
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let queue = Arc::clone(&self.queue);
        match committed {
            Ok(()) if self.has_more => queue.push_last(self),
            // After a latch, or where the store is closed, the next start removes them.
            Err(error) if !error.is_final() && !queue.is_closed() => {
                queue.push_repairs(vec![self], Some(Instant::now() + REPAIR_PAUSE));
            }
            Ok(()) | Err(_) => {}
        }
    }
}
