//! Probes: requests that `wilco probe` sends through the public address, to find out what a proxy changes.
//! They are answered and never recorded.

#[cfg(test)]
mod tests;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, request::Parts};
use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq as _;
use wilco::{
    Arrival, Body, Digest, Headers, Key, Mismatch, Provider, Refused, Scheme, Secret, SourceName,
    Verified, provider,
};

use super::{Client, Evidence, Inbound, Refusal, UnreadableHop};
use crate::{clock, config, redaction};

/// At most one probe, which an operator opened through the admin API.
#[derive(Default)]
pub(super) struct Probes {
    /// Without a probe, this is all that a request looks at.
    is_open: AtomicBool,
    latest: Mutex<Option<Probe>>,
}

/// An open probe, or the latest one.
struct Probe {
    opened: OpenProbe,
    /// The provider whose scheme signs: that of the source, if a receiver can sign with it.
    signer: Arc<Provider>,
    key: Key,
    requests_left: usize,
    requests: Vec<ProbeRequest>,
}

/// What whoever sends the requests has to know.
#[derive(Clone)]
pub(crate) struct OpenProbe {
    /// The value of the header [`PROBE_HEADER`].
    pub(crate) id: String,
    pub(crate) source: SourceName,
    pub(crate) path: String,
    pub(crate) public_url: Option<String>,
    pub(crate) provider: String,
    /// The name of the provider whose scheme signs.
    pub(crate) signer: String,
    /// Signs the requests of this probe and nothing else.
    pub(crate) secret: String,
    pub(crate) max_body: usize,
    pub(crate) ends_at: Timestamp,
}

/// A request of a probe, as it arrived.
#[derive(Clone)]
pub(crate) struct ProbeRequest {
    pub(crate) received_at: Timestamp,
    pub(crate) method: String,
    /// The path and query that were requested.
    pub(crate) url: String,
    pub(crate) headers: Headers,
    /// `None` if the request was refused before its body was read.
    pub(crate) body: Option<ProbeBody>,
    pub(crate) status: u16,
    /// Why it was refused.
    pub(crate) refused: Option<String>,
}

/// The body of a request of a probe.
#[derive(Clone)]
pub(crate) struct ProbeBody {
    pub(crate) bytes: usize,
    pub(crate) digest: Digest,
    pub(crate) start: Vec<u8>,
}

/// A request that belongs to the open probe.
pub(super) struct Admission {
    id: String,
    source: SourceName,
    pub(super) signer: Arc<Provider>,
    key: Key,
}

/// Why no probe was opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("another probe is open until {0}; wait for its end")]
    Busy(Timestamp),
    #[error("source {name} not found{hint}")]
    UnknownSource { name: String, hint: String },
    #[error("no source has the path {0}; name one of the sources: {1}")]
    UnknownPath(String, String),
    #[error("no key could be made: {0}")]
    Key(String),
}

impl Probes {
    /// The admission of a request of the open probe. Any other request is treated as always.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        now: impl FnOnce() -> Timestamp,
    ) -> Option<Admission> {
        if !self.is_open.load(Ordering::Relaxed) {
            return None;
        }
        let shown = headers.get(PROBE_HEADER)?.as_bytes();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let probe = latest.as_mut()?;
        if now() >= probe.opened.ends_at || probe.requests_left == 0 {
            self.is_open.store(false, Ordering::Relaxed);
            return None;
        }
        if !bool::from(shown.ct_eq(probe.opened.id.as_bytes())) {
            return None;
        }
        probe.requests_left -= 1;
        Some(Admission {
            id: probe.opened.id.clone(),
            source: probe.opened.source.clone(),
            signer: Arc::clone(&probe.signer),
            key: probe.key.clone(),
        })
    }

    /// Adds a request to the report.
    fn add(&self, admission: &Admission, request: ProbeRequest) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = latest.as_mut().filter(|probe| probe.opened.id == admission.id) {
            probe.requests.push(request);
        }
    }

    fn open(&self, probe: Probe) -> Result<OpenProbe, ProbeError> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = self.is_open.load(Ordering::Relaxed);
        if let Some(other) = latest.as_ref().filter(|_| is_open)
            && clock::now() < other.opened.ends_at
        {
            return Err(ProbeError::Busy(other.opened.ends_at));
        }
        let opened = probe.opened.clone();
        *latest = Some(probe);
        self.is_open.store(true, Ordering::Relaxed);
        Ok(opened)
    }
}

