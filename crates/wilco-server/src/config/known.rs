//! Every key of the file, with an example, and whether its value may be shown in a diagnostic.

use super::Kind;

/// A key of the file.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name; with the table before it where two tables have a key of this name.
    pub(crate) name: &'static str,
    /// A value that works, as TOML.
    pub(crate) example: &'static str,
    /// Whether its value cannot be a secret.
    pub(crate) is_harmless: bool,
}

impl Key {
    /// A key whose value cannot be a secret.
    pub(crate) const fn shown(name: &'static str, example: &'static str) -> Self {
        Self { name, example, is_harmless: true }
    }

    /// A key whose value may be a secret.
    pub(crate) const fn hidden(name: &'static str, example: &'static str) -> Self {
        Self { name, example, is_harmless: false }
    }

    fn last(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

/// Every key of the file: those below, and those of the kinds of destinations.
#[derive(Clone, Copy, Debug)]
pub struct Known(pub(crate) &'static [&'static Kind]);

impl Known {
    /// The kind of destination of this name.
    pub(crate) fn kind(self, name: &str) -> Option<&'static Kind> {
        self.0.iter().find(|kind| kind.name == name).copied()
    }

    /// The key of this name in this table, such as `destination.erp.retry`, of a destination of this
    /// kind.
    pub(crate) fn key(
        self,
        table: &str,
        kind: Option<&'static Kind>,
        name: &str,
    ) -> Option<&'static Key> {
        let first = table.split('.').next().unwrap_or_default();
        let of_kind = kind.into_iter().flat_map(|kind| kind.keys).find(|key| key.last() == name);
        of_kind
            .or_else(|| KEYS.iter().find(|key| key.name.split_once('.') == Some((first, name))))
            .or_else(|| self.keys().find(|key| key.last() == name))
    }

    /// Whether no key of this name has a secret, in whatever table.
    pub(crate) fn is_harmless(self, name: &str) -> bool {
        let mut keys = self.keys().filter(|key| key.last() == name).peekable();
        keys.peek().is_some() && keys.all(|key| key.is_harmless)
    }

    /// Whether this word has a meaning in the file.
    pub(crate) fn is_known(self, word: &str) -> bool {
        TABLES.contains(&word) || self.keys().any(|key| key.last() == word)
    }

    fn keys(self) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().chain(self.0.iter().flat_map(|kind| kind.keys))
    }
}

/// How the heading of a table is written.
pub(crate) fn heading(table: &str) -> String {
    match table {
        "source" | "destination" => format!("[{table}.NAME]"),
        "route" => "[[route]]".into(),
        _ => format!("[{table}]"),
    }
}

/// Whether a header, a variable or a parameter of this name usually has what nobody else may know.
pub(crate) fn is_of_a_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let words = ["authorization", "api-key", "apikey", "cookie", "password", "secret", "token"];
    words.iter().any(|word| name.contains(word))
}

/// Every table of the file.
pub(crate) const TABLES: [&str; 7] =
    ["admin", "alerts", "destination", "listen", "route", "source", "store"];

static KEYS: [Key; 48] = [
    // [listen]
    Key::shown("address", "\"0.0.0.0:443\""),
    Key::shown("tls", "\"off\""),
    Key::shown("certificate", "\"/etc/wilco/cert.pem\""),
    Key::hidden("key", "\"/etc/wilco/key.pem\""),
    Key::shown("domains", "[\"hooks.example.com\"]"),
    Key::shown("trusted_proxies", "[\"10.0.0.0/8\"]"),
    Key::shown("max_body", "\"1 MiB\""),
    // [store]
    Key::hidden("store.url", "\"sqlite:wilco.db\""),
    Key::shown("reserve", "\"256 MiB\""),
    // [admin]
    Key::shown("admin.address", "\"127.0.0.1:9440\""),
    Key::hidden("token", "{ env = \"WILCO_ADMIN_TOKEN\" }"),
    // [source.NAME]
    Key::shown("provider", "\"freispace\""),
    Key::shown("path", "\"/webhook\""),
    Key::hidden("secrets", "[{ env = \"FREISPACE_SECRET\" }]"),
    Key::shown("allow_from", "[\"203.0.113.0/24\"]"),
    Key::shown("duplicates", "\"suppress\""),
    Key::shown("duplicate_window", "\"24 h\""),
    Key::shown("expect_every", "\"3 days\""),
    // [destination.NAME]
    Key::shown("type", "\"http\""),
    Key::shown("timeout", "\"30 s\""),
    Key::shown("concurrency", "2"),
    Key::shown("rate", "\"10/s\""),
    Key::shown("order_by", "\"id\""),
    Key::shown("on_dead", "\"skip\""),
    Key::shown(
        "retry",
        "{ first = \"5 s\", factor = 2.0, max = \"1 h\", give_up_after = \"24 h\" }",
    ),
    Key::shown("first", "\"5 s\""),
    Key::shown("factor", "2.0"),
    Key::shown("max", "\"1 h\""),
    Key::shown("give_up_after", "\"24 h\""),
    Key::shown("breaker", "{ failures = 10, probe_after = \"30 s\", probe_max = \"5 min\" }"),
    Key::shown("failures", "10"),
    Key::shown("probe_after", "\"30 s\""),
    Key::shown("probe_max", "\"5 min\""),
    // [[route]]
    Key::shown("from", "\"freispace\""),
    Key::shown("events", "[\"booking.*\"]"),
    Key::shown("when", "'data.status.name == \"Confirmed\"'"),
    Key::shown("debounce", "{ by = \"id\", quiet = \"30 s\" }"),
    Key::shown("by", "\"id\""),
    Key::shown("quiet", "\"30 s\""),
    Key::shown("at_most", "\"5 min\""),
    Key::shown("to", "[\"name-of-a-destination\"]"),
    // [alerts]
    Key::shown("alerts.to", "\"name-of-a-destination\""),
    Key::shown("every", "\"15 min\""),
    // References
    Key::hidden("env", "\"FREISPACE_SECRET\""),
    Key::hidden("file", "\"/run/secrets/freispace\""),
    Key::hidden("credential", "\"freispace\""),
    // Headers and variables that people write in clear
    Key::hidden("authorization", "{ env = \"ERP_TOKEN\" }"),
    Key::hidden("x-api-key", "{ env = \"ERP_KEY\" }"),
];
