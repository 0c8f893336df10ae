//! Opens a destination, and opens it again if that failed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::OnceCell, time::timeout};
use wilco_delivery::{Destination, Reply};
use wilco_store::Claim;

use crate::{
    destination::DestinationConfig,
    hidden::Hidden,
    kind::{OpenError, SharedSettings},
};

/// A destination that may not be open yet. Each attempt tries to open it first. If that fails, the attempt
/// fails, so that retries, circuit breaker and alerts apply as to any destination that is down.
pub struct Opener {
    name: String,
    settings: SharedSettings,
    timeout: Duration,
    opened: OnceCell<Arc<dyn Destination>>,
}

impl Opener {
    /// A destination that is not open yet.
    pub fn new(config: &DestinationConfig) -> Self {
        let DestinationConfig { name, settings, timeout, policy: _ } = config.clone();
        Self { name, settings, timeout, opened: OnceCell::new() }
    }

    /// Opens the destination before its first attempt. If that fails, it logs why.
    pub async fn open_early(&self) {
        if let Err(error) = self.open().await {
            let destination = &self.name;
            tracing::warn!(destination, %error, "deliveries fail until the destination can be opened");
        }
    }

    async fn open(&self) -> Result<&dyn Destination, OpenError> {
        let open = || self.settings.open(&self.name, self.timeout);
        Ok(self.opened.get_or_try_init(open).await?.as_ref())
    }
}

#[async_trait]
impl Destination for Opener {
    async fn deliver(&self, claim: &Claim) -> Reply {
        match self.open().await {
            Ok(destination) => destination.deliver(claim).await,
            Err(error) => Reply::failed(error.to_string()),
        }
    }

    async fn deliver_many(&self, claims: &[Claim]) -> Vec<Reply> {
        match self.open().await {
            Ok(destination) => destination.deliver_many(claims).await,
            Err(error) => claims.iter().map(|_| Reply::failed(error.to_string())).collect(),
        }
    }

    async fn check(&self) -> Result<String, String> {
        let open_and_check = async {
            let destination = self.open().await.map_err(|error| error.to_string())?;
            destination.check().await
        };
        let checked = timeout(CHECK_TIMEOUT, open_and_check).await;
        checked.unwrap_or_else(|_| Err(format!("no result within {} s", CHECK_TIMEOUT.as_secs())))
    }

    async fn close(&self) {
        if let Some(destination) = self.opened.get() {
            destination.close().await;
        }
    }
}

/// Checks whether events can be delivered to a destination, without delivering one. The result shows no
/// secret.
///
/// # Errors
///
/// What is wrong with it, and how to fix it.
pub async fn check(config: &DestinationConfig) -> Result<String, String> {
    let opener = Opener::new(config);
    let result = opener.check().await;
    opener.close().await;
    result.map_err(|why| Hidden::of(&*config.settings).clean_text(&why).unwrap_or(why))
}

/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
