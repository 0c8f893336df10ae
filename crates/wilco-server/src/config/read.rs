//! The tables of the file, one function each. All of them are read, whatever is wrong with one.

mod advice;
mod destination;
mod outside;
mod route;
mod schema;
mod units;

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use wilco::{Secret, SourceName, provider};
use wilco_config::{
    Schema, SpannedStr, TableReader, Variant, choice_hint, duration, look_up, nearest, network,
    size, url_path,
};
use wilco_delivery::AlertPolicy;
use wilco_store::{ALERTS, Duplicates, SqliteStore};

use super::{
    ADMIN_ADDRESS, ALERT_EVERY, Address, Admin, Config, DUPLICATE_WINDOW, DestinationConfig, Kinds,
    Listen, MAX_BODY_BYTES, MAX_BODY_BYTES_MAX, Places, RESERVE_BYTES, Route, STORE_URL, Source,
    Store, Tls,
};

use crate::clock;

pub use units::address;

/// Every table and key of a file with destinations of these kinds.
pub fn schema(kinds: Kinds) -> Schema {
    let variant = |kind: &&wilco_destinations::Kind| Variant {
        table: "destination",
        name: kind.name,
        keys: kind.keys,
    };
    Schema::new(&schema::TABLES, kinds.0.iter().map(variant))
}

/// The whole file.
pub(super) fn whole(file: TableReader<'_>, kinds: Kinds) -> Option<Config> {
    let listen = file.table(&schema::LISTEN);
    let has_no_listen = listen.is_none() && !file.contains("listen");
    let listen = listen.and_then(self::listen);
    let store = store_of(&file);
    store.iter().for_each(|store| store_records(&file, store));
    let admin = admin_of(&file);
    let sources = each(file.tables_by_name(&schema::SOURCE), source);
    let destinations =
        each(file.tables_by_name(&schema::DESTINATION), |keys| destination::read(keys, kinds));
    let names = Names {
        sources: file.names(&schema::SOURCE),
        destinations: file.names(&schema::DESTINATION),
    };
    let routes = each(file.list_of_tables(&schema::ROUTE), |keys| route::read(keys, &names));
    let alerts =
        each(file.table(&schema::ALERTS).into_iter().collect(), |keys| alerts(keys, &names));
    if has_no_listen {
        file.error_here("no [listen]: nothing could come in", LISTEN_EXAMPLE);
    }
    if names.sources.is_empty() {
        file.error_here("no [source.NAME]: nothing could be received", SOURCE_EXAMPLE);
    }
    file.finish_root();
    paths_differ(&sources, listen.as_ref().and_then(|listen| listen.health_path.as_deref()));
    written_paths_differ(&destinations, kinds);
    unused(&sources, &destinations, &routes, &alerts);
    advice::about_rules(&sources, &routes, &destinations);
    let (routes, mut destinations) = (whole_list(routes)?, whole_list(destinations)?);
    for destination in &mut destinations {
        let bursts = routes.iter().filter(|route| route.to.contains(&destination.name));
        let bursts = bursts.filter_map(|route| route.debounce.as_ref());
        let longest = bursts.map(|debounce| debounce.at_most.max(debounce.quiet)).max();
        let longest_wait = &mut destination.policy.longest_wait;
        *longest_wait = longest.unwrap_or_default().max(*longest_wait);
    }
    Some(Config {
        listen: listen?,
        store: store?,
        admin: Some(admin?),
        sources: whole_list(sources)?,
        destinations,
        routes,
        alerts: whole_list(alerts)?.pop(),
    })
}

/// Tables and what was read of them; `None` where something is wrong with it.
type Read<'a, T> = Vec<(TableReader<'a>, Option<T>)>;

/// Reads each of these tables. Its reader is kept for the checks that need
/// the whole file.
fn each<'a, T>(
    tables: Vec<TableReader<'a>>,
    read: impl Fn(TableReader<'a>) -> Option<T>,
) -> Read<'a, T> {
    tables.into_iter().map(|keys| (keys.clone(), read(keys))).collect()
}

