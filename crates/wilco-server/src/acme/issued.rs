//! A certificate and its key as an authority has issued them and the folder keeps them.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_cert::{
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
    time::Time,
};

use crate::config::Acme;

/// A certificate that can be used.
pub(super) struct Usable {
    /// The directory of the authority that it is from.
    directory: Option<String>,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The names that it is for, in lower case, sorted.
    pub(super) names: Vec<String>,
    pub(super) begins: Timestamp,
    pub(super) ends: Timestamp,
}

/// The text of the stored file. PEM allows a line in front (RFC 7468, section 5.2).
pub(super) fn stored(directory: &str, key: &str, chain: &str) -> String {
    format!("{ORIGIN}{directory}\n{key}{chain}")
}

impl Usable {
    /// Reads what [`stored`] has made.
    pub(super) fn read(pem: &str) -> Result<Self, String> {
        let directory = pem.lines().next().and_then(|line| line.strip_prefix(ORIGIN));
        let directory = directory.map(str::to_owned);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("no certificate in PEM format: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| format!("no private key in PEM format: {error}"))?;
        let first = chain.first().ok_or("no certificate")?;
        let parsed = x509_cert::Certificate::from_der(first).map_err(|error| error.to_string())?;
        let content = parsed.tbs_certificate();
        let validity = content.validity();
        let (begins, ends) = (timestamp(validity.not_before)?, timestamp(validity.not_after)?);
        let names = content.get_extension::<SubjectAltName>().map_err(|error| error.to_string())?;
        let names = names.map_or_else(Vec::new, |(_, SubjectAltName(names))| names);
        let mut names: Vec<_> = names.iter().filter_map(domain).collect();
        names.sort();
        Ok(Self { directory, chain, key, names, begins, ends })
    }

    /// Whether it is from this authority, and for these domains and no others.
    pub(super) fn is_as_configured(&self, acme: &Acme) -> bool {
        let mut domains = acme.domains.clone();
        domains.sort();
        domains.dedup();
        self.names == domains && self.directory.as_ref() == Some(&acme.directory)
    }
}

fn domain(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    }
}

fn timestamp(time: Time) -> Result<Timestamp, String> {
    let secs = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(secs).map_err(|error| error.to_string())
}

const ORIGIN: &str = "Obtained by wilco from ";
