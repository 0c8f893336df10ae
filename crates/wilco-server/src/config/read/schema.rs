//! Every table and key of the file, except the keys of the kinds of destinations. The manual, the JSON
//! schema and the hints of diagnostics come from these rows.

use wilco_config::{Form, Key, Table, ValueType};

/// All tables.
pub(super) static TABLES: [&Table; 7] =
    [&LISTEN, &STORE, &ADMIN, &SOURCE, &DESTINATION, &ROUTE, &ALERTS];

pub(super) static LISTEN: Table = Table {
    name: "listen",
    form: Form::Single,
    is_required: true,
    keys: &[
        Key::new("address", ValueType::ListOf(&ValueType::Text), "\"0.0.0.0:443\"").required().doc(
            "`IP:PORT`, `[IPv6]:PORT`, or `unix:PATH`. On a Unix socket there is no \
             TLS. `[::]` accepts IPv4 as well, unless an IPv4 address with the same \
             port is listed too",
        ),
        Key::new("tls", ValueType::OneOf(&["files", "self-signed", "off"]), "\"off\"")
            .required()
            .doc(
                "`\"files\"`, `\"self-signed\"`, or `\"off\"` behind a proxy that handles \
                 TLS",
            ),
        Key::new("certificate", ValueType::Path, "\"/etc/wilco/cert.pem\"")
            .absence("required with `tls = \"files\"`")
            .doc("PEM: the certificate, then its chain"),
        Key::new("key", ValueType::Path, "\"/etc/wilco/key.pem\"")
            .absence("required with `tls = \"files\"`")
            .secret()
            .doc("PEM: the private key of `certificate`"),
        Key::new("domains", ValueType::ListOf(&ValueType::Text), "[\"hooks.example.com\"]")
            .default("[\"localhost\", \"127.0.0.1\"]")
            .doc(
                "with `\"self-signed\"`: what the certificate is for; with `\"files\"`: \
                 what it has to name, else there is a warning",
            ),
        Key::new("trusted_proxies", ValueType::ListOf(&ValueType::Text), "[\"10.0.0.0/8\"]").doc(
            "networks whose `X-Forwarded-For` is believed, read right to left; a hop \
             that cannot be read is [refused](answers.md#who-the-sender-is)",
        ),
        Key::new("max_body", ValueType::Size, "\"1 MiB\"")
            .default("\"1 MiB\"")
            .doc("the largest body that is accepted, 1 B to 32 MiB"),
        Key::new("health_path", ValueType::Text, "\"/healthz\"").doc(
            "a path that answers GET and HEAD with 200 while wilco serves, for load \
             balancers; [metrics](metrics.md#health) has checks that say more",
        ),
    ],
};

pub(super) static STORE: Table = Table {
    name: "store",
    form: Form::Single,
    is_required: false,
    keys: &[
        Key::new("url", ValueType::Text, "\"sqlite:wilco.db\"")
            .default("\"sqlite:wilco.db\"")
            .secret()
            .doc("`sqlite:` and a path, from the working folder"),
        Key::new("reserve", ValueType::Size, "\"256 MiB\"")
            .default("\"256 MiB\"")
            .doc("free space of the file system below which nothing is recorded"),
    ],
};

pub(super) static ADMIN: Table = Table {
    name: "admin",
    form: Form::Single,
    is_required: false,
    keys: &[
        Key::new("address", ValueType::Text, "\"127.0.0.1:9440\"")
            .default("\"127.0.0.1:9440\"")
            .doc(
                "`IP:PORT` or `unix:PATH`: metrics, health, the API; never on the public \
                 listener. Only the user of wilco can connect to a socket (mode 0600). \
                 `[::]` accepts IPv4 as well, unless an IPv4 address in `[listen]` has \
                 the same port",
            ),
        Key::new("token", ValueType::Reference, "{ env = \"WILCO_ADMIN_TOKEN\" }")
            .absence("one is made")
            .secret()
            .doc(
                "what callers show, at least 8 bytes; required where the address is \
                 neither loopback nor a socket. Without it one is made next to the store \
                 (`wilco.db.token`, mode 0600), which the command line reads",
            ),
    ],
};

pub(super) static SOURCE: Table = Table {
    name: "source",
    form: Form::Named("freispace"),
    is_required: true,
    keys: &[
        Key::new("provider", ValueType::Text, "\"freispace\"").required().doc(
            "who sends: `\"freispace\"` or `\"github\"`; see \
             [providers](providers.md)",
        ),
        Key::new("path", ValueType::Text, "\"/webhook\"").required().doc(
            "the path of its endpoint: begins with `/`, and is compared exactly, \
             without the query",
        ),
        Key::new(
            "secrets",
            ValueType::ListOf(&ValueType::Reference),
            "[{ env = \"FREISPACE_SECRET\" }]",
        )
        .required()
        .secret()
        .doc("any of them may have signed"),
        Key::new("allow_from", ValueType::ListOf(&ValueType::Text), "[\"203.0.113.0/24\"]")
            .absence("everyone")
            .doc(
                "networks that may send, such as `\"203.0.113.0/24\"`, or single \
                 addresses; all others get 403",
            ),
        Key::new("duplicates", ValueType::OneOf(&["suppress", "keep"]), "\"suppress\"")
            .default("\"suppress\"")
            .doc(
                "`\"suppress\"` or `\"keep\"`: what is done with \
                 [duplicates](freispace.md)",
            ),
        Key::new("duplicate_window", ValueType::Duration, "\"24 h\"")
            .default("\"24 h\"")
            .doc("how long duplicates are recognised"),
        Key::new("expect_every", ValueType::Duration, "\"3 days\"").doc(
            "an [alert](deliveries.md#alerts) is sent if no event arrives for this \
             long",
        ),
    ],
};

