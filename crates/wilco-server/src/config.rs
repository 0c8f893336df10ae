//! The configuration: a file of TOML in, a [`Config`] out, or every fault of it at once.

mod draw;
mod keys;
mod units;

use std::{
    cell::RefCell,
    collections::HashSet,
    fs,
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ipnet::IpNet;
use wilco::{Provider, Secret, SourceName, provider};
use wilco_store::{Duplicates, SqliteStore};

use keys::{Keys, Text};

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
    /// What callers show; always there where the address is not loopback.
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
    /// Who may send; empty for everybody.
    pub(crate) allow_from: Vec<IpNet>,
    /// What is done about copies.
    pub(crate) duplicates: Duplicates,
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
    /// When a failed one is tried again.
    pub(crate) retry: Retry,
}

/// What a destination is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A line of JSON on stdout.
    Print,
    /// A program that is started for each event.
    Command {
        /// The program and its arguments; no shell reads them.
        command: Vec<String>,
        /// Variables that it gets besides those of wilco.
        environment: Vec<(String, Setting)>,
    },
    /// An HTTP service.
    Http {
        /// Where it is.
        url: http::Uri,
        /// Signs what is forwarded.
        secret: Option<Setting>,
    },
    /// A Rust function, by its place in the endpoint that it was given to.
    Function(usize),
}

/// A value that may be a secret: it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Setting(pub Vec<u8>);

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Setting(…)")
    }
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
    /// The names of the destinations.
    pub(crate) to: Vec<String>,
}

/// Reads, checks and resolves the file.
///
/// # Errors
///
/// [`Faults`], drawn with their places in the file.
pub(crate) fn load(path: &Path) -> Result<Config, Faults> {
    let text = fs::read_to_string(path).map_err(|cause| Faults::of_file(path, &cause))?;
    parse(path, &text)
}

/// Where the file is: the one that was named, else `wilco.toml` here, else the one in `/etc`.
pub(crate) fn find(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.into()),
        None => PLACES.iter().map(PathBuf::from).find(|path| path.exists()),
    }
}

/// Reads a time such as `30 s` or `2 min`.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text)
}

/// Reads an address to listen on.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    units::address(text)
}

/// Reads an absolute URL.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(crate) fn url(text: &str) -> Result<http::Uri, String> {
    units::url(text)
}

/// Reads a command as a shell would split it, and sees that its program can be run.
///
/// # Errors
///
/// What is wrong with it, in words.
pub(crate) fn command_line(line: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(line).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| format!("{line:?} is no command; is a quote left open?"))?;
    units::executable(&words[0])?;
    Ok(words)
}

/// What is wrong with a file, all of it.
#[derive(Debug)]
pub(crate) struct Faults {
    path: PathBuf,
    text: String,
    faults: Vec<Fault>,
}

/// One thing that is wrong, where, and the way out.
#[derive(Clone, Debug)]
struct Fault {
    place: Range<usize>,
    what: String,
    way_out: Option<String>,
}

impl Faults {
    fn of_file(path: &Path, cause: &std::io::Error) -> Self {
        let what = format!("cannot read {}: {cause}", path.display());
        let way_out = Some("`wilco init` writes one, `--config FILE` names another".into());
        let fault = Fault { place: 0..0, what, way_out };
        Self { path: path.into(), text: String::new(), faults: vec![fault] }
    }
}

/// What the reader of a file has to complain about so far.
type Complaints = RefCell<Vec<Fault>>;

fn parse(path: &Path, text: &str) -> Result<Config, Faults> {
    let complaints = Complaints::default();
    let config = read(text, &complaints);
    let mut faults = complaints.into_inner();
    faults.sort_by_key(|fault| fault.place.start);
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(Faults { path: path.into(), text: text.into(), faults }),
    }
}

fn read(text: &str, complaints: &Complaints) -> Option<Config> {
    let (root, errors) = toml::de::DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let place = error.span().unwrap_or(0..0);
            complaints.borrow_mut().push(Fault {
                place,
                what: error.message().into(),
                way_out: None,
            });
        }
        return None;
    }
    let mut file = Keys::of_root(&root, complaints);
    let listen = file.table("listen").and_then(listen);
    let store = match file.table("store") {
        Some(keys) => store(keys),
        None => Some(Store { url: "sqlite:wilco.db".into(), reserve: RESERVE_BYTES }),
    };
    let admin = match file.table("admin") {
        Some(keys) => admin(keys),
        None => Some(Admin { address: ADMIN_ADDRESS, token: None }),
    };
    let sources: Vec<_> = file.tables_by_name("source").into_iter().map(source).collect();
    let destinations: Vec<_> =
        file.tables_by_name("destination").into_iter().map(destination).collect();
    let names = Names { sources: file.names("source"), destinations: file.names("destination") };
    let routes: Vec<_> =
        file.list_of_tables("route").into_iter().map(|k| route(k, &names)).collect();
    if sources.is_empty() {
        file.complain("no [source.NAME]: nothing could be received", Some(SOURCE_EXAMPLE));
    }
    file.finish();
    let sources = sources.into_iter().collect::<Option<Vec<_>>>()?;
    paths_differ(&sources, &mut Keys::of_root(&root, complaints));
    Some(Config {
        listen: listen?,
        store: store?,
        admin: Some(admin?),
        sources,
        destinations: destinations.into_iter().collect::<Option<_>>()?,
        routes: routes.into_iter().collect::<Option<_>>()?,
    })
}

