//! Limits the memory and the disk space for bodies that are not verified yet.
//!
//! A body is charged for the bytes that arrived, not for those that it announces, so that a sender
//! that announces much and sends nothing takes nothing from the others. Small bodies that arrive
//! quickly, which is what providers send, have a separate part of the memory. Of a large body that goes to
//! the disk, only what is not written yet takes memory. Each network is limited to a share of everything,
//! so that one cannot take all of it, and a part of everything is left to the networks that have sent signed
//! requests lately.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;

use crate::{
    inbound::{KNOWN_RESERVE_PART, Network},
    metrics::Metrics,
};

/// The memory and the disk space that all bodies have taken.
#[derive(Debug, Default)]
pub(crate) struct BodyBudget {
    taken: Mutex<Taken>,
    held_bytes: Gauge,
    spooled_bytes: Gauge,
}

#[derive(Debug, Default)]
struct Taken {
    small: Part,
    large: Part,
    spooled: Part,
    /// Of each body on the disk one, because it has a file open.
    files: Part,
}

#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    by_network: HashMap<Network, usize>,
}

/// The memory and the disk space that one body has taken; released when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<BodyBudget>,
    network: Network,
    is_known: bool,
    class: Class,
    bytes: usize,
    spooled_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Small,
    Large,
}

/// The limits of a part: in all, and for one network.
struct Limits {
    bytes_max: usize,
    network_bytes_max: usize,
}

impl Limits {
    /// Those of a network that is known or not.
    fn of(&self, is_known: bool) -> Self {
        let reserved = if is_known { 0 } else { self.bytes_max / KNOWN_RESERVE_PART };
        Self { bytes_max: self.bytes_max - reserved, ..*self }
    }
}

impl BodyBudget {
    pub(in crate::inbound) fn new(metrics: &Metrics) -> Self {
        Self {
            taken: Mutex::default(),
            held_bytes: metrics.register("bodies_held_bytes", "Memory for bodies not recorded yet"),
            spooled_bytes: metrics
                .register("bodies_spooled_bytes", "Disk space for bodies not recorded yet"),
        }
    }

    /// An empty charge for a body that is sent from `network`, which is known or not.
    pub(in crate::inbound) fn charge(self: &Arc<Self>, network: Network, is_known: bool) -> Charge {
        Charge {
            budget: Arc::clone(self),
            network,
            is_known,
            class: Class::Small,
            bytes: 0,
            spooled_bytes: 0,
        }
    }
}

impl Charge {
    /// Raises the charge for memory to `bytes`. `false`, and the charge is as before, when the budget has no
    /// room. A body that has become large or slow is charged to the part for those and stays there.
    pub(super) fn hold(&mut self, bytes: usize, is_slow: bool) -> bool {
        let bytes = bytes.max(self.bytes);
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_small = self.class == Class::Small && bytes <= SMALL_BODY_BYTES_MAX && !is_slow;
        if is_small {
            if !taken.small.take(self.network, bytes - self.bytes, &SMALL.of(self.is_known)) {
                return false;
            }
        } else {
            let moved = if self.class == Class::Small { self.bytes } else { 0 };
            if !taken.large.take(self.network, bytes - self.bytes + moved, &LARGE.of(self.is_known))
            {
                return false;
            }
            taken.small.give_back(self.network, moved);
            self.class = Class::Large;
        }
        self.budget.held_bytes.inc_by(difference(bytes, self.bytes));
        self.bytes = bytes;
        true
    }

    /// Charges further bytes that are about to be written to the disk. `false` when the budget has no room.
    pub(super) fn spool(&mut self, bytes: usize) -> bool {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let has_file = self.spooled_bytes > 0;
        if !has_file && !taken.files.take(self.network, 1, &FILES.of(self.is_known)) {
            return false;
        }
        if !taken.spooled.take(self.network, bytes, &SPOOLED.of(self.is_known)) {
            if !has_file {
                taken.files.give_back(self.network, 1);
            }
            return false;
        }
        self.budget.spooled_bytes.inc_by(difference(bytes, 0));
        self.spooled_bytes += bytes;
        true
    }

    /// All that was held is on the disk.
    pub(super) fn release_memory(&mut self) {
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match self.class {
            Class::Small => taken.small.give_back(self.network, self.bytes),
            Class::Large => taken.large.give_back(self.network, self.bytes),
        }
        self.budget.held_bytes.dec_by(difference(self.bytes, 0));
        self.bytes = 0;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.release_memory();
        let mut taken = self.budget.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.budget.spooled_bytes.dec_by(difference(self.spooled_bytes, 0));
        taken.spooled.give_back(self.network, self.spooled_bytes);
        taken.files.give_back(self.network, usize::from(self.spooled_bytes > 0));
    }
}

