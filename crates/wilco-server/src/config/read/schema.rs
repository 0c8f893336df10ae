//! Every table and key of the file, except the keys of the kinds of destinations.

use wilco_config::{Form, Key, Table};

/// All tables.
pub(super) static TABLES: [&Table; 7] =
    [&LISTEN, &STORE, &ADMIN, &SOURCE, &DESTINATION, &ROUTE, &ALERTS];

pub(super) static LISTEN: Table = Table {
    name: "listen",
    form: Form::Single,
    keys: &[
        Key::shown("address", "\"0.0.0.0:443\""),
        Key::shown("tls", "\"off\""),
        Key::shown("certificate", "\"/etc/wilco/cert.pem\""),
        Key::secret("key", "\"/etc/wilco/key.pem\""),
        Key::shown("domains", "[\"hooks.example.com\"]"),
        Key::shown("trusted_proxies", "[\"10.0.0.0/8\"]"),
        Key::shown("max_body", "\"1 MiB\""),
    ],
};

pub(super) static STORE: Table = Table {
    name: "store",
    form: Form::Single,
    keys: &[Key::secret("url", "\"sqlite:wilco.db\""), Key::shown("reserve", "\"256 MiB\"")],
};

pub(super) static ADMIN: Table = Table {
    name: "admin",
    form: Form::Single,
    keys: &[
        Key::shown("address", "\"127.0.0.1:9440\""),
        Key::secret("token", "{ env = \"WILCO_ADMIN_TOKEN\" }"),
    ],
};

pub(super) static SOURCE: Table = Table {
    name: "source",
    form: Form::Named("freispace"),
    keys: &[
        Key::shown("provider", "\"freispace\""),
        Key::shown("path", "\"/webhook\""),
        Key::secret("secrets", "[{ env = \"FREISPACE_SECRET\" }]"),
        Key::shown("allow_from", "[\"203.0.113.0/24\"]"),
        Key::shown("duplicates", "\"suppress\""),
        Key::shown("duplicate_window", "\"24 h\""),
        Key::shown("expect_every", "\"3 days\""),
    ],
};

pub(super) static DESTINATION: Table = Table {
    name: "destination",
    form: Form::Named("crew-chat"),
    keys: &[
        Key::shown("type", "\"http\""),
        Key::shown("timeout", "\"30 s\""),
        Key::shown("concurrency", "2"),
        Key::shown("rate", "\"10/s\""),
        Key::shown("order_by", "\"id\""),
        Key::shown("on_dead", "\"skip\""),
        Key::table(
            "retry",
            "{ first = \"5 s\", factor = 2.0, max = \"1 h\", give_up_after = \"24 h\" }",
            &[
                Key::shown("first", "\"5 s\""),
                Key::shown("factor", "2.0"),
                Key::shown("max", "\"1 h\""),
                Key::shown("give_up_after", "\"24 h\""),
            ],
        ),
        Key::table(
            "breaker",
            "{ failures = 10, probe_after = \"30 s\", probe_max = \"5 min\" }",
            &[
                Key::shown("failures", "10"),
                Key::shown("probe_after", "\"30 s\""),
                Key::shown("probe_max", "\"5 min\""),
            ],
        ),
    ],
};

pub(super) static ROUTE: Table = Table {
    name: "route",
    form: Form::List,
    keys: &[
        Key::shown("from", "\"freispace\""),
        Key::shown("events", "[\"booking.*\"]"),
        Key::shown("when", "'data.status.name == \"Confirmed\"'"),
        Key::table(
            "debounce",
            "{ by = \"id\", quiet = \"30 s\" }",
            &[
                Key::shown("by", "\"id\""),
                Key::shown("quiet", "\"30 s\""),
                Key::shown("at_most", "\"5 min\""),
            ],
        ),
        Key::shown("to", "[\"name-of-a-destination\"]"),
    ],
};

pub(super) static ALERTS: Table = Table {
    name: "alerts",
    form: Form::Single,
    keys: &[Key::shown("to", "\"name-of-a-destination\""), Key::shown("every", "\"15 min\"")],
};