struct Names {
    sources: Vec<String>,
    destinations: Vec<String>,
}

fn listen(mut keys: Keys<'_>) -> Option<Listen> {
    let addresses = keys.each("address", units::address);
    if addresses.is_none() {
        keys.demand("address", "address = \"0.0.0.0:443\"");
    }
    let domains = keys.each("domains", |text| Ok(text.to_owned()));
    let certificate = keys.one("certificate", units::path);
    let key = keys.one("key", units::path);
    let tls = match keys.text("tls") {
        None => {
            keys.demand("tls", "tls = \"files\", \"self-signed\" or \"off\"");
            None
        }
        Some(Text { text: "off", .. }) => Some(Tls::Off),
        Some(Text { text: "self-signed", .. }) => Some(Tls::SelfSigned {
            domains: domains.unwrap_or_else(|| vec!["localhost".into(), "127.0.0.1".into()]),
        }),
        Some(Text { text: "files", .. }) => {
            if certificate.is_none() {
                keys.demand("certificate", "certificate = \"/etc/wilco/cert.pem\"");
            }
            if key.is_none() {
                keys.demand("key", "key = \"/etc/wilco/key.pem\"");
            }
            certificate.zip(key).map(|(certificate, key)| Tls::Files { certificate, key })
        }
        Some(other) => {
            let way_out = "\"files\", \"self-signed\" or \"off\" (behind a proxy that ends TLS)";
            keys.complain_at(&other, format!("no such tls: {:?}", other.text), Some(way_out));
            None
        }
    };
    let trusted_proxies = keys.each("trusted_proxies", units::network).unwrap_or_default();
    let max_body = keys.one("max_body", units::bytes).unwrap_or(MAX_BODY_BYTES);
    let max_body = usize::try_from(max_body).unwrap_or(usize::MAX).clamp(1, MAX_BODY_BYTES_MAX);
    keys.finish();
    Some(Listen { addresses: addresses?, tls: tls?, trusted_proxies, max_body })
}

fn store(mut keys: Keys<'_>) -> Option<Store> {
    let url = keys.one("url", |text| {
        SqliteStore::path(text).map_err(|error| error.to_string())?;
        Ok(text.to_owned())
    });
    let reserve = keys.one("reserve", units::bytes).unwrap_or(RESERVE_BYTES);
    keys.finish();
    Some(Store { url: url.unwrap_or_else(|| "sqlite:wilco.db".into()), reserve })
}

fn admin(mut keys: Keys<'_>) -> Option<Admin> {
    let address = keys.one("address", |text| {
        text.parse::<SocketAddr>().map_err(|_| format!("{text:?} is not IP:PORT"))
    });
    let address = address.unwrap_or(ADMIN_ADDRESS);
    let token = keys.secret("token");
    if token.is_none() && !address.ip().is_loopback() {
        keys.demand("token", "token = { env = \"WILCO_ADMIN_TOKEN\" }, or a loopback address");
    }
    keys.finish();
    Some(Admin { address, token })
}

fn source(mut keys: Keys<'_>) -> Option<Source> {
    let name = SourceName::new(keys.name());
    if let Err(error) = &name {
        keys.complain(&error.to_string(), None);
    }
    let known: Vec<_> = provider::all().iter().map(|provider| provider.name.as_str()).collect();
    let provider = keys.one("provider", |text| {
        provider::find(text).ok_or_else(|| {
            format!("provider {text:?} is not known; there is: {}", known.join(", "))
        })
    });
    if provider.is_none() {
        keys.demand("provider", "provider = \"freispace\"");
    }
    let path = keys.one("path", units::url_path);
    if path.is_none() {
        keys.demand("path", "path = \"/webhook\"");
    }
    let secrets = keys.secrets("secrets");
    if secrets.is_none() {
        keys.demand("secrets", "secrets = [{ env = \"FREISPACE_SECRET\" }]");
    }
    let allow_from = keys.each("allow_from", units::network).unwrap_or_default();
    let window = keys.one("duplicate_window", units::duration).unwrap_or(DUPLICATE_WINDOW);
    let duplicates = keys.one("duplicates", |text| match text {
        "suppress" => Ok(Duplicates::Suppress { window }),
        "keep" => Ok(Duplicates::Keep),
        _ => Err(format!("{text:?} is neither \"suppress\" nor \"keep\"")),
    });
    keys.finish();
    Some(Source {
        name: name.ok()?,
        provider: provider?,
        path: path?,
        secrets: secrets?,
        allow_from,
        duplicates: duplicates.unwrap_or(Duplicates::Suppress { window }),
    })
}

fn paths_differ(sources: &[Source], file: &mut Keys<'_>) {
    let mut seen = HashSet::new();
    for source in sources.iter().filter(|source| !seen.insert(&source.path)) {
        let what = format!("two sources have the path {}", source.path);
        file.complain(&what, Some("give each source a path of its own"));
    }
}

