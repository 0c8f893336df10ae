//! The configuration: reads a TOML file into a [`Config`], or reports all of its errors at once. Each
//! table has a file, with the rows of its keys, what they are read into, and how.
//!
//! There are two stages. `File::read` looks at the file and at nothing else; `File::resolve` looks up
//! what is only named there: secrets, certificates, programs, folders, users.

mod addresses;
mod admin;
mod advice;
mod alerts;
mod destination;
mod listen;
mod provider;
mod reach;
mod related;
mod route;
mod source;
mod store;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use wilco::Secret;
use wilco_config::{
    DiagnosticSink, FileReader, Reference, Schema, Table, TableView, Unresolved, Variant, parse,
};
use wilco_delivery::{AlertPolicy, Policy};

use admin::AdminInFile;
use destination::DestinationInFile;

pub use addresses::{Address, address};
pub use admin::Admin;
pub use listen::{Acme, Listen, Tls, directory, domain};
pub(in crate::config) use provider::Providers;
pub(crate) use source::{Backfill, ProviderApi};
pub use source::{Source, SourceError};
pub use store::Store;
pub use wilco_config::{
    Diagnostic, Diagnostics, NEXT_SECRET, Severity, did_you_mean, duration, format_duration,
    is_variable_name, known_instead, nearest, url,
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
    read_with(path, kinds, |file| File::read(file, kinds).resolve())
}

