//! What the file names and does not have in itself: a disk, a certificate. What is wrong
//! with them is a message and a hint.

use std::{fs, path::Path};

use rustix::fs::{Access, access, statvfs};
use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    server::ParsedCertificate,
};
use x509_cert::der::Decode as _;

use wilco_config::format_size;

use crate::config::folder_of;

/// A message and a hint.
type Remark = (String, String);

/// What keeps a store at this path from recording.
pub(super) fn store(path: &Path, reserve_bytes: u64) -> Option<Remark> {
    let folder = folder_of(path);
    let shown = folder.display();
    if !folder.is_dir() {
        let message = format!("the folder of the store, {shown}, is not there");
        return Some((message, format!("mkdir -p {shown}, for the user that runs wilco")));
    }
    if access(folder, Access::WRITE_OK).is_err() {
        let message = format!("the folder of the store, {shown}, cannot be written by this user");
        return Some((
            message,
            format!("chown it to the user that runs wilco: chown USER {shown}"),
        ));
    }
    let disk = statvfs(folder).ok()?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    (free_bytes < reserve_bytes).then(|| {
        let reserve = format_size(reserve_bytes);
        let message = format!(
            "the disk of the store has {} MiB of free space, less than the reserve of {reserve}: \
             every event would be refused with 503",
            free_bytes >> 20
        );
        (message, "free some space, or set reserve in [store], such as reserve = \"64 MiB\"".into())
    })
}

/// What lets senders refuse this certificate, which should name these domains. `now` is in Unix
/// seconds.
pub(super) fn certificate(path: &Path, domains: &[String], now: u64) -> Option<Remark> {
    let bytes = fs::read(path).ok()?;
    let first = CertificateDer::pem_slice_iter(&bytes).next()?.ok()?;
    let parsed = x509_cert::Certificate::from_der(&first).ok()?;
    let content = parsed.tbs_certificate();
    let begins = content.validity().not_before.to_unix_duration().as_secs();
    let ends = content.validity().not_after.to_unix_duration().as_secs();
    let days = |secs: u64| secs / SECS_A_DAY;
    let renew = "replace it; wilco reads the new one by itself";
    if now >= ends {
        return Some((
            format!("the certificate expired {} days ago", days(now - ends)),
            renew.into(),
        ));
    }
    if now < begins {
        let hint = "check the clock of this machine: date";
        let message = format!("the certificate is valid only in {} days", days(begins - now));
        return Some((message, hint.into()));
    }
    if ends - now < ENDS_SOON_SECS {
        return Some((
            format!("the certificate expires in {} days", days(ends - now)),
            renew.into(),
        ));
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
/// A certificate that ends within so many seconds is warned about.
const ENDS_SOON_SECS: u64 = 14 * SECS_A_DAY;
