//! Opening a store file: its lock, its version, and its recovery, the same path every time.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    Checkpoint, Damage, Due, Limits, StoreFiles, Unchecked, from_io, from_sqlite, is_damaged,
    leave_log, mend, require_whole, users,
};
use crate::OpenError;

/// A store file that is locked, whole, of this version, and has no stale frame in its WAL.
pub(crate) struct Opened {
    /// For copying the log into the database while another connection writes. Closed before that one,
    /// which empties the log.
    pub(super) copying: Connection,
    /// For the chunks of large bodies. Closed before the one that writes, too.
    pub(super) reading_chunks: Connection,
    pub(super) writing: Connection,
    pub(super) reading: Vec<Connection>,
    pub(super) unchecked: Option<Unchecked>,
    /// For the check that runs while the store is open.
    pub(super) scrubbing: Connection,
    /// Commits that damage in the write-ahead log has taken, at the least.
    pub(super) lost_commits: usize,
    /// Last, so that it outlives the connections.
    pub(super) files: StoreFiles,
}

pub(crate) fn open(named: &Path, limits: &Limits) -> Result<Opened, OpenError> {
    require_version(rusqlite::version(), rusqlite::version_number())?;
    let files = StoreFiles::lock(named, limits.lock_wait)?;
    let path = files.path();
    let at = |error: rusqlite::Error| from_sqlite(path, &error);
    recognise_header(&files)?;
    let check = Due::of(path, limits.first_check_bytes_max);
    let lost_commits = mend_log(path)?;

    let mut writing = Connection::open(path).map_err(at)?;
    let is_new = recognise(&writing, path)?;
    prepare(&writing, is_new).map_err(at)?;
    if check == Due::First {
        require_whole(&writing, path)?;
    }
    migrate(&mut writing, path)?;
    let unchecked = match check {
        Due::Never | Due::First => None,
        // The log is the only sign of the unclean stop and is emptied next, so mark it first.
        Due::Beside => Some(
            Unchecked::new(reader(path).map_err(at)?, path)
                .map_err(|cause| from_io(path, &cause))?,
        ),
    };
    empty_log(&writing, path, limits.reader_wait)?;
    let copying = copier(path).map_err(at)?;
    let reading =
        (0..READERS).map(|_| reader(path)).collect::<Result<_, rusqlite::Error>>().map_err(at)?;
    let reading_chunks = chunk_reader(path).map_err(at)?;
    let scrubbing = reader(path).map_err(at)?;
    files.watch().map_err(|cause| from_io(path, &cause))?;
    Ok(Opened {
        writing,
        copying,
        reading,
        reading_chunks,
        unchecked,
        scrubbing,
        lost_commits,
        files,
    })
}

/// Reports and repairs damage in the log before SQLite opens it, which would truncate the log
/// silently. Returns how many commits could not be saved.
fn mend_log(path: &Path) -> Result<usize, OpenError> {
    let at = |cause: std::io::Error| from_io(path, &cause);
    if !is_damaged(path).map_err(at)? {
        return Ok(0);
    }
    if let Some(program) = users(path) {
        // It has an index of the log as it was.
        return Err(OpenError::Transaction { path: path.into(), program });
    }
    let damage = mend(path).map_err(at)?;
    let Some(Damage { kept, broken_frames, saved_commits, lost_commits }) = damage else {
        return Ok(0);
    };
    let (store, kept) = (path.display(), kept.display());
    if lost_commits == 0 {
        tracing::warn!(
            %store, %kept, broken_frames, saved_commits,
            "the write-ahead log was damaged; all of it was saved, and a copy of it is kept"
        );
    } else {
        tracing::error!(
            %store, %kept, broken_frames, saved_commits, lost_commits,
            "the write-ahead log is damaged: commits are lost, with events among them that were \
             acknowledged; a copy of the log is kept; have the provider send those events again"
        );
    }
    Ok(lost_commits)
}

/// Opens a store that another process may be writing to, to look at it.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let at = |error: rusqlite::Error| from_sqlite(path, &error);
    let connection = reader(path).map_err(at)?;
    recognise(&connection, path)?;
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(at)?;
    require_schema(found, path)?;
    Ok(connection)
}

