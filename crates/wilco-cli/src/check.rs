//! `wilco check`: reports all errors and warnings about the configuration at once.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Args;
use wilco::counted;
use wilco_server::{
    config::{self, Config, Tls},
    service::{CheckedDestination, KINDS, certificate_plan, check_destinations},
};

use super::{
    Column, ConfigArgs, Failure, Screen, Table, certificate_for_file, check_directory, draw,
    is_coloured, print,
};

/// Check the configuration and what it names: secrets, certificates, programs, rules
///
/// Exits with 0 if the file can be used, and with 78 otherwise. Warnings count only with --strict.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigArgs,

    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,

    /// Check also that each destination can be reached, without sending an event, and the authority
    /// that issues the certificate
    ///
    /// Exits with 1 if one of them cannot.
    #[arg(long)]
    connect: bool,
}

impl Check {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let path = self.config.required()?;
        let (config, warnings) = config::load(&path, KINDS)?;
        let (_, warnings) = certificate_for_file(&config, warnings)?;
        io::stderr().write_all(draw(&warnings, is_coloured(&io::stderr())).as_bytes())?;
        if self.strict && !warnings.list().is_empty() {
            return Ok(ExitCode::from(78));
        }
        print(&format!(
            "{} is {}: {}, {}, {}\n",
            path.display(),
            match warnings.list().len() {
                0 => "fine".into(),
                number => format!("usable, with {}", counted(number, "warning", "warnings")),
            },
            counted(config.sources.len(), "source", "sources"),
            counted(config.destinations.len(), "destination", "destinations"),
            counted(config.routes.len(), "route", "routes"),
        ))?;
        if let Some(plan) = certificate_plan(&config) {
            print(&format!("{plan}\n"))?;
        }
        match self.connect {
            true => connect(&config).await,
            false => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Checks each destination and the certificate authority, and prints a line about each.
async fn connect(config: &Config) -> Result<ExitCode, Failure> {
    let mut checked = check_destinations(config).await;
    if let Tls::Acme(acme) = &config.listen.tls {
        let result = check_directory(acme).await.map(|()| acme.directory.clone());
        let result = result.map_err(|why| format!("{}: {why}", acme.directory));
        checked.push(CheckedDestination { name: "[listen]".into(), kind: "acme", result });
    }
    if checked.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let has_failed = checked.iter().any(|destination| destination.result.is_err());
    let cells = checked.into_iter().map(|CheckedDestination { name, kind, result }| {
        let (state, what) = match result {
            Ok(what) => ("ok", what),
            Err(why) => ("failed", why),
        };
        vec![name, kind.into(), state.into(), what]
    });
    let columns = [
        Column::name("destination"),
        Column::text("type", 7),
        Column::state("state", 6),
        Column::wrapped("result", 24),
    ];
    print(&Table::new(columns, Screen::stdout()).draw(&cells.collect::<Vec<_>>()))?;
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