pub(super) static DESTINATION: Table = Table {
    name: "destination",
    form: Form::Named("crew-chat"),
    is_required: false,
    keys: &[
        Key::new("type", ValueType::Text, "\"http\"").required().doc(
            "what it is: `\"command\"`, `\"http\"`, `\"slack\"`, `\"teams\"`, \
             `\"discord\"`, `\"ntfy\"`, `\"file\"` or `\"print\"`",
        ),
        Key::new("timeout", ValueType::Duration, "\"30 s\"")
            .default("\"30 s\"")
            .doc("how long one attempt may take"),
        Key::new("concurrency", ValueType::Integer(1, 1_024), "2")
            .absence("1; `\"http\"`: 8; `\"file\"`: 64")
            .doc("attempts that run at the same time, 1 to 1,024"),
        Key::new("rate", ValueType::Rate, "\"10/s\"")
            .doc("attempts that may begin: `\"10/s\"`, `\"100/min\"`, `\"1000/h\"`"),
        Key::new(
            "retry",
            ValueType::Table(RETRY),
            "{ first = \"5 s\", factor = 2.0, max = \"1 h\", give_up_after = \"24 h\" }",
        )
        .absence("its defaults")
        .doc("when a failed attempt is [made again](deliveries.md#retry)"),
        Key::new(
            "breaker",
            ValueType::Table(BREAKER),
            "{ failures = 10, probe_after = \"30 s\", probe_max = \"5 min\" }",
        )
        .absence("its defaults")
        .doc(
            "when the [circuit breaker](deliveries.md#concurrency-rate-breaker) \
             pauses it",
        ),
        Key::new("order_by", ValueType::Expression, "\"id\"").doc(
            "events for which it gives the same key are delivered [one after \
             another](deliveries.md#order)",
        ),
        Key::new("on_dead", ValueType::OneOf(&["skip", "block"]), "\"skip\"")
            .default("\"skip\"")
            .doc(
                "`\"skip\"` or `\"block\"`: what a dead delivery does to those behind it \
                 in an order",
            ),
    ],
};

const RETRY: &[Key] = &[
    Key::new("first", ValueType::Duration, "\"5 s\"")
        .default("\"5 s\"")
        .doc("the wait after the first failure"),
    Key::new("factor", ValueType::Number(1.0, 100.0), "2.0")
        .default("2.0")
        .doc("by which each wait is longer than the one before, 1 to 100"),
    Key::new("max", ValueType::Duration, "\"1 h\"").default("\"1 h\"").doc("the longest wait"),
    Key::new("give_up_after", ValueType::Duration, "\"24 h\"")
        .default("\"24 h\"")
        .doc("when a delivery becomes dead"),
];

const BREAKER: &[Key] = &[
    Key::new("failures", ValueType::Integer(1, 1_000_000), "10")
        .default("10")
        .doc("failures in a row that open it, 1 to 1,000,000"),
    Key::new("probe_after", ValueType::Duration, "\"30 s\"")
        .default("\"30 s\"")
        .doc("when it lets the first attempt through"),
    Key::new("probe_max", ValueType::Duration, "\"5 min\"")
        .default("\"5 min\"")
        .doc("the longest wait between such attempts"),
];

pub(super) static ROUTE: Table = Table {
    name: "route",
    form: Form::List,
    is_required: false,
    keys: &[
        Key::new("from", ValueType::Text, "\"freispace\"")
            .absence("every source")
            .doc("the name of a source"),
        Key::new("events", ValueType::ListOf(&ValueType::Text), "[\"booking.*\"]")
            .absence("every event")
            .doc("globs over the name: `booking.*`, `*.created`, `{offer,invoice}.*`"),
        Key::new("when", ValueType::Expression, "'data.status.name == \"Confirmed\"'")
            .absence("every event")
            .doc("a condition on what is in the event"),
        Key::new("debounce", ValueType::Table(DEBOUNCE), "{ by = \"id\", quiet = \"30 s\" }")
            .doc("delivers only the last event of a [burst](deliveries.md#debounce)"),
        Key::new("to", ValueType::ListOf(&ValueType::Text), "[\"name-of-a-destination\"]")
            .required()
            .doc("the names of destinations"),
    ],
};

const DEBOUNCE: &[Key] = &[
    Key::new("by", ValueType::Expression, "\"id\"")
        .required()
        .doc("events for which it gives the same key are one burst"),
    Key::new("quiet", ValueType::Duration, "\"30 s\"")
        .required()
        .doc("the burst ends when no event has arrived for this long"),
    Key::new("at_most", ValueType::Duration, "\"5 min\"")
        .absence("ten times `quiet`")
        .doc("the longest burst"),
];

pub(super) static ALERTS: Table = Table {
    name: "alerts",
    form: Form::Single,
    is_required: false,
    keys: &[
        Key::new("to", ValueType::Text, "\"name-of-a-destination\"").required().doc(
            "the name of the destination that gets [alerts](deliveries.md#alerts): \
             about dead deliveries, paused destinations and silent sources",
        ),
        Key::new("every", ValueType::Duration, "\"15 min\"")
            .default("\"15 min\"")
            .doc("at most one alert in this time about the same destination or source"),
    ],
};
