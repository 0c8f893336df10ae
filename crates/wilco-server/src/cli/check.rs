//! `wilco check`: every fault of the file, at once.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, File, print};
use crate::inbound::Certificate;

/// Checks the configuration, and all that it names: secrets, certificates, commands, rules
///
/// Exits with 0 where all is well and with 78 otherwise.
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: File,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let config = self.file.load()?;
        Certificate::load(&config.listen.tls)
            .map_err(|error| Failure::configuration(error.to_string()))?;
        let path = self.file.find().unwrap_or_default();
        let count = |number: usize, word: &str| match number {
            1 => format!("1 {word}"),
            number => format!("{number} {word}s"),
        };
        print(&format!(
            "{} is fine: {}, {}, {}\n",
            path.display(),
            count(config.sources.len(), "source"),
            count(config.destinations.len(), "destination"),
            count(config.routes.len(), "route"),
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
