//! The header of the PROXY protocol, with which a proxy in front says who connected to it. Versions 1
//! and 2, as <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt> defines them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

/// Who a header says has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client with this address.
    Client(IpAddr),
    /// The proxy itself, such as for a health check, or a client whose address it does not know. The
    /// connection counts as the proxy's own.
    Proxy,
}

/// Why a connection is refused that has to begin with a header.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyHeaderError {
    /// It comes from an address that no proxy has.
    #[error("the connection does not come from one of `trusted_proxies`")]
    Untrusted,
    /// It begins with something else.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Missing,
    /// It begins like a header, and is none.
    #[error("the header of the PROXY protocol cannot be read")]
    Malformed,
    /// The header is longer than is accepted.
    #[error("the header of the PROXY protocol is too long")]
    TooLong,
    /// The header is not complete in time.
    #[error("the header of the PROXY protocol took too long")]
    TooSlow,
    /// The connection ended before.
    #[error("the connection ended within the header of the PROXY protocol: {0}")]
    BrokenOff(io::Error),
}

impl ProxyHeaderError {
    /// The label of the metric.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::TooSlow => "too_slow",
            Self::BrokenOff(_) => "broken_off",
        }
    }

    /// What it usually means.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Untrusted => {
                "with proxy_protocol, only proxies may connect; if this is one, add its address to \
                 trusted_proxies"
            }
            Self::Missing => {
                "switch on the PROXY protocol in the proxy (send-proxy-v2 in HAProxy, proxy_protocol on \
                 in nginx), or switch proxy_protocol off here"
            }
            Self::Malformed | Self::TooLong => "look at what the proxy sends, or update it",
            Self::TooSlow | Self::BrokenOff(_) => {
                "a health check that does not send the PROXY protocol, or a broken network"
            }
        }
    }
}

/// Reads the header that a connection begins with, and not one byte more.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Origin, ProxyHeaderError> {
    let header = async {
        let mut bytes = Vec::new();
        loop {
            match parse(&bytes)? {
                Parsed::Complete(origin) => return Ok(origin),
                Parsed::Needs(more) => {
                    let begin = bytes.len();
                    bytes.resize(begin + more, 0);
                    let read = stream.read_exact(&mut bytes[begin..]).await;
                    read.map_err(ProxyHeaderError::BrokenOff)?;
                }
            }
        }
    };
    timeout(PROXY_HEADER_TIMEOUT, header).await.unwrap_or(Err(ProxyHeaderError::TooSlow))
}

/// What the beginning of a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// A complete header.
    Complete(Origin),
    /// The beginning of one. It has at least this many bytes more.
    Needs(usize),
}

fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    match bytes {
        _ if bytes.len() < SHORTEST => Ok(Parsed::Needs(SHORTEST - bytes.len())),
        _ if bytes.starts_with(b"PROXY ") => parse_v1(bytes),
        _ if bytes.starts_with(V2_SIGNATURE) => parse_v2(bytes),
        _ => Err(ProxyHeaderError::Missing),
    }
}

/// `PROXY TCP4 203.0.113.9 198.51.100.1 56324 443`, with CR and LF at the end.
fn parse_v1(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    // Only the last byte is new, apart from the first time.
    if !bytes.ends_with(b"\r\n") {
        return match bytes.len() {
            _ if bytes.contains(&b'\n') => Err(ProxyHeaderError::Malformed),
            V1_BYTES_MAX.. => Err(ProxyHeaderError::TooLong),
            _ => Ok(Parsed::Needs(1)),
        };
    }
    let line = bytes[..bytes.len() - 2].strip_prefix(b"PROXY ").unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| ProxyHeaderError::Malformed)?;
    let fields: Vec<_> = line.split(' ').collect();
    let origin = match fields[..] {
        // Whatever follows is to be ignored.
        ["UNKNOWN", ..] => Some(Origin::Proxy),
        ["TCP4", from, to, from_port, to_port] => {
            let addresses = from.parse().ok().zip(to.parse::<Ipv4Addr>().ok());
            let (from, _) = addresses.filter(|_| is_port(from_port) && is_port(to_port)).unzip();
            from.map(|ip: Ipv4Addr| Origin::Client(ip.into()))
        }
        ["TCP6", from, to, from_port, to_port] => {
            let addresses = from.parse().ok().zip(to.parse::<Ipv6Addr>().ok());
            let (from, _) = addresses.filter(|_| is_port(from_port) && is_port(to_port)).unzip();
            from.map(|ip: Ipv6Addr| Origin::Client(ip.to_canonical()))
        }
        _ => None,
    };
    origin.map(Parsed::Complete).ok_or(ProxyHeaderError::Malformed)
}

/// A decimal number up to 65535, without a leading zero.
fn is_port(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain && (text == "0" || !text.starts_with('0')) && text.parse::<u16>().is_ok()
}