impl Part {
    fn take(&mut self, network: Network, bytes: usize, limits: &Limits) -> bool {
        let of_network = self.by_network.get(&network).copied().unwrap_or_default();
        // A Unix socket is used by a proxy or a program on this machine, which may take everything.
        let has_share = network == Network::Local || of_network + bytes <= limits.network_bytes_max;
        if self.bytes + bytes > limits.bytes_max || !has_share {
            return false;
        }
        if bytes > 0 {
            self.bytes += bytes;
            *self.by_network.entry(network).or_default() += bytes;
        }
        true
    }

    fn give_back(&mut self, network: Network, bytes: usize) {
        self.bytes -= bytes;
        if let Some(of_network) = self.by_network.get_mut(&network) {
            *of_network -= bytes;
            if *of_network == 0 {
                self.by_network.remove(&network);
            }
        }
    }
}

fn difference(bytes: usize, before: usize) -> i64 {
    i64::try_from(bytes - before).unwrap_or(i64::MAX)
}

/// The largest body that counts as small.
const SMALL_BODY_BYTES_MAX: usize = 64 << 10;
/// Small bodies that arrive quickly, all together.
const SMALL_BODIES_BYTES_MAX: usize = 32 << 20;
/// Those of one network.
const SMALL_BODIES_PER_NETWORK_BYTES_MAX: usize = 16 << 20;
/// What is in memory of all other bodies together.
const LARGE_BODIES_BYTES_MAX: usize = 32 << 20;
/// Those of one network.
const LARGE_BODIES_PER_NETWORK_BYTES_MAX: usize = 16 << 20;
/// What is on the disk of large bodies that are not recorded yet.
const SPOOLED_BYTES_MAX: usize = 4 << 30;
/// Those of one network.
const SPOOLED_PER_NETWORK_BYTES_MAX: usize = 3 << 30;
const SMALL: Limits = Limits {
    bytes_max: SMALL_BODIES_BYTES_MAX,
    network_bytes_max: SMALL_BODIES_PER_NETWORK_BYTES_MAX,
};
const LARGE: Limits = Limits {
    bytes_max: LARGE_BODIES_BYTES_MAX,
    network_bytes_max: LARGE_BODIES_PER_NETWORK_BYTES_MAX,
};
/// Large bodies that are on the disk.
const SPOOLED_BODIES_MAX: usize = 256;
/// Those of one network.
const SPOOLED_BODIES_PER_NETWORK_MAX: usize = 128;
const FILES: Limits =
    Limits { bytes_max: SPOOLED_BODIES_MAX, network_bytes_max: SPOOLED_BODIES_PER_NETWORK_MAX };