fn whole_list<T>(tables: Read<'_, T>) -> Option<Vec<T>> {
    tables.into_iter().map(|(_, value)| value).collect()
}

/// The tables that say where a running wilco and its store are, and nothing else of the file.
pub(super) fn places(file: &TableReader<'_>) -> Option<Places> {
    let (admin, store) = admin_of(file).zip(store_of(file))?;
    let token_name = admin.token.map(|token| token.name().to_owned());
    let token = token_name.as_ref().and_then(|name| {
        let (kind, target) = name.split_once(':')?;
        Secret::new(name.as_str(), look_up(kind, target)?.ok()?).ok()
    });
    Some(Places { address: admin.address, token_name, token, store })
}

/// Warns where the store that was read would not record.
fn store_records(file: &TableReader<'_>, store: &Store) {
    let remark = SqliteStore::path(&store.url).ok();
    let remark = remark.and_then(|path| outside::store(&path, store.reserve));
    if let Some((message, hint)) = remark {
        file.warn_about("store", message, &hint);
    }
}

fn store_of(file: &TableReader<'_>) -> Option<Store> {
    match file.table(&schema::STORE) {
        Some(keys) => store(keys),
        None => Some(Store { url: STORE_URL.into(), reserve: RESERVE_BYTES }),
    }
}

fn admin_of(file: &TableReader<'_>) -> Option<Admin> {
    match file.table(&schema::ADMIN) {
        Some(keys) => admin(keys),
        None => Some(Admin { address: Address::Tcp(ADMIN_ADDRESS), token: None }),
    }
}

struct Names {
    sources: Vec<String>,
    destinations: Vec<String>,
}

fn listen(mut keys: TableReader<'_>) -> Option<Listen> {
    let addresses = keys.parse_list("address", units::address);
    if addresses.is_none() {
        keys.require("address");
    }
    let domains = keys.parse_list("domains", |text| Ok(text.to_owned()));
    let certificate = keys.parse("certificate", units::path);
    let key = keys.parse("key", units::path);
    let trusted_proxies = keys.parse_list("trusted_proxies", network).unwrap_or_default();
    let tls = match keys.text("tls") {
        None => {
            keys.require_with_hint("tls", "such as tls = \"files\", \"self-signed\" or \"off\"");
            None
        }
        Some(SpannedStr { text: "off", .. }) => Some(Tls::Off),
        Some(SpannedStr { text: "self-signed", .. }) => Some(Tls::SelfSigned {
            domains: domains
                .clone()
                .unwrap_or_else(|| vec!["localhost".into(), "127.0.0.1".into()]),
        }),
        Some(SpannedStr { text: "files", .. }) => {
            if certificate.is_none() {
                keys.require("certificate");
            }
            if key.is_none() {
                keys.require("key");
            }
            certificate.zip(key).map(|(certificate, key)| Tls::Files { certificate, key })
        }
        Some(other) => {
            let hint = "\"files\", \"self-signed\" or \"off\" (behind a proxy that ends TLS)";
            keys.error_at(&other, format!("no such tls: {:?}", other.text), hint);
            None
        }
    };
    let is_exposed = addresses.iter().flatten().any(is_public) && trusted_proxies.is_empty();
    if tls == Some(Tls::Off) && is_exposed {
        let what = "webhooks come in without TLS, at an address that others can reach".into();
        let hint = "tls = \"files\", or behind a proxy: address = \"127.0.0.1:8080\", or \
                    trusted_proxies = [\"10.0.0.0/8\"]";
        keys.warn_about("tls", what, hint);
    }
    if let Some(Tls::Files { certificate, .. }) = &tls {
        let now = u64::try_from(clock::now().as_second()).unwrap_or_default();
        if let Some((message, hint)) =
            outside::certificate(certificate, domains.as_deref().unwrap_or_default(), now)
        {
            keys.warn_about("certificate", message, &hint);
        }
    }
    let max_body = keys.parse("max_body", body_limit).unwrap_or(MAX_BODY_BYTES);
    let health_path = keys.parse("health_path", url_path);
    keys.finish();
    Some(Listen { addresses: addresses?, tls: tls?, trusted_proxies, max_body, health_path })
}

