//! Which client sent a request, which network it belongs to, and whether it may send at all.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use http::HeaderMap;
use ipnet::IpNet;

/// Who sent a request, or who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// A client with this address.
    Ip(IpAddr),
    /// A client of a Unix socket: a proxy on this machine. Or the program that embeds an
    /// `Endpoint`.
    Local,
}

impl Client {
    /// Its address, where it has one.
    pub(super) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(ip),
            Self::Local => None,
        }
    }

    /// Whether it is one of the trusted proxies. Whoever can open a Unix socket is one.
    pub(super) fn is_trusted(self, trusted: &[IpNet]) -> bool {
        match self {
            Self::Ip(ip) => trusted.iter().any(|net| net.contains(&ip.to_canonical())),
            Self::Local => true,
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Local => f.write_str("local"),
        }
    }
}

/// The addresses that one sender is assumed to control: an IPv4 address, or an IPv6 subnet (/64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    V4(Ipv4Addr),
    /// The upper 64 bits.
    V6(u64),
    Local,
}

impl From<Client> for Network {
    fn from(client: Client) -> Self {
        match client {
            Client::Ip(ip) => match ip.to_canonical() {
                IpAddr::V4(ip) => Self::V4(ip),
                IpAddr::V6(ip) => {
                    let [a, b, c, d, ..] = ip.segments().map(u64::from);
                    Self::V6(a << 48 | b << 32 | c << 16 | d)
                }
            },
            Client::Local => Self::Local,
        }
    }
}

/// A hop of `X-Forwarded-For` that is not an IP address, as text for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("X-Forwarded-For from {via} contains \"{hop}\", which is not an IP address")]
pub(crate) struct UnreadableHop {
    via: Client,
    hop: String,
}

/// The client that sent a request: the one at the socket, unless that is a trusted proxy. Then it
/// is the nearest address in `X-Forwarded-For` that does not belong to a trusted proxy, read from
/// right to left, because the sender may have written what is further left itself. If a trusted
/// proxy sends no such header, or names only trusted proxies, the request is its own.
///
/// # Errors
///
/// An [`UnreadableHop`] on the way to that address. The sender is unknown then, and the proxy must
/// not be taken for it: its address may be allowed when the sender's is not.
pub(super) fn sender(
    socket: Client,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Result<Client, UnreadableHop> {
    let mut sender = match socket {
        Client::Ip(ip) => Client::Ip(ip.to_canonical()),
        Client::Local => Client::Local,
    };
    if !sender.is_trusted(trusted) {
        return Ok(sender);
    }
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    for hop in values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|&b| b == b',')) {
        let ip = address(hop)
            .ok_or_else(|| UnreadableHop { via: sender, hop: legible(hop).into_owned() })?;
        sender = Client::Ip(ip);
        if !sender.is_trusted(trusted) {
            break;
        }
    }
    Ok(sender)
}

/// Parses a hop. Gateways write addresses with a port, in brackets and in quotes.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let text = between(text, '"', '"').unwrap_or(text);
    let ip = text.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let ip = ip.or_else(|| between(text, '[', ']')?.parse().ok().map(IpAddr::V6));
    ip.map(|ip| ip.to_canonical())
}

fn between(text: &str, open: char, close: char) -> Option<&str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

/// Text of an unverified sender for the log: truncated, and escaped so that it cannot control a
/// terminal.
pub(super) fn legible(bytes: &[u8]) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte);
    if bytes.len() <= LEGIBLE_BYTES_MAX && bytes.iter().all(|&byte| is_plain(byte)) {
        return String::from_utf8_lossy(bytes);
    }
    let cut = &bytes[..bytes.len().min(LEGIBLE_BYTES_MAX)];
    let dots = if cut.len() < bytes.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_ascii()).into()
}

/// Whether `allow_from` of a source allows this sender. An empty list allows everybody.
pub(super) fn allows(allow_from: &[IpNet], sender: Client) -> bool {
    allow_from.is_empty()
        || match sender {
            Client::Ip(ip) => allow_from.iter().any(|net| net.contains(&ip)),
            Client::Local => false,
        }
}

