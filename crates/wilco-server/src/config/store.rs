//! `[store]`: where events are recorded.

use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use wilco_config::{
    Form, Key, Table, TableReader, TableView, ValueType, folder_of, format_size, size,
};
use wilco_store::SqliteStore;

use super::first_changed;

pub(super) static TABLE: Table = Table {
    name: "store",
    form: Form::Single,
    without: None,
    keys: &[
        Key::new("url", ValueType::Text, "\"sqlite:wilco.db\"")
            .default("\"sqlite:wilco.db\"")
            .secret()
            .doc("`sqlite:` and a path, from the working folder"),
        Key::new("reserve", ValueType::Size, "\"256 MiB\"")
            .default("\"256 MiB\"")
            .doc("free space of the file system below which nothing is recorded"),
    ],
};

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `sqlite:` and a path.
    pub url: String,
    /// Free space, in bytes, below which nothing is recorded.
    pub reserve: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: STORE_URL.into(), reserve: RESERVE_BYTES }
    }
}

impl Store {
    /// The first key in which the other one differs. A reload can change none: the store stays open.
    pub(super) fn restart_for(&self, other: &Self) -> Option<&'static str> {
        let Self { url, reserve } = self;
        first_changed([
            ("[store] url", *url == other.url),
            ("[store] reserve", *reserve == other.reserve),
        ])
    }
}

pub(super) fn read(keys: &mut TableReader<'_>) -> Store {
    let url = keys.parse("url", |text| {
        // The error is not shown: the url may have a password.
        let wrong = |_| "the store url is not understood; write sqlite:PATH".to_owned();
        SqliteStore::path(text).map_err(wrong)?;
        Ok(text.to_owned())
    });
    let reserve = keys.parse("reserve", size).unwrap_or(RESERVE_BYTES);
    Store { url: url.unwrap_or_else(|| STORE_URL.into()), reserve }
}

/// Warns where the store that was read would not record.
pub(super) fn warn(file: &TableView<'_>, store: &Store) {
    let remark = SqliteStore::path(&store.url).ok();
    let remark = remark.and_then(|path| trouble(&path, store.reserve));
    if let Some((message, hint)) = remark {
        file.warn_about("store", message, &hint);
    }
}

/// What keeps a store at this path from recording: a message and a hint.
fn trouble(path: &Path, reserve_bytes: u64) -> Option<(String, String)> {
    let folder = folder_of(path);
    let shown = folder.display();
    if !folder.is_dir() {
        let message = format!("the folder of the store, {shown}, is not there");
        return Some((message, format!("mkdir -p {shown}, as the user that runs wilco")));
    }
    if access(folder, Access::WRITE_OK).is_err() {
        let message = format!("the folder of the store, {shown}, cannot be written by this user");
        return Some((
            message,
            format!("chown it to the user that runs wilco: chown USER {shown}"),
        ));
    }
    let disk = statvfs(folder).ok()?;
    let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
    (free_bytes < reserve_bytes).then(|| {
        let reserve = format_size(reserve_bytes);
        let message = format!(
            "the disk of the store has {} MiB of free space, less than the reserve of {reserve}: \
             every event would be refused with 503",
            free_bytes >> 20
        );
        (message, "free some space, or set reserve in [store], such as reserve = \"64 MiB\"".into())
    })
}

/// Where events are recorded, unless `url` says otherwise.
const STORE_URL: &str = "sqlite:wilco.db";

/// Free space, in bytes, below which nothing is recorded, unless `reserve` says otherwise.
const RESERVE_BYTES: u64 = 256 << 20;
