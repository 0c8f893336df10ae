//! `wilco reload`: asks the running server to read its file again.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};

use super::{Failure, File, Server, detail, print};

/// Has the running wilco read its configuration again
///
/// The file is checked whole. It is taken at once, or refused with the reason while the old one
/// stays in force.
#[derive(Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    file: File,
}

impl Reload {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let server = Server::find(&self.file, &self.file.places()?)?;
        let answer = server.ask(Method::POST, "/api/v1/reload", Bytes::new()).await?;
        if answer.status != StatusCode::NO_CONTENT {
            let why = detail(&answer);
            return Err(Failure::configuration(match why.ends_with('\n') {
                true => format!("{why}wilco: the old configuration stays\n"),
                false => format!("{why}; the old configuration stays"),
            }));
        }
        print("reloaded\n")?;
        Ok(ExitCode::SUCCESS)
    }
}
