//! `wilco health`: whether the running wilco accepts events, as an exit code for orchestrators.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::Method;

use super::{ConfigArgs, Failure, Server, print, refusal};

/// Check whether the running wilco accepts events
///
/// Exits with 0 if it does, otherwise with 1 and the reason: for health checks of containers.
#[derive(Args)]
pub(crate) struct Health {
    /// Only check whether it answers, even if it accepts no events
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

impl Health {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let server = Server::find(&self.config.places()?)?;
        let path = if self.live { "/livez" } else { "/readyz" };
        let answer = server.ask(Method::GET, path, Bytes::new()).await?;
        if !answer.status.is_success() {
            return Err(refusal(answer.status, &answer.body));
        }
        print(&String::from_utf8_lossy(&answer.body))?;
        Ok(ExitCode::SUCCESS)
    }
}