fn destination(mut keys: Keys<'_>) -> Option<Destination> {
    let name = keys.name().to_owned();
    if let Err(error) = SourceName::new(&name) {
        keys.complain(&error.to_string(), None);
    }
    let kind = match keys.text("type") {
        None => {
            keys.demand("type", "type = \"command\", \"http\" or \"print\"");
            None
        }
        Some(Text { text: "print", .. }) => Some(Kind::Print),
        Some(Text { text: "command", .. }) => command(&mut keys),
        Some(Text { text: "http", .. }) => http(&mut keys),
        Some(other) => {
            let what = format!("no such type of destination: {:?}", other.text);
            keys.complain_at(&other, what, Some("\"command\", \"http\" or \"print\""));
            None
        }
    };
    let concurrency = keys.integer("concurrency", 1..=CONCURRENCY_MAX);
    let timeout = keys.one("timeout", units::duration).unwrap_or(ATTEMPT_TIMEOUT);
    let retry = keys.table("retry").map_or_else(|| Some(Retry::default()), retry);
    keys.finish();
    let kind = kind?;
    let concurrency = concurrency.unwrap_or(match kind {
        Kind::Http { .. } => HTTP_CONCURRENCY,
        _ => 1,
    });
    Some(Destination { name, kind, timeout, concurrency, retry: retry? })
}

fn command(keys: &mut Keys<'_>) -> Option<Kind> {
    let command = keys.each("command", |text| Ok(text.to_owned()));
    let environment = keys.settings("environment");
    let Some(command) = command.filter(|words| !words.is_empty()) else {
        keys.demand("command", "command = [\"/usr/local/bin/my-handler\", \"--verbose\"]");
        return None;
    };
    if let Err(why) = units::executable(&command[0]) {
        let way_out = "name the program by its full path, and see that it may be executed";
        keys.complain_about("command", why, Some(way_out));
        return None;
    }
    Some(Kind::Command { command, environment })
}

fn http(keys: &mut Keys<'_>) -> Option<Kind> {
    let url = keys.one_setting("url", units::url);
    let secret = keys.setting("secret");
    if url.is_none() {
        keys.demand("url", "url = \"https://erp.example.com/hooks\"");
    }
    Some(Kind::Http { url: url?, secret })
}

fn retry(mut keys: Keys<'_>) -> Option<Retry> {
    let default = Retry::default();
    let retry = Retry {
        first: keys.one("first", units::duration).unwrap_or(default.first),
        factor: keys.number("factor", 1.0..=100.0).unwrap_or(default.factor),
        max: keys.one("max", units::duration).unwrap_or(default.max),
        give_up_after: keys.one("give_up_after", units::duration).unwrap_or(default.give_up_after),
    };
    keys.finish();
    Some(retry)
}

fn route(mut keys: Keys<'_>, names: &Names) -> Option<Route> {
    let from = keys.one("from", |text| known(text, "source", &names.sources));
    let to = keys.each("to", |text| known(text, "destination", &names.destinations));
    if to.is_none() {
        keys.demand("to", "to = [\"name-of-a-destination\"]");
    }
    let globs = keys.each("events", |text| {
        let glob = GlobBuilder::new(text).build();
        glob.map_err(|error| format!("{text:?} is no glob: {}", error.kind()))
    });
    let mut events = GlobSetBuilder::new();
    for glob in globs.unwrap_or_else(|| GlobBuilder::new("*").build().into_iter().collect()) {
        events.add(glob);
    }
    keys.finish();
    Some(Route {
        from: from.map(|name| SourceName::new(&name)).transpose().ok()?,
        events: events.build().ok()?,
        to: to?,
    })
}

fn known(name: &str, what: &str, names: &[String]) -> Result<String, String> {
    if names.iter().any(|known| known == name) {
        return Ok(name.into());
    }
    let near = keys::nearest(name, names.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    Err(format!("there is no [{what}.{name}]{near}"))
}

/// The admin listener where the file has none: this machine only.
pub(crate) const ADMIN_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9440);
/// The largest body that is read, in bytes, unless `max_body` says otherwise.
pub(crate) const MAX_BODY_BYTES: u64 = 1 << 20;
/// What `max_body` may be at most, in bytes: a body is held in memory until it is recorded.
pub(crate) const MAX_BODY_BYTES_MAX: usize = 32 << 20;
/// Free space, in bytes, below which nothing is recorded, unless `reserve` says otherwise.
pub(crate) const RESERVE_BYTES: u64 = 256 << 20;
/// How long a copy of an event is recognised, unless `duplicate_window` says otherwise.
pub(crate) const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3_600);
/// How long an attempt may take, unless `timeout` says otherwise.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const HTTP_CONCURRENCY: usize = 8;
const CONCURRENCY_MAX: usize = 1_024;
const PLACES: [&str; 2] = ["wilco.toml", "/etc/wilco/wilco.toml"];
const SOURCE_EXAMPLE: &str = "[source.freispace], with provider, path and secrets";