/// A frame that was written but never synced may still be in the WAL, and the page cache shows it as
/// if it were safe. Frames acknowledged behind it would be lost with it in a power cut. So nothing
/// is acknowledged before the WAL has been copied into the database and emptied. Another program
/// that reads the store can prevent that.
fn empty_log(writing: &Connection, path: &Path, reader_wait: Duration) -> Result<(), OpenError> {
    match Checkpoint::truncate(writing, reader_wait).map_err(|error| from_sqlite(path, &error))? {
        Checkpoint { is_busy: false, .. } => Ok(()),
        Checkpoint { is_busy: true, .. } => {
            let program = users(path).unwrap_or_else(|| "another program".into());
            Err(OpenError::Transaction { path: path.into(), program })
        }
    }
}

/// Refuses another program's database, and a newer wilco's, by the first bytes of the file: SQLite
/// would change files while opening it. A file that was never written to, or not to its end, is left
/// to SQLite.
fn recognise_header(files: &StoreFiles) -> Result<(), OpenError> {
    let path = files.path();
    let header = files.header().map_err(|cause| from_io(path, &cause))?;
    let number = |at: usize| match header.get(at..at + 4) {
        Some(&[a, b, c, d]) => i64::from(u32::from_be_bytes([a, b, c, d])),
        _ => 0,
    };
    let (version, id) = (number(60), number(68));
    if header.iter().all(|byte| *byte == 0) {
        Ok(())
    } else if !header.starts_with(b"SQLite format 3\0") || id != APPLICATION_ID {
        Err(OpenError::Foreign { path: path.into() })
    } else {
        require_schema(version, path)
    }
}

fn require_schema(found: i64, path: &Path) -> Result<(), OpenError> {
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.into(), found, known: SCHEMA_VERSION });
    }
    Ok(())
}

/// SQLite before 3.51.3 can corrupt a WAL when two connections checkpoint at once
/// (<https://sqlite.org/wal.html>).
fn require_version(name: &str, number: i32) -> Result<(), OpenError> {
    if number < 3_051_003 { Err(OpenError::OldSqlite(name.into())) } else { Ok(()) }
}

/// Refuses another program's database, and says whether the file is a new one.
fn recognise(connection: &Connection, path: &Path) -> Result<bool, OpenError> {
    let sql =
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id";
    let found = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    let (id, tables): (i64, i64) = found.map_err(|error| from_sqlite(path, &error))?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        Ok(id == 0)
    } else {
        Err(OpenError::Foreign { path: path.into() })
    }
}

