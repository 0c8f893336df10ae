//! `wilco backup`: copies the store, also while wilco runs.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use wilco_store::SqliteStore;

use super::{ConfigArgs, Failure, print, require_store};

/// Write a consistent copy of the store to a new file
///
/// wilco may keep running. The copy is checked and synced, and has mode 0600. To restore it, stop
/// wilco, remove the store with its -wal and -shm files, and put the copy in its place.
#[derive(Args)]
pub(super) struct Backup {
    #[command(flatten)]
    config: ConfigArgs,
    /// Store to copy [default: the store of the configuration]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// File to write; it must not exist yet
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

impl Backup {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let is_named = self.store.is_some();
        let url = match self.store {
            Some(url) => url,
            None => self.config.places()?.store.url,
        };
        require_store(SqliteStore::path(&url)?, is_named, "")?;
        let bytes = SqliteStore::back_up(&url, &self.to).map_err(Failure::failed)?;
        print(&format!("copied {url} to {}: {bytes} bytes\n", self.to.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