/// Whether others than this machine and its own network can reach it.
fn is_public(address: &Address) -> bool {
    match address {
        Address::Unix(_) => false,
        Address::Tcp(address) => match address.ip() {
            IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
            IpAddr::V6(ip) => {
                !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
            }
        },
    }
}

fn body_limit(text: &str) -> Result<usize, String> {
    let limit = usize::try_from(size(text)?).unwrap_or(usize::MAX);
    match limit {
        1..=MAX_BODY_BYTES_MAX => Ok(limit),
        _ => Err(format!("max_body is from 1 B to {} MiB", MAX_BODY_BYTES_MAX >> 20)),
    }
}

fn store(mut keys: TableReader<'_>) -> Option<Store> {
    let url = keys.parse("url", |text| {
        // The error is not shown: the url may have a password.
        let wrong = |_| "the store url is not understood; write sqlite:PATH".to_owned();
        SqliteStore::path(text).map_err(wrong)?;
        Ok(text.to_owned())
    });
    let reserve = keys.parse("reserve", size).unwrap_or(RESERVE_BYTES);
    keys.finish();
    Some(Store { url: url.unwrap_or_else(|| STORE_URL.into()), reserve })
}

fn admin(mut keys: TableReader<'_>) -> Option<Admin> {
    let address = keys.parse("address", address).unwrap_or(Address::Tcp(ADMIN_ADDRESS));
    let token = keys.secret("token");
    if !keys.contains("token") && !address.is_local() {
        let what = format!("[admin] needs a token, for {address} is not loopback");
        let hint = "token = { env = \"WILCO_ADMIN_TOKEN\" }, or address = \"127.0.0.1:9440\"";
        keys.error_about("address", what, hint);
    }
    keys.finish();
    Some(Admin { address, token })
}

fn source(mut keys: TableReader<'_>) -> Option<Source> {
    let name = SourceName::new(keys.name());
    if let Err(error) = &name {
        keys.error_here(&error.to_string(), "such as [source.freispace]");
    }
    if keys.name() == ALERTS {
        keys.error_here("the source wilco is wilco's own", "give this one another name");
    }
    let text = keys.text("provider");
    let provider = text.as_ref().and_then(|text| provider::find(text.text));
    if let Some(text) = text.filter(|_| provider.is_none()) {
        let known: Vec<_> = provider::all().iter().map(|known| known.name.as_str()).collect();
        let message = format!("unknown provider {:?}", text.text);
        keys.error_at(&text, message, &choice_hint(text.text, &known));
    }
    if provider.is_none() {
        keys.require("provider");
    }
    let path = keys.parse("path", url_path);
    if path.is_none() {
        keys.require("path");
    }
    let secrets = keys.secrets("secrets");
    if secrets.is_none() {
        keys.require("secrets");
    }
    let ready: Vec<_> = match (provider, &secrets) {
        (Some(provider), Some(secrets)) if keys.follows_references() => {
            let ready = secrets.iter().map(|secret| provider.scheme.key(secret));
            let ready = ready.map(|key| {
                key.map_err(|error| {
                    let hint = "copy it again from the provider's page";
                    keys.error_about("secrets", error.to_string(), hint);
                })
            });
            ready.filter_map(Result::ok).collect()
        }
        _ => Vec::new(),
    };
    let allow_from = keys.parse_list("allow_from", network).unwrap_or_default();
    let window = keys.parse("duplicate_window", duration).unwrap_or(DUPLICATE_WINDOW);
    let duplicates = [("suppress", Duplicates::Suppress { window }), ("keep", Duplicates::Keep)];
    let duplicates = keys.one_of("duplicates", &duplicates);
    let expect_every = keys.parse("expect_every", duration);
    keys.finish();
    Some(Source {
        name: name.ok()?,
        provider: provider?,
        path: path?,
        secrets: secrets?,
        keys: ready,
        allow_from,
        duplicates: duplicates.unwrap_or(Duplicates::Suppress { window }),
        expect_every,
    })
}