fn prepare(writing: &Connection, is_new: bool) -> rusqlite::Result<()> {
    if is_new {
        // Before anything is written: with the first page the size is settled.
        writing.pragma_update(None, "page_size", PAGE_BYTES)?;
        // The file can be made shorter a few pages at a time; without this only by copying all of it. In one
        // transaction: a file with a header but without the id would be taken for another program's.
        writing.execute_batch("BEGIN; PRAGMA auto_vacuum = INCREMENTAL")?;
        writing.pragma_update(None, "application_id", APPLICATION_ID)?;
        writing.execute_batch("COMMIT")?;
    }
    // What is removed is overwritten, so that it is in no free page and in no backup.
    writing.pragma_update(None, "secure_delete", true)?;
    writing.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL would leave the sync to the next checkpoint: a power cut then takes acknowledged events.
    writing.pragma_update(None, "synchronous", "FULL")?;
    // The writing thread checkpoints between batches, when nobody waits for it.
    writing.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A log that has grown under a reader is cut to this when it is begun again.
    writing.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
    writing.pragma_update(None, "foreign_keys", false)?;
    // Each commit walks the cache's table of pages: beyond what a batch needs, more is slower.
    writing.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Without it SQLite replans a statement whenever the value of a parameter changes.
    writing.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    writing.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Brings the schema forward, step by step, in one transaction.
fn migrate(writing: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let at = |error: rusqlite::Error| from_sqlite(path, &error);
    let found: i64 = writing.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(at)?;
    require_schema(found, path)?;
    if found == SCHEMA_VERSION {
        return Ok(());
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

fn copier(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // It learns the size of the pages.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    leave_log(&connection)?;
    Ok(connection)
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// One that reads chunk after chunk, none of them twice.
fn chunk_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = reader(path)?;
    connection.pragma_update(None, "cache_size", -CHUNK_CACHE_KIB)?;
    Ok(connection)
}

/// `wilc` in ASCII: what the `file` command and other tools can tell a store by.
const APPLICATION_ID: i64 = 0x7769_6c63;
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];
#[expect(clippy::cast_possible_wrap, reason = "a handful of migrations")]
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;
const CACHE_KIB: i64 = 2 << 10;
const CHUNK_CACHE_KIB: i64 = 256;
/// A commit writes whole pages. An event that is recorded, routed, claimed and settled alone writes
/// 49 KiB to the log with these, 28 with pages of 2 KiB and 93 with 8. But headers and body often fill
/// a page of 2 KiB by themselves, and where many events are recorded at once, a page for each of them
/// costs a tenth more CPU time.
const PAGE_BYTES: i64 = 4 << 10;
/// Bytes of the write-ahead log that stay when it has been emptied: overwriting costs a commit less
/// than growing the file again.
const WAL_KEPT_BYTES: i64 = 32 << 20;
/// Connections for looking: one for the router, one for claims, two for people.
const READERS: usize = 4;

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::support::SMALL;

    fn open(path: &Path) -> Result<Opened, OpenError> {
        super::open(path, &SMALL)
    }

    fn refusal(path: &Path) -> String {
        open(path).err().unwrap().to_string()
    }

    #[test]
    fn a_store_is_used_by_one_process_and_names_it_to_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wilco.db");
        let first = open(&path).unwrap();
        assert!(refusal(&path).contains(&format!("in use by process {}", std::process::id())));
        drop(first);
        assert!(open(&path).is_ok());
    }

    #[test]
    fn a_second_process_is_refused_whatever_name_it_opens_the_store_by() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wilco.db");
        let first = open(&path).unwrap();
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let by_folder = folder.path().join("folder");
        std::os::unix::fs::symlink(folder.path(), &by_folder).unwrap();
        fs::remove_file(folder.path().join("wilco.db.lock")).unwrap();
        for name in [&path, &link, &by_folder.join("wilco.db")] {
            let refusal = refusal(name);
            assert!(refusal.contains("is in use by"), "{name:?}: {refusal}");
        }
        drop(first);
        assert!(open(&link).is_ok());

        let hard = folder.path().join("hard.db");
        fs::hard_link(&path, &hard).unwrap();
        assert!(refusal(&path).contains("has 2 hard links"), "{}", refusal(&path));
        fs::remove_file(hard).unwrap();
        assert!(open(&path).is_ok());
    }

    #[test]
    fn pages_have_the_configured_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wilco.db");
        let opened = open(&path).unwrap();
        let bytes: i64 =
            opened.writing.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
        assert_eq!(bytes, PAGE_BYTES);
        let header = opened.files.header().unwrap();
        assert_eq!(i64::from(u16::from_be_bytes([header[16], header[17]])), PAGE_BYTES);
    }

    #[test]
    fn opening_fails_while_a_reader_keeps_the_log_from_being_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wilco.db");
        let writing = open(&path).unwrap().writing;
        writing.execute_batch("INSERT INTO alert VALUES ('a', 1)").unwrap();
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
        writing.execute_batch("INSERT INTO alert VALUES ('b', 1)").unwrap();
        drop(writing);
        let Err(error @ OpenError::Transaction { .. }) = open(&path) else {
            panic!("it was opened")
        };
        assert!(error.to_string().contains("cannot be emptied while"), "{error}");
        reader.execute_batch("COMMIT").unwrap();
        assert!(open(&path).is_ok());
    }

    #[test]
    fn only_its_user_can_read_a_store() {
        let folder = tempfile::tempdir().unwrap();
        let _opened = open(&folder.path().join("wilco.db")).unwrap();
        for name in ["wilco.db", "wilco.db-wal", "wilco.db-shm", "wilco.db.lock"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_schema_is_refused_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wilco.db");
        let opened = open(&path).unwrap();
        opened.writing.pragma_update(None, "user_version", 99).unwrap();
        drop(opened);
        let before = fs::read(&path).unwrap();
        assert!(refusal(&path).contains("has schema 99 and this wilco knows 1"));
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_not_a_store_is_refused_and_not_changed() {
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
    fn a_missing_folder_is_named() {
        let error = refusal(Path::new("/nowhere/at/all/wilco.db"));
        assert!(
            error.contains("/nowhere/at/all/wilco.db") && error.contains("No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_version_of_sqlite_without_the_wal_fix_is_refused() {
        assert!(require_version("3.51.2", 3_051_002).is_err());
        assert!(require_version("3.51.3", 3_051_003).is_ok());
    }
}
