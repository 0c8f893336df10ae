//! The leases of claims: in memory only, because one process has the store, and its leases end with it.
//!
//! They are measured by the time that only grows: a clock that is set ahead must not end the leases of
//! attempts that run.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Claim, rules::lease_end};

/// Which attempt of which delivery.
pub(crate) type AttemptId = (i64, u32);

/// The leases that have begun and not ended.
#[derive(Default)]
pub(crate) struct Leases(Mutex<HashMap<AttemptId, Lease>>);

/// The right to make one attempt, limited in time.
pub(crate) struct Lease {
    pub(super) destination: String,
    pub(super) ends: Duration,
}

/// What a batch changes; applied when that is committed.
#[derive(Default)]
pub(crate) struct LeaseChanges {
    pub(super) begun: Vec<(AttemptId, Lease)>,
    pub(super) ended: Vec<AttemptId>,
}

impl Leases {
    pub(super) fn apply(&self, LeaseChanges { begun, ended }: LeaseChanges) {
        if begun.is_empty() && ended.is_empty() {
            return;
        }
        let mut leases = self.lock();
        leases.extend(begun);
        for attempt in ended {
            leases.remove(&attempt);
        }
    }

    /// Extends the leases of these claims, and gives the deliveries of those that have none any more.
    pub(super) fn renew(&self, claims: &[Claim], elapsed: Duration) -> Vec<i64> {
        let mut leases = self.lock();
        let mut stale = Vec::new();
        for claim in claims {
            match leases.get_mut(&(claim.delivery, claim.attempt)) {
                Some(lease) => lease.ends = lease_end(elapsed, claim.lease),
                None => stale.push(claim.delivery),
            }
        }
        stale
    }

    /// The attempts at a destination whose time is over.
    pub(super) fn over(&self, destination: &str, elapsed: Duration) -> Vec<AttemptId> {
        let leases = self.lock();
        let over = leases
            .iter()
            .filter(|(_, lease)| lease.ends <= elapsed && lease.destination == destination);
        over.map(|(attempt, _)| *attempt).collect()
    }

    /// How long until the first lease at a destination ends.
    pub(super) fn next_end(&self, destination: &str, elapsed: Duration) -> Option<Duration> {
        let leases = self.lock();
        let here = leases.values().filter(|lease| lease.destination == destination);
        here.map(|lease| lease.ends.saturating_sub(elapsed)).min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
