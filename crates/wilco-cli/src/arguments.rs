//! Arguments that several verbs have: the configuration, the store, and the form of a listing.

use std::{io::ErrorKind, path::PathBuf};

use clap::Args;
use wilco_server::{
    config::{self, Config, Outline, Places},
    service::KINDS,
};

use super::{Failure, Times, note};

/// Which configuration to use.
#[derive(Args, Clone)]
pub(crate) struct ConfigArgs {
    /// Configuration file [default: ./wilco.toml, else /etc/wilco/wilco.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The file that is used, if there is one.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        config::find(self.config.as_deref())
    }

    /// As [`find`](Self::find), but fails if there is none.
    pub(crate) fn required(&self) -> Result<PathBuf, Failure> {
        self.find().ok_or_else(|| {
            let text = "no wilco.toml found here or in /etc/wilco; `wilco init` writes one";
            Failure::configuration(text)
        })
    }

    pub(crate) fn load(&self) -> Result<Config, Failure> {
        Ok(config::load(&self.required()?, KINDS)?.0)
    }

    pub(crate) fn places(&self) -> Result<Places, Failure> {
        Ok(config::places(self.find().as_deref(), KINDS)?)
    }

    pub(crate) fn outline(&self) -> Result<Outline, Failure> {
        Ok(config::outline(&self.required()?, KINDS)?)
    }
}

/// Which store to use, and how to show what is in it.
#[derive(Args)]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Store to use: ask the wilco that runs on it, else open it [default: the store of the
    /// configuration]
    #[arg(long = "store", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Show times in UTC [default: local time]
    #[arg(long)]
    utc: bool,
}

impl StoreArgs {
    pub(crate) fn times(&self) -> Times {
        Times::new(self.utc)
    }
}

/// In which form to print a listing, and how much of it.
#[derive(Args)]
pub(crate) struct ListingArgs {
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = count)]
    limit: usize,
    /// Show all of them
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl ListingArgs {
    pub(crate) fn items_max(&self) -> usize {
        if self.all { usize::MAX } else { self.limit }
    }

    /// Leaves out rows that are too many, and answers whether there were any.
    pub(crate) fn shorten<T>(&self, rows: &mut Vec<T>) -> bool {
        let has_more = rows.len() > self.items_max();
        rows.truncate(self.items_max());
        has_more
    }

    /// Says that there are more than were listed. JSON is for programs, which count.
    pub(crate) fn note_more(&self, listed: usize) {
        if !self.json && listed > 0 {
            let more = listed.saturating_mul(2);
            note(&format!("there are more: --limit {more} lists {more}, --all lists all"));
        }
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number, such as 50".into())
}

/// In which form to print one thing that has a body.
#[derive(Args)]
pub(crate) struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write exactly the bytes of the body and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// Refuses a store that does not exist or cannot be read, because SQLite does not say why it cannot
/// open a file.
pub(crate) fn require_store(path: PathBuf, is_named: bool, before: &str) -> Result<(), Failure> {
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(Failure::not_permitted(&format!("cannot open {}: {error}", path.display())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let shown = std::path::absolute(&path).unwrap_or(path);
            let shown = shown.display();
            Err(Failure::failed(if is_named {
                format!("store {shown} not found; is --store misspelt?")
            } else {
                format!(
                    "{before}store {shown} not found: name it with --store or the file with \
                     --config, or run this in the folder of wilco.toml"
                )
            }))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}
