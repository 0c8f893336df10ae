//! `wilco freispace register`: creates an endpoint and keeps its secret, which is shown only once.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use http::Uri;
use wilco::{Provider, Secret, provider};
use wilco_server::config::{self, Route};

use super::{Api, ApiArgs, Endpoint, NewEndpoint, SecretFile};
use crate::{Failure, did_you_mean, print};

/// Create an endpoint at freispace, and write its secret to a file
///
/// freispace shows the secret only once. The file is created first, readable for its owner only, and
/// is never overwritten; if the secret cannot be written to it, the endpoint is removed again.
#[derive(Args)]
#[command(group = ArgGroup::new("secret").required(true))]
#[command(override_usage = "wilco freispace register --url <URL> --secret-file <FILE> [OPTIONS]")]
pub(super) struct Register {
    #[command(flatten)]
    api: ApiArgs,

    /// URL that freispace sends to, such as https://hooks.example.com/webhook
    #[arg(long, value_name = "URL", value_parser = endpoint_url)]
    url: Uri,

    /// Events to send, such as booking.*; may be repeated [default: all]
    #[arg(long = "event", value_name = "GLOB")]
    events: Vec<String>,

    /// Text that freispace shows with the endpoint
    #[arg(long, value_name = "TEXT", value_parser = description)]
    description: Option<String>,

    /// File to create for the secret
    #[arg(long, value_name = "FILE", group = "secret")]
    secret_file: Option<PathBuf>,

    /// Print the secret instead
    #[arg(long, group = "secret")]
    show_secret: bool,

    /// Create another endpoint even if there is one with this URL
    #[arg(long)]
    another: bool,
}

impl Register {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let events = matching(&self.events)?;
        let api = self.api.connect()?;
        let url = self.url.to_string();
        if !self.another {
            refuse_second(&api, &url).await?;
        }
        let path = self.secret_file.as_deref().map(std::path::absolute).transpose()?;
        let mut file = path.as_deref().map(SecretFile::create).transpose()?;
        let endpoint = NewEndpoint {
            url: &url,
            description: self.description.as_deref(),
            enabled_events: &events,
        };
        let created = api.create(&endpoint).await?;
        if let Err(why) = keep(&created.secret, file.as_mut()) {
            let removed = api.undo_create(&created.id).await;
            return Err(Failure::failed(format!("{why}; {removed}")));
        }
        let secret = match &path {
            Some(path) => {
                print(&format!("secret written to {}\n", path.display()))?;
                format!("file = {}", serde_json::Value::from(path.display().to_string()))
            }
            None => "env = \"FREISPACE_SECRET\"".into(),
        };
        print(&format!(
            "endpoint {} registered for {} of {} events\n\nIn wilco.toml, unless it has the source \
             already:\n\n[source.freispace]\nprovider = \"freispace\"\npath = {}\nsecrets = [{{ \
             {secret} }}]\n\nThen `wilco check`, and `wilco reload` or `wilco serve`.\n",
            created.id,
            events.len(),
            freispace()?.events().count(),
            serde_json::Value::from(self.url.path()),
        ))
    }
}

/// Writes the secret to the file, or prints it. Nothing else has it, so that an error here means that it
/// is lost.
fn keep(secret: &str, file: Option<&mut SecretFile>) -> Result<(), String> {
    // Refused here, it would be refused by every start of wilco.
    Secret::new("from freispace", secret.into()).map_err(|error| error.to_string())?;
    match file {
        Some(file) => {
            file.write(secret).map_err(|error| format!("cannot write the secret: {error}"))
        }
        None => print(&format!("secret: {secret}\n"))
            .map_err(|failure| format!("cannot print the secret: {}", failure.text)),
    }
}

/// A second endpoint would send every event twice, signed with a secret that wilco does not have yet.
async fn refuse_second(api: &Api, url: &str) -> Result<(), Failure> {
    match api.list().await?.into_iter().find(|endpoint| endpoint.url == url) {
        None => Ok(()),
        Some(Endpoint { id, .. }) => Err(Failure::failed(format!(
            "endpoint {id} has this URL already; to change its secret use `wilco freispace rotate`, \
             to replace it `wilco freispace remove {id}`, and for a second one add --another"
        ))),
    }
}

/// The documented events that match one of the globs; all of them if there is none.
fn matching(globs: &[String]) -> Result<Vec<String>, Failure> {
    let freispace = freispace()?;
    let mut patterns = Vec::new();
    for glob in globs {
        let route = Route::new(glob, Vec::new()).ok_or_else(|| {
            Failure::usage(format!("invalid pattern {glob:?}: such as booking.*"))
        })?;
        // A quote has two names, `quote.*` and `offer.*`.
        let matches = move |name: &str| {
            provider::synonyms("freispace", name).iter().any(|name| route.takes_name(name))
        };
        if !freispace.events().any(&matches) {
            let hint = did_you_mean(glob, freispace.events());
            return Err(Failure::usage(format!("freispace has no event {glob}{hint}")));
        }
        patterns.push(matches);
    }
    let is_wanted = |name: &&str| patterns.is_empty() || patterns.iter().any(|is| is(name));
    Ok(freispace.events().filter(is_wanted).map(str::to_owned).collect())
}

fn freispace() -> Result<&'static Provider, Failure> {
    provider::find("freispace")
        .map(AsRef::as_ref)
        .ok_or_else(|| Failure::failed("this wilco was built without freispace"))
}

fn endpoint_url(text: &str) -> Result<Uri, String> {
    let url = config::url(text)?;
    if url.scheme_str() != Some("https") {
        return Err("freispace sends only to https://".into());
    }
    match text.len() > TEXT_CHARS_MAX {
        true => Err(format!("freispace takes URLs of at most {TEXT_CHARS_MAX} characters")),
        false => Ok(url),
    }
}

fn description(text: &str) -> Result<String, String> {
    match text.chars().count() > TEXT_CHARS_MAX {
        true => Err(format!("freispace takes at most {TEXT_CHARS_MAX} characters")),
        false => Ok(text.into()),
    }
}

/// The longest URL and description that freispace takes.
const TEXT_CHARS_MAX: usize = 255;
