//! A configured destination.

use std::time::Duration;

use wilco_delivery::Policy;

use crate::kind::SharedSettings;

/// A destination with its settings and its delivery policy.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationConfig {
    /// Its name.
    pub name: String,
    /// Its settings, which its kind has read from its keys.
    pub settings: SharedSettings,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// How its deliveries are treated.
    pub policy: Policy,
}

impl DestinationConfig {
    /// A destination with default values for everything but its settings.
    pub fn new(name: &str, settings: SharedSettings) -> Self {
        let (timeout, policy) = (ATTEMPT_TIMEOUT, Policy::default());
        Self { name: name.into(), settings, timeout, policy }
    }
}

/// How long an attempt may take, unless `timeout` says otherwise.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
