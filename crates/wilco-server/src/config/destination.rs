//! A destination: what it is, and how it is treated.

use std::time::Duration;

use wilco_delivery::Policy;

use super::SharedSettings;

/// A place where events go.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// What its kind made of its keys.
    pub(crate) settings: SharedSettings,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
    /// How its deliveries are treated.
    pub(crate) policy: Policy,
}

impl Destination {
    /// A destination with nothing said about it but what it is.
    pub(crate) fn new(name: &str, settings: SharedSettings) -> Self {
        let (timeout, policy) = (ATTEMPT_TIMEOUT, Policy::default());
        Self { name: name.into(), settings, timeout, policy }
    }
}

/// How long an attempt may take, unless `timeout` says otherwise.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// What is kept of what a destination said, in bytes.
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 << 10;
