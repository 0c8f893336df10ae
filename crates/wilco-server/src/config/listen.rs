//! `[listen]`: the public listener.

mod acme;
mod certificate;

use std::{fs, net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use wilco_config::{
    Form, Key, Table, TableReader, TableView, Unresolved, ValueType, is_path, network, size,
    url_path,
};

use super::{Address, address, first_changed};
use crate::clock;

pub use acme::{Acme, directory, domain};

pub(super) static TABLE: Table = Table {
    name: "listen",
    form: Form::Single,
    without: Some("nothing could come in"),
    keys: &[
        Key::new("address", ValueType::ListOf(&ValueType::Text), "\"[::]:443\"").required().doc(
            "`IP:PORT`, `[IPv6]:PORT`, `unix:PATH`, or `systemd` for the sockets of a \
             [socket unit](service.md#restart-without-a-gap). On a Unix socket there is no TLS. `[::]` \
             accepts IPv4 as well, unless an IPv4 address with the same port is listed too",
        ),
        Key::new("tls", ValueType::OneOf(&["files", "acme", "self-signed", "off"]), "\"off\"")
            .required()
            .doc(
                "`\"files\"`, [`\"acme\"`](tls.md) for a certificate that wilco obtains and renews, \
                 `\"self-signed\"`, or `\"off\"` behind a proxy that handles TLS",
            ),
        Key::new("certificate", ValueType::Path, "\"/etc/wilco/cert.pem\"")
            .absence("required with `tls = \"files\"`")
            .doc("PEM: the certificate, then its chain"),
        Key::new("key", ValueType::Path, "\"/etc/wilco/key.pem\"")
            .absence("required with `tls = \"files\"`")
            .secret()
            .doc("PEM: the private key of `certificate`"),
        Key::new("domains", ValueType::ListOf(&ValueType::Text), "[\"hooks.example.com\"]")
            .absence("`[\"localhost\", \"127.0.0.1\"]` with `\"self-signed\"`; required with `\"acme\"`")
            .doc(
                "with `\"acme\"` and `\"self-signed\"`: what the certificate is for; with \
                 `\"files\"`: what it has to name, else there is a warning",
            ),
        Key::new("acme", ValueType::Table("acme", acme::KEYS), ACME_EXAMPLE)
            .absence("Let's Encrypt")
            .doc("with `\"acme\"`: the certificate authority"),
        Key::new("trusted_proxies", ValueType::ListOf(&ValueType::Text), "[\"10.0.0.2\"]").doc(
            "networks whose `X-Forwarded-For` is believed, read right to left; a hop \
             that cannot be read is [refused](answers.md#who-the-sender-is)",
        ),
        Key::new("proxy_protocol", ValueType::Boolean, "true").default("false").doc(
            "whether every connection begins with a header of the [PROXY \
             protocol](answers.md#the-proxy-protocol), version 1 or 2; then only `trusted_proxies` and \
             Unix sockets may connect",
        ),
        Key::new("http2", ValueType::Boolean, "true").default("false").doc(
            "whether clients may use [HTTP/2](answers.md#http2): over TLS if they ask for it, without TLS \
             if they know it beforehand",
        ),
        Key::new("max_body", ValueType::Size, "\"1 MiB\"")
            .default("\"1 MiB\"")
            .doc("the largest body that is accepted, 1 B to 64 MiB"),
        Key::new("health_path", ValueType::Text, "\"/healthz\"").doc(
            "a path that answers GET and HEAD with 200 while wilco serves, for load \
             balancers; [metrics](metrics.md#health) has checks that say more",
        ),
    ],
};

/// The public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Every address that is listened on.
    pub addresses: Vec<Address>,
    /// Whether all sockets that were passed to this process are listened on.
    pub(crate) takes_passed: bool,
    /// How TLS is ended.
    pub tls: Tls,
    /// Whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// Whether HTTP/2 is spoken as well.
    pub(crate) http2: bool,
    /// The largest body that is read, in bytes.
    pub(crate) max_body: usize,
    /// The path that answers health checks; `None` for no such path.
    pub(crate) health_path: Option<String>,
}

