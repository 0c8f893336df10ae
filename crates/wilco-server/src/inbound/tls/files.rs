//! A certificate and its key in two PEM files.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::{Current, TlsError, certified};

/// The two files.
#[derive(Debug)]
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// When what is in use was written.
    in_use: Mutex<Changed>,
}

/// When the certificate and its key were written, and which files they are. Each is compared by itself, and
/// any difference counts: what is moved into place may be older than what was there, and two files that
/// were written at nearly the same time have the same time.
type Changed = [Option<(SystemTime, u64)>; 2];

impl Files {
    pub(super) fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key, in_use: Mutex::default() }
    }

    /// Whether they differ from what was read last.
    pub(super) fn have_changed(&self) -> bool {
        self.changed() != *self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads them. If one of them cannot be used, they still count as changed.
    pub(super) fn read(&self) -> Result<Current, TlsError> {
        // Before reading, so that what is written meanwhile counts as a change.
        let changed = self.changed();
        let current = self.read_pair()?;
        *self.in_use.lock().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(current)
    }

    fn read_pair(&self) -> Result<Current, TlsError> {
        let (certificate, key) = (&self.certificate, &self.key);
        let bytes = |of: &'static str, path: &Path| {
            fs::read(path).map_err(|cause| TlsError::Read { of, path: path.into(), cause })
        };
        let bad = |cause: String| TlsError::Certificate { path: certificate.into(), cause };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes("certificate", certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(error.to_string()))?;
        if chain.is_empty() {
            return Err(bad("nothing between BEGIN CERTIFICATE and END CERTIFICATE".into()));
        }
        let pem = bytes("key", key)?;
        let has = |word: &[u8]| pem.windows(word.len()).any(|window| window == word);
        if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
            return Err(TlsError::Encrypted { path: key.into() });
        }
        let private = PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|cause| TlsError::Key { path: key.into(), cause: cause.to_string() })?;
        certified(chain, private).map_err(|cause| TlsError::Mismatch {
            certificate: certificate.into(),
            key: key.into(),
            cause,
        })
    }

    fn changed(&self) -> Changed {
        [&self.certificate, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.ino()))
        })
    }
}
