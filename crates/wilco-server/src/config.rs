//! The configuration: turns a TOML file into a [`Config`], or reports all of its errors at once.

mod fixed;
mod read;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use wilco::{Provider, Secret, SourceName};
use wilco_config::{DiagnosticSink, References, TableReader, parse};
use wilco_delivery::AlertPolicy;
use wilco_store::Duplicates;

pub use read::{address, schema};
pub use wilco_config::{
    Diagnostic, Diagnostics, Severity, duration, is_variable_name, nearest, url,
};
pub use wilco_delivery::Route;
pub use wilco_destinations::{DestinationConfig, Kinds, command_line};

/// A configuration that was read, checked and resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where webhooks come in.
    pub listen: Listen,
    /// Where they are recorded.
    pub store: Store,
    /// Where people look; `None` for an endpoint function, which has no such place.
    pub admin: Option<Admin>,
    /// The endpoints.
    pub sources: Vec<Source>,
    /// Where events can go.
    pub destinations: Vec<DestinationConfig>,
    /// Which of them go where.
    pub routes: Vec<Route>,
    /// Where wilco tells of what went wrong; `None` for nowhere.
    pub(crate) alerts: Option<AlertPolicy>,
}

impl Config {
    /// One endpoint without TLS, and the defaults for everything else.
    pub fn of(source: Source, addresses: Vec<Address>) -> Self {
        Self {
            listen: Listen {
                addresses,
                tls: Tls::Off,
                trusted_proxies: Vec::new(),
                max_body: MAX_BODY_BYTES,
                health_path: None,
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
pub struct Listen {
    /// Every address that is listened on.
    pub addresses: Vec<Address>,
    /// How TLS is ended.
    pub tls: Tls,
    /// Whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The largest body that is read, in bytes.
    pub(crate) max_body: usize,
    /// The path that answers health checks; `None` for no such path.
    pub(crate) health_path: Option<String>,
}

/// A place to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can connect to it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
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
pub enum Tls {
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
pub struct Store {
    /// `sqlite:` and a path.
    pub url: String,
    /// Free space, in bytes, below which nothing is recorded.
    pub reserve: u64,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Its address.
    pub address: Address,
    /// What callers show; `None` for one that wilco makes and keeps beside the store.
    pub token: Option<Secret>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Who sends to it.
    pub provider: &'static Provider,
    /// The path that it answers on.
    pub path: String,
    /// Any of them may have signed.
    pub secrets: Vec<Secret>,
    /// The same, made ready to verify with.
    pub(crate) keys: Vec<wilco::Key>,
    /// Who may send; empty for everybody.
    pub(crate) allow_from: Vec<IpNet>,
    /// What is done about copies.
    pub(crate) duplicates: Duplicates,
    /// When no event comes for so long, something is wrong.
    pub(crate) expect_every: Option<Duration>,
}

impl Source {
    /// The endpoint of a provider, named after it.
    ///
    /// # Errors
    ///
    /// There is no such provider, or a secret is not written as its keys are.
    pub fn new(provider: &str, path: &str, secrets: Vec<Secret>) -> Result<Self, SourceError> {
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
pub enum SourceError {
    /// There is no preset of this name.
    #[error("there is no provider {0:?}")]
    Provider(String),
    /// A secret is not written as the provider writes its keys.
    #[error("{0}")]
    Key(#[from] wilco::KeyError),
}

/// Reads, checks and resolves the file. It comes with warnings about what probably was not meant.
///
/// # Errors
///
/// Every error and warning about the file.
pub fn load(path: &Path, kinds: Kinds) -> Result<(Config, Diagnostics), Diagnostics> {
    read_with(path, kinds, References::Followed, |file| read::whole(file, kinds))
}

/// As [`load`], with placeholders instead of secrets: for verbs that only look at routes, and that
/// people run who may not have the secrets.
///
/// # Errors
///
/// Every error and warning about the file.
pub fn load_without_secrets(path: &Path, kinds: Kinds) -> Result<Config, Diagnostics> {
    let read = |file: TableReader<'_>| read::whole(file, kinds);
    read_with(path, kinds, References::Left, read).map(|(file, _)| file)
}

/// What a verb needs to find a running wilco or its store. The rest of the file is not read, so that
/// nobody needs the secrets to look at events.
pub struct Places {
    /// The admin listener.
    pub address: Address,
    /// The token that the file names, where that is to be had.
    pub token: Option<Secret>,
    /// What the file names as its token; `None` for the one beside the store.
    pub token_name: Option<String>,
    /// The record.
    pub store: Store,
}

/// The places that a file names, or the default ones if there is no file.
///
/// # Errors
///
/// The errors of `[admin]` and `[store]`.
pub fn places(path: Option<&Path>, kinds: Kinds) -> Result<Places, Diagnostics> {
    let Some(path) = path else {
        let store = Store { url: STORE_URL.into(), reserve: RESERVE_BYTES };
        let address = Address::Tcp(ADMIN_ADDRESS);
        return Ok(Places { address, token: None, token_name: None, store });
    };
    read_with(path, kinds, References::Left, |file| read::places(&file)).map(|(places, _)| places)
}

fn read_with<T>(
    path: &Path,
    kinds: Kinds,
    references: References,
    read: impl FnOnce(TableReader<'_>) -> Option<T>,
) -> Result<(T, Diagnostics), Diagnostics> {
    let schema = Arc::new(schema(kinds));
    let text = fs::read_to_string(path)
        .map_err(|cause| Diagnostics::unreadable(path, schema.clone(), &cause))?;
    let sink = DiagnosticSink::default();
    let root = parse(&text, &sink);
    let file = root.as_ref().map(|root| TableReader::of_root(root, &sink, &schema, references));
    let value = file.and_then(read);
    drop(root);
    let diagnostics = Diagnostics::new(path, text, schema, sink.into_inner());
    match value {
        Some(value) if !diagnostics.has_errors() => Ok((value, diagnostics)),
        _ => Err(diagnostics),
    }
}

/// The names of the sources in a file, whatever else is wrong with it.
pub fn source_names(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let file: toml::Table = text.parse().unwrap_or_default();
    let sources = file.get("source").and_then(toml::Value::as_table);
    sources.map(|sources| sources.keys().cloned().collect()).unwrap_or_default()
}

/// Where the file is: the one that was named, else `wilco.toml` here, else the one in `/etc`.
pub fn find(named: Option<&Path>) -> Option<PathBuf> {
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
pub const ADMIN_ADDRESS: SocketAddr =
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
const PLACES: [&str; 2] = ["wilco.toml", "/etc/wilco/wilco.toml"];
