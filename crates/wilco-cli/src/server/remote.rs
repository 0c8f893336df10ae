//! Which running wilco a verb is about: one by its URL, or that of the configuration.

use std::{fs, path::PathBuf};

use clap::Args;
use http::Uri;
use wilco::Secret;
use wilco_server::config;

use super::Server;
use crate::{ConfigArgs, Failure};

/// Which running wilco a verb is about.
#[derive(Args)]
pub(crate) struct RemoteArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// URL of the admin listener of a wilco [default: the wilco of the configuration]
    #[arg(long, value_name = "URL", value_parser = config::url)]
    from: Option<Uri>,
    /// Environment variable with a token for --from; that of readers is enough [default:
    /// WILCO_READER_TOKEN]
    #[arg(long, value_name = "NAME", requires = "from")]
    token_env: Option<String>,
    /// File with a token for --from
    #[arg(long, value_name = "FILE", requires = "from", conflicts_with = "token_env")]
    token_file: Option<PathBuf>,
}

impl RemoteArgs {
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        match &self.from {
            Some(from) => Server::at(from, self.token()?),
            None => Server::find(&self.config.places()?),
        }
    }

    fn token(&self) -> Result<Secret, Failure> {
        if let Some(path) = &self.token_file {
            let name = path.display().to_string();
            let bytes = fs::read(path);
            let bytes =
                bytes.map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
            return Secret::new(name, bytes).map_err(Failure::configuration);
        }
        Secret::from_env(self.token_env.as_deref().unwrap_or(TOKEN_ENV)).map_err(|error| {
            let hint = "name another variable with --token-env, or a file with --token-file";
            Failure::configuration(format!("{error}; {hint}"))
        })
    }
}

const TOKEN_ENV: &str = "WILCO_READER_TOKEN";