/// What a verb needs to say where events go. What the file only names is not looked up, so that nobody
/// needs the secrets to look at events.
pub struct Outline {
    /// Which events go where.
    pub routes: Vec<Route>,
    /// Where events can go: the name, the kind, and how deliveries are treated.
    pub destinations: Vec<(String, &'static str, Policy)>,
}

/// The outline of a file.
///
/// # Errors
///
/// Every error and warning about the file.
pub fn outline(path: &Path, kinds: Kinds) -> Result<Outline, Diagnostics> {
    read_with(path, kinds, |file| File::read(file, kinds).outline()).map(|(outline, _)| outline)
}

/// The outline of a file, with its destinations as far as what they name can be found, and the errors about
/// the others.
///
/// # Errors
///
/// Every error and warning about the file.
pub(crate) fn outline_with_settings(
    path: &Path,
    kinds: Kinds,
) -> Result<(Outline, Vec<DestinationConfig>, Diagnostics), Diagnostics> {
    let schema = Arc::new(schema(kinds));
    let text = fs::read_to_string(path)
        .map_err(|cause| Diagnostics::unreadable(path, Arc::clone(&schema), &cause))?;
    let read = |file: FileReader<'_>| File::read(file, kinds).outline();
    let (outline, _) = read_text(path, text.clone(), kinds, read)?;
    let sink = DiagnosticSink::default();
    let root = parse(&text, &sink);
    let mut destinations = Vec::new();
    let mut errors = Vec::new();
    if let Some(root) = &root {
        let file = File::read(FileReader::new(root, &sink, &schema), kinds);
        for (table, found) in file.destinations {
            sink.take();
            let found = found.and_then(|found| found.resolve(&table));
            let missing = sink.take().into_iter();
            let missing: Vec<_> =
                missing.filter(|found| found.severity == Severity::Error).collect();
            destinations.extend(found.filter(|_| missing.is_empty()));
            errors.extend(missing);
        }
    }
    drop(root);
    Ok((outline, destinations, Diagnostics::new(path, text, schema, errors)))
}

/// The outline of a file that has this text. Nothing outside the text is looked at.
///
/// # Errors
///
/// Every error and warning about the text.
pub fn outline_of(text: String, kinds: Kinds) -> Result<Outline, Diagnostics> {
    let path = Path::new("wilco.toml");
    read_text(path, text, kinds, |file| File::read(file, kinds).outline())
        .map(|(outline, _)| outline)
}

/// What a verb needs to find a running wilco or its store. The rest of the file is not read.
pub struct Places {
    /// The admin listener.
    pub address: Address,
    /// The token that the file names, where that is to be had.
    pub token: Option<Secret>,
    /// What the file names as its token; `None` for the one next to the store.
    pub token_name: Option<String>,
    /// The record.
    pub store: Store,
}

/// The places that a file names, or the default ones without a file.
///
/// # Errors
///
/// The errors of `[admin]` and `[store]`.
pub fn places(path: Option<&Path>, kinds: Kinds) -> Result<Places, Diagnostics> {
    let (admin, store) = match path {
        None => (AdminInFile::default(), Store::default()),
        Some(path) => {
            let read = |file: FileReader<'_>| Some((read_admin(&file).1, read_store(&file)));
            read_with(path, kinds, read)?.0
        }
    };
    let AdminInFile { address, token, .. } = admin;
    let token_name = token.as_ref().map(Reference::name);
    Ok(Places { address, token: token.and_then(|token| token.find()), token_name, store })
}

fn read_with<T>(
    path: &Path,
    kinds: Kinds,
    read: impl FnOnce(FileReader<'_>) -> Option<T>,
) -> Result<(T, Diagnostics), Diagnostics> {
    let text = fs::read_to_string(path)
        .map_err(|cause| Diagnostics::unreadable(path, Arc::new(schema(kinds)), &cause))?;
    read_text(path, text, kinds, read)
}

fn read_text<T>(
    path: &Path,
    text: String,
    kinds: Kinds,
    read: impl FnOnce(FileReader<'_>) -> Option<T>,
) -> Result<(T, Diagnostics), Diagnostics> {
    let schema = Arc::new(schema(kinds));
    let sink = DiagnosticSink::default();
    let root = parse(&text, &sink);
    let value = root.as_ref().and_then(|root| read(FileReader::new(root, &sink, &schema)));
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

/// What a file says, table by table; `None` where something is wrong with it.
struct File<'a> {
    root: TableView<'a>,
    listen: Option<InFile<'a, Unresolved<Listen>>>,
    store: Store,
    admin: InFile<'a, AdminInFile>,
    sources: Vec<InFile<'a, Unresolved<Source>>>,
    destinations: Vec<InFile<'a, Option<DestinationInFile>>>,
    routes: Vec<InFile<'a, Option<Route>>>,
    alerts: Option<InFile<'a, Option<AlertPolicy>>>,
}

/// A table, and what was read of it.
type InFile<'a, T> = (TableView<'a>, T);

impl<'a> File<'a> {
    /// Reads every table, and looks at nothing but the file.
    fn read(file: FileReader<'a>, kinds: Kinds) -> Self {
        let names = Names {
            sources: file.names(&source::TABLE),
            destinations: file.names(&destination::TABLE),
        };
        let providers = Providers::read(&file);
        let read = Self {
            root: file.view().clone(),
            listen: file.table(&listen::TABLE, listen::read),
            store: read_store(&file),
            admin: read_admin(&file),
            sources: file.tables_by_name(&source::TABLE, |keys| source::read(keys, &providers)),
            destinations: file
                .tables_by_name(&destination::TABLE, |keys| destination::read(keys, kinds)),
            routes: file.list_of_tables(&route::TABLE, |keys| route::read(keys, &names)),
            alerts: file.table(&alerts::TABLE, |keys| alerts::read(keys, &names)),
        };
        file.finish();
        related::check(&read, kinds);
        read
    }

    /// Looks up what the file only names.
    fn resolve(self) -> Option<Config> {
        store::warn(&self.root, &self.store);
        let listen = self.listen.and_then(|(table, listen)| listen.resolve(&table));
        let (table, admin) = self.admin;
        let admin = admin.resolve(&table);
        let sources = each(self.sources, |table, source| source.resolve(table));
        let destinations = each(self.destinations, |table, found| found?.resolve(table));
        advice::about_rules(&sources, &self.routes, &destinations);
        let (routes, mut destinations) = (whole(self.routes)?, whole(destinations)?);
        for destination in &mut destinations {
            let bursts = routes.iter().filter(|route| route.to.contains(&destination.name));
            let bursts = bursts.filter_map(|route| route.debounce.as_ref());
            let longest = bursts.map(|debounce| debounce.at_most.max(debounce.quiet)).max();
            let longest_wait = &mut destination.policy.longest_wait;
            *longest_wait = longest.unwrap_or_default().max(*longest_wait);
        }
        Some(Config {
            listen: listen?,
            store: self.store,
            admin: Some(admin?),
            sources: whole(sources)?,
            destinations,
            routes,
            alerts: self.alerts.and_then(|(_, alerts)| alerts),
        })
    }

    fn outline(self) -> Option<Outline> {
        let destinations = whole(self.destinations)?.into_iter();
        let destinations = destinations.map(|to| (to.name, to.kind, to.policy)).collect();
        Some(Outline { routes: whole(self.routes)?, destinations })
    }
}

fn each<'a, T, U>(
    tables: Vec<InFile<'a, T>>,
    resolve: impl Fn(&TableView<'a>, T) -> U,
) -> Vec<InFile<'a, U>> {
    let resolve = |(table, value)| {
        let value = resolve(&table, value);
        (table, value)
    };
    tables.into_iter().map(resolve).collect()
}

fn whole<T>(tables: Vec<InFile<'_, Option<T>>>) -> Option<Vec<T>> {
    tables.into_iter().map(|(_, value)| value).collect()
}

fn read_store(file: &FileReader<'_>) -> Store {
    file.table(&store::TABLE, store::read).map_or_else(Store::default, |(_, store)| store)
}

fn read_admin<'a>(file: &FileReader<'a>) -> InFile<'a, AdminInFile> {
    let read = file.table(&admin::TABLE, admin::read);
    read.unwrap_or_else(|| (file.view().clone(), AdminInFile::default()))
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

/// How long a copy of an event is recognised, unless `duplicate_window` says otherwise.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3_600);
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
