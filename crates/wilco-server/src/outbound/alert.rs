//! Records alerts.

use wilco_delivery::LoggedAlert;
use wilco_store::OutboundStore;

/// Records an alert, unless one of its key was recorded a short while ago. Answers whether it did.
pub(crate) async fn record_alert(store: &dyn OutboundStore, told: LoggedAlert) -> bool {
    let LoggedAlert { text, alert } = told;
    let to = alert.to.clone();
    match store.record_alert(alert).await {
        Ok(true) => {
            tracing::warn!(to, "alert: {text}");
            true
        }
        Ok(false) => false,
        Err(error) => {
            tracing::error!(%error, "an alert was not recorded: {text}");
            false
        }
    }
}
