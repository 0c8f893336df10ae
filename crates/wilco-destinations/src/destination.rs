//! A destination: what it is, and how it is treated.

use std::time::Duration;

use wilco_delivery::Policy;

use crate::kind::SharedSettings;

/// A place where events go.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationConfig {
    /// Its name.
    pub name: String,
    /// What its kind made of its keys.
    pub settings: SharedSettings,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// How its deliveries are treated.
    pub policy: Policy,
}

impl DestinationConfig {
    /// A destination with nothing said about it but what it is.
    pub fn new(name: &str, settings: SharedSettings) -> Self {
        let (timeout, policy) = (ATTEMPT_TIMEOUT, Policy::default());
        Self { name: name.into(), settings, timeout, policy }
    }
}

/// How long an attempt may take, unless `timeout` says otherwise.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
