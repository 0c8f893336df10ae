//! The inbound half: from bytes to a 2xx. Nothing here waits for a route or a destination.

mod body;
mod counters;
mod endpoints;
mod gate;
mod head;
mod known;
mod learn;
mod listen;
mod log_limit;
mod probes;
mod response;
mod test_event;
mod throttle;
mod tls;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Request;
use http_body::Body;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use wilco::{
    Arrival, Key, Refused, Scheme, Verified,
    provider::{Challenge, HandshakeSecrets},
};
use wilco_store::{InboundStore, REJECTION_QUEUE_BYTES_MAX, Receipt, Rejection, RejectionReason};

use crate::{clock, config, metrics::Metrics, trace};
use body::{Arriving, BodyBudget, Charge, envelope, read_rejected};
use counters::Counters;
use gate::legible;
use known::KnownNetworks;
use listen::{ConnectionLimits, Handshakes};
use log_limit::LogLimit;
use probes::Probes;
use response::{WebhookResponse, acknowledge, answer_challenge, healthy, probed};
use throttle::Throttle;

pub(crate) use endpoints::Endpoints;
pub(crate) use gate::{Client, Network, UnreadableHop};
pub(crate) use listen::{HeadFault, raise_file_limit};
pub(crate) use probes::{ProbeError, ProbeRequest};
pub(crate) use response::{Evidence, Refusal};
pub(crate) use test_event::TestError;
pub(crate) use tls::{ALPN_HTTP2, CHALLENGE_PROTOCOL};
pub use tls::{Certificate, Challenges, SelfSigned, TlsError};

/// Handles every request, from any listener.
pub(crate) struct Inbound {
    endpoints: ArcSwap<Endpoints>,
    /// Held while the endpoints change, so that no change loses another.
    changing: Mutex<()>,
    /// Held while a secret is learned: the first that comes is the one.
    learning: tokio::sync::Mutex<()>,
    budget: Arc<BodyBudget>,
    throttle: Throttle,
    counters: Counters,
    probes: Probes,
    store: Arc<dyn InboundStore>,
    metrics: Arc<Metrics>,
    connections: Arc<ConnectionLimits>,
    handshakes: Handshakes,
    known: KnownNetworks,
    refusal_lines: LogLimit,
    connection_lines: LogLimit,
    began_at: Timestamp,
}

