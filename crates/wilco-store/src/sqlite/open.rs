//! Opening a store file: its lock, its version, and its recovery, the same path every time.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{Due, Unchecked, beside, demand_whole, from_sqlite};
use crate::OpenError;

/// A store file that is locked, whole, of this version, and has no stale frame in its WAL.
pub(super) struct Opened {
    pub(super) writing: Connection,
    pub(super) reading: Vec<Connection>,
    pub(super) lock: File,
    pub(super) unchecked: Option<Unchecked>,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    demand_version(rusqlite::version(), rusqlite::version_number())?;
    let lock = lock(path)?;
    let check = Due::of(path);
    let at = |error: rusqlite::Error| from_sqlite(path, &error);

    make(path)?;
    let mut writing = Connection::open(path).map_err(at)?;
    recognise(&writing, path)?;
    prepare(&writing).map_err(at)?;
    if check == Due::First {
        demand_whole(&writing, path)?;
    }
    migrate(&mut writing, path)?;
    // A frame that was written but never synced may still be in the WAL, and the page cache shows it
    // as if it were safe. Frames acknowledged behind it would go with it at a power cut. So nothing
    // is acknowledged before the WAL has been carried over and emptied.
    writing
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .map_err(at)?;

    let reading =
        (0..READERS).map(|_| reader(path)).collect::<Result<_, rusqlite::Error>>().map_err(at)?;
    let unchecked = match check {
        Due::Never | Due::First => None,
        Due::Beside => Some(
            Unchecked::new(reader(path).map_err(at)?, path)
                .map_err(|cause| OpenError::Io { path: path.into(), cause: cause.to_string() })?,
        ),
    };
    Ok(Opened { writing, reading, lock, unchecked })
}

/// SQLite before 3.51.3 can corrupt a WAL when two connections checkpoint at once
/// (<https://sqlite.org/wal.html>).
fn demand_version(name: &str, number: i32) -> Result<(), OpenError> {
    if number < 3_051_003 { Err(OpenError::OldSqlite(name.into())) } else { Ok(()) }
}

/// One process a store. The lock goes with the process, however it ends.
fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = beside(path, ".lock");
    let at = |cause: std::io::Error| OpenError::Io { path: path.into(), cause: cause.to_string() };
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&lock_path)
        .map_err(at)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who holds it is a courtesy; that it is held is certain without it.
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another process".into(),
                pid => format!("process {pid}"),
            };
            return Err(OpenError::Locked { path: path.into(), holder });
        }
        Err(TryLockError::Error(cause)) => return Err(at(cause)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(at)?;
    writeln!(file, "{}", std::process::id()).map_err(at)?;
    Ok(file)
}

/// Makes the file where there is none, for the user of the process only: what customers plan is in
/// it. SQLite gives the files beside it the same permissions.
fn make(path: &Path) -> Result<(), OpenError> {
    let at = |cause: std::io::Error| OpenError::Io { path: path.into(), cause: cause.to_string() };
    File::options().create(true).append(true).mode(0o600).open(path).map(drop).map_err(at)
}

/// Refuses another program's database before anything in it is touched.
fn recognise(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let id: i64 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| from_sqlite(path, &error))?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| from_sqlite(path, &error))?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        Ok(())
    } else {
        Err(OpenError::Foreign { path: path.into() })
    }
}

fn prepare(writing: &Connection) -> rusqlite::Result<()> {
    writing.pragma_update(None, "application_id", APPLICATION_ID)?;
    // A commit writes whole pages, one call each: of 4 to 32 KiB this took the least CPU an event.
    writing.pragma_update(None, "page_size", PAGE_BYTES)?;
    writing.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL would leave the sync to the next checkpoint: a power cut then takes acknowledged events.
    writing.pragma_update(None, "synchronous", "FULL")?;
    // The writing thread checkpoints between batches, when nobody waits for it.
    writing.pragma_update(None, "wal_autocheckpoint", 0)?;
    writing.pragma_update(None, "foreign_keys", false)?;
    // Each commit walks the cache's table of pages: beyond what a batch needs, more is slower.
    writing.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Without it SQLite plans a statement anew whenever a parameter has another value.
    writing.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    writing.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Brings the schema forward, step by step, in one transaction.
fn migrate(writing: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let at = |error: rusqlite::Error| from_sqlite(path, &error);
    let found: i64 = writing.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(at)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.into(), found, known: SCHEMA_VERSION });
    }
    let transaction = writing.transaction().map_err(at)?;
    for (version, step) in (1..).zip(MIGRATIONS) {
        if found < version {
            transaction.execute_batch(step).map_err(at)?;
        }
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(at)?;
    transaction.commit().map_err(at)
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// `wilc` in ASCII: what the `file` command and other tools can tell a store by.
const APPLICATION_ID: i64 = 0x7769_6c63;
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];
#[expect(clippy::cast_possible_wrap, reason = "a handful of migrations")]
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;
const CACHE_KIB: i64 = 2 << 10;
const PAGE_BYTES: i64 = 8 << 10;
/// Connections for looking: one for the router, one for claims, two for people.
const READERS: usize = 4;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refusal(path: &Path) -> String {
        open(path).err().unwrap().to_string()
    }

    #[test]
    fn a_store_has_one_process_and_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wilco.db");
        let first = open(&path).unwrap();
        assert!(refusal(&path).contains(&format!("in use by process {}", std::process::id())));
        drop(first);
        assert!(open(&path).is_ok());
    }

    #[test]
    fn nobody_else_may_read_a_store() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let _opened = open(&folder.path().join("wilco.db")).unwrap();
        for name in ["wilco.db", "wilco.db-wal", "wilco.db-shm"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wilco.db");
        let opened = open(&path).unwrap();
        opened.writing.pragma_update(None, "user_version", 99).unwrap();
        drop(opened);
        assert!(refusal(&path).contains("has schema 99 and this wilco knows 1"));
    }

    #[test]
    fn what_is_not_a_store_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.db");
        let notes = Connection::open(&path).unwrap();
        notes.execute_batch("CREATE TABLE note (text TEXT)").unwrap();
        drop(notes);
        let before = fs::read(&path).unwrap();
        assert!(refusal(&path).contains("is not a wilco store"));
        assert_eq!(fs::read(&path).unwrap(), before);

        let text = folder.path().join("text");
        fs::write(&text, "not a database at all, but long enough to be read as one".repeat(9))
            .unwrap();
        assert!(refusal(&text).contains("is not a wilco store"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = refusal(Path::new("/nowhere/at/all/wilco.db"));
        assert!(
            error.contains("/nowhere/at/all/wilco.db") && error.contains("No such file"),
            "{error}"
        );
    }

    #[test]
    fn sqlite_of_before_the_wal_fix_is_refused() {
        assert!(demand_version("3.51.2", 3_051_002).is_err());
        assert!(demand_version("3.51.3", 3_051_003).is_ok());
    }
}
