//! Deliveries that a provider was asked to send again, so that they are recognised when they come.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use wilco::{Envelope, Proof, Verified};

/// The deliveries that were asked for and have not come. After a restart they are forgotten, and
/// come as if nobody had asked.
#[derive(Default)]
pub(crate) struct Redeliveries {
    expected: Mutex<HashSet<(String, String)>>,
    /// Without a backfill, no request waits for the lock.
    is_used: AtomicBool,
}

impl Redeliveries {
    /// Expects a delivery of this id.
    pub(crate) fn expect(&self, source: &str, delivery_id: &str) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.len() >= EXPECTED_MAX {
            expected.clear();
        }
        expected.insert((source.to_owned(), delivery_id.to_owned()));
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// The proof of a signed event: whether it was asked for is part of it.
    pub(super) fn proof(&self, verified: Verified, envelope: &Envelope) -> Proof {
        let Some(id) =
            envelope.delivery_id.as_ref().filter(|_| self.is_used.load(Ordering::Relaxed))
        else {
            return Proof::Signed(verified);
        };
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        match expected.remove(&(verified.source().as_str().to_owned(), id.clone())) {
            true => Proof::Redelivered(verified),
            false => Proof::Signed(verified),
        }
    }
}

/// Deliveries that are expected at most; beyond it all are forgotten.
const EXPECTED_MAX: usize = 50_000;