impl Inbound {
    pub(crate) fn new(
        endpoints: Endpoints,
        store: Arc<dyn InboundStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            endpoints: ArcSwap::from_pointee(endpoints),
            changing: Mutex::default(),
            learning: tokio::sync::Mutex::default(),
            budget: Arc::new(BodyBudget::new(&metrics)),
            throttle: Throttle::new(&metrics),
            counters: Counters::new(&metrics),
            probes: Probes::default(),
            store,
            metrics,
            connections: ConnectionLimits::of_process(),
            handshakes: Handshakes::of_process(),
            known: KnownNetworks::default(),
            refusal_lines: LogLimit::new(REFUSAL_LINES_MAX, REFUSAL_LINES_WINDOW),
            connection_lines: LogLimit::new(1, CONNECTION_LINES_WINDOW),
            began_at: clock::now(),
        }
    }

    /// Replaces the endpoints for new requests. Requests under way finish with the old ones.
    pub(crate) fn replace(&self, listen: &config::Listen, sources: &[config::Source]) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.endpoints.store(Arc::new(Endpoints::new(listen, sources)));
        self.set_secrets();
    }

    /// Has the store count the matches of the secrets that are configured now, and of no others.
    pub(crate) fn set_secrets(&self) {
        let endpoints = self.endpoints.load();
        let names = endpoints.sources.values().flat_map(|source| {
            let secrets = source.secrets.iter();
            secrets.map(|secret| (source.name.as_str().to_owned(), secret.name().to_owned()))
        });
        self.store.set_secrets(names.collect());
    }

    pub(crate) fn began_at(&self) -> Timestamp {
        self.began_at
    }

    /// The sources, as they are configured now.
    pub(crate) fn sources(&self) -> Vec<Arc<config::Source>> {
        self.endpoints.load().sources.values().cloned().collect()
    }

    /// Answers a request. It never fails, and every wait in it has a limit.
    pub(crate) async fn respond<B>(&self, request: Request<B>, socket: Client) -> WebhookResponse
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error,
    {
        let began = Instant::now();
        let endpoints = self.endpoints.load_full();
        let path = request.uri().path().to_owned();
        let source = endpoints.sources.get(&path);
        let has_body = !request.body().is_end_stream();
        if endpoints.is_health_check(request.method(), &path, has_body) {
            return healthy();
        }
        let sender = gate::sender(socket, request.headers(), &endpoints.trusted_proxies);
        let client = *sender.as_ref().unwrap_or(&socket);
        if let Some(admission) = self.probes.admit(request.headers(), clock::now) {
            let signer = Arc::clone(&admission.signer);
            let checked = self.probe(admission, source, request, sender, endpoints.max_body);
            return match Box::pin(checked).await {
                Ok(()) => probed(),
                Err(refusal) => refusal.to_response(Some(&signer), has_body),
            };
        }
        let received = match source {
            Some(source) => self.receive(source, request, sender, endpoints.max_body, began).await,
            None => Err(Refusal::UnknownPath(legible(path.as_bytes()).into_owned())),
        };
        let provider = source.map(|source| source.provider.as_ref());
        match received {
            Ok(Handled::Recorded(receipt)) => {
                // With a trusted proxy, connections are of the proxy's network and bodies of the sender's.
                self.known.note(socket.into(), began);
                self.known.note(client.into(), began);
                acknowledge(&receipt, provider)
            }
            Ok(Handled::Challenged(challenge, wait)) => {
                sleep(wait).await;
                answer_challenge(challenge)
            }
            Err(refusal) => {
                let response = refusal.to_response(provider, has_body);
                self.refuse(source.map(Arc::as_ref), refusal, client).await;
                response
            }
        }
    }

    /// Verifies a request, and records it if it is an event. The receipt is what an acknowledgement takes.
    async fn receive<B>(
        &self,
        source: &Arc<config::Source>,
        request: Request<B>,
        sender: Result<Client, UnreadableHop>,
        max_body: usize,
        began: Instant,
    ) -> Result<Handled, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error,
    {
        let (scheme, keys) = (&source.provider.scheme, source.keys.as_slice());
        let checked = self.check(source, (scheme, keys), request, sender, max_body).await?;
        let Checked { decided, method, bytes, sender, charge: _charge } = checked;
        if let Some(challenged) = self.challenge(source, &decided, sender).await? {
            return Ok(challenged);
        }
        if method != head::POST {
            return Err(Refusal::Method);
        }
        let verified = decided.map_err(|refused| {
            let Refused { mismatch, arrival } = *refused;
            Refusal::NotVerified(mismatch, Box::new(Evidence { arrival, client: sender }))
        })?;
        self.counters.matched(source.name.as_str(), verified.secret_name());
        let (verified, envelope) = envelope(source, verified).await?;
        let envelope = envelope.map_err(|cause| {
            let arrival = verified.arrival().clone();
            Refusal::NotAnObject(cause, Box::new(Evidence { arrival, client: sender }))
        })?;

        let name = envelope.name.clone();
        let incoming = trace::Incoming::of(&verified.arrival().head.headers, began);
        let receipt = self.store.record(verified, envelope, source.duplicates).await?;
        if let Some(incoming) = incoming {
            incoming.recorded(source.name.as_str(), &name, bytes, &receipt);
        }
        self.log_recorded(source, &name, bytes, &receipt, began);
        Ok(Handled::Recorded(receipt))
    }

    /// Reads a request within all limits, and checks its signature with these keys.
    async fn check<B>(
        &self,
        source: &config::Source,
        (scheme, keys): (&Scheme, &[Key]),
        request: Request<B>,
        sender: Result<Client, UnreadableHop>,
        max_body: usize,
    ) -> Result<Checked, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error,
    {
        let has_body = !request.body().is_end_stream();
        let method = head::method(source, request.method(), has_body).ok_or(Refusal::Method)?;
        let sender = sender?;
        if !gate::allows(&source.allow_from, sender) {
            return Err(Refusal::Address(sender));
        }
        let limit = body::limit(scheme, max_body);
        body::check_announced(&request, limit)?;
        let network = sender.into();
        let mut charge = self.budget.charge(network, self.known.contains(network));
        let (parts, body) = request.into_parts();
        let head = head::head(&parts, method, source);
        let verifier = scheme.begin(head, keys, clock::now());
        let mut arriving = Arriving::new(scheme, verifier, self.store.as_ref());
        let bytes = body::read(body, limit, &mut charge, &mut arriving).await?;
        let decided = arriving.finish(&source.name);
        Ok(Checked { decided, method, bytes, sender, charge })
    }

    /// The answer to a request that asks for one and is not an event.
    async fn challenge(
        &self,
        source: &config::Source,
        decided: &Result<Verified, Box<Refused>>,
        client: Client,
    ) -> Result<Option<Handled>, Refusal> {
        let (arrival, is_signed) = match decided {
            Ok(verified) => (verified.arrival(), true),
            Err(refused) => (&refused.arrival, false),
        };
        let secrets =
            HandshakeSecrets { verify_tokens: source.verify_token.as_slice(), keys: &source.keys };
        let Some(challenge) = source.provider.challenge(arrival, is_signed, secrets) else {
            return Ok(None);
        };
        match (&challenge.learnt, &source.learned_secret) {
            (Some(secret), Some(path)) => self.learn(source, path, secret).await?,
            // The source has its secret already.
            (Some(_), None) => return Ok(None),
            (None, _) => {}
        }
        let name = source.name.as_str();
        self.counters.answered(name, HANDSHAKE);
        if self.refusal_lines.allows(name, HANDSHAKE, Instant::now()) {
            tracing::info!(source = name, %client, is_signed, "handshake answered");
        }
        self.log_suppressed();
        let wait = match is_signed {
            true => Duration::ZERO,
            false => self.throttle.refuse(arrival.body.len(), Instant::now()),
        };
        Ok(Some(Handled::Challenged(challenge, wait)))
    }

    /// Counts and logs a new event or a duplicate.
    fn log_recorded(
        &self,
        source: &config::Source,
        event: &str,
        bytes: usize,
        receipt: &Receipt,
        began: Instant,
    ) {
        let took = began.elapsed();
        self.counters.ack.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "no body is that large")]
        self.counters.body.observe(bytes as f64);
        let id = receipt.event_id();
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (name, shown) = (source.name.as_str(), legible(event.as_bytes()));
        if receipt.is_first() {
            self.counters.answered(name, "recorded");
            self.counters.recorded(name, source.provider.documented(event).unwrap_or("other"));
            tracing::info!(source = name, event = &*shown, %id, bytes, millis, "event recorded");
        } else {
            self.counters.answered(name, "duplicate");
            tracing::info!(source = name, event = &*shown, %id, bytes, millis, "duplicate event");
        }
    }

    /// Logs and counts a refusal, and stores the request if a person would want to look into it.
    /// Then waits, in a flood of refusals, until the request may be answered.
    async fn refuse(&self, source: Option<&config::Source>, refusal: Refusal, client: Client) {
        let unsigned_bytes = refusal.unsigned_bytes();
        self.log_refused(source, &refusal, client);
        if let Some(source) = source {
            self.keep(source, refusal).await;
        }
        let Some(bytes) = unsigned_bytes else { return };
        let wait = self.throttle.refuse(bytes, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// Waits, in a flood of refusals, until more of an unread body may be discarded.
    async fn wait_for_discarded(&self, bytes: usize) {
        sleep(self.throttle.discard(bytes, Instant::now())).await;
    }

    /// Stores a complete request that was refused, unless too many wait to be stored. Of a large body not more
    /// than its beginning is in memory, unless it may be accepted later.
    async fn keep(&self, source: &config::Source, refusal: Refusal) {
        let message = refusal.to_string();
        let (reason, evidence) = match refusal {
            Refusal::NotVerified(mismatch, evidence) => {
                (RejectionReason::from(&mismatch), evidence)
            }
            Refusal::NotAnObject(_, evidence) => (RejectionReason::InvalidBody, evidence),
            _ => return,
        };
        let Evidence { arrival: Arrival { received_at, head, body }, client } = *evidence;
        let bytes = body.len();
        let is_complete = reason.may_be_accepted() && bytes <= REJECTION_QUEUE_BYTES_MAX;
        let scheme = &source.provider.scheme;
        let hidden = head::sent_secrets(&head, scheme);
        let head = if is_complete { head } else { head::redacted(&head, scheme) };
        let Some((digest, body)) = read_rejected(body, is_complete).await else {
            self.counters.rejections_dropped.inc();
            return;
        };
        let is_kept = self.store.reject(Rejection {
            received_at,
            source: source.name.clone(),
            provider: source.provider.name.clone(),
            reason,
            message,
            client: client.ip(),
            method: head.method.into_owned(),
            url: head.url,
            hidden,
            headers: head.headers,
            bytes: bytes as u64,
            digest,
            body,
            is_complete,
        });
        if !is_kept {
            self.counters.rejections_dropped.inc();
        }
    }
}

/// A request that was read completely.
struct Checked {
    decided: Result<Verified, Box<Refused>>,
    method: &'static str,
    bytes: usize,
    sender: Client,
    /// Released when the event is recorded, or when a refused body is about to be queued: nothing waits
    /// between that and the queue, which has a bound of its own.
    charge: Charge,
}

/// What became of a request that was not refused.
enum Handled {
    Recorded(Receipt),
    /// It asked for this answer, and is not an event. In a flood of unsigned ones, the answer waits.
    Challenged(Challenge, Duration),
}

/// The outcome of a request that was answered and not recorded, as metrics and logs name it.
const HANDSHAKE: &str = "handshake";
/// One part in this many of a limit is left to known networks.
const KNOWN_RESERVE_PART: usize = 8;
/// Refusals of one outcome and source that are logged in each [`REFUSAL_LINES_WINDOW`].
const REFUSAL_LINES_MAX: u32 = 10;
const REFUSAL_LINES_WINDOW: Duration = Duration::from_secs(1);
/// In this time, each reason for a failed connection is logged once.
const CONNECTION_LINES_WINDOW: Duration = Duration::from_secs(60);
