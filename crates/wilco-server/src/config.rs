//! The configuration: reads a TOML file into a [`Config`], or reports all of its errors at once. Each
//! table has a file, with the rows of its keys, what they are read into, and how.

mod addresses;
mod admin;
mod advice;
mod alerts;
mod destination;
mod listen;
mod provider;
mod related;
mod route;
mod source;
mod store;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use wilco::Secret;
use wilco_config::{
    DiagnosticSink, References, Schema, Table, TableReader, Variant, look_up, parse,
};
use wilco_delivery::AlertPolicy;

pub use addresses::{Address, address};
pub use admin::Admin;
pub use listen::{Listen, Tls};
pub(in crate::config) use provider::Providers;
pub use source::{Source, SourceError};
pub use store::Store;
pub use wilco_config::{
    Diagnostic, Diagnostics, NEXT_SECRET, Severity, duration, is_variable_name, nearest, url,
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
    /// Where wilco reports what went wrong; `None` for nowhere.
    pub(crate) alerts: Option<AlertPolicy>,
}

impl Config {
    /// One endpoint without TLS, and the defaults for everything else.
    pub fn of(source: Source, addresses: Vec<Address>) -> Self {
        Self {
            listen: Listen::without_tls(addresses),
            store: Store::default(),
            admin: None,
            sources: vec![source],
            destinations: Vec::new(),
            routes: Vec::new(),
            alerts: None,
        }
    }

    /// The first key that a reload cannot change and in which the other one differs, as the file names
    /// it.
    pub(crate) fn restart_for(&self, other: &Self) -> Option<&'static str> {
        // Every field is named, so that whoever adds one decides whether a reload can change it.
        let Self { listen, store, admin, sources: _, destinations: _, routes: _, alerts: _ } = self;
        let admin = || match (admin, &other.admin) {
            (Some(admin), Some(other)) => admin.restart_for(other),
            (None, None) => None,
            _ => Some("[admin] address"),
        };
        let store = || store.restart_for(&other.store);
        listen.restart_for(&other.listen).or_else(store).or_else(admin)
    }
}

/// Reads, checks and resolves the file. It comes with warnings about what probably was not meant.
///
/// # Errors
///
/// Every error and warning about the file.
pub fn load(path: &Path, kinds: Kinds) -> Result<(Config, Diagnostics), Diagnostics> {
    read_with(path, kinds, References::Followed, |file| whole(file, kinds))
}

/// As [`load`], with placeholders instead of secrets: for verbs that only look at routes, and that
/// people run who may not have the secrets.
///
/// # Errors
///
/// Every error and warning about the file.
pub fn load_without_secrets(path: &Path, kinds: Kinds) -> Result<Config, Diagnostics> {
    let read = |file: TableReader<'_>| whole(file, kinds);
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
        let (Admin { address, token }, store) = (Admin::default(), Store::default());
        return Ok(Places { address, token, token_name: None, store });
    };
    read_with(path, kinds, References::Left, |file| read_places(&file)).map(|(places, _)| places)
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

/// Every table and key of a file with destinations of these kinds.
pub fn schema(kinds: Kinds) -> Schema {
    let variant = |kind: &&wilco_destinations::Kind| Variant {
        table: "destination",
        name: kind.name,
        keys: kind.keys,
    };
    Schema::new(&TABLES, kinds.0.iter().map(variant))
}

/// The whole file.
fn whole(file: TableReader<'_>, kinds: Kinds) -> Option<Config> {
    let listen = file.table(&listen::TABLE);
    let has_no_listen = listen.is_none() && !file.contains("listen");
    let listen = listen.and_then(listen::read);
    let store = read_store(&file);
    store.iter().for_each(|store| store::warn(&file, store));
    let admin = read_admin(&file);
    let providers = Providers::read(&file);
    let sources = each(file.tables_by_name(&source::TABLE), |keys| source::read(keys, &providers));
    let destinations =
        each(file.tables_by_name(&destination::TABLE), |keys| destination::read(keys, kinds));
    let names = Names {
        sources: file.names(&source::TABLE),
        destinations: file.names(&destination::TABLE),
    };
    let routes = each(file.list_of_tables(&route::TABLE), |keys| route::read(keys, &names));
    let alerts =
        each(file.table(&alerts::TABLE).into_iter().collect(), |keys| alerts::read(keys, &names));
    if has_no_listen {
        file.error_here("no [listen]: nothing could come in", LISTEN_EXAMPLE);
    }
    if names.sources.is_empty() {
        file.error_here("no [source.NAME]: nothing could be received", SOURCE_EXAMPLE);
    }
    file.finish_root();
    related::paths_differ(
        &sources,
        listen.as_ref().and_then(|listen| listen.health_path.as_deref()),
    );
    related::written_paths_differ(&destinations, kinds);
    related::unused(&sources, &destinations, &routes, &alerts);
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

/// Reads each of these tables. Its reader is kept for the checks that need the whole file.
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
fn read_places(file: &TableReader<'_>) -> Option<Places> {
    let (admin, store) = read_admin(file).zip(read_store(file))?;
    let token_name = admin.token.map(|token| token.name().to_owned());
    let token = token_name.as_ref().and_then(|name| {
        let (kind, target) = name.split_once(':')?;
        Secret::new(name.as_str(), look_up(kind, target)?.ok()?).ok()
    });
    Some(Places { address: admin.address, token_name, token, store })
}

fn read_store(file: &TableReader<'_>) -> Option<Store> {
    file.table(&store::TABLE).map_or_else(|| Some(Store::default()), store::read)
}

fn read_admin(file: &TableReader<'_>) -> Option<Admin> {
    file.table(&admin::TABLE).map_or_else(|| Some(Admin::default()), admin::read)
}

/// The first of these keys, each with whether it stayed the same, that did not.
fn first_changed<const N: usize>(keys: [(&'static str, bool); N]) -> Option<&'static str> {
    keys.into_iter().find(|(_, is_same)| !is_same).map(|(key, _)| key)
}

/// What a table can refer to by name.
struct Names {
    sources: Vec<String>,
    destinations: Vec<String>,
}

impl Names {
    fn source(&self, name: &str) -> Result<String, String> {
        known(name, "source", &self.sources)
    }

    fn destination(&self, name: &str) -> Result<String, String> {
        known(name, "destination", &self.destinations)
    }
}

fn known(name: &str, what: &str, names: &[String]) -> Result<String, String> {
    if names.iter().any(|known| known == name) {
        return Ok(name.into());
    }
    let near = nearest(name, names.iter().map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    Err(format!("there is no [{what}.{name}]{near}"))
}

const LISTEN_EXAMPLE: &str = "[listen], with address and tls";
const SOURCE_EXAMPLE: &str = "[source.freispace], with provider, path and secrets";
const PLACES: [&str; 2] = ["wilco.toml", "/etc/wilco/wilco.toml"];
/// All tables, in the order of the manual.
static TABLES: [&Table; 8] = [
    &listen::TABLE,
    &store::TABLE,
    &admin::TABLE,
    &provider::TABLE,
    &source::TABLE,
    &destination::TABLE,
    &route::TABLE,
    &alerts::TABLE,
];
