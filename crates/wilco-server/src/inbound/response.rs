//! The responses: one 2xx, which takes a receipt, and one for each refusal.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use wilco::{
    Arrival, EnvelopeError, Mismatch, Provider, WHOLE_BODY_BYTES_MAX, counted,
    provider::{Accepted, AnswerType, Challenge},
};
use wilco_store::{Receipt, StoreError};

use super::{Client, HeadFault, Inbound, UnreadableHop};

/// The HTTP response to a webhook.
pub(super) type WebhookResponse = Response<Full<Bytes>>;

/// Tells the sender that its event is durable. Takes a receipt, so that nothing unrecorded is ever
/// acknowledged. A duplicate gets the id of the event that was recorded first, and a header by
/// which `wilco send` and a person with curl can tell; providers look at the status, and some at the
/// body.
pub(super) fn acknowledge(receipt: &Receipt, provider: Option<&Provider>) -> WebhookResponse {
    let mut response = match provider.and_then(|provider| provider.answers.accepted.as_ref()) {
        None => response(StatusCode::OK, "Webhook processed successfully"),
        Some(Accepted { status, body, content_type }) => {
            answer(*status, body.clone(), content_type.map(AnswerType::word))
        }
    };
    if let Ok(id) = HeaderValue::try_from(receipt.event_id().to_string()) {
        response.headers_mut().insert("x-wilco-event", id);
    }
    if !receipt.is_first() {
        response.headers_mut().insert("x-wilco-duplicate", HeaderValue::from_static("true"));
    }
    response
}

/// Answers a request that asked for an answer and is not an event. The answer repeats what a stranger may
/// have sent, so no browser may guess that it is something else than it says.
pub(super) fn answer_challenge(challenge: Challenge) -> WebhookResponse {
    let Challenge { status, content_type, headers, body, .. } = challenge;
    let mut response = answer(status, body, content_type.map(AnswerType::word));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// An answer as the provider wants it.
fn answer(status: u16, body: String, content_type: Option<&'static str>) -> WebhookResponse {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    if let Some(content_type) = content_type {
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

/// Answers a health check. It acknowledges nothing, because such a request has no body.
pub(super) fn healthy() -> WebhookResponse {
    response(StatusCode::OK, "Healthy")
}

/// Answers a request of a probe that was signed correctly. It acknowledges nothing: whoever opened the probe
/// knows that its requests are not recorded.
pub(super) fn probed() -> WebhookResponse {
    response(StatusCode::OK, "Probe received")
}

/// A response with this message.
fn response(status: StatusCode, message: &'static str) -> WebhookResponse {
    let body = format!("{{\"message\":\"{message}\"}}");
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// A refused request, and who sent it.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(super) arrival: Arrival,
    pub(super) client: Client,
}

/// Why a request was refused. Its text is for the log; the response to the sender says less.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no source has the path {0}")]
    UnknownPath(String),
    #[error("the method is not POST")]
    Method,
    #[error("{0} is not in allow_from")]
    Address(Client),
    #[error("{0}")]
    Hop(#[from] UnreadableHop),
    #[error("{0}")]
    Head(HeadFault),
    #[error(
        "the body has more than {}, which [listen] max_body allows",
        counted(*limit, "byte", "bytes")
    )]
    TooLarge { limit: usize },
    #[error(
        "the body has more than {WHOLE_BODY_BYTES_MAX} bytes; the signature of this provider can only be \
         checked over smaller ones"
    )]
    TooLargeForScheme,
    #[error("{what} within {seconds} s")]
    TooSlow { what: &'static str, seconds: u64 },
    #[error("the body ended early: {0}")]
    Broken(String),
    #[error("{0}")]
    NotVerified(Mismatch, Box<Evidence>),
    #[error("the signature is valid, but the {0}")]
    NotAnObject(EnvelopeError, Box<Evidence>),
    #[error("the secret of the handshake was not learned: {0}")]
    NotLearned(String),
    #[error(
        "the handshake brings another secret than the one in {}; if the webhook was registered again, remove \
         that file",
        .0.display()
    )]
    OtherSecret(PathBuf),
    #[error("unverified bodies fill the memory or the disk space that is reserved for them")]
    Busy,
    #[error("too many requests are in progress")]
    TooManyStreams,
    #[error("{0}")]
    NotRecorded(#[from] StoreError),
}

