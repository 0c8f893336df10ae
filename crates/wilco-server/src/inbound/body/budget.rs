//! Limits the memory for bodies that are not verified yet.
//!
//! A body is charged for the bytes that arrived, not for those that it announces, so that a sender
//! that announces much and sends nothing takes nothing from the others. Small bodies that arrive
//! quickly, which is what providers send, have a separate part of the memory. Each network is
//! limited to a share of both parts, so that one cannot take everything.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::inbound::Network;

/// The memory that all bodies have taken.
#[derive(Debug, Default)]
pub(crate) struct BodyBudget(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    small: Part,
    large: Part,
}

#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    by_network: HashMap<Network, usize>,
}

/// The memory that one body has taken; released when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<BodyBudget>,
    network: Network,
    class: Class,
    bytes: usize,
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

impl BodyBudget {
    /// An empty charge for a body that is sent from `network`.
    pub(in crate::inbound) fn charge(self: &Arc<Self>, network: Network) -> Charge {
        Charge { budget: Arc::clone(self), network, class: Class::Small, bytes: 0 }
    }
}

impl Charge {
    /// Raises the charge to `bytes`. `false`, and the charge is as before, when the budget has no
    /// room. A body that has become large or slow is charged to the part for those and stays there.
    pub(super) fn raise_to(&mut self, bytes: usize, is_slow: bool) -> bool {
        let bytes = bytes.max(self.bytes);
        let mut taken = self.budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_small = self.class == Class::Small && bytes <= SMALL_BODY_BYTES_MAX && !is_slow;
        if is_small {
            if !taken.small.take(self.network, bytes - self.bytes, &SMALL) {
                return false;
            }
        } else {
            let moved = if self.class == Class::Small { self.bytes } else { 0 };
            if !taken.large.take(self.network, bytes - self.bytes + moved, &LARGE) {
                return false;
            }
            taken.small.give_back(self.network, moved);
            self.class = Class::Large;
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut taken = self.budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        match self.class {
            Class::Small => taken.small.give_back(self.network, self.bytes),
            Class::Large => taken.large.give_back(self.network, self.bytes),
        }
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

/// The largest body that counts as small.
const SMALL_BODY_BYTES_MAX: usize = 64 << 10;
/// Small bodies that arrive quickly, all together.
const SMALL_BODIES_BYTES_MAX: usize = 32 << 20;
/// Those of one network.
const SMALL_BODIES_PER_NETWORK_BYTES_MAX: usize = 16 << 20;
/// All other bodies together.
const LARGE_BODIES_BYTES_MAX: usize = 96 << 20;
/// Those of one network: one body of the largest size that can be configured.
const LARGE_BODIES_PER_NETWORK_BYTES_MAX: usize = 32 << 20;
const SMALL: Limits = Limits {
    bytes_max: SMALL_BODIES_BYTES_MAX,
    network_bytes_max: SMALL_BODIES_PER_NETWORK_BYTES_MAX,
};
const LARGE: Limits = Limits {
    bytes_max: LARGE_BODIES_BYTES_MAX,
    network_bytes_max: LARGE_BODIES_PER_NETWORK_BYTES_MAX,
};

#[cfg(test)]
mod tests {
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
            let mut charge = budget.charge(network);
            if !charge.raise_to(bytes, is_slow) {
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
            (64 * KIB + 1, false, 32 * MIB, 96 * MIB),
            (MIB, false, 32 * MIB, 96 * MIB),
            (32 * MIB, false, 32 * MIB, 96 * MIB),
            (64 * KIB, true, 32 * MIB, 96 * MIB),
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
        assert_eq!((large.len(), small.len()), (96, (16 << 20) / 1_000));
    }

    #[test]
    fn a_small_body_that_becomes_slow_no_longer_uses_the_budget_of_fast_ones() {
        let budget = Arc::<BodyBudget>::default();
        let mut small = fill(&budget, network(1), 64 << 10, false);
        assert!(!budget.charge(network(1)).raise_to(1, false));
        assert!(small[0].raise_to(0, true));
        let mut next = budget.charge(network(1));
        assert!(next.raise_to(64 << 10, false));
        assert!(small[0].raise_to(1 << 20, false), "and stays in the other one");
        assert!(!budget.charge(network(1)).raise_to(1, false));
    }

    #[test]
    fn a_released_budget_leaves_no_entry() {
        let budget = Arc::<BodyBudget>::default();
        for network in (0..9).map(network).chain([Network::Local]) {
            drop(fill(&budget, network, 1 << 20, false));
            drop(fill(&budget, network, 1_000, false));
            let mut moved = budget.charge(network);
            assert!(moved.raise_to(1_000, false) && moved.raise_to(1_000, true));
        }
        let taken = budget.0.lock().unwrap();
        assert_eq!((taken.small.bytes, taken.large.bytes), (0, 0));
        assert!(taken.small.by_network.is_empty() && taken.large.by_network.is_empty());
    }
}
