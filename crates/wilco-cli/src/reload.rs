//! `wilco reload`: makes the running server read its configuration again.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};

use super::{ConfigArgs, Failure, Server, print, refusal};

/// Apply a changed configuration file to the running wilco
///
/// The file is checked as a whole, then applied at once, or refused with the reason while the old
/// configuration stays in use.
#[derive(Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Reload {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        reload(&Server::find(&self.config.places()?)?).await?;
        print("reloaded\n")?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(crate) async fn reload(server: &Server) -> Result<(), Failure> {
    let answer = server.ask(Method::POST, "/api/v1/reload", Bytes::new()).await?;
    if answer.status == StatusCode::NO_CONTENT {
        return Ok(());
    }
    let failure = refusal(answer.status, &answer.body);
    let text = match failure.text.ends_with('\n') {
        true => format!("{}wilco: the old configuration stays in use\n", failure.text),
        false => format!("{}; the old configuration stays in use", failure.text),
    };
    Err(Failure { text, ..failure })
}
