//! What a certificate authority asks for in order to see who controls a domain.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{crypto::aws_lc_rs, pki_types::PrivateKeyDer, sign::CertifiedKey};

use super::SelfSigned;

/// The answers to the challenges of one order. There are none at other times.
#[derive(Debug, Default)]
pub struct Challenges(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// tls-alpn-01 (RFC 8737): by domain.
    certificates: HashMap<String, Arc<CertifiedKey>>,
    /// http-01 (RFC 8555, section 8.3): by token.
    key_authorizations: HashMap<String, String>,
}

impl Challenges {
    /// Answers tls-alpn-01 for a domain with this certificate.
    ///
    /// # Errors
    ///
    /// It cannot be used.
    pub fn answer_tls(&self, domain: &str, made: SelfSigned) -> Result<(), String> {
        let key = PrivateKeyDer::try_from(made.key)?;
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(|error| error.to_string())?;
        // `CertifiedKey::from_der` would refuse the extension of this challenge, which is critical.
        let key = CertifiedKey::new(vec![made.certificate.into()], key);
        let domain = domain.to_ascii_lowercase();
        self.with(|answers| answers.certificates.insert(domain, Arc::new(key)));
        Ok(())
    }

    /// Answers http-01 for a token with this key authorization.
    pub fn answer_http(&self, token: String, key_authorization: String) {
        self.with(|answers| answers.key_authorizations.insert(token, key_authorization));
    }

    /// The certificate for a domain. rustls has brought the name to lower case.
    pub(super) fn certificate(&self, domain: &str) -> Option<Arc<CertifiedKey>> {
        self.with(|answers| answers.certificates.get(domain).cloned())
    }

    pub(crate) fn key_authorization(&self, token: &str) -> Option<String> {
        self.with(|answers| answers.key_authorizations.get(token).cloned())
    }

    /// Forgets them: the order has ended.
    pub(crate) fn clear(&self) {
        self.with(|answers| *answers = Answers::default());
    }

    fn with<T>(&self, work: impl FnOnce(&mut Answers) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
