//! What the service does to the machine besides using the network: where it writes, and whether it starts programs.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use wilco_config::folder_of;
use wilco_store::SqliteStore;

use super::{Address, Config};

impl Config {
    /// The folders in which the service makes, changes or removes files.
    pub fn written_folders(&self) -> BTreeSet<PathBuf> {
        let store = SqliteStore::path(&self.store.url).ok();
        let admin = self.admin.iter().map(|admin| &admin.address);
        let sockets =
            self.listen.addresses.iter().chain(admin).filter_map(|address| match address {
                Address::Unix(path) => Some(path.as_path()),
                _ => None,
            });
        let learned = self.sources.iter().filter_map(|source| source.learned_secret.as_deref());
        let written =
            self.destinations.iter().filter_map(|destination| destination.settings.written_path());
        let paths = store.as_deref().into_iter().chain(sockets).chain(learned).chain(written);
        paths.map(folder_of).map(Path::to_path_buf).collect()
    }

    /// The first destination that starts programs.
    pub fn program_starter(&self) -> Option<&str> {
        let mut destinations = self.destinations.iter();
        let found = destinations.find(|destination| destination.settings.starts_programs())?;
        Some(&found.name)
    }
}