/// How much of a path, or of a hop of `X-Forwarded-For`, is logged.
const LEGIBLE_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(socket: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<_> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let socket = socket.parse().map_or(Client::Local, Client::Ip);
        let sender = sender(socket, &headers, &trusted);
        sender.map_or_else(|_| "unreadable".into(), |sender| sender.to_string())
    }

    #[test]
    fn the_sender_is_the_nearest_address_that_is_not_a_trusted_proxy() {
        let proxy = &["10.0.0.0/8"][..];
        for (socket, forwarded, trusted, expected) in [
            ("203.0.113.9", &["1.1.1.1"][..], proxy, "203.0.113.9"),
            ("203.0.113.9", &["nonsense"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["nonsense, 203.0.113.9"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6", "203.0.113.9, 10.0.0.2"], proxy, "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6", "203.0.113.9:4711,10.0.0.2:80"], proxy, "203.0.113.9"),
            ("10.0.0.1", &[], proxy, "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.7, 10.0.0.2"], proxy, "10.0.0.7"),
            ("10.0.0.1", &["203.0.113.9"], &[], "10.0.0.1"),
            ("::ffff:10.0.0.1", &["2001:db8::7"], proxy, "2001:db8::7"),
            ("::ffff:203.0.113.9", &[], proxy, "203.0.113.9"),
            ("local", &["203.0.113.9"], &[], "203.0.113.9"),
            ("local", &[], &[], "local"),
        ] {
            assert_eq!(check(socket, forwarded, trusted), expected, "{socket} {forwarded:?}");
        }
    }

    #[test]
    fn a_hop_is_read_in_every_format_that_gateways_write() {
        for (hop, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            (" \t203.0.113.9 ", "203.0.113.9"),
            ("203.0.113.9:61598", "203.0.113.9"),
            ("\"203.0.113.9\"", "203.0.113.9"),
            ("\"203.0.113.9:61598\"", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
            ("2001:db8::7", "2001:db8::7"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:61598", "2001:db8::7"),
            ("\"[2001:db8::7]:61598\"", "2001:db8::7"),
        ] {
            assert_eq!(check("10.0.0.1", &[hop], &["10.0.0.0/8"]), expected, "{hop}");
        }
    }

    #[test]
    fn a_hop_that_cannot_be_read_never_makes_the_proxy_the_sender() {
        for forwarded in [
            &[""][..],
            &[" "],
            &["203.0.113.9,"],
            &["203.0.113.9, , 10.0.0.2"],
            &["203.0.113.9", ""],
            &["203.0.113.9, unknown"],
            &["unknown, 10.0.0.2"],
            &["_hidden"],
            &["203.0.113.9:"],
            &["203.0.113.9:99999"],
            &["203.0.113.9:http"],
            &["203.0.113.9/32"],
            &["203.0.113.09"],
            &["203.0.113"],
            &["3405803785"],
            &["[203.0.113.9]"],
            &["[2001:db8::7"],
            &["2001:db8::7]"],
            &["[[2001:db8::7]]"],
            &["\"203.0.113.9"],
            &["' 203.0.113.9'"],
            &["203.0.113.9 198.51.100.1"],
            &["203.0.113.9;198.51.100.1"],
            &["for=203.0.113.9"],
            &["localhost"],
        ] {
            for socket in ["10.0.0.1", "::ffff:10.0.0.1", "local"] {
                let sender = check(socket, forwarded, &["10.0.0.0/8"]);
                assert_eq!(sender, "unreadable", "{socket} {forwarded:?}");
            }
        }
    }

    #[test]
    fn a_network_is_one_address_of_ipv4_or_a_subnet_of_ipv6() {
        let network = |ip: &str| Network::from(Client::Ip(ip.parse().unwrap()));
        for (a, b, is_one) in [
            ("203.0.113.9", "203.0.113.9", true),
            ("203.0.113.9", "203.0.113.8", false),
            ("203.0.113.9", "::ffff:203.0.113.9", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("2001:db8::1", "2001:db9::1", false),
        ] {
            assert_eq!(network(a) == network(b), is_one, "{a} {b}");
        }
    }

    #[test]
    fn a_list_of_networks_allows_only_those() {
        let list = ["203.0.113.0/24".parse().unwrap()];
        for (sender, expected) in [("203.0.113.9", true), ("203.0.114.9", false), ("::1", false)] {
            assert_eq!(allows(&list, Client::Ip(sender.parse().unwrap())), expected, "{sender}");
        }
        assert!(!allows(&list, Client::Local));
        assert!(allows(&[], Client::Local));
    }

    #[test]
    fn text_from_a_sender_is_truncated_and_escaped_for_the_log() {
        assert_eq!(legible(b"/a\x1b[31m\"\n\xff"), "/a\\x1b[31m\\\"\\n\\xff");
        assert_eq!(legible(&[b'x'; 300]), "x".repeat(200) + "…");
    }
}
