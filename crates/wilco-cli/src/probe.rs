//! `wilco probe`: sends requests through the public address, and reports what a proxy changes on the way.

mod cases;
mod judge;
mod show;
mod wire;

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Method, Uri};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use tokio::signal::ctrl_c;
use wilco::{Provider, Secret, Unsigned, provider};
use wilco_server::{
    admin::{self, ProbeRequest},
    clock, config,
};

use super::{ConfigArgs, Failure, Pages, Server, print, refusal};

use wire::Wire;

/// Send test requests to the public address, and report what a proxy changes on the way
///
/// Asks the running wilco to answer and report these requests instead of recording them. Sends bodies
/// that a proxy may change, wrong signatures and bodies that are too large, and shows the certificates
/// as a provider sees them. Exits with 0 if everything arrived unchanged, and with 1 if not.
#[derive(Args)]
pub(crate) struct Probe {
    #[command(flatten)]
    config: ConfigArgs,
    /// Public URL of the source, as the provider was given it
    #[arg(value_name = "URL", value_parser = config::url)]
    url: Uri,
    /// Source that the URL belongs to [default: the one with its path, else the only one]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Accept a certificate that providers would refuse, such as a self-signed one
    #[arg(long)]
    insecure: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// A request to try, and how it has to end.
#[derive(Clone)]
struct Case {
    name: &'static str,
    body: Bytes,
    content_type: &'static str,
    /// Further headers.
    headers: Vec<(&'static str, &'static str)>,
    is_chunked: bool,
    query: Option<&'static str>,
    /// What the body is when it is decompressed.
    unpacked: Option<&'static [u8]>,
    signature: Signature,
    expected: Expected,
}

#[derive(Clone, Copy, PartialEq)]
enum Signature {
    Right,
    Wrong,
    None,
}

#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Accepted,
    Refused,
    TooLarge,
}

/// A request as it is sent.
struct Sent {
    case: Case,
    /// Path and query.
    target: String,
    headers: Vec<(String, String)>,
}

/// A request and its result.
struct Exchange {
    answer: Result<Answer, String>,
    /// The time until the connection was there, with TLS.
    connected: Duration,
    /// The time from then to the answer.
    took: Duration,
}

struct Answer {
    status: u16,
    location: Option<String>,
    server: Option<String>,
    body: String,
}

/// What a server presented when a connection was made.
#[derive(Clone, Debug, Serialize)]
struct Presented {
    chain: Vec<Certificate>,
    /// Why a provider would not accept it.
    untrusted: Option<Untrusted>,
}

#[derive(Clone, Debug, Serialize)]
struct Certificate {
    subject: String,
    issuer: String,
    names: Vec<String>,
    valid_until: Timestamp,
}

/// Why a provider would refuse a certificate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Untrusted {
    SelfSigned,
    NoIntermediate,
    UnknownAuthority,
    Expired,
    OtherName,
    NoAuthorities,
    Other(String),
}

/// Something that is wrong on the way, and what to do about it.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    /// Findings about the same are reported once.
    #[serde(skip)]
    about: &'static str,
    text: String,
    fix: String,
}

/// The result of a probe.
struct Judged {
    rows: Vec<Row>,
    findings: Vec<Finding>,
    /// Headers that the way added.
    added: Vec<String>,
    certificates: Option<Presented>,
    /// The times until a connection was there, ascending.
    connected: Vec<Duration>,
    /// The times from there to the answer, ascending.
    took: Vec<Duration>,
}

/// The result of one request.
struct Row {
    case: &'static str,
    outcome: Outcome,
    status: Option<u16>,
    took: Duration,
    /// The first finding about it.
    note: String,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Arrived unchanged, and was answered as it should be.
    Ok,
    /// Arrived otherwise than it was sent.
    Changed,
    /// Refused by wilco, but should not have been.
    Refused,
    /// Accepted by wilco, but should not have been.
    Accepted,
    /// Answered by something else than wilco.
    Lost,
    /// There was no answer.
    NoAnswer,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Changed => "changed",
            Self::Refused => "refused",
            Self::Accepted => "accepted",
            Self::Lost => "lost",
            Self::NoAnswer => "no answer",
        }
    }
}

impl Finding {
    fn new(about: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { about, text: text.into(), fix: fix.into() }
    }
}

impl Certificate {
    /// Whole days until it ends.
    fn days_left(&self, now: Timestamp) -> i64 {
        self.valid_until.duration_since(now).as_hours().div_euclid(24)
    }
}

impl Sent {
    /// The names of its headers, each once.
    fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.headers.iter().map(|(name, _)| name.as_str()).enumerate();
        let is_first = |(at, name): &(usize, &str)| {
            !self.headers[..*at].iter().any(|(earlier, _)| earlier == name)
        };
        names.filter(is_first).map(|(_, name)| name)
    }
}

