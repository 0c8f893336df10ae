//! Where requests go, and what signs them.

use http::Uri;
use wilco::Secret;
use wilco_server::config::{self, Address, Config};

use super::Send;
use crate::Failure;

/// The URL that requests go to, and the secret that signs them.
pub(super) struct Target {
    pub(super) url: Uri,
    pub(super) secret: Secret,
}

impl Target {
    pub(super) fn of(send: &Send) -> Result<Self, Failure> {
        let from_env = |name: &str| Secret::from_env(name).map_err(Failure::configuration);
        let named = send.secret_env.as_deref();
        let (url, configured) = match (&send.to, send.config.find()) {
            (Some(url), _) => (url.clone(), None),
            (None, None) => (Uri::from_static(URL_WITHOUT_FILE), None),
            (None, Some(_)) => {
                let config = send.config.load()?;
                let (url, secret) = endpoint(&config)?;
                (url, Some(secret))
            }
        };
        let secret = match (named, configured) {
            (Some(name), _) => from_env(name)?,
            (None, Some(secret)) => secret,
            (None, None) => from_env("FREISPACE_SECRET")?,
        };
        Ok(Self { url, secret })
    }
}

/// The URL and secret of the only source in a configuration.
fn endpoint(config: &Config) -> Result<(Uri, Secret), Failure> {
    let [source] = config.sources.as_slice() else {
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        let text = match names.as_slice() {
            [] => "the configuration has no source; name a URL with --to".to_owned(),
            names => format!(
                "the configuration has several sources: {}; choose one with --to URL and --secret-env NAME",
                names.join(", ")
            ),
        };
        return Err(Failure::usage(text));
    };
    let Some(secret) = source.secrets.first() else {
        let text = format!("the source {} has no secret; name one with --secret-env", source.name);
        return Err(Failure::usage(text));
    };
    let tcp = config.listen.addresses.iter().find_map(|address| match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    });
    let Some(mut address) = tcp else {
        let place = match config.listen.addresses.is_empty() {
            true => "on the sockets that systemd opens, whose addresses are not in it",
            false => "on a Unix socket",
        };
        let text = format!("the configuration listens only {place}; name a URL with --to");
        return Err(Failure::usage(text));
    };
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let scheme = if config.listen.tls == config::Tls::Off { "http" } else { "https" };
    let url = config::url(&format!("{scheme}://{address}{}", source.path));
    Ok((url.map_err(Failure::usage)?, secret.clone()))
}

const URL_WITHOUT_FILE: &str = "https://127.0.0.1:8443/webhook";
