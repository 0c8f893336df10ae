//! `[source.NAME]`: an endpoint and who sends to it.

mod backfill;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;
use wilco::{Provider, Secret, SourceName, provider};
use wilco_config::{
    Form, Key, Reference, Table, TableReader, TableView, Unresolved, ValueType, duration, nearest,
    network, url, url_path,
};
use wilco_store::{ALERTS, Duplicates};

use super::{DUPLICATE_WINDOW, Providers};

pub(crate) use backfill::{Backfill, ProviderApi};

pub(super) static TABLE: Table = Table {
    name: "source",
    form: Form::Named("freispace"),
    without: Some("nothing could be received"),
    keys: &[
        Key::new("provider", ValueType::Text, "\"freispace\"").required().doc(
            "who sends, such as `\"freispace\"` or the name of a `[provider.NAME]`; see \
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
        .absence("required, except with `learned_secret`")
        .secret()
        .doc("any of them may have signed"),
        Key::new("learned_secret", ValueType::Path, "\"/var/lib/wilco/asana.secret\"").doc(
            "the file for the secret that the provider itself brings, if its \
             [handshake](providers.md#secrets-that-the-provider-brings) does that",
        ),
        Key::new("public_url", ValueType::Text, "\"https://hooks.example.com/webhook\"")
            .absence("the URL of a request is its path and query")
            .doc(
                "the URL that the provider was given, without a query; required if the provider \
                 [signs](providers.md) it",
            ),
        Key::new("verify_token", ValueType::Reference, "{ env = \"VERIFY_TOKEN\" }").secret().doc(
            "what the provider sends to show that it means this endpoint, if its \
             [handshake](providers.md#handshakes) has that",
        ),
        Key::new("allow_from", ValueType::ListOf(&ValueType::Text), "[\"203.0.113.0/24\"]")
            .absence("everyone")
            .doc(
                "networks that may send, such as `\"203.0.113.0/24\"`, or single \
                 addresses; all others get 403",
            ),
        Key::new("duplicates", ValueType::OneOf(&["suppress", "keep"]), "\"suppress\"")
            .absence("`\"suppress\"`, with few [exceptions](providers.md)")
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
        Key::new(
            "backfill",
            ValueType::Table("backfill", backfill::KEYS),
            "{ token = { env = \"GITHUB_TOKEN\" }, hook = \"repos/OWNER/REPOSITORY/hooks/123\", \
             url = \"https://api.github.com\", every = \"5 min\" }",
        )
        .doc("asks the provider for [what never arrived](backfill.md): GitHub, GitLab and Stripe"),
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
    /// The URL by which the provider knows it, without a query.
    pub(crate) public_url: Option<String>,
    /// Any of them may have signed.
    pub secrets: Vec<Secret>,
    /// The same, made ready to verify with.
    pub(crate) keys: Vec<wilco::Key>,
    /// What the provider sends to show that it means this endpoint.
    pub(crate) verify_token: Option<Secret>,
    /// The file for the secret that the provider brings.
    pub(crate) learned_secret: Option<PathBuf>,
    /// Who may send; empty for everybody.
    pub(crate) allow_from: Vec<IpNet>,
    /// What is done about copies.
    pub(crate) duplicates: Duplicates,
    /// When no event comes for so long, something is wrong.
    pub(crate) expect_every: Option<Duration>,
    /// How the provider is asked for what never arrived.
    pub(crate) backfill: Option<Backfill>,
}

impl Source {
    /// The endpoint of a provider, named after it.
    ///
    /// # Errors
    ///
    /// There is no such provider, or a secret is not written as its keys are.
    pub fn new(
        provider: &str,
        path: &str,
        public_url: Option<String>,
        secrets: Vec<Secret>,
    ) -> Result<Self, SourceError> {
        let unknown = || SourceError::Provider(provider.to_owned());
        let name = SourceName::new(provider).map_err(|_| unknown())?;
        let provider = Arc::clone(provider::find(provider).ok_or_else(unknown)?);
        if provider.scheme.signs_url() && public_url.is_none() {
            return Err(SourceError::NoPublicUrl(provider.name.clone()));
        }
        let keys: Result<_, _> = secrets.iter().map(|secret| provider.scheme.key(secret)).collect();
        let duplicates = duplicates_of(&provider, DUPLICATE_WINDOW);
        Ok(Self {
            name,
            provider,
            path: path.into(),
            public_url,
            keys: keys?,
            verify_token: None,
            learned_secret: None,
            secrets,
            allow_from: Vec::new(),
            duplicates,
            expect_every: None,
            backfill: None,
        })
    }
}

impl Source {
    /// The URL by which the provider knows the endpoint, with the query of a request. `None` if nobody said which
    /// that is.
    pub(crate) fn known_url(&self, query: Option<&str>) -> Option<String> {
        let url = self.public_url.as_ref()?;
        Some(query.map_or_else(|| url.clone(), |query| format!("{url}?{query}")))
    }

    /// The secret that signs test events, or why none can.
    pub(crate) fn test_secret(&self, now: Timestamp) -> Result<&Secret, String> {
        let Self { name, provider, .. } = self;
        let secret = self.secrets.first();
        let secret = secret.ok_or_else(|| format!("source {name} has no secret yet"))?;
        match provider.can_sign(secret, now) {
            true => Ok(secret),
            false => Err(format!(
                "only {} itself can sign its requests, so send a test event from there",
                provider.title
            )),
        }
    }

    /// The name of the secret that the provider brought: that of its file.
    pub(crate) fn learned_name(path: &Path) -> String {
        format!("file:{}", path.display())
    }

    /// The secret that the provider brought, if it did so already.
    pub(crate) fn learned(&self) -> Option<&Secret> {
        let name = Self::learned_name(self.learned_secret.as_ref()?);
        self.secrets.iter().find(|secret| secret.name() == name)
    }

    /// Takes the secret that the provider brought from its file, if it is there.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not a secret of this provider.
    pub(crate) fn read_learned(&mut self) -> Result<(), String> {
        let Some(path) = self.learned_secret.as_ref().filter(|_| self.learned().is_none()) else {
            return Ok(());
        };
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        };
        let secret = Secret::new(Self::learned_name(path), bytes).map_err(|why| why.to_string())?;
        let key = self.provider.scheme.key(&secret).map_err(|why| why.to_string())?;
        self.learn(secret, key);
        Ok(())
    }

    /// Accepts what is signed with this secret, in place of one that the provider brought before.
    pub(crate) fn learn(&mut self, secret: Secret, key: wilco::Key) {
        self.secrets.retain(|known| known.name() != secret.name());
        self.keys.retain(|known| known.name() != key.name());
        self.secrets.push(secret);
        self.keys.push(key);
    }
}

/// Why there can be no such source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No provider has this name.
    #[error("unknown provider {0:?}")]
    Provider(String),
    /// The provider signs the URL that it calls, and nobody said which one that is.
    #[error("provider {0:?} signs the URL that it calls; say which one it was given: public_url")]
    NoPublicUrl(String),
    /// A secret is not written as the provider writes its keys.
    #[error("{0}")]
    Key(#[from] wilco::KeyError),
}

/// What is done with duplicates unless the file says it.
fn duplicates_of(provider: &Provider, window: Duration) -> Duplicates {
    match provider.keeps_duplicates() {
        true => Duplicates::Keep,
        false => Duplicates::Suppress { window },
    }
}

pub(super) fn read(keys: &mut TableReader<'_>, providers: &Providers) -> Unresolved<Source> {
    let name = read_name(keys);
    let text = keys.text("provider");
    let provider = text.as_ref().and_then(|text| providers.find(text.text)).map(Arc::clone);
    if let Some(text) = text.filter(|text| !providers.is_known(text.text)) {
        let message = format!("unknown provider {:?}", text.text);
        let near = nearest(text.text, providers.names());
        let hint = near.map(|near| format!("did you mean {near:?}?"));
        let hint = hint.unwrap_or_else(|| "`wilco providers` lists those that it knows".into());
        keys.error_at(&text, message, &hint);
    }
    let path = keys.parse("path", url_path);
    let secrets = keys.references("secrets");
    let public_url = keys.parse("public_url", public_url);
    let verify_token = keys.reference("verify_token");
    let learned_secret = keys.parse("learned_secret", |path| Ok(PathBuf::from(path)));
    require_what_it_needs(keys, provider.as_deref());
    if let Some(provider) = &provider {
        warn_about_unused(keys, provider);
    }
    let allow_from = keys.parse_list("allow_from", network).unwrap_or_default();
    let window = keys.parse("duplicate_window", duration).unwrap_or(DUPLICATE_WINDOW);
    let duplicates = [("suppress", Duplicates::Suppress { window }), ("keep", Duplicates::Keep)];
    let duplicates = keys.one_of("duplicates", &duplicates);
    let expect_every = keys.parse("expect_every", duration);
    let backfill = keys.table("backfill", |keys| backfill::read(keys, provider.as_deref()));
    Unresolved::new(move |table| {
        let secrets = find_secrets(table, &secrets.unwrap_or_default());
        let provider = provider?;
        let keys = keys_of(table, &provider, &secrets);
        let of_provider = duplicates_of(&provider, window);
        let mut source = Source {
            name: name?,
            provider,
            path: path?,
            public_url,
            secrets,
            keys,
            verify_token: verify_token.and_then(|token| token.secret(table)),
            learned_secret,
            allow_from,
            duplicates: duplicates.unwrap_or(of_provider),
            expect_every,
            backfill: backfill.and_then(|backfill| backfill.resolve(table)),
        };
        if let Err(why) = source.read_learned() {
            let hint = "remove the file, and register the webhook again";
            table.error_about("learned_secret", why, hint);
        }
        Some(source)
    })
}

fn read_name(keys: &TableView<'_>) -> Option<SourceName> {
    let name = SourceName::new(keys.name());
    if let Err(error) = &name {
        keys.error_here(&error.to_string(), "such as [source.freispace]");
    }
    if keys.name() == ALERTS {
        keys.error_here("the source wilco is wilco's own", "give this one another name");
    }
    name.ok()
}

/// Reports what is missing for the way in which this provider signs.
fn require_what_it_needs(keys: &mut TableReader<'_>, provider: Option<&Provider>) {
    if provider.is_some_and(|provider| provider.scheme.signs_url()) {
        let hint = "the URL that the provider was given, because it signs that: \
                    public_url = \"https://hooks.example.com/webhook\"";
        keys.require_with_hint("public_url", hint);
    }
    let is_learned = provider.is_some_and(Provider::teaches_secret);
    if !is_learned {
        keys.require("secrets");
    } else if !keys.contains("secrets") {
        keys.require("learned_secret");
    }
}

fn find_secrets(table: &TableView<'_>, secrets: &[Reference]) -> Vec<Secret> {
    let secrets = secrets.iter().flat_map(|reference| {
        // In this order, because a change of secrets ends by renaming the next file to the current one:
        // whatever the moment, the new secret is read from one of them.
        let next = reference.next().and_then(|next| next.secret(table));
        [reference.secret(table), next]
    });
    secrets.flatten().collect()
}

/// The secrets as keys of the provider.
fn keys_of(table: &TableView<'_>, provider: &Provider, secrets: &[Secret]) -> Vec<wilco::Key> {
    let hint = "copy it again from the provider's page";
    let keys = secrets.iter().filter_map(|secret| {
        let key = provider.scheme.key(secret);
        key.map_err(|error| table.error_about("secrets", error.to_string(), hint)).ok()
    });
    keys.collect()
}

/// Checks the URL by which a provider knows an endpoint. The query is that of each request.
pub(crate) fn public_url(text: &str) -> Result<String, String> {
    let uri = url(text)?;
    match uri.query().is_some() || text.contains('#') {
        true => {
            Err("invalid public_url: the query is that of each request, so leave it out".into())
        }
        false => Ok(text.to_owned()),
    }
}

/// Warns about keys for handshakes that this provider does not make.
fn warn_about_unused(keys: &TableView<'_>, provider: &Provider) {
    let name = &provider.title;
    if keys.contains("learned_secret") && !provider.teaches_secret() {
        let message = format!("{name} brings no secret");
        keys.warn_about("learned_secret", message, "remove it");
    }
    match (provider.has_verify_token(), keys.contains("verify_token")) {
        (true, false) => keys.warn_here(
            &format!("{name} checks the endpoint with a token, and there is none"),
            "verify_token = { env = \"VERIFY_TOKEN\" }, with what the provider was given",
        ),
        (false, true) => {
            let message = format!("{name} sends no verify_token");
            keys.warn_about("verify_token", message, "remove it");
        }
        _ => {}
    }
}