/// The signature; version and command; address family and transport; a length; and that many bytes,
/// which begin with the addresses.
fn parse_v2(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let Some((&[.., version, family, high, low], rest)) = bytes.split_first_chunk::<V2_FIXED>()
    else {
        return Ok(Parsed::Needs(V2_FIXED - bytes.len()));
    };
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::Malformed),
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if V2_FIXED + length > V2_BYTES_MAX {
        return Err(ProxyHeaderError::TooLong);
    }
    if rest.len() < length {
        return Ok(Parsed::Needs(length - rest.len()));
    }
    let origin = match family {
        // The family of a command LOCAL is to be ignored.
        _ if is_local => Some(Origin::Proxy),
        UNSPECIFIED => Some(Origin::Proxy),
        IPV4_STREAM | IPV4_DATAGRAM => rest
            .first_chunk::<12>()
            .map(|&[a, b, c, d, ..]| Origin::Client(Ipv4Addr::from([a, b, c, d]).into())),
        IPV6_STREAM | IPV6_DATAGRAM => {
            let from = rest.first_chunk::<36>().and_then(|addresses| addresses.first_chunk::<16>());
            from.map(|&ip| Origin::Client(Ipv6Addr::from(ip).to_canonical()))
        }
        UNIX_STREAM | UNIX_DATAGRAM => (length >= 216).then_some(Origin::Proxy),
        _ => None,
    };
    origin.map(Parsed::Complete).ok_or(ProxyHeaderError::Malformed)
}

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of a header of version 2 up to its length.
const V2_FIXED: usize = 16;
const UNSPECIFIED: u8 = 0x00;
const IPV4_STREAM: u8 = 0x11;
const IPV4_DATAGRAM: u8 = 0x12;
const IPV6_STREAM: u8 = 0x21;
const IPV6_DATAGRAM: u8 = 0x22;
const UNIX_STREAM: u8 = 0x31;
const UNIX_DATAGRAM: u8 = 0x32;
/// Bytes of the shortest header, `PROXY UNKNOWN`.
const SHORTEST: usize = 15;
/// Bytes of a header of version 1: the longest that the specification allows.
const V1_BYTES_MAX: usize = 107;
/// Bytes of a header of version 2, in which a proxy may say more than the addresses.
const V2_BYTES_MAX: usize = 4_096;
/// How long a connection may take to send its header.
const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[version, family], &length, rest].concat()
    }

    /// The source is 203.0.113.9.
    fn ipv4(more: &[u8]) -> Vec<u8> {
        [&[203, 0, 113, 9, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb], more].concat()
    }

    fn ipv6(from: &str) -> Vec<u8> {
        let [from, to] = [from, "::1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
        [&from[..], &to, &[0xdc, 4, 1, 0xbb]].concat()
    }

    /// What a header and the bytes behind it are read as, and how many bytes were taken.
    fn check(bytes: &[u8]) -> (Result<Origin, &'static str>, usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut rest = bytes;
        let read = runtime.block_on(read(&mut rest)).map_err(|error| error.label());
        (read, bytes.len() - rest.len())
    }

    fn valid() -> Vec<(Vec<u8>, &'static str)> {
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_BYTES_MAX - 16));
        let longest = ipv4(&vec![4; V2_BYTES_MAX - V2_FIXED - 12]);
        let mut unix = vec![b'x'; 216];
        unix.extend(b"\x04\0\x01\0");
        vec![
            (b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n".into(), "203.0.113.9"),
            (b"PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n".into(), "255.255.255.255"),
            (b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n".into(), "2001:db8::7"),
            (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 56324 443\r\n".into(), "203.0.113.9"),
            (b"PROXY UNKNOWN\r\n".into(), "proxy"),
            (b"PROXY UNKNOWN 1 2 3 4 what ever\r\n".into(), "proxy"),
            (long.into_bytes(), "proxy"),
            (v2(0x21, 0x11, &ipv4(b"")), "203.0.113.9"),
            (v2(0x21, 0x12, &ipv4(b"")), "203.0.113.9"),
            (v2(0x21, 0x11, &ipv4(b"\x04\0\x03abc")), "203.0.113.9"),
            (v2(0x21, 0x11, &longest), "203.0.113.9"),
            (v2(0x21, 0x21, &ipv6("2001:db8::7")), "2001:db8::7"),
            (v2(0x21, 0x22, &ipv6("::ffff:203.0.113.9")), "203.0.113.9"),
            (v2(0x21, 0x31, &unix), "proxy"),
            (v2(0x21, 0x00, b""), "proxy"),
            (v2(0x21, 0x00, b"anything"), "proxy"),
            (v2(0x20, 0x00, b""), "proxy"),
            (v2(0x20, 0x11, &ipv4(b"")), "proxy"),
            (v2(0x20, 0xff, b"anything"), "proxy"),
        ]
    }

    #[test]
    fn a_header_is_read_to_its_last_byte_and_no_further() {
        for (header, expected) in valid() {
            let expected = match expected {
                "proxy" => Origin::Proxy,
                ip => Origin::Client(ip.parse().unwrap()),
            };
            let shown = header.escape_ascii().to_string();
            for behind in [&b""[..], b"\x16\x03\x01", b"\r\n", b"PROXY UNKNOWN\r\n"] {
                let (read, taken) = check(&[&header, behind].concat());
                assert_eq!((read, taken), (Ok(expected), header.len()), "{shown}");
            }
        }
    }

    #[test]
    fn a_header_that_is_cut_off_anywhere_is_refused() {
        for (header, _) in valid() {
            for end in 0..header.len() {
                let (read, _) = check(&header[..end]);
                assert_eq!(read, Err("broken_off"), "{}", header[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_not_a_header_is_refused() {
        let v1 = |line: &str| format!("{line}\r\n").into_bytes();
        let mut unsigned = v2(0x21, 0x11, &ipv4(b""));
        unsigned[11] = b'\r';
        for (bytes, expected) in [
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), "missing"),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03abcdef".to_vec(), "missing"),
            (v1("proxy TCP4 203.0.113.9 198.51.100.1 56324 443"), "missing"),
            (v1(" PROXY TCP4 203.0.113.9 198.51.100.1 56324 443"), "missing"),
            (unsigned, "missing"),
            (v1("PROXY TCP4 203.0.113.9 198.51.100.1 56324"), "malformed"),
            (v1("PROXY TCP4 203.0.113.9 198.51.100.1 56324 443 1"), "malformed"),
            (v1("PROXY TCP4 203.0.113.9 198.51.100.1 56324 443 "), "malformed"),
            (v1("PROXY TCP4  203.0.113.9 198.51.100.1 56324 443"), "malformed"),
            (v1("PROXY TCP4 203.0.113.09 198.51.100.1 56324 443"), "malformed"),
            (v1("PROXY TCP4 203.0.113 198.51.100.1 56324 443"), "malformed"),
            (v1("PROXY TCP4 203.0.113.9 nowhere 56324 443"), "malformed"),
            (v1("PROXY TCP4 2001:db8::7 ::1 56324 443"), "malformed"),
            (v1("PROXY TCP6 203.0.113.9 198.51.100.1 56324 443"), "malformed"),
            (v1("PROXY TCP4 203.0.113.9 198.51.100.1 056324 443"), "malformed"),
            (v1("PROXY TCP4 203.0.113.9 198.51.100.1 65536 443"), "malformed"),
            (v1("PROXY TCP4 203.0.113.9 198.51.100.1 +1 443"), "malformed"),
            (v1("PROXY TCP4 203.0.113.9 198.51.100.1 56324 -1"), "malformed"),
            (v1("PROXY UDP4 203.0.113.9 198.51.100.1 56324 443"), "malformed"),
            (v1("PROXY tcp4 203.0.113.9 198.51.100.1 56324 443"), "malformed"),
            (v1("PROXY UNKNOWNS"), "malformed"),
            (b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\n".to_vec(), "malformed"),
            (b"PROXY TCP4 203.0.113.9\n198.51.100.1 56324 443\r\n".to_vec(), "malformed"),
            (b"PROXY TCP4 \xff\xff\xff\xff \r\n".to_vec(), "malformed"),
            (v1(&format!("PROXY UNKNOWN {}", "f".repeat(V1_BYTES_MAX - 15))), "too_long"),
            (b"PROXY ".repeat(1_000), "too_long"),
            (v2(0x11, 0x11, &ipv4(b"")), "malformed"),
            (v2(0x31, 0x11, &ipv4(b"")), "malformed"),
            (v2(0x22, 0x11, &ipv4(b"")), "malformed"),
            (v2(0x21, 0x10, &ipv4(b"")), "malformed"),
            (v2(0x21, 0x13, &ipv4(b"")), "malformed"),
            (v2(0x21, 0x41, &ipv4(b"")), "malformed"),
            (v2(0x21, 0x11, &ipv4(b"")[..11]), "malformed"),
            (v2(0x21, 0x21, &ipv6("::1")[..35]), "malformed"),
            (v2(0x21, 0x31, &[b'x'; 215]), "malformed"),
            (v2(0x21, 0x11, &ipv4(&vec![4; V2_BYTES_MAX - V2_FIXED - 11])), "too_long"),
            (v2(0x20, 0x00, &vec![0; 65_535]), "too_long"),
        ] {
            let (read, taken) = check(&bytes);
            assert_eq!(read, Err(expected), "{}", bytes.escape_ascii());
            assert!(taken <= V2_BYTES_MAX, "{taken}");
        }
    }
}
