//! The tables of the file, one function each. All of them are read, whatever is wrong with one.

mod command;
mod destination;
mod keys;
mod kinds;
mod reference;
mod route;
mod units;

use std::{collections::HashSet, net::SocketAddr, ops::Range};

use toml::{Spanned, de::DeTable};
use wilco::{SourceName, provider};
use wilco_store::{ALERTS, Duplicates, SqliteStore};

use super::{
    ADMIN_ADDRESS, ALERT_EVERY, Admin, Alerts, Complaints, Config, DUPLICATE_WINDOW, Destination,
    Fault, Kind, Listen, MAX_BODY_BYTES, MAX_BODY_BYTES_MAX, RESERVE_BYTES, Route, STORE_URL,
    Service, Source, Store, Tls,
};

pub(crate) use keys::{Keys, Quoted};
pub(crate) use reference::look_up;
pub(crate) use units::{address, bytes, command_line, duration, executable, growing, rate, url};

/// The whole file.
pub(super) fn whole(text: &str, complaints: &Complaints) -> Option<Config> {
    let root = syntax(text, complaints)?;
    let mut file = Keys::of_root(&root, complaints);
    let listen = file.table("listen").and_then(listen);
    let store = store_of(&mut file);
    let admin = admin_of(&mut file);
    let sources: Vec<_> = file.tables_by_name("source").into_iter().map(source).collect();
    let destinations: Vec<_> =
        file.tables_by_name("destination").into_iter().map(destination).collect();
    let names = Names { sources: file.names("source"), destinations: file.names("destination") };
    let routes: Vec<_> =
        file.list_of_tables("route").into_iter().map(|k| route::read(k, &names)).collect();
    let alerts = file.table("alerts").map(|keys| alerts(keys, &names));
    if !root.get_ref().contains_key("listen") {
        file.complain("no [listen]: nothing could come in", Some(LISTEN_EXAMPLE));
    }
    if sources.is_empty() {
        file.complain("no [source.NAME]: nothing could be received", Some(SOURCE_EXAMPLE));
    }
    file.finish();
    let sources = sources.into_iter().collect::<Option<Vec<_>>>()?;
    paths_differ(&sources, &mut Keys::of_root(&root, complaints));
    let routes: Vec<Route> = routes.into_iter().collect::<Option<_>>()?;
    let mut destinations: Vec<Destination> = destinations.into_iter().collect::<Option<_>>()?;
    files_differ(&destinations, &mut Keys::of_root(&root, complaints));
    for destination in &mut destinations {
        let bursts = routes.iter().filter(|route| route.to.contains(&destination.name));
        let bursts = bursts.filter_map(|route| route.debounce.as_ref());
        let longest = bursts.map(|debounce| debounce.at_most.max(debounce.quiet)).max();
        destination.longest_wait = destination.longest_wait.max(longest.unwrap_or_default());
    }
    Some(Config {
        listen: listen?,
        store: store?,
        admin: Some(admin?),
        sources,
        destinations,
        routes,
        alerts: alerts.map_or(Some(None), |alerts| alerts.map(Some))?,
    })
}

/// The tables that say where a running wilco and its store are, and nothing else of the file.
pub(super) fn places(text: &str, complaints: &Complaints) -> Option<(Admin, Store)> {
    let root = syntax(text, complaints)?;
    let mut file = Keys::of_root(&root, complaints);
    admin_of(&mut file).zip(store_of(&mut file))
}

fn syntax<'t>(text: &'t str, complaints: &Complaints) -> Option<Spanned<DeTable<'t>>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let is_right = errors.is_empty();
    for error in errors {
        let place = error.span().unwrap_or(0..0);
        complaints.borrow_mut().push(Fault {
            hidden: hidden(text, place.start),
            place,
            what: error.message().into(),
            way_out: None,
        });
    }
    is_right.then_some(root)
}

fn store_of(file: &mut Keys<'_>) -> Option<Store> {
    match file.table("store") {
        Some(keys) => store(keys),
        None => Some(Store { url: STORE_URL.into(), reserve: RESERVE_BYTES }),
    }
}

fn admin_of(file: &mut Keys<'_>) -> Option<Admin> {
    match file.table("admin") {
        Some(keys) => admin(keys),
        None => Some(Admin { address: ADMIN_ADDRESS, token: None }),
    }
}