impl Probe {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let server = Server::find(&self.config.places()?)?;
        let wire = Wire::new(&self.url)?;
        let (opened, signer) = self.open(&server).await?;
        let probed = tokio::select! {
            probed = self.probe(&server, &opened, &signer, &wire) => probed,
            interrupt = ctrl_c() => Err(interrupt.map_or_else(Failure::from, |()| interrupted())),
        };
        // It ends by itself if this fails.
        let close = format!("/api/v1/probes/{}/close", opened.id);
        let _ = server.ask(Method::POST, &close, Bytes::new()).await;
        let mut judged = probed?;
        if let Some(presented) = &judged.certificates {
            judged.findings.extend(judge::certificates(presented, self.insecure, clock::now()));
        }
        let text = match self.json {
            true => show::json(&self.url, &opened, &judged)?,
            false => show::text(&self.url, &opened, &judged),
        };
        print(&text)?;
        Ok(if judged.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Opens a probe, and finds the provider whose scheme signs its requests.
    async fn open(&self, server: &Server) -> Result<(admin::Probe, Provider), Failure> {
        let path = Some(self.url.path().to_owned());
        let mut request = ProbeRequest { source: self.source.clone(), path, plain: false };
        let opened: admin::Probe = post(server, "/api/v1/probes", &request).await?;
        if let Some(signer) = self.signer(&opened) {
            return Ok((opened, signer));
        }
        // Its provider is described in a configuration that cannot be read here.
        let close = format!("/api/v1/probes/{}/close", opened.id);
        server.ask(Method::POST, &close, Bytes::new()).await?;
        request.plain = true;
        let opened: admin::Probe = post(server, "/api/v1/probes", &request).await?;
        let unknown = || Failure::failed(format!("unknown provider {}", opened.signer));
        let signer = self.signer(&opened).ok_or_else(unknown)?;
        Ok((opened, signer))
    }

    fn signer(&self, opened: &admin::Probe) -> Option<Provider> {
        if let Some(known) = provider::find(&opened.signer) {
            return Some(known.as_ref().clone());
        }
        let sources = self.config.load().ok()?.sources;
        let source = sources.into_iter().find(|it| it.provider.name == opened.signer)?;
        Some(source.provider.as_ref().clone())
    }

    async fn probe(
        &self,
        server: &Server,
        opened: &admin::Probe,
        signer: &Provider,
        wire: &Wire,
    ) -> Result<Judged, Failure> {
        let mut exchanges = Vec::new();
        for case in cases::all(opened.max_body) {
            let sent = self.sent(case, opened, signer)?;
            let exchange = wire.exchange(&sent).await;
            let is_hopeless = exchanges.is_empty() && judge::is_hopeless(&exchange);
            exchanges.push((sent, exchange));
            if is_hopeless {
                break;
            }
        }
        let path = format!("/api/v1/probes/{}/requests", opened.id);
        let (arrived, _) = Pages::of(server, &path, &(), usize::MAX)?.collect().await?;
        let mut judged = judge::judge(&self.url, opened, &exchanges, &arrived);
        judged.certificates = wire.certificates();
        Ok(judged)
    }

    /// A request with its signature.
    fn sent(&self, case: Case, opened: &admin::Probe, signer: &Provider) -> Result<Sent, Failure> {
        let query: Vec<_> = self.url.query().into_iter().chain(case.query).collect();
        let query = match query.is_empty() {
            true => String::new(),
            false => format!("?{}", query.join("&")),
        };
        let target = format!("{}{query}", self.url.path());
        let url = opened.public_url.as_ref().map(|url| format!("{url}{query}"));
        let secret = match case.signature {
            Signature::Wrong => opened.secret.chars().rev().collect(),
            Signature::Right | Signature::None => opened.secret.clone(),
        };
        let secret = Secret::new("probe", secret.into_bytes()).map_err(Failure::failed)?;
        let unsigned = Unsigned {
            method: "POST",
            url: url.as_ref().unwrap_or(&target),
            id: &opened.id[..ID_CHARS.min(opened.id.len())],
            at: clock::now(),
            body: &case.body,
        };
        let signed = signer.scheme.sign(&secret, &unsigned).map_err(Failure::failed)?;
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let mut headers: Vec<(String, String)> = [
            ("host", authority),
            ("user-agent", concat!("wilco-probe/", env!("CARGO_PKG_VERSION"))),
            ("content-type", case.content_type),
            ("x-wilco-probe", &opened.id),
            ("x-wilco-probe-case", case.name),
        ]
        .into_iter()
        .chain(case.headers.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        if !case.is_chunked {
            headers.push(("content-length".into(), case.body.len().to_string()));
        }
        if case.signature != Signature::None {
            headers.extend(signed);
        }
        Ok(Sent { case, target, headers })
    }
}

async fn post<T: DeserializeOwned>(
    server: &Server,
    path: &str,
    request: &impl Serialize,
) -> Result<T, Failure> {
    read(&server.ask(Method::POST, path, serde_json::to_vec(request)?.into()).await?)
}

fn read<T: DeserializeOwned>(answer: &wilco_server::client::Answer) -> Result<T, Failure> {
    match answer.status.is_success() {
        true => Ok(serde_json::from_slice(&answer.body)?),
        false => Err(refusal(answer.status, &answer.body)),
    }
}

fn interrupted() -> Failure {
    Failure { code: 130, text: "interrupted".into() }
}

/// The delivery ids of some providers are short.
const ID_CHARS: usize = 24;
