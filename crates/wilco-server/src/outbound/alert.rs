//! Records alerts.

use wilco_delivery::LoggedAlert;
use wilco_store::OutboundStore;

/// Records an alert, unless one with its key was recorded recently. Returns whether it did.
pub(crate) async fn record_alert(store: &dyn OutboundStore, alert: LoggedAlert) -> bool {
    let LoggedAlert { text, alert } = alert;
    let to = alert.to.clone();
    match store.record_alert(alert).await {
        Ok(true) => {
            tracing::warn!(to, "alert: {text}");
            true
        }
        Ok(false) => false,
        Err(error) => {
            tracing::error!(%error, "cannot record an alert: {text}");
            false
        }
    }
}