/// The value in the line around `at`, where its key may be that of a secret: a file that is not TOML
/// does not say.
fn hidden(text: &str, at: usize) -> Option<Range<usize>> {
    let (before, after) = text.split_at_checked(at)?;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let end = after.find('\n').map_or(text.len(), |end| at + end);
    let (key, value) = text[start..end].split_once('=')?;
    keys::is_of_a_secret(key).then_some(end - value.len()..end)
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
        Some(Quoted { text: "off", .. }) => Some(Tls::Off),
        Some(Quoted { text: "self-signed", .. }) => Some(Tls::SelfSigned {
            domains: domains.unwrap_or_else(|| vec!["localhost".into(), "127.0.0.1".into()]),
        }),
        Some(Quoted { text: "files", .. }) => {
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
    let max_body = keys.one("max_body", body_limit).unwrap_or(MAX_BODY_BYTES);
    keys.finish();
    Some(Listen { addresses: addresses?, tls: tls?, trusted_proxies, max_body })
}

fn body_limit(text: &str) -> Result<usize, String> {
    let limit = usize::try_from(bytes(text)?).unwrap_or(usize::MAX);
    match limit {
        1..=MAX_BODY_BYTES_MAX => Ok(limit),
        _ => Err(format!("max_body is from 1 B to {} MiB", MAX_BODY_BYTES_MAX >> 20)),
    }
}

fn store(mut keys: Keys<'_>) -> Option<Store> {
    let url = keys.one("url", |text| {
        SqliteStore::path(text).map_err(|error| error.to_string())?;
        Ok(text.to_owned())
    });
    let reserve = keys.one("reserve", bytes).unwrap_or(RESERVE_BYTES);
    keys.finish();
    Some(Store { url: url.unwrap_or_else(|| STORE_URL.into()), reserve })
}

fn admin(mut keys: Keys<'_>) -> Option<Admin> {
    let address = keys.one("address", |text| {
        text.parse::<SocketAddr>().map_err(|_| format!("{text:?} is not IP:PORT"))
    });
    let address = address.unwrap_or(ADMIN_ADDRESS);
    let token = keys.secret("token");
    if token.is_none() && !address.ip().is_loopback() {
        let what = format!("[admin] needs a token, for {address} is not loopback");
        let way_out = "token = { env = \"WILCO_ADMIN_TOKEN\" }, or address = \"127.0.0.1:9440\"";
        keys.complain_about("address", what, Some(way_out));
    }
    keys.finish();
    Some(Admin { address, token })
}

fn source(mut keys: Keys<'_>) -> Option<Source> {
    let name = SourceName::new(keys.name());
    if let Err(error) = &name {
        keys.complain(&error.to_string(), None);
    }
    if keys.name() == ALERTS {
        keys.complain("the source wilco is wilco's own", Some("give this one another name"));
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
    let window = keys.one("duplicate_window", duration).unwrap_or(DUPLICATE_WINDOW);
    let duplicates = keys.one("duplicates", |text| match text {
        "suppress" => Ok(Duplicates::Suppress { window }),
        "keep" => Ok(Duplicates::Keep),
        _ => Err(format!("{text:?} is neither \"suppress\" nor \"keep\"")),
    });
    let expect_every = keys.one("expect_every", units::duration);
    keys.finish();
    Some(Source {
        name: name.ok()?,
        provider: provider?,
        path: path?,
        secrets: secrets?,
        allow_from,
        duplicates: duplicates.unwrap_or(Duplicates::Suppress { window }),
        expect_every,
    })
}

fn paths_differ(sources: &[Source], file: &mut Keys<'_>) {
    let mut seen = HashSet::new();
    for source in sources.iter().filter(|source| !seen.insert(&source.path)) {
        let what = format!("two sources have the path {}", source.path);
        file.complain(&what, Some("give each source a path of its own"));
    }
}

fn files_differ(destinations: &[Destination], file: &mut Keys<'_>) {
    let mut seen = HashSet::new();
    for destination in destinations {
        if let Kind::File { path, .. } = &destination.kind
            && !seen.insert(path)
        {
            let what = format!("two destinations write to {}", path.display());
            file.complain(&what, Some("give each a file of its own, or one route to one of them"));
        }
    }
}

fn destination(mut keys: Keys<'_>) -> Option<Destination> {
    let kind = match keys.text("type") {
        None => {
            keys.demand("type", &format!("type = {KINDS}"));
            None
        }
        Some(Quoted { text: "print", .. }) => Some(Kind::Print),
        Some(Quoted { text: "command", .. }) => command::read(&mut keys).map(Kind::Command),
        Some(Quoted { text: "http", .. }) => kinds::http(&mut keys),
        Some(Quoted { text: "slack", .. }) => kinds::chat(&mut keys, Service::Slack),
        Some(Quoted { text: "teams", .. }) => kinds::chat(&mut keys, Service::Teams),
        Some(Quoted { text: "discord", .. }) => kinds::chat(&mut keys, Service::Discord),
        Some(Quoted { text: "file", .. }) => kinds::file(&mut keys),
        Some(other) => {
            let what = format!("no such type of destination: {:?}", other.text);
            keys.complain_at(&other, what, Some(KINDS));
            None
        }
    };
    destination::read(keys, kind)
}

fn alerts(mut keys: Keys<'_>, names: &Names) -> Option<Alerts> {
    let to = keys.one("to", |text| known(text, "destination", &names.destinations));
    if to.is_none() {
        keys.demand("to", "to = \"name-of-a-destination\"");
    }
    let every = keys.one("every", units::duration).unwrap_or(ALERT_EVERY);
    keys.finish();
    Some(Alerts { to: to?, every })
}

fn known(name: &str, what: &str, names: &[String]) -> Result<String, String> {
    if names.iter().any(|known| known == name) {
        return Ok(name.into());
    }
    let near = keys::nearest(name, names.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    Err(format!("there is no [{what}.{name}]{near}"))
}

const KINDS: &str =
    "\"command\", \"http\", \"slack\", \"teams\", \"discord\", \"file\" or \"print\"";
const LISTEN_EXAMPLE: &str = "[listen], with address and tls";
const SOURCE_EXAMPLE: &str = "[source.freispace], with provider, path and secrets";
