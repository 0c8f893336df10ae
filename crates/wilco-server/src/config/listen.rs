//! `[listen]`: the public listener.

mod certificate;

use std::{fs, net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use wilco_config::{
    Form, Key, SpannedStr, Table, TableReader, ValueType, is_path, network, size, url_path,
};

use super::{Address, address, first_changed};
use crate::clock;

pub(super) static TABLE: Table = Table {
    name: "listen",
    form: Form::Single,
    is_required: true,
    keys: &[
        Key::new("address", ValueType::ListOf(&ValueType::Text), "\"0.0.0.0:443\"").required().doc(
            "`IP:PORT`, `[IPv6]:PORT`, or `unix:PATH`. On a Unix socket there is no \
             TLS. `[::]` accepts IPv4 as well, unless an IPv4 address with the same \
             port is listed too",
        ),
        Key::new("tls", ValueType::OneOf(&["files", "self-signed", "off"]), "\"off\"")
            .required()
            .doc(
                "`\"files\"`, `\"self-signed\"`, or `\"off\"` behind a proxy that handles \
                 TLS",
            ),
        Key::new("certificate", ValueType::Path, "\"/etc/wilco/cert.pem\"")
            .absence("required with `tls = \"files\"`")
            .doc("PEM: the certificate, then its chain"),
        Key::new("key", ValueType::Path, "\"/etc/wilco/key.pem\"")
            .absence("required with `tls = \"files\"`")
            .secret()
            .doc("PEM: the private key of `certificate`"),
        Key::new("domains", ValueType::ListOf(&ValueType::Text), "[\"hooks.example.com\"]")
            .default("[\"localhost\", \"127.0.0.1\"]")
            .doc(
                "with `\"self-signed\"`: what the certificate is for; with `\"files\"`: \
                 what it has to name, else there is a warning",
            ),
        Key::new("trusted_proxies", ValueType::ListOf(&ValueType::Text), "[\"10.0.0.0/8\"]").doc(
            "networks whose `X-Forwarded-For` is believed, read right to left; a hop \
             that cannot be read is [refused](answers.md#who-the-sender-is)",
        ),
        Key::new("max_body", ValueType::Size, "\"1 MiB\"")
            .default("\"1 MiB\"")
            .doc("the largest body that is accepted, 1 B to 32 MiB"),
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
    /// How TLS is ended.
    pub tls: Tls,
    /// Whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
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
            tls: Tls::Off,
            trusted_proxies: Vec::new(),
            max_body: MAX_BODY_BYTES,
            health_path: None,
        }
    }

    /// The first key that a reload cannot change and in which the other one differs. The process holds
    /// open from its start what that key is about.
    pub(super) fn restart_for(&self, other: &Self) -> Option<&'static str> {
        // Every field is named, so that whoever adds one decides whether a reload can change it.
        let Self { addresses, tls, trusted_proxies: _, max_body: _, health_path: _ } = self;
        let address = ("[listen] address", *addresses == other.addresses);
        first_changed([address]).or_else(|| tls.restart_for(&other.tls))
    }
}

impl Tls {
    fn restart_for(&self, other: &Self) -> Option<&'static str> {
        match (self, other) {
            (Self::Off, Self::Off) => None,
            (Self::SelfSigned { domains }, Self::SelfSigned { domains: other }) => {
                first_changed([("[listen] domains", domains == other)])
            }
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

pub(super) fn read(mut keys: TableReader<'_>) -> Option<Listen> {
    let addresses = keys.parse_list("address", address);
    let domains = keys.parse_list("domains", |text| Ok(text.to_owned()));
    let certificate = keys.parse("certificate", readable);
    let key = keys.parse("key", readable);
    let trusted_proxies = keys.parse_list("trusted_proxies", network).unwrap_or_default();
    let tls = match keys.text("tls") {
        None => {
            keys.require_with_hint("tls", "such as tls = \"files\", \"self-signed\" or \"off\"");
            None
        }
        Some(SpannedStr { text: "off", .. }) => Some(Tls::Off),
        Some(SpannedStr { text: "self-signed", .. }) => Some(Tls::SelfSigned {
            domains: domains
                .clone()
                .unwrap_or_else(|| vec!["localhost".into(), "127.0.0.1".into()]),
        }),
        Some(SpannedStr { text: "files", .. }) => {
            if certificate.is_none() {
                keys.require("certificate");
            }
            if key.is_none() {
                keys.require("key");
            }
            certificate.zip(key).map(|(certificate, key)| Tls::Files { certificate, key })
        }
        Some(other) => {
            let hint = "\"files\", \"self-signed\" or \"off\" (behind a proxy that ends TLS)";
            keys.error_at(&other, format!("no such tls: {:?}", other.text), hint);
            None
        }
    };
    let is_exposed = addresses.iter().flatten().any(is_public) && trusted_proxies.is_empty();
    if tls == Some(Tls::Off) && is_exposed {
        let what = "webhooks come in without TLS, at an address that others can reach".into();
        let hint = "tls = \"files\", or behind a proxy: address = \"127.0.0.1:8080\", or \
                    trusted_proxies = [\"10.0.0.0/8\"]";
        keys.warn_about("tls", what, hint);
    }
    if let Some(Tls::Files { certificate, .. }) = &tls {
        let now = u64::try_from(clock::now().as_second()).unwrap_or_default();
        if let Some((message, hint)) =
            certificate::remark(certificate, domains.as_deref().unwrap_or_default(), now)
        {
            keys.warn_about("certificate", message, &hint);
        }
    }
    let max_body = keys.parse("max_body", body_limit).unwrap_or(MAX_BODY_BYTES);
    let health_path = keys.parse("health_path", url_path);
    keys.finish();
    Some(Listen { addresses: addresses?, tls: tls?, trusted_proxies, max_body, health_path })
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

/// A file that can be read now.
fn readable(text: &str) -> Result<PathBuf, String> {
    // What does not look like a path may be what belongs into the file.
    let shown = if is_path(text) { text } else { "the file that it names" };
    fs::File::open(text).map_err(|cause| format!("cannot read {shown}: {cause}"))?;
    Ok(text.into())
}

/// The largest body that is read, in bytes, unless `max_body` says otherwise.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;
/// What `max_body` may be at most, in bytes: a body is held in memory until it is recorded.
const MAX_BODY_BYTES_MAX: usize = 32 << 20;