impl Refusal {
    /// The status, the label of the metric, and the message to the sender. The log has the details.
    pub(super) fn outcome(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::UnknownPath(_) => (StatusCode::NOT_FOUND, "unknown_path", "Not found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "Method not allowed"),
            Self::Address(_) | Self::Hop(_) => {
                (StatusCode::FORBIDDEN, "address", "Address not allowed")
            }
            Self::Head(HeadFault::Malformed) | Self::Broken(_) => {
                (StatusCode::BAD_REQUEST, "malformed", "Malformed request")
            }
            Self::Head(HeadFault::TooLarge) => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "Request head too large",
            ),
            Self::Head(HeadFault::TooSlow) | Self::TooSlow { .. } => {
                (StatusCode::REQUEST_TIMEOUT, "too_slow", "Request took too long")
            }
            Self::TooLarge { .. } | Self::TooLargeForScheme => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Request body too large")
            }
            Self::NotVerified(Mismatch::Missing { .. }, _) => {
                (StatusCode::BAD_REQUEST, "missing_signature", "Missing signature")
            }
            Self::NotVerified(
                Mismatch::Repeated { .. }
                | Mismatch::Malformed { .. }
                | Mismatch::Wrong
                | Mismatch::OutOfTime { .. }
                | Mismatch::TokenOutOfTime { .. }
                | Mismatch::BodyNotCovered
                | Mismatch::BodyUnread { .. },
                _,
            ) => (StatusCode::FORBIDDEN, "invalid_signature", "Invalid signature"),
            Self::NotAnObject(..) => {
                (StatusCode::BAD_REQUEST, "invalid_json", "Invalid JSON payload")
            }
            Self::OtherSecret(_) => {
                (StatusCode::FORBIDDEN, "invalid_signature", "Invalid signature")
            }
            Self::Busy | Self::TooManyStreams => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy, try again later")
            }
            Self::NotRecorded(_) | Self::NotLearned(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "not_recorded", "Not recorded, try again later")
            }
        }
    }

    /// The status that the sender gets, which the provider may want to be another one.
    pub(super) fn status(&self, provider: Option<&Provider>) -> StatusCode {
        let (usual, ..) = self.outcome();
        let Self::NotVerified(mismatch, _) = self else { return usual };
        let wanted = provider.and_then(|provider| match mismatch {
            Mismatch::Missing { .. } => provider.answers.missing,
            _ => provider.answers.invalid,
        });
        wanted.and_then(|status| StatusCode::from_u16(status.0).ok()).unwrap_or(usual)
    }

    /// The response to a request whose body may be unread.
    pub(super) fn to_response(
        &self,
        provider: Option<&Provider>,
        has_body: bool,
    ) -> WebhookResponse {
        let (_, _, message) = self.outcome();
        let mut response = response(self.status(provider), message);
        let headers = response.headers_mut();
        match self {
            Self::Method => {
                if let Ok(allowed) = HeaderValue::try_from(allowed_methods(provider)) {
                    headers.insert(header::ALLOW, allowed);
                }
            }
            Self::Busy | Self::TooManyStreams | Self::NotRecorded(_) | Self::NotLearned(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
            }
            Self::TooLarge { .. }
            | Self::TooLargeForScheme
            | Self::TooSlow { .. }
            | Self::Broken(_)
            | Self::Head(_)
            | Self::UnknownPath(_)
            | Self::Address(_)
            | Self::Hop(_)
            | Self::NotVerified(..)
            | Self::OtherSecret(_)
            | Self::NotAnObject(..) => {}
        }
        if has_body && !self.has_read_the_body() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// How many bytes of the body of an unsigned request were read before it was refused. `None` if
    /// the signature is right, because such requests are not part of a flood.
    pub(super) fn unsigned_bytes(&self) -> Option<usize> {
        match self {
            Self::NotVerified(_, evidence) => Some(evidence.arrival.body.len()),
            Self::NotLearned(_) | Self::OtherSecret(_) => Some(0),
            // Every other body that was read to its end had a right signature.
            _ if self.has_read_the_body() => None,
            _ => Some(0),
        }
    }

    /// Whether the body was read to its end. If not, the connection has to end.
    fn has_read_the_body(&self) -> bool {
        match self {
            Self::NotVerified(..)
            | Self::NotAnObject(..)
            | Self::NotRecorded(_)
            | Self::NotLearned(_)
            | Self::OtherSecret(_) => true,
            Self::UnknownPath(_)
            | Self::Method
            | Self::Address(_)
            | Self::Hop(_)
            | Self::Head(_)
            | Self::TooLarge { .. }
            | Self::TooLargeForScheme
            | Self::TooSlow { .. }
            | Self::Broken(_)
            | Self::Busy
            | Self::TooManyStreams => false,
        }
    }
}

impl Inbound {
    /// Refuses a request for its head.
    pub(super) async fn refuse_head(&self, fault: HeadFault, client: Client) -> WebhookResponse {
        let refusal = Refusal::Head(fault);
        let response = refusal.to_response(None, true);
        self.refuse(None, refusal, client).await;
        response
    }

    /// Refuses a request of HTTP/2 that its network has no slot for. The answer does not wait, because
    /// nothing limits how many would.
    pub(super) fn refuse_stream(&self, client: Client) -> WebhookResponse {
        let refusal = Refusal::TooManyStreams;
        self.log_refused(None, &refusal, client);
        refusal.to_response(None, true)
    }
}

/// The methods of events and of the provider's handshakes.
fn allowed_methods(provider: Option<&Provider>) -> String {
    let mut methods = vec!["POST"];
    methods.extend(provider.into_iter().flat_map(Provider::handshake_methods));
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

/// When a sender is asked to try again, in seconds.
const RETRY_AFTER_SECS: &str = "5";
