//! The rows of the store as the API answers them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use wilco::Origin;
use wilco_store::State;

use super::{
    Attempt, Delivery, DeliveryState, EventCount, EventCounts, EventDetail, EventSummary, Header,
    PayloadState,
};
use crate::redaction::REDACTED;

impl From<wilco_store::EventSummary> for EventSummary {
    fn from(summary: wilco_store::EventSummary) -> Self {
        Self {
            id: summary.id,
            source: summary.source.to_string(),
            event: summary.name,
            subject: summary.subject,
            title: summary.title,
            received_at: summary.received_at,
            bytes: summary.bytes,
            sha256: summary.digest.to_string(),
            secret_name: summary.secret_name,
            backfilled: summary.origin.is_backfilled(),
            fetched: summary.origin == Origin::Fetched,
            routed: summary.is_routed,
            damaged: summary.is_damaged,
            payload: summary.payload.into(),
            deliveries: summary.deliveries.into_iter().map(Delivery::from).collect(),
        }
    }
}

impl From<wilco_store::EventDetail> for EventDetail {
    fn from(detail: wilco_store::EventDetail) -> Self {
        let wilco_store::EventDetail { event, is_routed, deliveries } = detail;
        let headers = event.headers.iter().map(|(name, value)| Header {
            name: name.to_owned(),
            value: match wilco_config::is_credential_name(name) {
                true => REDACTED.into(),
                false => String::from_utf8_lossy(value).into_owned(),
            },
        });
        let headers = headers.collect();
        let whole = event.body.contiguous(SHOWN_BODY_BYTES_MAX).ok();
        let text = whole.as_deref().map(std::str::from_utf8);
        let body = text.and_then(Result::ok).map(ToOwned::to_owned);
        let body_base64 = whole.as_ref().filter(|_| body.is_none());
        let body_base64 = body_base64.map(|whole| BASE64_STANDARD.encode(whole));
        let summary = EventSummary {
            id: event.id,
            source: event.source.to_string(),
            subject: event.subject,
            title: wilco_store::title(&event.body),
            received_at: event.received_at,
            bytes: event.body.len() as u64,
            sha256: event.digest.to_string(),
            secret_name: event.secret_name,
            backfilled: event.origin.is_backfilled(),
            fetched: event.origin == Origin::Fetched,
            event: event.name,
            routed: is_routed,
            damaged: false,
            payload: PayloadState::Kept,
            deliveries: deliveries.into_iter().map(Delivery::from).collect(),
        };
        let (provider, conflict) = (Some(event.provider), event.conflict);
        Self { summary, provider, conflict, headers, body, body_base64 }
    }
}

impl EventDetail {
    /// An event whose payload was removed.
    pub(crate) fn without_payload(summary: wilco_store::EventSummary) -> Self {
        let conflict = summary.is_conflict;
        let (summary, provider) = (summary.into(), None);
        Self { summary, provider, conflict, headers: Vec::new(), body: None, body_base64: None }
    }
}

impl From<wilco_store::PayloadState> for PayloadState {
    fn from(state: wilco_store::PayloadState) -> Self {
        match state {
            wilco_store::PayloadState::Kept => Self::Kept,
            wilco_store::PayloadState::Pruned => Self::Pruned,
            wilco_store::PayloadState::Erased => Self::Erased,
        }
    }
}

impl From<wilco_store::Delivery> for Delivery {
    fn from(delivery: wilco_store::Delivery) -> Self {
        let is_done = delivery.state == State::Delivered;
        let history = delivery.history.into_iter().map(|attempt| Attempt {
            started_at: attempt.started_at,
            took_ms: attempt.took.as_secs_f64() * 1_000.0,
            result: attempt.result,
            request: attempt.request,
            output: String::from_utf8_lossy(&attempt.output).into_owned(),
        });
        Self {
            destination: delivery.destination,
            item: delivery.item,
            state: delivery.state.into(),
            attempts: delivery.attempts,
            due_at: delivery.due_at,
            order_key: delivery.order_key,
            reason: delivery.reason,
            replaced_by: delivery.replaced_by,
            last_error: delivery.last_error.filter(|_| !is_done),
            history: history.collect(),
        }
    }
}

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Running => Self::Running,
            State::Retrying => Self::Retrying,
            State::Delivered => Self::Delivered,
            State::Dead => Self::Dead,
            State::Skipped => Self::Skipped,
            State::Superseded => Self::Superseded,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl From<DeliveryState> for State {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Pending => Self::Pending,
            DeliveryState::Running => Self::Running,
            DeliveryState::Retrying => Self::Retrying,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Dead => Self::Dead,
            DeliveryState::Skipped => Self::Skipped,
            DeliveryState::Superseded => Self::Superseded,
            DeliveryState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<wilco_store::EventCounts> for EventCounts {
    fn from(counts: wilco_store::EventCounts) -> Self {
        Self {
            all: counts.all.into(),
            pending: counts.of(State::Pending).into(),
            running: counts.of(State::Running).into(),
            retrying: counts.of(State::Retrying).into(),
            delivered: counts.of(State::Delivered).into(),
            dead: counts.of(State::Dead).into(),
            skipped: counts.of(State::Skipped).into(),
            superseded: counts.of(State::Superseded).into(),
            cancelled: counts.of(State::Cancelled).into(),
        }
    }
}

impl From<wilco_store::EventCount> for EventCount {
    fn from(count: wilco_store::EventCount) -> Self {
        Self { count: count.events, at_least: count.is_at_least }
    }
}

/// The largest body that is part of the answer about an event, in bytes.
const SHOWN_BODY_BYTES_MAX: usize = 1 << 20;
