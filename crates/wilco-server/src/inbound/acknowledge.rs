//! The answers: one 2xx, which takes a receipt, and one for each refusal.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use wilco_store::Receipt;

/// What goes back over the wire.
pub(super) type Answer = Response<Full<Bytes>>;

/// Tells the sender that its event is durable. Takes a receipt, so that nothing unrecorded is ever
/// acknowledged. A duplicate gets the id of the event that was recorded first, and a header that says
/// so: `wilco send` and a person with curl can tell, and providers look at the status only.
pub(super) fn acknowledge(receipt: &Receipt) -> Answer {
    let mut answer = answer(StatusCode::OK, "Webhook processed successfully");
    if let Ok(id) = HeaderValue::try_from(receipt.event_id().to_string()) {
        answer.headers_mut().insert("x-wilco-event", id);
    }
    if !receipt.is_first() {
        answer.headers_mut().insert("x-wilco-duplicate", HeaderValue::from_static("true"));
    }
    answer
}

/// An answer with this message.
pub(super) fn answer(status: StatusCode, message: &'static str) -> Answer {
    let body = format!("{{\"message\":\"{message}\"}}");
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}
