//! The first half: from bytes to a 2xx. Nothing here waits for a route or a destination.

mod acknowledge;
mod gate;
mod listen;
mod tls;

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use ipnet::IpNet;
use tokio::time::Instant;
use wilco::{Arrival, EnvelopeError, Headers, Mismatch, SourceName, verify};
use wilco_store::{Receipt, Rejection, Store, StoreError};

use crate::{config, metrics::Metrics};
use acknowledge::{Answer, acknowledge, answer};
use gate::Room;

pub(crate) use gate::Peer;
pub(crate) use listen::{Bound, bind};
pub(crate) use tls::{Certificate, TlsError};

/// The way of every request, whatever socket it came in by.
pub(crate) struct Inbound {
    door: ArcSwap<Door>,
    room: Room,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

/// What a reload replaces.
pub(crate) struct Door {
    sources: HashMap<String, config::Source>,
    trusted_proxies: Vec<IpNet>,
    max_body: usize,
}

impl Door {
    pub(crate) fn new(listen: &config::Listen, sources: &[config::Source]) -> Self {
        let by_path = sources.iter().map(|source| (source.path.clone(), source.clone()));
        Self {
            sources: by_path.collect(),
            trusted_proxies: listen.trusted_proxies.clone(),
            max_body: listen.max_body,
        }
    }
}

impl Inbound {
    pub(crate) fn new(door: Door, store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { door: ArcSwap::from_pointee(door), room: Room::new(), store, metrics }
    }

    /// From now on, requests meet this door. Those under way go on with the one that they met.
    pub(crate) fn replace(&self, door: Door) {
        self.door.store(Arc::new(door));
    }

    /// Answers a request: never fails, never hangs longer than its parts are allowed to.
    pub(crate) async fn respond<B>(&self, request: Request<B>, peer: Peer) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error,
    {
        let began = Instant::now();
        let path = request.uri().path().to_owned();
        let door = self.door.load_full();
        let source = door.sources.get(&path);
        match self.receive(&door, source, request, peer).await {
            Ok(receipt) => {
                self.metrics.acknowledged(began.elapsed());
                acknowledge(&receipt)
            }
            Err(refusal) => self.refuse(source, refusal),
        }
    }

    /// Verify, record, acknowledge: the whole of it.
    async fn receive<B>(
        &self,
        door: &Door,
        source: Option<&config::Source>,
        request: Request<B>,
        peer: Peer,
    ) -> Result<Receipt, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error,
    {
        let source = source.ok_or(Refusal::UnknownPath)?;
        if request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        let sender = gate::sender(peer, request.headers(), &door.trusted_proxies);
        if !gate::allows(&source.allow_from, sender) {
            return Err(Refusal::Address(sender));
        }
        let expected = listen::expected_bytes(&request, door.max_body)?;
        let _room = self.room.take(expected).ok_or(Refusal::Busy)?;
        let arrival = listen::read(request, door.max_body).await?;

        let evidence = Evidence { arrival: arrival.clone(), sender };
        let scheme = &source.provider.scheme;
        let verified = verify(scheme, &source.name, &source.secrets, arrival)
            .map_err(|cause| Refusal::NotVerified(cause, Box::new(evidence.clone())))?;
        self.metrics.matched(source.name.as_str(), verified.secret());
        let envelope = source
            .provider
            .envelope(&verified)
            .map_err(|cause| Refusal::NotAnObject(cause, Box::new(evidence)))?;

        let name = source.provider.documented(&envelope.name).unwrap_or("other").to_owned();
        let receipt = self.store.record(verified, envelope, source.duplicates).await?;
        self.count(&source.name, &name, &receipt);
        Ok(receipt)
    }

    fn count(&self, source: &SourceName, event: &str, receipt: &Receipt) {
        let outcome = if receipt.is_first() { "recorded" } else { "duplicate" };
        tracing::debug!(%source, event, id = %receipt.event_id(), outcome, "recorded");
        self.metrics.answered(source.as_str(), outcome);
        if receipt.is_first() {
            self.metrics.recorded(source.as_str(), event);
        }
    }

    /// Logs, counts and keeps a refusal, and turns it into its answer.
    fn refuse(&self, source: Option<&config::Source>, refusal: Refusal) -> Answer {
        let name = source.map_or("-", |source| source.name.as_str());
        let (status, outcome, _) = refusal.answer();
        self.metrics.answered(name, outcome);
        if status.is_server_error() {
            tracing::warn!(source = name, status = status.as_u16(), "refused: {refusal}");
        } else {
            tracing::info!(source = name, status = status.as_u16(), "refused: {refusal}");
        }
        let answer = refusal.to_answer();
        if let Some(source) = source {
            self.keep(source, refusal);
        }
        answer
    }

