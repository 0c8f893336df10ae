//! The certificates that a server presents, as a provider sees them.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_cert::{
    Certificate as Parsed,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::super::{Certificate, Presented, Untrusted};

/// Accepts every server, so that its certificate can be reported together with the rest, and records what a
/// provider would say of it. The requests of a probe contain nothing secret.
#[derive(Debug)]
pub(super) struct Recorder {
    provider: Arc<CryptoProvider>,
    /// `None` if the system has no certificate authorities.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    presented: Mutex<Option<Presented>>,
}

impl Recorder {
    pub(super) fn new() -> Result<Arc<Self>, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let verifier = match roots.is_empty() {
            true => None,
            false => {
                let verifier = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(&provider),
                );
                Some(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        Ok(Arc::new(Self { provider, verifier, presented: Mutex::default() }))
    }

    pub(super) fn config(self: &Arc<Self>) -> Result<ClientConfig, String> {
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = config
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session shows no certificate.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    pub(super) fn presented(&self) -> Option<Presented> {
        self.presented.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ders = [end_entity].into_iter().chain(intermediates);
        let chain: Vec<_> = ders.filter_map(parse).collect();
        let untrusted = match &self.verifier {
            None => Some(Untrusted::NoAuthorities),
            Some(verifier) => verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .err()
                .map(|error| why(&error, &chain)),
        };
        let mut presented = self.presented.lock().unwrap_or_else(PoisonError::into_inner);
        presented.get_or_insert(Presented { chain, untrusted });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn why(error: &rustls::Error, chain: &[Certificate]) -> Untrusted {
    let rustls::Error::InvalidCertificate(error) = error else {
        return Untrusted::Other(error.to_string());
    };
    match error {
        CertificateError::UnknownIssuer => match chain {
            [only] if only.subject == only.issuer => Untrusted::SelfSigned,
            [_] => Untrusted::NoIntermediate,
            _ => Untrusted::UnknownAuthority,
        },
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Untrusted::Expired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Untrusted::OtherName
        }
        other => Untrusted::Other(other.to_string()),
    }
}

fn parse(der: &CertificateDer<'_>) -> Option<Certificate> {
    let parsed = Parsed::from_der(der).ok()?;
    let content = parsed.tbs_certificate();
    let names = content.get_extension::<SubjectAltName>().ok().flatten();
    let names = names.into_iter().flat_map(|(_, names)| names.0);
    let ends = content.validity().not_after.to_unix_duration().as_secs();
    Some(Certificate {
        subject: content.subject().to_string(),
        issuer: content.issuer().to_string(),
        names: names.filter_map(|name| written(&name)).collect(),
        valid_until: Timestamp::from_second(i64::try_from(ends).ok()?).unwrap_or(Timestamp::MAX),
    })
}

fn written(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            ip.ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}
