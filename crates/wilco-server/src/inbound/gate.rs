//! Who may send at all: the address behind a request, and the room that is left for its body.

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This address, as the connection has it.
    Ip(IpAddr),
    /// A local socket, which only a proxy on this machine has.
    Local,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Local => f.write_str("local"),
        }
    }
}

/// The address of the sender: of the connection, unless that is a trusted proxy's. Then the nearest
/// address in `X-Forwarded-For` that is not one, read right to left, for whatever stands further left
/// the sender may have written himself.
pub(super) fn sender(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Peer {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(&ip.to_canonical()));
    match peer {
        Peer::Ip(ip) if !is_trusted(ip) => return Peer::Ip(ip.to_canonical()),
        Peer::Ip(_) | Peer::Local => {}
    }
    let mut sender = peer;
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    for hop in values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|&b| b == b',')) {
        let hop = std::str::from_utf8(hop).ok().and_then(|text| text.trim().parse::<IpAddr>().ok());
        let Some(ip) = hop.map(|ip| ip.to_canonical()) else { break };
        sender = Peer::Ip(ip);
        if !is_trusted(ip) {
            break;
        }
    }
    sender
}

/// Whether a source takes requests from there. A list that is empty allows everybody.
pub(super) fn allows(allow_from: &[IpNet], sender: Peer) -> bool {
    allow_from.is_empty()
        || match sender {
            Peer::Ip(ip) => allow_from.iter().any(|net| net.contains(&ip)),
            Peer::Local => false,
        }
}

/// Memory for bodies that nobody has vouched for yet.
#[derive(Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(UNVERIFIED_KIB_MAX)))
    }

    /// Takes room for a body of so many bytes, until the permit goes. `None` while there is none.
    pub(super) fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024).max(1)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(kib).ok()
    }
}

/// All bodies under way together, in KiB; past it the answer is 503.
const UNVERIFIED_KIB_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<_> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let peer = peer.parse().map_or(Peer::Local, Peer::Ip);
        sender(peer, &headers, &trusted).to_string()
    }

    #[test]
    fn the_sender_is_the_nearest_address_that_no_trusted_proxy_has() {
        let proxy = &["10.0.0.0/8"][..];
        for (peer, forwarded, trusted, expected) in [
            ("203.0.113.9", &["1.1.1.1"][..], proxy, "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6", "203.0.113.9, 10.0.0.2"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9, nonsense"], proxy, "10.0.0.1"),
            ("10.0.0.1", &[], proxy, "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["2001:db8::7"], proxy, "2001:db8::7"),
            ("local", &["203.0.113.9"], &[], "203.0.113.9"),
            ("local", &[], &[], "local"),
        ] {
            assert_eq!(check(peer, forwarded, trusted), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_list_of_networks_lets_in_only_those() {
        let list = ["203.0.113.0/24".parse().unwrap()];
        for (sender, expected) in [("203.0.113.9", true), ("203.0.114.9", false), ("::1", false)] {
            assert_eq!(allows(&list, Peer::Ip(sender.parse().unwrap())), expected, "{sender}");
        }
        assert!(!allows(&list, Peer::Local));
        assert!(allows(&[], Peer::Local));
    }

    #[test]
    fn room_is_given_back() {
        let room = Room::new();
        let all = room.take(UNVERIFIED_KIB_MAX * 1024).unwrap();
        assert!(room.take(1).is_none());
        drop(all);
        assert!(room.take(1).is_some());
    }
}
