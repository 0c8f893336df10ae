//! `backfill` of a source: how its provider is asked for what never arrived.

use std::{net::IpAddr, time::Duration};

use wilco::{Provider, Secret};
use wilco_config::{Key, Reference, TableReader, TableView, ValueType, duration, url};

pub(super) static KEYS: &[Key] = &[
    Key::new("token", ValueType::Reference, "{ env = \"GITHUB_TOKEN\" }")
        .required()
        .secret()
        .doc("what the provider's API accepts: a token of GitHub or GitLab, a secret or restricted key of Stripe"),
    Key::new("hook", ValueType::Text, "\"repos/OWNER/REPOSITORY/hooks/123\"")
        .absence("required for GitHub and GitLab")
        .doc("the webhook, as the API names it: `repos/OWNER/REPOSITORY/hooks/ID` or `orgs/ORGANISATION/hooks/ID` of GitHub, `projects/ID/hooks/ID` or `groups/ID/hooks/ID` of GitLab"),
    Key::new("url", ValueType::Text, "\"https://github.example.com/api/v3\"")
        .absence("the provider's")
        .doc("where the API is, if you run the server yourself; `http` only on loopback"),
    Key::new("every", ValueType::Duration, "\"5 min\"")
        .default("\"5 min\"")
        .doc("how often the provider is asked, 10 seconds or more"),
];

/// How the provider of a source is asked for what never arrived.
#[derive(Clone, Debug)]
pub(crate) struct Backfill {
    pub(crate) api: ProviderApi,
    /// Where the API is, without a slash at the end.
    pub(crate) url: String,
    pub(crate) token: Secret,
    pub(crate) every: Duration,
}

/// The API of a provider that knows what it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProviderApi {
    /// The webhook, such as `repos/OWNER/REPOSITORY/hooks/123`.
    GitHub {
        hook: String,
    },
    /// The webhook, such as `projects/42/hooks/123`.
    GitLab {
        hook: String,
    },
    Stripe,
}

/// The table as the file has it.
pub(super) struct BackfillInFile {
    api: Option<ProviderApi>,
    url: Option<String>,
    token: Option<Reference>,
    every: Duration,
}

impl BackfillInFile {
    pub(super) fn resolve(self, table: &TableView<'_>) -> Option<Backfill> {
        let Self { api, url, token, every } = self;
        let (api, token) = (api?, token?.secret(table)?);
        let usual = match api {
            ProviderApi::GitHub { .. } => "https://api.github.com",
            ProviderApi::GitLab { .. } => "https://gitlab.com/api/v4",
            ProviderApi::Stripe => "https://api.stripe.com",
        };
        let url = url.as_deref().unwrap_or(usual).trim_end_matches('/').to_owned();
        Some(Backfill { api, url, token, every })
    }
}

pub(super) fn read(keys: &mut TableReader<'_>, provider: Option<&Provider>) -> BackfillInFile {
    let token = keys.reference("token");
    let name = provider.map(|provider| provider.name.as_str());
    let hook = keys.parse("hook", |text| match name {
        Some("gitlab") => gitlab_hook(text),
        _ => github_hook(text),
    });
    let url = keys.parse("url", api_url);
    let every = keys.parse("every", |text| match duration(text)? {
        every if every < EVERY_MIN => Err("every is shorter than 10 s".into()),
        every => Ok(every),
    });
    let api = match name {
        Some("github") => {
            keys.require("hook");
            hook.map(|hook| ProviderApi::GitHub { hook })
        }
        Some("gitlab") => {
            keys.require("hook");
            hook.map(|hook| ProviderApi::GitLab { hook })
        }
        Some("stripe") => {
            if keys.contains("hook") {
                let hint = "remove it: the events of the account are listed";
                keys.error_about("hook", "Stripe has no hook".into(), hint);
            }
            Some(ProviderApi::Stripe)
        }
        Some(other) => {
            let message = format!("wilco cannot ask {other} for what never arrived");
            keys.error_here(
                &message,
                "remove backfill: only github, gitlab and stripe can be asked",
            );
            None
        }
        None => None,
    };
    BackfillInFile { api, url, token, every: every.unwrap_or(EVERY) }
}

fn github_hook(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split('/').collect();
    let id = match parts.as_slice() {
        ["repos", owner, repository, "hooks", id] if is_name(owner) && is_name(repository) => id,
        ["orgs", organisation, "hooks", id] if is_name(organisation) => id,
        _ => "",
    };
    match !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err(format!("invalid hook {text:?}")),
    }
}

fn gitlab_hook(text: &str) -> Result<String, String> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split('/').collect::<Vec<_>>().as_slice() {
        ["projects" | "groups", owner, "hooks", id] if is_number(owner) && is_number(id) => {
            Ok(text.to_owned())
        }
        _ => Err(format!("invalid hook {text:?}")),
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(is_part)
}

/// The token is sent there, so only an encrypted connection will do.
fn api_url(text: &str) -> Result<String, String> {
    let uri = url(text)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if uri.query().is_some() || text.contains('#') {
        return Err("invalid url: it has a query".into());
    }
    match uri.scheme_str() == Some("https") || is_here {
        true => Ok(text.to_owned()),
        false => Err("invalid url: the token would be sent without encryption".into()),
    }
}

/// How often a provider is asked, unless `every` says otherwise.
const EVERY: Duration = Duration::from_secs(300);
const EVERY_MIN: Duration = Duration::from_secs(10);
