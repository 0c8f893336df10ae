//! The configuration: a file of TOML in, a [`Config`] out, or every fault of it at once.

mod diagnostics;
mod fixed;
mod known;
mod read;
mod script;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use globset::GlobSet;
use ipnet::IpNet;
use wilco::{Key, Provider, Secret, SourceName};
use wilco_store::Duplicates;

use crate::rules::{Rule, Text};

pub(crate) use diagnostics::{
    Diagnostic, Diagnostics, Found, Severity, is_ordinary, is_path, target,
};
pub(crate) use known::{TABLES, heading, is_harmless, is_known, is_of_a_credential, key};
use read::References;
pub(crate) use read::{address, command_line, duration, is_variable, nearest, url};
pub(crate) use script::{find_program, first_line_fault, has_crlf, is_text_without_interpreter};

/// All that a running wilco was told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where webhooks come in.
    pub(crate) listen: Listen,
    /// Where they are recorded.
    pub(crate) store: Store,
    /// Where people look; `None` for an endpoint function, which has no such place.
    pub(crate) admin: Option<Admin>,
    /// The endpoints.
    pub(crate) sources: Vec<Source>,
    /// Where events can go.
    pub(crate) destinations: Vec<Destination>,
    /// Which of them go where.
    pub(crate) routes: Vec<Route>,
    /// Where wilco tells of what went wrong; `None` for nowhere.
    pub(crate) alerts: Option<Alerts>,
}

impl Config {
    /// One endpoint without TLS, and nothing else said.
    pub(crate) fn of(source: Source, addresses: Vec<Address>) -> Self {
        Self {
            listen: Listen {
                addresses,
                tls: Tls::Off,
                trusted_proxies: Vec::new(),
                max_body: MAX_BODY_BYTES,
            },
            store: Store { url: STORE_URL.into(), reserve: RESERVE_BYTES },
            admin: None,
            sources: vec![source],
            destinations: Vec::new(),
            routes: Vec::new(),
            alerts: None,
        }
    }
}

/// The public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Every address that is listened on.
    pub(crate) addresses: Vec<Address>,
    /// How TLS is ended.
    pub(crate) tls: Tls,
    /// Whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The largest body that is read, in bytes.
    pub(crate) max_body: usize,
}

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// An address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How TLS is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Not here: behind a proxy that does, or on loopback.
    Off,
    /// With a certificate made at start, which nobody else trusts.
    SelfSigned {
        /// The names that it is for.
        domains: Vec<String>,
    },
    /// With a certificate from files, read again when they change.
    Files {
        /// The certificate and its chain, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

/// The record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    /// `sqlite:` and a path.
    pub(crate) url: String,
    /// Free space, in bytes, below which nothing is recorded.
    pub(crate) reserve: u64,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// What callers show; `None` for one that wilco makes and keeps beside the store.
    pub(crate) token: Option<Secret>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Its name.
    pub(crate) name: SourceName,
    /// Who sends to it.
    pub(crate) provider: &'static Provider,
    /// The path that it answers on.
    pub(crate) path: String,
    /// Any of them may have signed.
    pub(crate) secrets: Vec<Secret>,
    /// The same, made ready to verify with.
    pub(crate) keys: Vec<Key>,
    /// Who may send; empty for everybody.
    pub(crate) allow_from: Vec<IpNet>,
    /// What is done about copies.
    pub(crate) duplicates: Duplicates,
    /// When no event comes for so long, something is wrong.
    pub(crate) expect_every: Option<Duration>,
}

impl Source {
    /// The endpoint of a provider, named after it.
    pub(crate) fn new(
        provider: &str,
        path: &str,
        secrets: Vec<Secret>,
    ) -> Result<Self, SourceError> {
        let unknown = || SourceError::Provider(provider.to_owned());
        let name = SourceName::new(provider).map_err(|_| unknown())?;
        let provider = wilco::provider::find(provider).ok_or_else(unknown)?;
        let keys: Result<_, _> = secrets.iter().map(|secret| provider.scheme.key(secret)).collect();
        Ok(Self {
            name,
            provider,
            path: path.into(),
            keys: keys?,
            secrets,
            allow_from: Vec::new(),
            duplicates: Duplicates::Suppress { window: DUPLICATE_WINDOW },
            expect_every: None,
        })
    }
}

