//! `[store]`: where events are recorded.

use std::{path::Path, time::Duration};

use rustix::fs::{Access, access, statvfs};
use wilco_config::{
    Form, Key, Table, TableReader, TableView, ValueType, duration_or_forever, folder_of,
    format_size, size,
};
use wilco_store::{Retention, SqliteStore};

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
        Key::new("keep_payloads", ValueType::DurationOrForever, "\"30 days\"")
            .default("\"30 days\"")
            .doc(
                "how long headers and bodies of finished events, what attempts put out, and rejected requests \
                 [are kept](store.md#how-long-events-are-kept), or `\"forever\"`",
            ),
        Key::new("keep_records", ValueType::DurationOrForever, "\"180 days\"")
            .default("\"180 days\"")
            .doc(
                "how long the rest of finished events is kept, and what duplicates are detected by; at least \
                 as long as `keep_payloads` and every `duplicate_window`",
            ),
    ],
};

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `sqlite:` and a path.
    pub url: String,
    /// Free space, in bytes, below which nothing is recorded.
    pub reserve: u64,
    /// How long what is finished is kept.
    pub retention: Retention,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: STORE_URL.into(), reserve: RESERVE_BYTES, retention: RETENTION }
    }
}

impl Store {
    /// The first key that a reload cannot change, because the store stays open, and in which the other one differs.
    pub(super) fn restart_for(&self, other: &Self) -> Option<&'static str> {
        let Self { url, reserve, retention: _ } = self;
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
    let payloads = keys.parse("keep_payloads", duration_or_forever);
    let records = keys.parse("keep_records", duration_or_forever);
    let retention = Retention {
        payloads: payloads.unwrap_or(RETENTION.payloads),
        records: records.unwrap_or(RETENTION.records),
    };
    if let Some(records) = retention.records
        && retention.payloads.is_none_or(|payloads| payloads > records)
    {
        let message = "payloads cannot be kept longer than their records: keep_payloads is more than \
                       keep_records";
        let place = if payloads.is_some() { "keep_payloads" } else { "keep_records" };
        keys.error_about(place, message.into(), "raise keep_records, or lower keep_payloads");
    }
    Store { url: url.unwrap_or_else(|| STORE_URL.into()), reserve, retention }
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

/// How long what is finished is kept, unless `keep_payloads` and `keep_records` say otherwise.
const RETENTION: Retention = Retention {
    payloads: Some(Duration::from_secs(30 * 86_400)),
    records: Some(Duration::from_secs(180 * 86_400)),
};
