//! `[source.NAME]`: an endpoint and who sends to it.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use wilco::{Provider, Secret, SourceName, provider};
use wilco_config::{
    Form, Key, Table, TableReader, ValueType, choice_hint, duration, network, url_path,
};
use wilco_store::{ALERTS, Duplicates};

pub(super) static TABLE: Table = Table {
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

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: SourceName,
    /// Who sends to it.
    pub provider: Arc<Provider>,
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
        let provider = Arc::clone(provider::find(provider).ok_or_else(unknown)?);
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
    /// No provider has this name.
    #[error("unknown provider {0:?}")]
    Provider(String),
    /// A secret is not written as the provider writes its keys.
    #[error("{0}")]
    Key(#[from] wilco::KeyError),
}

pub(super) fn read(mut keys: TableReader<'_>) -> Option<Source> {
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
    let path = keys.parse("path", url_path);
    let secrets = keys.secrets("secrets");
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
        provider: Arc::clone(provider?),
        path: path?,
        secrets: secrets?,
        keys: ready,
        allow_from,
        duplicates: duplicates.unwrap_or(Duplicates::Suppress { window }),
        expect_every,
    })
}

/// How long a copy of an event is recognised, unless `duplicate_window` says otherwise.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(24 * 3_600);
