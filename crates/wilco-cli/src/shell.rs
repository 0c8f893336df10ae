//! `wilco completions` and `wilco man`: generated from the same definitions as `--help`.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _};

use super::{Cli, Failure, print};

/// Print a completion script for a shell
///
/// For bash: wilco completions bash > /etc/bash_completion.d/wilco
#[derive(Args)]
pub(crate) struct Completions {
    /// bash, zsh, fish, elvish or powershell
    #[arg(hide_possible_values = true)]
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "wilco", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Print the manual page, or write one for each command
#[derive(Args)]
pub(crate) struct Man {
    /// Write wilco.1, wilco-serve.1 and so on into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.dir {
            Some(folder) => clap_mangen::generate_to(Cli::command(), &folder).map_err(|error| {
                let folder = folder.display();
                Failure::failed(format!("cannot write manual pages into {folder}: {error}"))
            })?,
            None => {
                let mut page = Vec::new();
                render(&mut page)?;
                print(&String::from_utf8_lossy(&page))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn render(page: &mut Vec<u8>) -> io::Result<()> {
    let each = "Each command has its own page: write them all with wilco man --dir FOLDER, or run wilco COMMAND \
                --help.";
    clap_mangen::Man::new(Cli::command().after_long_help(each)).render(page)
}
