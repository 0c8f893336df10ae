//! `[alerts]`: where wilco reports what went wrong.

use std::time::Duration;

use wilco_config::{Form, Key, Table, TableReader, ValueType, duration};
use wilco_delivery::AlertPolicy;

use super::Names;

pub(super) static TABLE: Table = Table {
    name: "alerts",
    form: Form::Single,
    without: None,
    keys: &[
        Key::new("to", ValueType::Text, "\"name-of-a-destination\"").required().doc(
            "the name of the destination that gets [alerts](deliveries.md#alerts): \
             about dead deliveries, paused destinations and silent sources",
        ),
        Key::new("every", ValueType::Duration, "\"15 min\"")
            .default("\"15 min\"")
            .doc("at most one alert in this time about the same destination or source"),
    ],
};

pub(super) fn read(keys: &mut TableReader<'_>, names: &Names) -> Option<AlertPolicy> {
    let to = keys.parse("to", |text| names.destination(text));
    let every = keys.parse("every", duration).unwrap_or(ALERT_EVERY);
    Some(AlertPolicy { to: to?, every })
}

/// After an alert, how long no other about the same is sent, unless `every` says otherwise.
const ALERT_EVERY: Duration = Duration::from_secs(900);