/// How TLS is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not here: behind a proxy that does, or on loopback.
    Off,
    /// With a certificate made at start, which nobody else trusts.
    SelfSigned {
        /// The names that it is for.
        domains: Vec<String>,
    },
    /// With a certificate from an authority, obtained and renewed by wilco.
    Acme(Acme),
    /// With a certificate from files, read again when they change.
    Files {
        /// The certificate and its chain, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

impl Listen {
    /// One without TLS, and the defaults for everything else.
    pub(super) fn without_tls(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            takes_passed: false,
            tls: Tls::Off,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            http2: false,
            max_body: MAX_BODY_BYTES,
            health_path: None,
        }
    }

    /// The first key that a reload cannot change and in which the other one differs. The process holds
    /// open from its start what that key is about.
    pub(super) fn restart_for(&self, other: &Self) -> Option<&'static str> {
        // Every field is named, so that whoever adds one decides whether a reload can change it.
        let Self {
            addresses,
            takes_passed,
            tls,
            trusted_proxies: _,
            proxy_protocol: _,
            http2,
            max_body: _,
            health_path: _,
        } = self;
        let is_same = *addresses == other.addresses && *takes_passed == other.takes_passed;
        let address = ("[listen] address", is_same);
        let http2 = ("[listen] http2", *http2 == other.http2);
        first_changed([address, http2]).or_else(|| tls.restart_for(&other.tls))
    }
}

impl Tls {
    fn restart_for(&self, other: &Self) -> Option<&'static str> {
        match (self, other) {
            (Self::Off, Self::Off) => None,
            (Self::SelfSigned { domains }, Self::SelfSigned { domains: other }) => {
                first_changed([("[listen] domains", domains == other)])
            }
            (Self::Acme(acme), Self::Acme(other)) => first_changed([
                ("[listen] domains", acme.domains == other.domains),
                ("[listen] acme", acme == other),
            ]),
            (
                Self::Files { certificate, key },
                Self::Files { certificate: other_certificate, key: other_key },
            ) => first_changed([
                ("[listen] certificate", certificate == other_certificate),
                ("[listen] key", key == other_key),
            ]),
            _ => Some("[listen] tls"),
        }
    }
}

pub(super) fn read(keys: &mut TableReader<'_>) -> Unresolved<Listen> {
    let mut takes_passed = false;
    let addresses = keys.parse_list("address", |text| match text {
        "systemd" => {
            takes_passed = true;
            Ok(None)
        }
        _ => address(text).map(Some),
    });
    let addresses: Option<Vec<_>> = addresses.map(|all| all.into_iter().flatten().collect());
    let trusted_proxies = keys.parse_list("trusted_proxies", network).unwrap_or_default();
    let domains = keys.parse_list("domains", |text| Ok(text.to_owned()));
    let tls = tls(keys, domains.clone());
    // The ports of sockets that are passed are not known yet.
    if let (Some(Tls::Acme(acme)), Some(addresses), false) = (&tls, &addresses, takes_passed) {
        warn_about_port(keys, acme, addresses);
    }
    let is_exposed = addresses.iter().flatten().any(is_public) && trusted_proxies.is_empty();
    if tls == Some(Tls::Off) && is_exposed {
        let what = "webhooks come in without TLS, at an address that others can reach".into();
        let hint = "tls = \"acme\" or \"files\", or behind a proxy: address = \"127.0.0.1:8080\", or \
                    trusted_proxies = [\"10.0.0.2\"]";
        keys.warn_about("tls", what, hint);
    }
    let proxy_protocol = keys.boolean("proxy_protocol").unwrap_or_default();
    let is_reachable = addresses.iter().flatten().any(|address| matches!(address, Address::Tcp(_)));
    if proxy_protocol && is_reachable && trusted_proxies.is_empty() {
        // Else whoever connects could name any address.
        let hint = "with proxy_protocol, only these may connect: trusted_proxies = [\"10.0.0.2\"]";
        keys.require_with_hint("trusted_proxies", hint);
    }
    let http2 = keys.boolean("http2").unwrap_or_default();
    let max_body = keys.parse("max_body", body_limit).unwrap_or(MAX_BODY_BYTES);
    let health_path = keys.parse("health_path", url_path);
    Unresolved::new(move |table| {
        check_readable(table, "certificate");
        check_readable(table, "key");
        let tls = tls?;
        if let (Tls::Acme(Acme { ca: Some(ca), .. }), Some(table)) = (&tls, table.inner("acme")) {
            acme::check_ca(&table, ca);
        }
        if let Tls::Files { certificate, .. } = &tls {
            let now = u64::try_from(clock::now().as_second()).unwrap_or_default();
            let domains = domains.as_deref().unwrap_or_default();
            if let Some((message, hint)) = certificate::remark(certificate, domains, now) {
                table.warn_about("certificate", message, &hint);
            }
        }
        Some(Listen {
            addresses: addresses?,
            takes_passed,
            tls,
            trusted_proxies,
            proxy_protocol,
            http2,
            max_body,
            health_path,
        })
    })
}

