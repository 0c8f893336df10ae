//! `wilco check`: reports all errors and warnings about the configuration at once.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Args;
use wilco_server::{config, service::KINDS};

use super::{Failure, File, certificate_for_file, draw, is_coloured, print};

/// Check the configuration and what it names: secrets, certificates, programs, rules
///
/// Exits with 0 if the file can be used, and with 78 otherwise. Warnings count only with --strict.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    file: File,

    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let path = self.file.required()?;
        let (config, warnings) = config::load(&path, KINDS)?;
        let (_, warnings) = certificate_for_file(&config, warnings)?;
        io::stderr().write_all(draw(&warnings, is_coloured(&io::stderr())).as_bytes())?;
        if self.strict && !warnings.list().is_empty() {
            return Ok(ExitCode::from(78));
        }
        let count = |number: usize, word: &str| match number {
            1 => format!("1 {word}"),
            number => format!("{number} {word}s"),
        };
        print(&format!(
            "{} is {}: {}, {}, {}\n",
            path.display(),
            match warnings.list().len() {
                0 => "fine".into(),
                number => format!("usable, with {}", count(number, "warning")),
            },
            count(config.sources.len(), "source"),
            count(config.destinations.len(), "destination"),
            count(config.routes.len(), "route"),
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