impl Inbound {
    /// Opens a probe of a source: the one of this name, else the one at this path, else the only one.
    pub(crate) fn open_probe(
        &self,
        name: Option<&str>,
        path: Option<&str>,
        is_plain: bool,
    ) -> Result<OpenProbe, ProbeError> {
        let endpoints = self.endpoints.load_full();
        let source = choose(endpoints.sources.values(), name, path)?;
        let (signer, secret, key) = signer(source, is_plain)?;
        let opened = OpenProbe {
            id: random()?,
            source: source.name.clone(),
            path: source.path.clone(),
            public_url: source.public_url.clone(),
            provider: source.provider.name.clone(),
            signer: signer.name.clone(),
            secret,
            max_body: endpoints.max_body,
            ends_at: clock::now() + PROBE_DURATION,
        };
        let requests = Vec::new();
        let probe = Probe { opened, signer, key, requests_left: PROBE_REQUESTS_MAX, requests };
        let opened = self.probes.open(probe)?;
        tracing::info!(source = opened.source.as_str(), until = %opened.ends_at, "probe opened");
        Ok(opened)
    }

    /// Checks a request of a probe as all others, and reports how it arrived. It is never recorded.
    pub(super) async fn probe<B>(
        &self,
        admission: Admission,
        source: Option<&Arc<config::Source>>,
        request: Request<B>,
        sender: Result<Client, UnreadableHop>,
        max_body: usize,
    ) -> Result<(), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error,
    {
        let (scheme, keys) = (&admission.signer.scheme, std::slice::from_ref(&admission.key));
        let (parts, body) = request.into_parts();
        let mut arrived = ProbeRequest::of(&parts, scheme);
        let request = Request::from_parts(parts, body);
        let checked = match source.filter(|source| source.name == admission.source) {
            Some(source) => self.check(source, (scheme, keys), request, sender, max_body).await,
            None => Err(Refusal::UnknownPath(arrived.url.clone())),
        };
        let accepted = checked.and_then(|checked| match arrived.take(checked.decided) {
            (_, None) => Ok(()),
            (arrival, Some(mismatch)) => {
                let evidence = Box::new(Evidence { arrival, client: checked.sender });
                Err(Refusal::NotVerified(mismatch, evidence))
            }
        });
        if let Err(refusal) = &accepted {
            arrived.status = refusal.status(Some(&admission.signer)).as_u16();
            arrived.refused = Some(refusal.to_string());
        }
        self.counters.answered(admission.source.as_str(), PROBE);
        self.probes.add(&admission, arrived);
        accepted
    }

    /// The requests of the latest probe, if it has this id.
    pub(crate) fn probe_requests(&self, id: &str) -> Option<Vec<ProbeRequest>> {
        let latest = self.probes.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.as_ref().filter(|probe| probe.opened.id == id).map(|probe| probe.requests.clone())
    }

    /// Closes the latest probe and forgets its report; `false` if it has another id.
    pub(crate) fn close_probe(&self, id: &str) -> bool {
        let mut latest = self.probes.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_found = latest.take_if(|probe| probe.opened.id == id).is_some();
        if is_found {
            self.probes.is_open.store(false, Ordering::Relaxed);
        }
        is_found
    }
}

