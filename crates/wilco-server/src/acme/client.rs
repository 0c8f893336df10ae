//! What speaks ACME (RFC 8555) with a certificate authority.
//!
//! The command line brings it along, because it needs crates that a program with an
//! [`Endpoint`](crate::Endpoint) would compile for nothing.

use std::{io, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::Folder;
use crate::{config::Acme, inbound::Challenges};

/// An ACME client.
#[async_trait]
pub trait AcmeClient: Send + Sync {
    /// Obtains a certificate.
    ///
    /// # Errors
    ///
    /// The authority cannot be reached or refuses.
    async fn obtain(&self, order: &AcmeOrder<'_>) -> Result<Issued, AcmeError>;

    /// When the authority suggests to replace a certificate (RFC 9773); `None` if it suggests nothing.
    ///
    /// # Errors
    ///
    /// The authority cannot be reached, or its answer cannot be read.
    async fn suggestion(&self, order: &AcmeOrder<'_>) -> Result<Option<Suggestion>, AcmeError>;
}

/// What a client needs in order to obtain a certificate.
pub struct AcmeOrder<'a> {
    /// From whom, and for which domains.
    pub acme: &'a Acme,
    /// The account with the authority.
    pub account: AcmeAccount<'a>,
    /// The certificate that is to be replaced, in DER.
    pub replaces: Option<&'a [u8]>,
    /// Where challenges are answered.
    pub challenges: &'a Challenges,
}

/// The account with an authority, as the client stores it.
pub struct AcmeAccount<'a>(pub(super) &'a Folder);

/// A certificate, its chain and its key, in PEM.
pub struct Issued {
    /// The certificate, then its chain.
    pub chain: String,
    /// The private key.
    pub key: String,
}

/// When an authority suggests to replace a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// From then on.
    pub start: Timestamp,
    /// By then.
    pub end: Timestamp,
    /// How long the answer is valid.
    pub ask_again_after: Duration,
}

/// Why an authority did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct AcmeError {
    /// What went wrong.
    pub message: String,
    /// How long the authority asks to wait.
    pub retry_after: Option<Duration>,
}

impl AcmeError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry_after: None }
    }
}

impl AcmeAccount<'_> {
    /// What was stored; `None` before the first account.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(&self) -> io::Result<Option<String>> {
        self.0.read(ACCOUNT)
    }

    /// Stores an account, which replaces an earlier one.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write(&self, text: &str) -> io::Result<()> {
        self.0.write(ACCOUNT, text)
    }
}

const ACCOUNT: &str = "account.json";
