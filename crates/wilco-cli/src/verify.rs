//! `wilco verify`: checks the signature of one request.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use wilco::{Provider, SourceName, provider, verify};

use super::{
    Failure, did_you_mean, print,
    request::{NO_SECRET, RequestArgs},
    visible,
};

/// Check the signature of one request, with the code of the endpoint
///
/// Exits with 0 if it is valid, and with 1 if not. It needs no configuration and no running wilco.
#[derive(Args)]
pub(crate) struct Verify {
    /// Who sent it: a name that `wilco providers` lists
    #[arg(long, value_name = "NAME")]
    provider: String,
    #[command(flatten)]
    request: RequestArgs,
}

impl Verify {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let provider = find_provider(&self.provider)?;
        let secrets = self.request.secrets()?;
        if secrets.is_empty() {
            return Err(Failure::usage(NO_SECRET));
        }
        let keys: Result<Vec<_>, _> =
            secrets.iter().map(|secret| provider.scheme.key(secret)).collect();
        let keys = keys.map_err(|error| Failure::failed(error.to_string()))?;
        let source =
            SourceName::new("verified").map_err(|error| Failure::failed(error.to_string()))?;
        let verified = match verify(&provider.scheme, &source, &keys, self.request.arrival()?) {
            Ok(verified) => verified,
            Err(refused) => {
                print(&format!("not valid: {}\n", refused.mismatch))?;
                super::note("`wilco explain` with the same arguments looks for the reason");
                return Ok(ExitCode::FAILURE);
            }
        };
        let secret = verified.secret_name();
        let line = match provider.envelope(&verified) {
            Ok(envelope) => {
                let about =
                    envelope.subject.map(|subject| format!(" about {subject}")).unwrap_or_default();
                format!("valid: signed with {secret}; the event is {}{about}", envelope.name)
            }
            Err(error) => {
                format!("valid: signed with {secret}; but as an event it would be refused: {error}")
            }
        };
        print(&format!("{}\n", visible(&line)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The provider of this name.
pub(crate) fn find_provider(name: &str) -> Result<&'static Provider, Failure> {
    provider::find(name).map(Arc::as_ref).ok_or_else(|| {
        let near = did_you_mean(name, provider::all().iter().map(|known| known.name.as_str()));
        let hint = if near.is_empty() { "; `wilco providers` lists them" } else { &near };
        Failure::usage(format!("provider {name} not found{hint}"))
    })
}
