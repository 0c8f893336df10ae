//! Every key of the file, with an example, and whether its value may be shown in a diagnostic.

/// A key of the file.
pub(crate) struct Key {
    /// Its name; with the table before it where two tables have a key of this name.
    name: &'static str,
    /// A value that works, as TOML.
    pub(crate) example: &'static str,
    /// Whether its value cannot be a secret.
    pub(crate) is_harmless: bool,
}

/// The key of this name in this table, such as `destination.erp.retry`.
pub(crate) fn key(table: &str, name: &str) -> Option<&'static Key> {
    let first = table.split('.').next().unwrap_or_default();
    let exact = KEYS.iter().find(|key| key.name.split_once('.') == Some((first, name)));
    exact.or_else(|| KEYS.iter().find(|key| key.name == name))
}

/// Whether no key of this name has a secret, in whatever table.
pub(crate) fn is_harmless(name: &str) -> bool {
    let mut keys = KEYS.iter().filter(|key| last(key.name) == name).peekable();
    keys.peek().is_some() && keys.all(|key| key.is_harmless)
}

/// Whether this word has a meaning in the file.
pub(crate) fn is_known(word: &str) -> bool {
    TABLES.contains(&word) || KEYS.iter().any(|key| last(key.name) == word)
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

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

const fn shown(name: &'static str, example: &'static str) -> Key {
    Key { name, example, is_harmless: true }
}

const fn hidden(name: &'static str, example: &'static str) -> Key {
    Key { name, example, is_harmless: false }
}

/// Every table of the file.
pub(crate) const TABLES: [&str; 7] =
    ["admin", "alerts", "destination", "listen", "route", "source", "store"];

const KEYS: [Key; 66] = [
    // [listen]
    shown("address", "\"0.0.0.0:443\""),
    shown("tls", "\"off\""),
    shown("certificate", "\"/etc/wilco/cert.pem\""),
    hidden("key", "\"/etc/wilco/key.pem\""),
    shown("domains", "[\"hooks.example.com\"]"),
    shown("trusted_proxies", "[\"10.0.0.0/8\"]"),
    shown("max_body", "\"1 MiB\""),
    // [store]
    hidden("store.url", "\"sqlite:wilco.db\""),
    shown("reserve", "\"256 MiB\""),
    // [admin]
    shown("admin.address", "\"127.0.0.1:9440\""),
    hidden("token", "{ env = \"WILCO_ADMIN_TOKEN\" }"),
    // [source.NAME]
    shown("provider", "\"freispace\""),
    shown("path", "\"/webhook\""),
    hidden("secrets", "[{ env = \"FREISPACE_SECRET\" }]"),
    shown("allow_from", "[\"203.0.113.0/24\"]"),
    shown("duplicates", "\"suppress\""),
    shown("duplicate_window", "\"24 h\""),
    shown("expect_every", "\"3 days\""),
    // [destination.NAME]
    shown(
        "type",
        "\"command\", \"http\", \"slack\", \"teams\", \"discord\", \"file\" or \"print\"",
    ),
    shown("timeout", "\"30 s\""),
    shown("concurrency", "2"),
    shown("rate", "\"10/s\""),
    shown("order_by", "\"id\""),
    shown("on_dead", "\"skip\""),
    shown("retry", "{ first = \"5 s\", factor = 2.0, max = \"1 h\", give_up_after = \"24 h\" }"),
    shown("first", "\"5 s\""),
    shown("factor", "2.0"),
    shown("max", "\"1 h\""),
    shown("give_up_after", "\"24 h\""),
    shown("breaker", "{ failures = 10, probe_after = \"30 s\", probe_max = \"5 min\" }"),
    shown("failures", "10"),
    shown("probe_after", "\"30 s\""),
    shown("probe_max", "\"5 min\""),
    // … of type command
    hidden("command", "[\"/usr/local/bin/my-handler\", \"--verbose\"]"),
    hidden("environment", "{ PROJECTS_ROOT = \"/srv/projects\" }"),
    shown("folder", "\"/srv/projects\""),
    shown("run_as", "\"nobody\""),
    shown("limits", "{ memory = \"512 MiB\", cpu = \"60 s\", files = 256, output = \"64 KiB\" }"),
    shown("memory", "\"512 MiB\""),
    shown("cpu", "\"60 s\""),
    shown("files", "256"),
    shown("output", "\"64 KiB\""),
    shown("protocol", "\"once\""),
    // … of type http
    hidden("url", "\"https://erp.example.com/hooks\""),
    hidden("secret", "{ env = \"ERP_SECRET\" }"),
    hidden("headers", "{ authorization = { env = \"ERP_TOKEN\" } }"),
    hidden("body", "\"{{ body | tojson }}\""),
    // … to a chat
    shown("text", "\"{{ data.name }} is now {{ data.status.name }}\""),
    // … of type file
    shown("destination.path", "\"/var/log/wilco/events.jsonl\""),
    shown("max_size", "\"100 MiB\""),
    shown("keep", "10"),
    // [[route]]
    shown("from", "\"freispace\""),
    shown("events", "[\"booking.*\"]"),
    shown("when", "'data.status.name == \"Confirmed\"'"),
    shown("debounce", "{ by = \"id\", quiet = \"30 s\" }"),
    shown("by", "\"id\""),
    shown("quiet", "\"30 s\""),
    shown("at_most", "\"5 min\""),
    shown("to", "[\"name-of-a-destination\"]"),
    // [alerts]
    shown("alerts.to", "\"name-of-a-destination\""),
    shown("every", "\"15 min\""),
    // References
    hidden("env", "\"FREISPACE_SECRET\""),
    hidden("file", "\"/run/secrets/freispace\""),
    hidden("credential", "\"freispace\""),
    // Headers and variables that people write in clear
    hidden("authorization", "{ env = \"ERP_TOKEN\" }"),
    hidden("x-api-key", "{ env = \"ERP_KEY\" }"),
];
