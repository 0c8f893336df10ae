//! The certificate in use. Self-signed ones are made here, and others obtained by ACME.

mod acme;

use std::sync::Arc;

use wilco_server::{
    config::{Config, Diagnostics},
    service::{Certificate, SelfSigned, TlsError},
};

pub(crate) use acme::{InstantAcme, check_directory};

/// The certificate that a configuration asks for; `None` if TLS is off.
pub(crate) fn certificate_for(config: &Config) -> Result<Option<Arc<Certificate>>, TlsError> {
    Certificate::load(&config.listen.tls, self_signed)
}

/// As [`certificate_for`], after a file was read with these warnings.
pub(crate) fn certificate_for_file(
    config: &Config,
    warnings: Diagnostics,
) -> Result<(Option<Arc<Certificate>>, Diagnostics), Diagnostics> {
    match certificate_for(config) {
        Ok(certificate) => Ok((certificate, warnings)),
        Err(error) => {
            Err(warnings.with_error("listen", error.key(), error.to_string(), error.hint()))
        }
    }
}

fn self_signed(domains: &[String]) -> Result<SelfSigned, String> {
    let made = rcgen::generate_simple_self_signed(domains).map_err(|error| error.to_string())?;
    let certificate = made.cert.der().to_vec();
    Ok(SelfSigned { certificate, key: made.signing_key.serialize_der() })
}
