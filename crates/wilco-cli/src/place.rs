//! Where the record is: the arguments that name it, and why it may not be there.

use std::{io::ErrorKind, path::PathBuf};

use clap::Args;
use wilco_store::OpenError;

use super::{Failure, File, Times};

/// Where the record is.
#[derive(Args)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) file: File,
    /// The store to use: the wilco that runs on it is asked, else it is opened [default: the store of
    /// the configuration]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Shows times in UTC [default: local time]
    #[arg(long)]
    utc: bool,
}

impl Place {
    pub(crate) fn times(&self) -> Times {
        Times::new(self.utc)
    }
}

/// Refuses a store that is not there or may not be read. SQLite does not say why it cannot open a file.
pub(crate) fn require_store(path: PathBuf, is_named: bool, before: &str) -> Result<(), Failure> {
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(not_permitted(&format!("cannot open {}: {error}", path.display())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let shown = std::path::absolute(&path).unwrap_or(path);
            let shown = shown.display();
            Err(Failure::failed(if is_named {
                format!("there is no store {shown}; is --store misspelt?")
            } else {
                format!(
                    "{before}there is no store {shown}: name it with --store or the file with \
                     --config, or run this in the folder of wilco.toml"
                )
            }))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn not_permitted(text: &str) -> Failure {
    let user = rustix::process::geteuid().as_raw();
    let hint = "run this as the user of the service, such as sudo -u wilco";
    Failure::failed(format!("{text}: this is user {user}; {hint}"))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match text.contains("Permission denied") {
            true => not_permitted(&text),
            false => Self::failed(text),
        }
    }
}