/// Why there can be no such source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("there is no provider {0:?}")]
    Provider(String),
    #[error("{0}")]
    Key(#[from] wilco::KeyError),
}

/// A place where events go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Destination {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
    /// How many attempts may be under way.
    pub(crate) concurrency: usize,
    /// How many attempts may begin in a while; `None` for as many as there are.
    pub(crate) rate: Option<Rate>,
    /// When a failed one is tried again.
    pub(crate) retry: Retry,
    /// When it is left alone for a while.
    pub(crate) breaker: Breaker,
    /// Events for which this gives the same go one after another.
    pub(crate) order_by: Option<Rule>,
    /// What a dead delivery does to those behind it.
    pub(crate) on_dead: OnDead,
    /// No wait is longer: of a retry, or of a debounce that leads here.
    pub(crate) longest_wait: Duration,
}

impl Destination {
    /// A destination with nothing said about it but what it is.
    pub(crate) fn new(name: &str, kind: Kind) -> Self {
        let retry = Retry::default();
        Self {
            name: name.into(),
            kind,
            timeout: ATTEMPT_TIMEOUT,
            concurrency: 1,
            rate: None,
            retry,
            breaker: Breaker::default(),
            order_by: None,
            on_dead: OnDead::Skip,
            longest_wait: retry.max,
        }
    }
}

/// Attempts in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How many.
    pub(crate) count: u32,
    /// In which while.
    pub(crate) per: Duration,
}

/// When a destination that fails is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    /// After so many failures in a row.
    pub(crate) failures: u32,
    /// How long before it is tried once.
    pub(crate) probe_after: Duration,
    /// With each probe that fails it is twice as long, up to this.
    pub(crate) probe_max: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 10,
            probe_after: Duration::from_secs(30),
            probe_max: Duration::from_secs(300),
        }
    }
}

/// What a dead delivery does to those behind it with the same order key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDead {
    /// They go on without it.
    Skip,
    /// They wait until it is replayed or cancelled.
    Block,
}

/// What a destination is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A line of JSON on stdout.
    Print,
    /// A program of somebody else.
    Command(Command),
    /// An HTTP service.
    Http {
        /// Where it is.
        url: TargetUrl,
        /// Signs what is forwarded.
        secret: Option<Setting>,
        /// In place of the event's own body.
        body: Option<Text>,
        /// Headers besides wilco's own.
        headers: Vec<(http::HeaderName, HeaderText)>,
    },
    /// A text to the incoming webhook of a chat.
    Chat {
        /// Whose.
        service: Service,
        /// Where it is; who knows it can write there.
        url: TargetUrl,
        /// What is said about an event.
        text: Text,
    },
    /// A file that grows by a line of JSON for each event.
    File {
        /// Where it is.
        path: PathBuf,
        /// When the next line would make it larger, in bytes, a new one is begun.
        max_size: u64,
        /// How many full ones are kept.
        keep: usize,
    },
    /// A Rust function, by its place in the endpoint that it was given to.
    Function(usize),
}

impl Kind {
    /// The word that stands for it in the file.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Print => "print",
            Self::Command(_) => "command",
            Self::Http { .. } => "http",
            Self::Chat { service: Service::Slack, .. } => "slack",
            Self::Chat { service: Service::Teams, .. } => "teams",
            Self::Chat { service: Service::Discord, .. } => "discord",
            Self::File { .. } => "file",
            Self::Function(_) => "function",
        }
    }
}

/// A program of somebody else, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program and its arguments; no shell reads them.
    pub(crate) words: Vec<String>,
    /// Variables that it gets besides those of wilco.
    pub(crate) environment: Vec<(String, Setting)>,
    /// Where it works; `None` for where wilco does.
    pub(crate) folder: Option<PathBuf>,
    /// Who it runs as; `None` for the user that wilco runs as.
    pub(crate) run_as: Option<RunAs>,
    /// What it may take.
    pub(crate) limits: Limits,
    /// How it is told of events.
    pub(crate) protocol: Protocol,
}

impl Command {
    /// A program that was told nothing else.
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self {
            words,
            environment: Vec::new(),
            folder: None,
            run_as: None,
            limits: Limits::default(),
            protocol: Protocol::Once,
        }
    }
}

