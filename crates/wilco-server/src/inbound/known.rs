//! Remembers which networks have sent signed requests lately, because they are preferred where space is short.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Network;

/// Networks whose requests were verified, in two generations: the older one is forgotten when the newer one is
/// full or [`GENERATION_TIME`] old.
#[derive(Debug)]
pub(super) struct KnownNetworks(Mutex<Generations>);

#[derive(Debug)]
struct Generations {
    newer: HashSet<Network>,
    older: HashSet<Network>,
    began: Instant,
}

impl Default for KnownNetworks {
    fn default() -> Self {
        let (newer, older) = (HashSet::new(), HashSet::new());
        Self(Mutex::new(Generations { newer, older, began: Instant::now() }))
    }
}

impl KnownNetworks {
    /// A request from this network was verified.
    pub(super) fn note(&self, network: Network, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.newer.contains(&network) && now < known.began + GENERATION_TIME {
            return;
        }
        if known.newer.len() >= GENERATION_MAX || now >= known.began + GENERATION_TIME {
            known.older = std::mem::take(&mut known.newer);
            known.began = now;
        }
        known.newer.insert(network);
    }

    /// Whether a request from this network was verified lately. Whoever can open a Unix socket is known.
    pub(super) fn contains(&self, network: Network) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_noted = |all: &HashSet<Network>| all.contains(&network);
        network == Network::Local || is_noted(&known.newer) || is_noted(&known.older)
    }
}

/// How long a generation takes in networks; a network is known for once to twice that time.
const GENERATION_TIME: Duration = Duration::from_hours(12);
/// How many networks a generation may have.
const GENERATION_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_known_for_a_while_after_its_last_signed_request() {
        let (known, now) = (KnownNetworks::default(), Instant::now());
        let [first, second] = [1, 2].map(Network::V6);
        assert!(!known.contains(first) && known.contains(Network::Local));
        known.note(first, now);
        known.note(second, now);
        assert!(known.contains(first) && known.contains(second));
        known.note(first, now + GENERATION_TIME);
        assert!(known.contains(first) && known.contains(second));
        known.note(first, now + 2 * GENERATION_TIME);
        assert!(known.contains(first) && !known.contains(second));
    }

    #[test]
    fn the_networks_that_are_remembered_are_bounded() {
        let (known, now) = (KnownNetworks::default(), Instant::now());
        for number in 0..10 * GENERATION_MAX as u64 {
            known.note(Network::V6(number), now);
        }
        let generations = known.0.lock().unwrap();
        assert_eq!(generations.newer.len() + generations.older.len(), 2 * GENERATION_MAX);
    }
}
