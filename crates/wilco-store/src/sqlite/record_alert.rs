//! Records an alert, unless one of the same key was recorded shortly before.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use wilco::{Digest, Event, EventId, Headers, Origin, SourceName};

use super::{Keys, Prepared, WriterState, bad_column, instant, seq_of};
use crate::{
    ALERTS, Alert, Target,
    erasure::event_ids,
    rules::{is_alert_due, whole_millis},
};

impl WriterState {
    /// Records an alert and its delivery, unless one of the same key came shortly before.
    pub(super) fn record_alert(&mut self, alert: &Alert, now: Timestamp) -> rusqlite::Result<bool> {
        let last = self
            .connection
            .prepare_cached("SELECT at_ms FROM alert WHERE key = ?1")?
            .query_row([&alert.key], |row| instant(row.get(0)?))
            .optional()?;
        if !is_alert_due(last, alert.every, whole_millis(now)) || self.is_about_erased(alert)? {
            return Ok(false);
        }
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO alert (key, at_ms) VALUES (?1, ?2)")?
            .execute(params![alert.key, now.as_millisecond()])?;
        let digest = Digest::of(&alert.body);
        let event = Event {
            id: EventId::from_bits(0),
            source: SourceName::new(ALERTS).map_err(bad_column)?,
            provider: ALERTS.into(),
            name: alert.name.clone(),
            subject: None,
            received_at: now,
            secret_name: String::new(),
            digest,
            conflict: false,
            origin: Origin::Webhook,
            item: None,
            headers: Headers::from_pairs([("content-type", "application/json")]),
            body: alert.body.clone().into(),
        };
        let keys = Keys::of(ALERTS, None, None, digest);
        let event_id =
            self.insert(&mut Prepared::with(keys, None, event).map_err(bad_column)?, false)?;
        self.deliver(seq_of(event_id), &Target::to(alert.to.as_str()), None, now)?;
        Ok(true)
    }

    /// Whether an alert names an event that was erased after what the alert is about: it would have the words again that
    /// were erased.
    fn is_about_erased(&self, alert: &Alert) -> rusqlite::Result<bool> {
        let mut erased = self.connection.prepare_cached("SELECT 1 FROM erased WHERE event = ?1")?;
        for id in event_ids(&alert.body) {
            if erased.exists([seq_of(id)])? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
