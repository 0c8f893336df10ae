//! Limits the open connections: in all, from one network, and by the limit on open files.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::inbound::{KNOWN_RESERVE_PART, Network};

/// Limits the connections of all listeners together.
#[derive(Debug)]
pub(in crate::inbound) struct ConnectionLimits {
    connections_max: usize,
    /// How many of them networks may have that are not known.
    unknown_max: usize,
    per_network_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: usize,
    by_network: HashMap<Network, usize>,
}

/// Counts one connection until it is dropped.
pub(super) struct Slot {
    limits: Arc<ConnectionLimits>,
    network: Option<Network>,
}

impl ConnectionLimits {
    /// Allows as many as the limit on open files does, and no more than [`CONNECTIONS_MAX`].
    pub(in crate::inbound) fn of_process() -> Arc<Self> {
        let files = getrlimit(Resource::Nofile).current;
        Arc::new(Self::new(connections_of(files)))
    }

    fn new(connections_max: usize) -> Self {
        let per_network_max = (connections_max / 2).clamp(1, CONNECTIONS_PER_NETWORK_MAX);
        let unknown_max = connections_max - connections_max / KNOWN_RESERVE_PART;
        Self { connections_max, unknown_max, per_network_max, open: Mutex::default() }
    }

    /// Counts a connection, so far for no network. `None` when the limit in all is reached.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.connections >= self.connections_max {
            return None;
        }
        open.connections += 1;
        Some(Slot { limits: Arc::clone(self), network: None })
    }
}

impl Slot {
    /// Counts the connection for the network that it comes from, unless the limit of that is reached, or what
    /// is left is for known networks.
    #[must_use]
    pub(super) fn count_for(&mut self, network: Network, is_known: bool) -> bool {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_known && open.connections > self.limits.unknown_max {
            return false;
        }
        let of_network = open.by_network.entry(network).or_default();
        if *of_network >= self.limits.per_network_max {
            return false;
        }
        *of_network += 1;
        self.network = Some(network);
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections -= 1;
        let Some(network) = self.network else { return };
        if let Some(of_network) = open.by_network.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                open.by_network.remove(&network);
            }
        }
    }
}

/// Raises the limit on open files as far as the connections need and the system allows, and warns
/// if that is too low. The usual soft limit, 1,024, exists for programs that use `select`. Returns
/// the previous soft limit, if there was one.
pub(crate) fn raise_file_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    let wanted = limit.maximum.map_or(FILES_WANTED, |most| most.min(FILES_WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the limit on open files");
        }
    }
    let files = getrlimit(Resource::Nofile).current;
    let connections = connections_of(files);
    if connections < CONNECTIONS_MAX {
        tracing::warn!(
            files,
            "at most {connections} connections are accepted instead of {CONNECTIONS_MAX}: the limit on \
             open files is low; raise it to {FILES_WANTED} with `ulimit -Hn`, or LimitNOFILE= in the \
             unit"
        );
    }
    before
}

/// How many connections this limit on open files allows: some files are reserved for the store, the
/// admin listener and the destinations.
fn connections_of(files: Option<u64>) -> usize {
    let files = files.unwrap_or(u64::MAX);
    let left = files.saturating_sub(FILES_RESERVED.min(files / 2));
    usize::try_from(left).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX)
}

/// Open connections in all; further ones are closed at once.
const CONNECTIONS_MAX: usize = 8_192;
/// Open connections from one network: an IPv4 address, or an IPv6 subnet (/64).
const CONNECTIONS_PER_NETWORK_MAX: usize = 2_048;
/// Open files that connections leave to the store, the admin listener and the destinations.
const FILES_RESERVED: u64 = 1_024;
/// The limit on open files that allows [`CONNECTIONS_MAX`] connections.
const FILES_WANTED: u64 = CONNECTIONS_MAX as u64 + FILES_RESERVED;

#[cfg(test)]
mod tests {
    use super::*;

    fn take(limits: &Arc<ConnectionLimits>, network: u64) -> Option<Slot> {
        let mut slot = limits.take()?;
        slot.count_for(Network::V6(network), true).then_some(slot)
    }

    #[test]
    fn connections_are_bounded_in_total_and_for_each_network() {
        let limits = Arc::new(ConnectionLimits::new(CONNECTIONS_MAX));
        let mut slots = Vec::new();
        for number in 0..5 {
            let before = slots.len();
            slots.extend(std::iter::from_fn(|| take(&limits, number)));
            let expected = if number < 4 { CONNECTIONS_PER_NETWORK_MAX } else { 0 };
            assert_eq!(slots.len() - before, expected, "{number}");
        }
        assert_eq!(slots.len(), CONNECTIONS_MAX);
        slots.pop();
        assert!(take(&limits, 9).is_some());
    }

    #[test]
    fn an_eighth_of_the_connections_is_left_to_known_networks() {
        let limits = Arc::new(ConnectionLimits::new(64));
        let taken = |network: u64, is_known| {
            let one = || {
                let mut slot = limits.take()?;
                slot.count_for(Network::V6(network), is_known).then_some(slot)
            };
            std::iter::from_fn(one).collect::<Vec<_>>()
        };
        let unknown: Vec<_> = (0..9).flat_map(|network| taken(network, false)).collect();
        let known = taken(9, true);
        assert_eq!((unknown.len(), known.len()), (56, 8));
    }

    #[test]
    fn a_connection_whose_network_is_not_yet_known_counts_in_total_only() {
        let limits = Arc::new(ConnectionLimits::new(8));
        let mut slots: Vec<_> = std::iter::from_fn(|| limits.take()).collect();
        assert_eq!(slots.len(), 8);
        assert_eq!(limits.open.lock().unwrap().by_network.len(), 0);
        let counted =
            slots.iter_mut().filter_map(|slot| slot.count_for(Network::V6(1), true).then_some(()));
        assert_eq!(counted.count(), limits.per_network_max);
        drop(slots);
        let open = limits.open.lock().unwrap();
        assert_eq!((open.connections, open.by_network.len()), (0, 0));
    }

    #[test]
    fn a_refused_or_closed_connection_is_no_longer_counted() {
        let limits = Arc::new(ConnectionLimits::new(2));
        let slots = [take(&limits, 1), take(&limits, 2)];
        assert!(slots.iter().all(Option::is_some));
        assert!((0..1_000).all(|number| take(&limits, number).is_none()));
        assert_eq!(limits.open.lock().unwrap().by_network.len(), 2);
        drop(slots);
        let open = limits.open.lock().unwrap();
        assert_eq!((open.connections, open.by_network.len()), (0, 0));
    }

    #[test]
    fn the_limit_on_open_files_leaves_some_for_the_rest_of_the_program() {
        for (files, connections, per_network) in [
            (None, 8_192, 2_048),
            (Some(1 << 20), 8_192, 2_048),
            (Some(9_216), 8_192, 2_048),
            (Some(9_215), 8_191, 2_048),
            (Some(4_096), 3_072, 1_536),
            (Some(1_024), 512, 256),
            (Some(64), 32, 16),
            (Some(0), 1, 1),
        ] {
            let limits = ConnectionLimits::new(connections_of(files));
            let found = (limits.connections_max, limits.per_network_max);
            assert_eq!(found, (connections, per_network), "{files:?}");
        }
    }
}
