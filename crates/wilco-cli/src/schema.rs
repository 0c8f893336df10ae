//! `wilco schema`: prints the JSON schema of the configuration file, for editors.

use std::process::ExitCode;

use clap::Args;
use wilco_server::{config, service::KINDS};

use super::{Failure, print};

/// Print a JSON schema of the configuration file, for editors
///
/// Editors with a TOML language server complete and check keys with it: write it to a file, and name
/// that in the first line of wilco.toml: #:schema ./wilco.schema.json
#[derive(Args)]
pub(crate) struct PrintSchema {}

impl PrintSchema {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let schema = config::schema(KINDS).to_json_schema("wilco.toml");
        print(&format!("{schema:#}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}