const SPOOLED: Limits =
    Limits { bytes_max: SPOOLED_BYTES_MAX, network_bytes_max: SPOOLED_PER_NETWORK_BYTES_MAX };

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn network(number: u8) -> Network {
        Network::V4([203, 0, 113, number].into())
    }

    /// How many bodies of `bytes` from `network` fit besides those that are held.
    fn fill(
        budget: &Arc<BodyBudget>,
        network: Network,
        bytes: usize,
        is_slow: bool,
    ) -> Vec<Charge> {
        let mut held = Vec::new();
        loop {
            let mut charge = budget.charge(network, true);
            if !charge.hold(bytes, is_slow) {
                return held;
            }
            held.push(charge);
        }
    }

    #[test]
    fn each_part_of_the_budget_is_bounded_and_each_network_gets_a_share() {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        for (bytes, is_slow, of_one, of_all) in [
            (64 * KIB, false, 16 * MIB, 32 * MIB),
            (64 * KIB + 1, false, 16 * MIB, 32 * MIB),
            (MIB, false, 16 * MIB, 32 * MIB),
            (64 * KIB, true, 16 * MIB, 32 * MIB),
        ] {
            let budget = Arc::<BodyBudget>::default();
            let first = fill(&budget, network(1), bytes, is_slow);
            assert_eq!(first.len(), of_one / bytes, "{bytes} {is_slow}");
            let others = (2..10).map(|n| fill(&budget, network(n), bytes, is_slow));
            let others: Vec<_> = others.flatten().collect();
            let all = first.len() + others.len();
            assert!(all <= of_all / bytes && all + 1 >= of_all / bytes, "{bytes} {is_slow} {all}");
            let local = fill(&budget, Network::Local, bytes, is_slow);
            assert_eq!(all + local.len(), of_all / bytes, "{bytes} {is_slow}");
        }
    }

    #[test]
    fn large_and_slow_bodies_take_no_budget_from_small_and_fast_ones() {
        let budget = Arc::<BodyBudget>::default();
        let large: Vec<_> =
            (0..9).flat_map(|n| fill(&budget, network(n), 1 << 20, false)).collect();
        let small = fill(&budget, network(1), 1_000, false);
        assert_eq!((large.len(), small.len()), (32, (16 << 20) / 1_000));
    }

    #[test]
    fn a_small_body_that_becomes_slow_no_longer_uses_the_budget_of_fast_ones() {
        let budget = Arc::<BodyBudget>::default();
        let mut small = fill(&budget, network(1), 64 << 10, false);
        assert!(!budget.charge(network(1), true).hold(1, false));
        assert!(small[0].hold(0, true));
        let mut next = budget.charge(network(1), true);
        assert!(next.hold(64 << 10, false));
        assert!(small[0].hold(1 << 20, false), "and stays in the other one");
        assert!(!budget.charge(network(1), true).hold(1, false));
    }

    #[test]
    fn a_body_on_the_disk_takes_no_memory_and_disk_space_is_bounded_and_shared() {
        let budget = Arc::<BodyBudget>::default();
        let spool = |network| {
            let mut charge = budget.charge(network, true);
            let is_kept = charge.hold(1 << 20, false) && charge.spool(1 << 30);
            charge.release_memory();
            is_kept.then_some(charge)
        };
        let first: Vec<_> = (0..9).map_while(|_| spool(network(1))).collect();
        let second: Vec<_> = (0..9).map_while(|_| spool(network(2))).collect();
        assert_eq!((first.len(), second.len()), (3, 1));
        assert_eq!(fill(&budget, network(1), 1 << 20, false).len(), 16);
        drop(first);
        assert!(spool(network(1)).is_some());
        let files = |network| {
            let held = std::iter::repeat_with(|| budget.charge(network, true));
            held.map_while(|mut charge| charge.spool(1).then_some(charge)).collect::<Vec<_>>()
        };
        let (three, four) = (files(network(3)), files(network(4)));
        assert_eq!((three.len(), four.len()), (128, 127), "and the one of the second network");
    }

    #[test]
    fn a_part_of_each_budget_is_left_to_known_networks() {
        let budget = Arc::<BodyBudget>::default();
        let take = |number: u8, is_known: bool, bytes: usize| {
            let mut charge = budget.charge(network(number), is_known);
            charge.hold(bytes, false).then_some(charge)
        };
        for (bytes, of_unknown, of_known) in [(64 << 10, 448, 64), (1 << 20, 28, 4)] {
            let fill = |number, is_known| -> Vec<_> {
                iter::repeat_with(|| take(number, is_known, bytes)).map_while(|one| one).collect()
            };
            let unknown: Vec<_> = (0..9).flat_map(|n| fill(n, false)).collect();
            let known = fill(9, true);
            assert_eq!((unknown.len(), known.len()), (of_unknown, of_known), "{bytes}");
        }
        let files: Vec<_> = (0..9)
            .flat_map(|n| {
                let charges = iter::repeat_with(|| budget.charge(network(n), false));
                charges
                    .map_while(|mut charge| charge.spool(1).then_some(charge))
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(files.len(), SPOOLED_BODIES_MAX - SPOOLED_BODIES_MAX / KNOWN_RESERVE_PART);
        assert!(budget.charge(network(9), true).spool(1));
    }

    #[test]
    fn a_released_budget_leaves_no_entry() {
        let budget = Arc::<BodyBudget>::default();
        for network in (0..9).map(network).chain([Network::Local]) {
            drop(fill(&budget, network, 1 << 20, false));
            drop(fill(&budget, network, 1_000, false));
            let mut moved = budget.charge(network, true);
            assert!(moved.hold(1_000, false) && moved.hold(1_000, true) && moved.spool(1_000));
        }
        let taken = budget.taken.lock().unwrap();
        assert_eq!((taken.small.bytes, taken.large.bytes, taken.files.bytes), (0, 0, 0));
        let parts = [&taken.small, &taken.large, &taken.spooled, &taken.files];
        assert!(parts.iter().all(|part| part.by_network.is_empty()));
        assert_eq!((budget.held_bytes.get(), budget.spooled_bytes.get()), (0, 0));
    }
}