fn paths_differ(sources: &Read<'_, Source>, health_path: Option<&str>) {
    let paths = sources.iter().filter_map(|(keys, _)| Some((keys, keys.peek("path")?)));
    for (keys, path) in paths.clone().filter(|(_, path)| Some(path.text) == health_path) {
        let message = format!("[listen] health_path is {} too", path.text);
        keys.error_at(&path, message, "give one of them another path");
    }
    let message = |first: &str, path: &str| format!("[{first}] has the path {path} too");
    differ(paths.collect(), message, "give each source a path of its own");
}

fn written_paths_differ(destinations: &Read<'_, DestinationConfig>, kinds: Kinds) {
    let paths = destinations.iter().filter_map(|(keys, _)| {
        let kind = kinds.find(keys.peek("type")?.text)?;
        Some((keys, keys.peek(kind.written_path?)?))
    });
    let message = |first: &str, path: &str| format!("[{first}] writes to {path} too");
    differ(paths.collect(), message, "give each a file of its own, or one route to one of them");
}

/// Of tables with the same text, which only one can have, every one but the first is at fault.
fn differ(
    mut texts: Vec<(&TableReader<'_>, SpannedStr<'_>)>,
    message: impl Fn(&str, &str) -> String,
    hint: &str,
) {
    texts.sort_by_key(|(_, text)| text.span.start);
    let mut first: HashMap<&str, &str> = HashMap::new();
    for (keys, text) in &texts {
        match first.entry(text.text) {
            Entry::Vacant(free) => drop(free.insert(keys.full_name())),
            Entry::Occupied(first) => {
                keys.error_at(text, message(first.get(), text.text), hint);
            }
        }
    }
}

/// Warns about destinations that get nothing, and about events that go nowhere. What is named counts,
/// also in a route with something wrong.
fn unused(
    sources: &Read<'_, Source>,
    destinations: &Read<'_, DestinationConfig>,
    routes: &Read<'_, Route>,
    alerts: &Read<'_, AlertPolicy>,
) {
    if routes.is_empty() {
        for (source, _) in sources {
            source.warn_here("no route: its events are recorded and go nowhere", ROUTE_EXAMPLE);
        }
    }
    if routes.iter().any(|(keys, _)| !keys.contains("to")) {
        return; // that is a fault already, and any of them may have been meant
    }
    let tables = routes.iter().map(|(keys, _)| keys).chain(alerts.iter().map(|(keys, _)| keys));
    let named: Vec<_> = tables.flat_map(|keys| keys.peek_list("to")).collect();
    for (destination, _) in destinations {
        if !named.iter().any(|to| to.text == destination.name()) {
            let message = format!("nothing goes to {}: no route names it", destination.name());
            let hint = format!("such as [[route]] with to = [{:?}]", destination.name());
            destination.warn_here(&message, &hint);
        }
    }
}

fn alerts(mut keys: TableReader<'_>, names: &Names) -> Option<AlertPolicy> {
    let to = keys.parse("to", |text| known(text, "destination", &names.destinations));
    if to.is_none() {
        keys.require("to");
    }
    let every = keys.parse("every", duration).unwrap_or(ALERT_EVERY);
    keys.finish();
    Some(AlertPolicy { to: to?, every })
}

fn known(name: &str, what: &str, names: &[String]) -> Result<String, String> {
    if names.iter().any(|known| known == name) {
        return Ok(name.into());
    }
    let near = nearest(name, names.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    Err(format!("there is no [{what}.{name}]{near}"))
}

const ROUTE_EXAMPLE: &str = "such as [[route]] with to = [\"name-of-a-destination\"]";
const LISTEN_EXAMPLE: &str = "[listen], with address and tls";
const SOURCE_EXAMPLE: &str = "[source.freispace], with provider, path and secrets";
