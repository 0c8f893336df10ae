//! What a look at the certificate that `[listen]` names shows.

use std::{fs, path::Path};

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    server::ParsedCertificate,
};
use x509_cert::der::Decode as _;

use crate::readable::span;

/// What lets senders refuse this certificate, which should name these domains: a message and a hint.
/// `now` is in Unix seconds.
pub(super) fn remark(path: &Path, domains: &[String], now: u64) -> Option<(String, String)> {
    let bytes = fs::read(path).ok()?;
    let first = CertificateDer::pem_slice_iter(&bytes).next()?.ok()?;
    let parsed = x509_cert::Certificate::from_der(&first).ok()?;
    let content = parsed.tbs_certificate();
    let begins = content.validity().not_before.to_unix_duration().as_secs();
    let ends = content.validity().not_after.to_unix_duration().as_secs();
    let renew = "replace it; wilco reads the new one by itself";
    if now >= ends {
        return Some((format!("the certificate expired {} ago", span(now - ends)), renew.into()));
    }
    if now < begins {
        let hint = "check the clock of this machine: date";
        let message = format!("the certificate is valid only in {}", span(begins - now));
        return Some((message, hint.into()));
    }
    if ends - now < ENDS_SOON_SECS {
        return Some((format!("the certificate expires in {}", span(ends - now)), renew.into()));
    }
    let unnamed = unnamed(&first, domains);
    if !unnamed.is_empty() {
        let hint = "use a certificate that does, or remove it from domains";
        return Some((
            format!("the certificate does not name {}", unnamed.join(", ")),
            hint.into(),
        ));
    }
    (content.issuer() == content.subject()).then(|| {
        let hint = "use one from an authority that senders trust, such as Let's Encrypt";
        ("the certificate is self-signed: senders refuse it".into(), hint.into())
    })
}

/// The domains that a certificate is not for, as a sender would decide it.
fn unnamed<'d>(certificate: &CertificateDer<'_>, domains: &'d [String]) -> Vec<&'d str> {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return Vec::new() };
    let is_named = |domain: &str| {
        let name = ServerName::try_from(domain);
        name.map_or(true, |name| verify_server_name(&parsed, &name).is_ok())
    };
    domains.iter().map(String::as_str).filter(|domain| !is_named(domain)).collect()
}

const SECS_A_DAY: u64 = 86_400;
/// A certificate that ends within this many seconds is warned about.
const ENDS_SOON_SECS: u64 = 14 * SECS_A_DAY;