/// A user and a group of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunAs {
    /// The number of the user.
    pub(crate) user: u32,
    /// The number of the group; there are no further ones.
    pub(crate) group: u32,
}

/// What a program may take; `None` for what wilco itself may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Address space of each of its processes, in bytes.
    pub(crate) memory: Option<u64>,
    /// Processor time of each of its processes, in seconds.
    pub(crate) cpu: Option<u64>,
    /// Open files of each of its processes.
    pub(crate) files: Option<u64>,
    /// The last of what it says that is kept, in bytes.
    pub(crate) output: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: None, cpu: None, files: None, output: OUTPUT_BYTES_MAX }
    }
}

/// How a program is told of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// It is started for each, with the body on its stdin.
    Once,
    /// It is kept, and gets a line for each.
    Lines,
}

/// What a header of a request is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HeaderText {
    /// Made of each event.
    Template(Text),
    /// The same for all of them, from a reference.
    Secret(Setting),
}

/// A value that may be a secret: it is not shown. It has no name and may be anything, unlike a
/// [`Secret`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Setting<T = Vec<u8>>(pub T);

impl<T> std::fmt::Debug for Setting<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Setting(…)")
    }
}

/// A chat that has incoming webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Slack.
    Slack,
    /// Microsoft Teams.
    Teams,
    /// Discord.
    Discord,
}

/// The URL of an HTTP service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetUrl {
    /// The URL.
    pub(crate) uri: Setting<http::Uri>,
    /// It came by a reference, or has a credential in its query: no result may show a part of it.
    pub(crate) is_secret: bool,
}

impl TargetUrl {
    pub(crate) fn new(uri: http::Uri, is_by_reference: bool) -> Self {
        let is_secret = is_by_reference || has_credential(&uri);
        Self { uri: Setting(uri), is_secret }
    }
}

/// Whether a parameter in the query of a URL is a credential, as far as its name says so.
pub(crate) fn has_credential(uri: &http::Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| match parameter.split_once('=') {
        None | Some((_, "")) => false,
        Some((name, _)) => {
            let is_short = ["auth", "key", "pwd", "sig", "signature"].iter();
            is_of_a_credential(name)
                || is_short.into_iter().any(|word| name.eq_ignore_ascii_case(word))
        }
    })
}

/// When a failed delivery is tried again, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Retry {
    /// The wait after the first attempt.
    pub(crate) first: Duration,
    /// What each wait is multiplied by for the next.
    pub(crate) factor: f64,
    /// The longest wait.
    pub(crate) max: Duration,
    /// Past this age a delivery that fails is dead.
    pub(crate) give_up_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            factor: 2.0,
            max: Duration::from_secs(3_600),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }
}

/// Which events go to which destinations.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The source; `None` for every one.
    pub(crate) from: Option<SourceName>,
    /// Which names of events.
    pub(crate) events: GlobSet,
    /// The same, as they stand in the file.
    pub(crate) globs: Vec<String>,
    /// Which of them, by what is in them.
    pub(crate) when: Option<Rule>,
    /// Of a burst only the last.
    pub(crate) debounce: Option<Debounce>,
    /// The names of the destinations.
    pub(crate) to: Vec<String>,
}

impl Route {
    /// Every event whose name this glob matches.
    pub(crate) fn new(glob: &str, to: Vec<String>) -> Result<Self, globset::Error> {
        let events = GlobSet::new([globset::Glob::new(glob)?])?;
        Ok(Self { from: None, events, globs: vec![glob.into()], when: None, debounce: None, to })
    }
}

/// Of a burst only the last is delivered.
#[derive(Clone, Debug)]
pub(crate) struct Debounce {
    /// Events for which this gives the same are one burst.
    pub(crate) by: Rule,
    /// How long nothing may follow.
    pub(crate) quiet: Duration,
    /// How long after the first it is over at the latest.
    pub(crate) at_most: Duration,
}

/// Where wilco tells of what went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alerts {
    /// The name of the destination.
    pub(crate) to: String,
    /// About one destination or source once in so long.
    pub(crate) every: Duration,
}