/// How TLS is ended, with the keys that this needs.
fn tls(keys: &mut TableReader<'_>, domains: Option<Vec<String>>) -> Option<Tls> {
    let path = |text: &str| Ok(PathBuf::from(text));
    let (certificate, key) = (keys.parse("certificate", path), keys.parse("key", path));
    let acme = keys.table("acme", acme::read);
    let ways = [
        ("files", Way::Files),
        ("acme", Way::Acme),
        ("self-signed", Way::SelfSigned),
        ("off", Way::Off),
    ];
    match keys.one_of("tls", &ways)? {
        Way::Off => Some(Tls::Off),
        Way::SelfSigned => {
            let domains = domains.unwrap_or_else(|| DOMAINS.map(String::from).into());
            Some(Tls::SelfSigned { domains })
        }
        Way::Files => {
            keys.require("certificate");
            keys.require("key");
            Some(Tls::Files { certificate: certificate?, key: key? })
        }
        Way::Acme => {
            keys.require("domains");
            domains?; // what is not a text has been reported
            let domains = keys.parse_list("domains", acme::domain)?;
            let acme = if keys.contains("acme") { acme? } else { Acme::new(Vec::new()) };
            Some(Tls::Acme(Acme { domains: acme::distinct(domains), ..acme }))
        }
    }
}

/// The values of `tls`.
#[derive(Clone, Copy)]
enum Way {
    Files,
    Acme,
    SelfSigned,
    Off,
}

/// Checks that the file that a key names can be read.
fn check_readable(table: &TableView<'_>, key: &str) {
    let Some(path) = table.peek(key).map(|path| path.text) else { return };
    if let Err(cause) = fs::File::open(path) {
        // What does not look like a path may be what belongs into the file.
        let shown = if is_path(path) { path } else { "the file that it names" };
        table.error_about(key, format!("cannot read {shown}: {cause}"), &table.example_hint(key));
    }
}

/// An authority connects to the usual ports, whatever this machine listens on.
fn warn_about_port(keys: &TableReader<'_>, acme: &Acme, addresses: &[Address]) {
    let has_port = |number: u16| {
        addresses.iter().any(|address| matches!(address, Address::Tcp(tcp) if tcp.port() == number))
    };
    let (key, message, hint) = match acme.http_address {
        Some(address) if address.port() != 80 => (
            "acme",
            "the authority asks for the challenge at port 80, and http_address has another",
            "acme = { http_address = \"[::]:80\" }, unless port 80 is forwarded to it",
        ),
        None if !has_port(443) => (
            "address",
            "the authority connects to port 443, and no address has that port",
            "address = \"[::]:443\", unless port 443 is forwarded to it; or acme = { \
             http_address = \"[::]:80\" }",
        ),
        _ => return,
    };
    keys.warn_about(key, message.into(), hint);
}

/// Whether others than this machine and its own network can reach it.
fn is_public(address: &Address) -> bool {
    match address {
        Address::Unix(_) => false,
        Address::Tcp(address) => match address.ip() {
            IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
            IpAddr::V6(ip) => {
                !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
            }
        },
    }
}

fn body_limit(text: &str) -> Result<usize, String> {
    let limit = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    match limit {
        1..=MAX_BODY_BYTES_MAX => Ok(limit),
        _ => Err(format!("max_body is from 1 B to {} MiB", MAX_BODY_BYTES_MAX >> 20)),
    }
}

const ACME_EXAMPLE: &str = "{ directory = \"staging\", contact = \"ops@example.com\", profile = \
     \"shortlived\", ca = \"/etc/wilco/authority.pem\", http_address = \"[::]:80\" }";
/// The largest body that is read, in bytes, unless `max_body` says otherwise.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;
/// What `max_body` may be at most, in bytes.
const MAX_BODY_BYTES_MAX: usize = 64 << 20;
/// What a self-signed certificate is for, unless `domains` says otherwise.
const DOMAINS: [&str; 2] = ["localhost", "127.0.0.1"];
