//! The TLS certificate: self-signed at each start, loaded from files and reloaded when they change, or
//! issued by an authority.

mod challenges;
mod files;

use std::{io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode as _;

use crate::config::Tls;
use files::Files;

pub use challenges::Challenges;

/// A certificate that was made here, which nobody else trusts, and its key, in DER.
pub struct SelfSigned {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

/// The certificate in use, which can be replaced while connections are served.
#[derive(Debug)]
pub struct Certificate {
    /// `None` until an authority has issued the first one.
    current: ArcSwapOption<Current>,
    files: Option<Files>,
    /// `None` unless an authority issues the certificate.
    challenges: Option<Arc<Challenges>>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    ends: i64,
}

/// Why no certificate can be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// The key of `[listen]` that names it.
        of: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// A file has no certificate.
    #[error("{path} contains no certificate in PEM format: {cause}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A file has no private key.
    #[error("{path} contains no private key in PEM format: {cause}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A key needs a passphrase.
    #[error("the key {path} is encrypted; write it without a passphrase")]
    Encrypted {
        /// The file of the key.
        path: PathBuf,
    },
    /// The key is of another certificate.
    #[error("the key {key} does not belong to the certificate {certificate}: {cause}")]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        cause: rustls::Error,
    },
    /// None could be made.
    #[error("no certificate could be generated for {domains:?}: {cause}")]
    SelfSigned {
        /// The domains that it should be for.
        domains: Vec<String>,
        /// Why not.
        cause: String,
    },
    /// The library refused.
    #[error("TLS could not be set up: {0}")]
    Setup(rustls::Error),
}

impl TlsError {
    /// The key of `[listen]` that is at fault.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Read { of, .. } => of,
            Self::Certificate { .. } => "certificate",
            Self::Key { .. } | Self::Encrypted { .. } | Self::Mismatch { .. } => "key",
            Self::SelfSigned { .. } => "domains",
            Self::Setup(_) => "tls",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "make it readable for wilco's user",
            Self::Certificate { .. } => "a certificate begins with -----BEGIN CERTIFICATE-----",
            Self::Key { .. } => "a key begins with -----BEGIN PRIVATE KEY----- or the like",
            Self::Encrypted { .. } => "openssl pkey -in KEY -out NEW; see that NEW has mode 0600",
            Self::Mismatch { .. } => "name the key that this certificate was requested with",
            Self::SelfSigned { .. } => "such as domains = [\"hooks.example.com\"]",
            Self::Setup(_) => "tls = \"off\" does without, behind a proxy that handles TLS",
        }
    }
}

impl Certificate {
    /// What the configuration asks for; `None` where TLS is off. `make` makes one for these
    /// domains.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, or none could be made.
    pub fn load(
        tls: &Tls,
        make: impl FnOnce(&[String]) -> Result<SelfSigned, String>,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let (mut files, mut challenges) = (None, None);
        let current = match tls {
            Tls::Off => return Ok(None),
            Tls::SelfSigned { domains } => Some(given(domains, make(domains))?),
            Tls::Files { certificate, key } => {
                let pair = files.insert(Files::new(certificate.clone(), key.clone()));
                Some(pair.read()?)
            }
            Tls::Acme(_) => {
                challenges = Some(Arc::default());
                None
            }
        };
        let current = ArcSwapOption::new(current.map(Arc::new));
        Ok(Some(Arc::new(Self { current, files, challenges })))
    }

    /// Accepts TLS with this certificate.
    pub(crate) fn acceptor(self: &Arc<Self>, http2: bool) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(self))));
        // Of the cipher suites that the client can, the strongest, whatever the client prefers.
        config.ignore_client_order = true;
        let protocols = [ALPN_HTTP2, b"http/1.1"];
        let offered = if http2 { &protocols[..] } else { &protocols[1..] };
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        if self.challenges.is_some() {
            config.alpn_protocols.push(CHALLENGE_PROTOCOL.to_vec());
        }
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// When it ends, in Unix seconds; 0 as long as there is none.
    pub(crate) fn ends(&self) -> i64 {
        self.current.load().as_ref().map_or(0, |current| current.ends)
    }

    /// What an authority may ask for; `None` unless one issues the certificate.
    pub(crate) fn challenges(&self) -> Option<&Arc<Challenges>> {
        self.challenges.as_ref()
    }

    /// Uses this certificate from now on.
    pub(crate) fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        self.current.store(Some(Arc::new(certified(chain, key)?)));
        Ok(())
    }

    /// Reads the files again if they changed. On an error the old certificate stays in use.
    pub(crate) fn refresh(&self) -> Result<bool, TlsError> {
        let Some(files) = &self.files else { return Ok(false) };
        if !files.have_changed() {
            return Ok(false);
        }
        self.current.store(Some(Arc::new(files.read()?)));
        Ok(true)
    }
}

#[derive(Debug)]
struct Resolver(Arc<Certificate>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Certificate { current, challenges, .. } = &*self.0;
        match challenges {
            Some(challenges) if is_challenge(&hello) => {
                challenges.certificate(hello.server_name()?)
            }
            _ => current.load().as_ref().map(|current| Arc::clone(&current.key)),
        }
    }
}

/// Whether an authority connects: it offers this protocol and no other (RFC 8737, section 3).
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    hello.alpn().is_some_and(|offered| offered.eq([CHALLENGE_PROTOCOL]))
}

fn given(domains: &[String], made: Result<SelfSigned, String>) -> Result<Current, TlsError> {
    let bad = |cause: String| TlsError::SelfSigned { domains: domains.to_vec(), cause };
    let made = made.map_err(bad)?;
    let key = PrivateKeyDer::try_from(made.key).map_err(|error| bad(error.to_owned()))?;
    certified(vec![made.certificate.into()], key).map_err(|error| bad(error.to_string()))
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Current, rustls::Error> {
    let ends = chain.first().map_or(0, ends);
    let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
    Ok(Current { key: Arc::new(key), ends })
}

fn ends(certificate: &CertificateDer<'_>) -> i64 {
    let parsed = x509_cert::Certificate::from_der(certificate);
    let ends = parsed.map(|c| c.tbs_certificate().validity().not_after.to_unix_duration());
    ends.map_or(0, |ends| i64::try_from(ends.as_secs()).unwrap_or(i64::MAX))
}

/// The application protocol (ALPN) of HTTP/2.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
/// The application protocol (ALPN) of the challenge tls-alpn-01.
pub(crate) const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";