    /// Keeps what a person would want to look into: a request that was whole and not accepted.
    fn keep(&self, source: &config::Source, refusal: Refusal) {
        let reason = refusal.to_string();
        let (Refusal::NotVerified(_, evidence) | Refusal::NotAnObject(_, evidence)) = refusal
        else {
            return;
        };
        let Evidence { arrival, sender } = *evidence;
        let blanked = arrival.headers.iter().map(|(name, value)| {
            (name, if CREDENTIALS.contains(&name) { &b"(blanked)"[..] } else { value })
        });
        self.store.reject(Rejection {
            at: arrival.received_at,
            source: source.name.clone(),
            reason,
            remote: sender.to_string(),
            headers: Headers::from_pairs(blanked),
            bytes: arrival.body.len() as u64,
            body: arrival.body.clone(),
        });
    }

    /// The answer to a head that was not let through.
    fn refuse_head(&self, fault: listen::HeadFault) -> Answer {
        self.refuse(None, Refusal::Head(fault))
    }
}

/// What was refused, and who sent it.
#[derive(Clone, Debug)]
struct Evidence {
    arrival: Arrival,
    sender: Peer,
}

/// Why a request gets no 2xx. What it displays is for our log; the sender is told less.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no source has this path")]
    UnknownPath,
    #[error("the method is not POST")]
    Method,
    #[error("{0} is not in allow_from")]
    Address(Peer),
    #[error("the head was {0:?}")]
    Head(listen::HeadFault),
    #[error("the body has more than {limit} bytes, which [listen] max_body allows")]
    TooLarge { limit: usize },
    #[error("the body did not come within {} s", BODY_TIMEOUT.as_secs())]
    TooSlow,
    #[error("the body broke off: {0}")]
    Broken(String),
    #[error("{0}")]
    NotVerified(Mismatch, Box<Evidence>),
    #[error("the signature is right, but the {0}")]
    NotAnObject(EnvelopeError, Box<Evidence>),
    #[error("bodies under way fill the memory that is set apart for them")]
    Busy,
    #[error("{0}")]
    NotRecorded(#[from] StoreError),
}

impl Refusal {
    /// The status, the label of the metric, and what the sender is told. The log knows the rest.
    fn answer(&self) -> (StatusCode, &'static str, &'static str) {
        use listen::HeadFault;
        match self {
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path", "Not found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method", "Method not allowed"),
            Self::Address(_) => (StatusCode::FORBIDDEN, "address", "Address not allowed"),
            Self::Head(HeadFault::Malformed) | Self::Broken(_) => {
                (StatusCode::BAD_REQUEST, "malformed", "Malformed request")
            }
            Self::Head(HeadFault::TooLarge) => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "Request head too large",
            ),
            Self::Head(HeadFault::TooSlow) | Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "too_slow", "Request took too long")
            }
            Self::TooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large", "Request body too large")
            }
            Self::NotVerified(Mismatch::Missing { .. }, _) => {
                (StatusCode::BAD_REQUEST, "missing_signature", "Missing signature")
            }
            Self::NotVerified(
                Mismatch::Repeated { .. } | Mismatch::Malformed { .. } | Mismatch::Wrong,
                _,
            ) => (StatusCode::FORBIDDEN, "invalid_signature", "Invalid signature"),
            Self::NotAnObject(..) => {
                (StatusCode::BAD_REQUEST, "invalid_json", "Invalid JSON payload")
            }
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy, try again later"),
            Self::NotRecorded(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "not_recorded", "Not recorded, try again later")
            }
        }
    }

    fn to_answer(&self) -> Answer {
        let (status, _, message) = self.answer();
        let mut answer = answer(status, message);
        let headers = answer.headers_mut();
        match self {
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Busy | Self::NotRecorded(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
            }
            Self::TooLarge { .. } | Self::TooSlow | Self::Broken(_) | Self::Head(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::UnknownPath
            | Self::Address(_)
            | Self::NotVerified(..)
            | Self::NotAnObject(..) => {}
        }
        answer
    }
}

/// Headers that are credentials of somebody's, and not kept with a rejection. A signature is none:
/// without the secret it says nothing, and with the body it says why it did not match.
const CREDENTIALS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-gitlab-token"];
/// When a sender is asked to try again, in seconds.
const RETRY_AFTER_SECS: &str = "5";
/// How long a body may take from its head to its last byte.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