/// Reads, checks and resolves the file. It comes with warnings about what probably was not meant.
///
/// # Errors
///
/// Every fault of the file, and its warnings.
pub(crate) fn load(path: &Path) -> Result<(Config, Diagnostics), Diagnostics> {
    read_with(path, |text, found| read::whole(text, found, References::Followed))
}

/// As [`load`], without a secret: what came by a reference must not be used. It is for those who ask
/// what the routes say, and who may not have the secrets at hand.
///
/// # Errors
///
/// Every fault of the file, and its warnings.
pub(crate) fn load_without_secrets(path: &Path) -> Result<Config, Diagnostics> {
    read_with(path, |text, found| read::whole(text, found, References::Left)).map(|(file, _)| file)
}

/// What a verb needs to find a running wilco or its store. The rest of the file is not looked at, so
/// that nobody has to have the secrets at hand to look at events.
pub(crate) struct Places {
    /// The admin listener.
    pub(crate) address: SocketAddr,
    /// The token that the file names, where that is to be had.
    pub(crate) token: Option<Secret>,
    /// What the file names as its token; `None` for the one beside the store.
    pub(crate) token_name: Option<String>,
    /// The record.
    pub(crate) store: Store,
}

/// The places that a file names, or the usual ones where there is none.
///
/// # Errors
///
/// The faults of `[admin]` and `[store]`.
pub(crate) fn places(path: Option<&Path>) -> Result<Places, Diagnostics> {
    let Some(path) = path else {
        let store = Store { url: STORE_URL.into(), reserve: RESERVE_BYTES };
        return Ok(Places { address: ADMIN_ADDRESS, token: None, token_name: None, store });
    };
    read_with(path, read::places).map(|(places, _)| places)
}

fn read_with<T>(
    path: &Path,
    read: impl FnOnce(&str, &Found) -> Option<T>,
) -> Result<(T, Diagnostics), Diagnostics> {
    let text = fs::read_to_string(path).map_err(|cause| Diagnostics::unreadable(path, &cause))?;
    let found = Found::default();
    let value = read(&text, &found);
    let diagnostics = Diagnostics::new(path, text, found.into_inner());
    match value {
        Some(value) if !diagnostics.has_faults() => Ok((value, diagnostics)),
        _ => Err(diagnostics),
    }
}

/// The names of the sources in a file, whatever else is wrong with it.
pub(crate) fn source_names(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let file: toml::Table = text.parse().unwrap_or_default();
    let sources = file.get("source").and_then(toml::Value::as_table);
    sources.map(|sources| sources.keys().cloned().collect()).unwrap_or_default()
}

/// Where the file is: the one that was named, else `wilco.toml` here, else the one in `/etc`.
pub(crate) fn find(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.into()),
        None => PLACES.iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

/// The folder that a file is in, though its path may be no more than a name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The admin listener where the file has none: this machine only.
pub(crate) const ADMIN_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9440);
/// Where events are recorded, unless `url` says otherwise.
pub(crate) const STORE_URL: &str = "sqlite:wilco.db";
/// The largest body that is read, in bytes, unless `max_body` says otherwise.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;
/// What `max_body` may be at most, in bytes: a body is held in memory until it is recorded.
pub(crate) const MAX_BODY_BYTES_MAX: usize = 32 << 20;
/// Free space, in bytes, below which nothing is recorded, unless `reserve` says otherwise.
pub(crate) const RESERVE_BYTES: u64 = 256 << 20;
/// How long a copy of an event is recognised, unless `duplicate_window` says otherwise.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3_600);
/// After an alert, how long no other about the same is sent, unless `every` says otherwise.
pub(crate) const ALERT_EVERY: Duration = Duration::from_secs(900);
/// How many times its `quiet` a burst lasts at the most, unless `at_most` says otherwise.
pub(crate) const BURST_QUIETS: u32 = 10;
/// How long an attempt may take, unless `timeout` says otherwise.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The size of a destination's file, in bytes, unless `max_size` says otherwise.
pub(crate) const FILE_BYTES: u64 = 100 << 20;
/// How many full files of a destination are kept, unless `keep` says otherwise.
pub(crate) const FILES_KEPT: usize = 10;
/// What is kept of what a destination said, in bytes.
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 << 10;
const PLACES: [&str; 2] = ["wilco.toml", "/etc/wilco/wilco.toml"];