impl ProbeRequest {
    /// What the head shows, before anything is decided: without credentials.
    fn of(parts: &Parts, scheme: &Scheme) -> Self {
        let is_secret = |name: &str| redaction::is_credential(name) || scheme.is_sent_secret(name);
        let url = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let fields = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Self {
            received_at: clock::now(),
            method: parts.method.to_string(),
            url: redaction::url(url, is_secret),
            headers: redaction::headers(&Headers::from_pairs(fields), is_secret),
            body: None,
            status: StatusCode::OK.as_u16(),
            refused: None,
        }
    }

    /// Takes the body, and gives what is wrong with the signature.
    fn take(&mut self, decided: Result<Verified, Box<Refused>>) -> (Arrival, Option<Mismatch>) {
        let (arrival, mismatch) = match decided {
            Ok(verified) => (verified.into_arrival(), None),
            Err(refused) => (refused.arrival, Some(refused.mismatch)),
        };
        self.body = Some(ProbeBody::of(&arrival.body));
        (arrival, mismatch)
    }
}

impl ProbeBody {
    fn of(body: &Body) -> Self {
        let start = body.part(0..body.len().min(PROBE_BODY_BYTES_MAX));
        Self {
            bytes: body.len(),
            digest: Digest::of_body(body).unwrap_or(Digest([0; 32])),
            start: start.unwrap_or_default().into(),
        }
    }
}

fn choose<'s>(
    sources: impl Iterator<Item = &'s Arc<config::Source>>,
    name: Option<&str>,
    path: Option<&str>,
) -> Result<&'s Arc<config::Source>, ProbeError> {
    let mut sources: Vec<_> = sources.collect();
    sources.sort_unstable_by_key(|source| source.name.as_str());
    let names = || sources.iter().map(|it| it.name.as_str());
    if let Some(name) = name {
        let found = sources.iter().find(|source| source.name.as_str() == name);
        return found.copied().ok_or_else(|| {
            let hint = config::known_instead(name, names());
            ProbeError::UnknownSource { name: name.into(), hint }
        });
    }
    let at_path = sources.iter().find(|source| Some(source.path.as_str()) == path);
    match (at_path, sources.as_slice()) {
        (Some(found), _) => Ok(found),
        (None, [only]) => Ok(only),
        (None, _) => {
            let names = names().collect::<Vec<_>>().join(", ");
            Err(ProbeError::UnknownPath(path.unwrap_or("/").into(), names))
        }
    }
}

/// A provider whose scheme signs the requests, with a new secret for it. Where only the provider of the
/// source itself can sign, because it has a private key, that is Standard Webhooks.
fn signer(
    source: &config::Source,
    is_plain: bool,
) -> Result<(Arc<Provider>, String, Key), ProbeError> {
    let text = random()?;
    // Hexadecimal digits are valid in every form that secrets have, except that of public keys.
    let secret = Secret::new("probe", text.clone().into_bytes());
    let secret = secret.map_err(|error| ProbeError::Key(error.to_string()))?;
    let plain = provider::find("standard-webhooks");
    let own = Some(&source.provider).filter(|_| !is_plain);
    for signer in own.into_iter().chain(plain) {
        if let Ok(key) = signer.scheme.key(&secret)
            && signer.can_sign(&secret, clock::now())
        {
            return Ok((Arc::clone(signer), text, key));
        }
    }
    Err(ProbeError::Key("no scheme can sign with it".into()))
}

/// 256 random bits, in hexadecimal.
fn random() -> Result<String, ProbeError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| ProbeError::Key(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The outcome of the requests of a probe, as metrics name it.
const PROBE: &str = "probe";
/// The header that makes a request part of the open probe. Its value is the id.
const PROBE_HEADER: &str = "x-wilco-probe";
/// How long a probe is open.
const PROBE_DURATION: SignedDuration = SignedDuration::from_mins(2);
/// The most requests of a probe.
const PROBE_REQUESTS_MAX: usize = 64;
/// How much of each body a report contains, in bytes.
const PROBE_BODY_BYTES_MAX: usize = 64 << 10;
