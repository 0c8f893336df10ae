//! `acme` of `[listen]`: the certificate authority, and how it is convinced.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, DnsName, pem::PemObject as _};
use wilco_config::{Key, TableReader, TableView, ValueType, url};

pub(super) static KEYS: &[Key] = &[
    Key::new("directory", ValueType::Text, "\"staging\"")
        .default("\"https://acme-v02.api.letsencrypt.org/directory\"")
        .doc(
            "the URL of the authority's directory; `\"staging\"` means that of Let's Encrypt for \
             trials, whose certificates nobody trusts",
        ),
    Key::new("contact", ValueType::ListOf(&ValueType::Text), "[\"ops@example.com\"]")
        .doc("e-mail addresses that the authority may write to"),
    Key::new("profile", ValueType::Text, "\"shortlived\"")
        .absence("the authority's")
        .doc("the kind of certificate, by the authority's name for it"),
    Key::new("ca", ValueType::Path, "\"/etc/wilco/authority.pem\"")
        .absence("the authorities of the system")
        .doc("PEM: the roots that the directory's certificate is checked with, for a private authority"),
    Key::new("http_address", ValueType::Text, "\"0.0.0.0:80\"").doc(
        "`IP:PORT` where the challenge http-01 is answered, and nothing else; without it, \
         tls-alpn-01 is answered at `address`",
    ),
];

/// How a certificate is obtained from an authority by ACME (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The names that the certificate is for, in lower case.
    pub domains: Vec<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// URLs that the authority may write to.
    pub contact: Vec<String>,
    /// The kind of certificate; `None` for the authority's default.
    pub profile: Option<String>,
    /// The roots that the certificate of the directory is checked with; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// Where http-01 is answered; `None` for tls-alpn-01.
    pub http_address: Option<SocketAddr>,
}

impl Acme {
    /// From Let's Encrypt, by tls-alpn-01.
    pub fn new(domains: Vec<String>) -> Self {
        Self {
            domains: distinct(domains),
            directory: PRODUCTION.into(),
            contact: Vec::new(),
            profile: None,
            ca: None,
            http_address: None,
        }
    }
}

pub(super) fn read(keys: &mut TableReader<'_>) -> Acme {
    Acme {
        domains: Vec::new(),
        directory: keys.parse("directory", directory).unwrap_or_else(|| PRODUCTION.into()),
        contact: keys.parse_list("contact", contact).unwrap_or_default(),
        profile: keys.parse("profile", |text| Ok(text.to_owned())),
        ca: keys.parse("ca", |text| Ok(PathBuf::from(text))),
        http_address: keys.parse("http_address", http_address),
    }
}

/// Each domain once, because an authority may refuse an order that names one twice.
pub(super) fn distinct(mut domains: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    domains.retain(|domain| seen.insert(domain.clone()));
    domains
}

/// Checks that the roots can be read.
pub(super) fn check_ca(table: &TableView<'_>, ca: &Path) {
    let wrong = match fs::read(ca) {
        Err(cause) => format!("cannot read {}: {cause}", ca.display()),
        Ok(pem) => match CertificateDer::pem_slice_iter(&pem).next() {
            Some(Ok(_)) => return,
            _ => format!("{} contains no certificate in PEM format", ca.display()),
        },
    };
    table.error_about("ca", wrong, "a certificate begins with -----BEGIN CERTIFICATE-----");
}

/// The directory that a URL or `staging` names.
///
/// # Errors
///
/// It is neither.
pub fn directory(text: &str) -> Result<String, String> {
    if text == "staging" {
        return Ok(STAGING.into());
    }
    match url(text)?.scheme_str() {
        Some("https") => Ok(text.to_owned()),
        _ => Err(format!("invalid directory {text:?}: ACME requires https")),
    }
}

/// A domain that an authority can issue a certificate for after a challenge on this machine.
///
/// # Errors
///
/// It is not such a domain.
pub fn domain(text: &str) -> Result<String, String> {
    let invalid = |why: &str| Err(format!("invalid domain {text:?}: {why}"));
    if text.starts_with("*.") {
        return invalid("a wildcard is validated in the DNS, which wilco does not change");
    }
    // rustls takes an underscore, which no host's name may have (RFC 1123, section 2.1).
    let is_host = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let is_numeric = text.rsplit('.').next().is_some_and(|last| last.parse::<u8>().is_ok());
    if !is_host || is_numeric || text.ends_with('.') || DnsName::try_from(text).is_err() {
        return invalid("expected a name such as hooks.example.com");
    }
    Ok(text.to_ascii_lowercase())
}

fn contact(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    match address.split_once('@') {
        Some((name, host)) if !name.is_empty() && DnsName::try_from(host).is_ok() => {
            Ok(format!("mailto:{address}"))
        }
        _ => Err(format!("invalid contact {text:?}: expected an e-mail address")),
    }
}

fn http_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("invalid http_address {text:?}: expected IP:PORT"))
}

const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
