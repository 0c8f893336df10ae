//! The store that users run: SQLite with one writing thread and group commit.

mod check;
mod deliveries;
mod known;
mod open;
mod reads;
mod space;
mod window;
mod writer;
mod writes;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, RowIndex};
use tokio::sync::Semaphore;
use wilco::{Digest, Envelope, Event, EventId, Verified};

use crate::{
    Alert, Attempt, Bells, Breaker, Claim, CommitObserver, Duplicates, EventQuery, Listed,
    OpenError, Outcome, Receipt, Rejection, Replay, Routed, Shown, Standing, State, Store,
    StoreError,
};
pub(super) use check::{Due, Unchecked, demand_whole};
use deliveries::Taken;
pub(super) use known::{Keys, Known};
pub(super) use space::Space;
pub(super) use window::Window;
pub(super) use writer::Shared;
use writer::Writer;

/// A store in one SQLite file.
///
/// One thread owns the connection that writes; whatever waits for it is committed together, with
/// `synchronous=FULL`. One process has the file, held by a lock beside it.
pub struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
    thread: Mutex<Option<JoinHandle<()>>>,
    check: Mutex<Option<check::Running>>,
}

/// How a store behaves.
pub struct Options {
    /// Free space of the file system, in bytes, below which nothing is recorded.
    pub reserve: u64,
    /// Hears of every commit.
    pub observer: CommitObserver,
}

impl Default for Options {
    fn default() -> Self {
        Self { reserve: 0, observer: Arc::new(|_, _| {}) }
    }
}

impl SqliteStore {
    /// Opens the store at `url`, which is `sqlite:` and a path, and makes it where there is none.
    /// Whatever the last process left half done is brought in order before this returns: the WAL is
    /// carried over and emptied, and deliveries that were running are made due. After an unclean stop
    /// the file is checked: a small one before that, a large one while it is in use; if damage is
    /// found then, the store latches.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which says what to do.
    pub fn open(url: &str, options: Options, now: Timestamp) -> Result<Self, OpenError> {
        let path = Self::path(url)?;
        let opened = open::open(&path)?;
        let at =
            |error: rusqlite::Error| OpenError::Io { path: path.clone(), cause: error.to_string() };
        let (last_seq, routed_through) = opened
            .writing
            .query_row(
                "SELECT (SELECT coalesce(max(seq), 0) FROM event), routed_through FROM progress",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(at)?;
        let ledger = Ledger {
            known: Known::load(&opened.writing).map_err(at)?,
            connection: opened.writing,
            last_seq,
            routed_through,
            recorded: Vec::new(),
            unsynced_bytes: 0,
            awaited: BTreeSet::new(),
            rejected_bytes: None,
            _lock: opened.lock,
        };
        let recovered = ledger.recover(now).map_err(at)?;
        if recovered > 0 {
            tracing::info!(recovered, "deliveries that were under way are tried again");
        }
        let space = Space::of(&path, options.reserve);
        let (writer, thread) = Writer::start(ledger, space, options.observer)
            .map_err(|cause| OpenError::Io { path: path.clone(), cause: cause.to_string() })?;
        let check = opened.unchecked.map(|unchecked| {
            check::Running::start(unchecked, Arc::clone(writer.shared()))
                .map_err(|cause| OpenError::Io { path: path.clone(), cause: cause.to_string() })
        });
        Ok(Self {
            check: Mutex::new(check.transpose()?),
            writer,
            readers: Arc::new(Readers::new(opened.reading)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The file that a store's URL names.
    ///
    /// # Errors
    ///
    /// [`OpenError::Url`] where it is not `sqlite:` and a path.
    pub fn path(url: &str) -> Result<PathBuf, OpenError> {
        match url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path)) {
            Some(path) if !path.is_empty() && !path.starts_with(':') && !path.contains('?') => {
                Ok(path.into())
            }
            _ => Err(OpenError::Url(url.into())),
        }
    }

    /// Runs `look` on a reading connection, away from the threads that serve requests.
    async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let free = Arc::clone(&self.readers.free);
        let permit = free.acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let seen = tokio::task::spawn_blocking(move || {
            // The place goes with the connection, and not with a caller who may stop waiting.
            let seen = readers.lend(look);
            drop(permit);
            seen
        })
        .await;
        seen.map_err(|error| StoreError::Internal(error.to_string()))?
    }

    /// Reads the events of what was claimed. One that is damaged is settled here, as dead.
    async fn complete(
        &self,
        destination: String,
        taken: Vec<Taken>,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        let order: Vec<_> = taken.iter().map(|taken| taken.delivery).collect();
        let mut read = Vec::with_capacity(taken.len());
        let mut unread = Vec::new();
        for taken in taken {
            match self.writer.shared().window.get(taken.event_seq) {
                Some(event) => read.push((taken, Ok(Some(event)))),
                None => unread.push(taken),
            }
        }
        if !unread.is_empty() {
            read.extend(self.read_events(unread, now).await?);
            // Where an event was found says nothing about how long it has been due.
            read.sort_by_key(|(taken, _)| order.iter().position(|id| *id == taken.delivery));
        }
        let mut claims = Vec::with_capacity(read.len());
        for (taken, event) in read {
            match event {
                Ok(Some(event)) => claims.push(Claim {
                    delivery: taken.delivery,
                    destination: destination.clone(),
                    attempt: taken.attempt,
                    waited: taken.waited,
                    is_doubtful: taken.is_doubtful,
                    event,
                }),
                Ok(None) => self.give_up(&taken, "the event is not there any more", now).await?,
                Err(error @ StoreError::Damaged(_)) => {
                    self.give_up(&taken, &error.to_string(), now).await?;
                }
                Err(error) => {
                    tracing::warn!(delivery = taken.delivery, %error, "tried again later");
                    self.release(vec![taken.delivery], now).await?;
                }
            }
        }
        Ok(claims)
    }

    /// Reads the events of what was claimed from the file. If that cannot be done now, the
    /// deliveries are given back.
    async fn read_events(
        &self,
        taken: Vec<Taken>,
        now: Timestamp,
    ) -> Result<Vec<(Taken, Result<Option<Arc<Event>>, StoreError>)>, StoreError> {
        let all = taken.iter().map(|taken| taken.delivery).collect();
        let read = self.read(move |connection| {
            let intact = |taken: Taken| {
                let event = reads::intact(connection, taken.event_seq);
                (taken, event.map(|event| event.map(Arc::new)))
            };
            Ok(taken.into_iter().map(intact).collect())
        });
        match read.await {
            Ok(read) => Ok(read),
            Err(error) => {
                self.release(all, now).await?;
                Err(error)
            }
        }
    }

    /// Makes deliveries due again, a moment from now.
    async fn release(&self, taken: Vec<i64>, now: Timestamp) -> Result<(), StoreError> {
        let due_at = now.checked_add(RELEASE_PAUSE).unwrap_or(now);
        self.writer.write(move |ledger| ledger.release(&taken, due_at)).await
    }

    async fn give_up(&self, taken: &Taken, why: &str, now: Timestamp) -> Result<(), StoreError> {
        tracing::error!(delivery = taken.delivery, why, "gave up");
        let (delivery, number, why) = (taken.delivery, taken.attempt, why.to_owned());
        self.writer.write(move |ledger| ledger.bury(delivery, number, &why, now)).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn record(
        &self,
        verified: Verified,
        envelope: Envelope,
        duplicates: Duplicates,
    ) -> Result<Receipt, StoreError> {
        self.writer.shared().space.demand()?;
        self.writer.write(move |ledger| ledger.record(&verified, &envelope, duplicates)).await
    }

    fn reject(&self, rejection: Rejection) {
        let is_quiet = self.writer.room() > crate::QUEUE_MAX / 2;
        if is_quiet && self.writer.shared().space.demand().is_ok() {
            // It is lost with a full queue or a stopped store, which is what best effort means.
            let _ = self.writer.write_unseen(move |ledger| ledger.reject(&rejection));
        }
    }

    async fn unrouted(&self, limit: usize) -> Result<Vec<Arc<Event>>, StoreError> {
        self.writer.demand_open()?;
        if let Some(events) = self.writer.shared().window.unrouted(limit) {
            return Ok(events);
        }
        self.read(move |connection| reads::unrouted(connection, limit)).await
    }

    async fn fan_out(&self, routed: Vec<Routed>, now: Timestamp) -> Result<(), StoreError> {
        self.writer.write(move |ledger| ledger.fan_out(&routed, now)).await
    }

    async fn claim(
        &self,
        destination: &str,
        limit: usize,
        now: Timestamp,
        longest_wait: Duration,
    ) -> Result<Vec<Claim>, StoreError> {
        let name = destination.to_owned();
        let take = move |ledger: &mut Ledger| ledger.claim(&name, limit, now, longest_wait);
        let taken = self.writer.write(take).await?;
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        self.complete(destination.to_owned(), taken, now).await
    }

    async fn settle(
        &self,
        claim: &Claim,
        attempt: &Attempt,
        outcome: &Outcome,
        breaker: Option<Breaker>,
    ) -> Result<(), StoreError> {
        let (claim, attempt, outcome) = (claim.clone(), attempt.clone(), outcome.clone());
        self.writer.write(move |ledger| ledger.settle(&claim, &attempt, &outcome, breaker)).await
    }

    async fn next_due(&self, destination: &str) -> Result<Option<Timestamp>, StoreError> {
        let destination = destination.to_owned();
        self.read(move |connection| reads::next_due(connection, &destination)).await
    }

    async fn replay(&self, replays: Vec<Replay>, now: Timestamp) -> Result<(), StoreError> {
        self.writer.write(move |ledger| ledger.replay(&replays, now)).await
    }

    async fn cancel(
        &self,
        event_id: EventId,
        destination: Option<String>,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let cancel =
            move |ledger: &mut Ledger| ledger.cancel(event_id, destination.as_deref(), now);
        self.writer.write(cancel).await
    }

    async fn release_keys(&self, destination: &str, now: Timestamp) -> Result<(), StoreError> {
        let name = destination.to_owned();
        self.writer.write(move |ledger| ledger.release_keys(&name, now)).await
    }

    async fn pause(&self, destination: &str, is_paused: bool) -> Result<(), StoreError> {
        let name = destination.to_owned();
        self.writer.write(move |ledger| ledger.pause(&name, is_paused)).await
    }

    async fn standing(&self, destination: &str) -> Result<Standing, StoreError> {
        let name = destination.to_owned();
        self.read(move |connection| reads::standing(connection, &name)).await
    }

    async fn announce(&self, alert: Alert, now: Timestamp) -> Result<bool, StoreError> {
        self.writer.write(move |ledger| ledger.announce(&alert, now)).await
    }

    async fn last_received(
        &self,
        source: &str,
        since: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let source = source.to_owned();
        self.read(move |connection| reads::last_received(connection, &source, since)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Listed>, StoreError> {
        self.read(move |connection| reads::events(connection, &query)).await
    }

    async fn event(&self, id: EventId) -> Result<Option<Shown>, StoreError> {
        let shown = self.read(move |connection| reads::show(connection, seq_of(id))).await?;
        Ok(shown.filter(|shown| shown.event.id == id))
    }

    async fn unfinished(&self) -> Result<Vec<(String, State, u64)>, StoreError> {
        self.read(reads::unfinished).await
    }

    fn ready(&self) -> Result<(), StoreError> {
        self.writer.ready()
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(self.writer.shared().space.free())
    }

    fn bells(&self) -> &Bells {
        &self.writer.shared().bells
    }

    async fn close(&self) -> Result<(), StoreError> {
        // While it reads, the WAL could not be emptied.
        drop(self.check.lock().unwrap_or_else(PoisonError::into_inner).take());
        let stopped = self.writer.stop().await;
        self.readers.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It has answered, so it is at its end; the lock goes with it.
        let _ = thread.map(JoinHandle::join);
        stopped
    }
}

/// What the writing thread carries from one write to the next.
struct Ledger {
    connection: Connection,
    /// The place of the newest event.
    last_seq: i64,
    /// Every event up to this place is routed.
    routed_through: i64,
    /// Events that this batch records.
    recorded: Vec<Arc<Event>>,
    /// What copies are told by.
    known: Known,
    /// About how much was written since the WAL was carried over.
    unsynced_bytes: usize,
    /// Destinations for which this batch made something due.
    awaited: BTreeSet<String>,
    /// Bytes of the rejections that are kept; counted anew after a batch that failed.
    rejected_bytes: Option<u64>,
    /// The file is ours for as long as anything may be written to it.
    _lock: File,
}

/// Connections that look and never write.
struct Readers {
    free: Arc<Semaphore>,
    connections: Mutex<Vec<Connection>>,
}

impl Readers {
    fn new(connections: Vec<Connection>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(connections.len())),
            connections: Mutex::new(connections),
        }
    }

    fn lend<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lent = self.connections.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = lent.ok_or(StoreError::Closed)?;
        let seen = look(&connection);
        if !self.free.is_closed() {
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        seen
    }

    fn close(&self) {
        self.free.close();
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn from_sqlite(path: &Path, error: &rusqlite::Error) -> OpenError {
    use rusqlite::ErrorCode;
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, what: error.to_string() },
        _ => OpenError::Io { path, cause: error.to_string() },
    }
}

/// The path with `ending` put behind it: `wilco.db` and `.lock` give `wilco.db.lock`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

/// The place of an event in the table is the front of its id, so that an id finds its row without an
/// index of its own.
fn seq_of(id: EventId) -> i64 {
    i64::try_from(id.to_bits() >> TAIL_BITS).unwrap_or(i64::MAX)
}

/// The first place that an event of this time can have.
fn seq_at(time: Timestamp) -> i64 {
    time.as_millisecond().clamp(0, MILLIS_MAX) << SEQ_BITS_PER_MS
}

fn id_of(text: &str) -> rusqlite::Result<EventId> {
    text.parse().map_err(odd)
}

fn moment(millis: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_millisecond(millis).map_err(odd)
}

fn digest_of<I: RowIndex>(row: &Row<'_>, column: I) -> rusqlite::Result<Digest> {
    Ok(Digest(row.get(column)?))
}

/// A column holds what wilco would not have written.
fn odd(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, Box::new(error))
}

/// SQLite counts rows in 63 bits.
fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Until what could not be read is tried again.
const RELEASE_PAUSE: Duration = Duration::from_secs(1);
/// About what a row weighs besides its body.
const ROW_BYTES: usize = 512;
/// Events a millisecond that keep their place in it; past that they borrow from the next.
const SEQ_BITS_PER_MS: u32 = 15;
const MILLIS_MAX: i64 = (1 << 48) - 1;
/// Bits of an id behind its place.
const TAIL_BITS: u32 = 65;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use rusqlite::params;
    use tempfile::TempDir;
    use tokio::task::JoinSet;

    use super::*;
    use crate::Leg;
    use crate::conformance::{
        self, Backend, LONGEST, NOW, SENT, SUPPRESS, Sent, after, attempt, event, rejection,
    };

    /// A store file in a folder of its own, seen from the side.
    struct OnDisk(TempDir);

    impl OnDisk {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("wilco.db")
        }

        fn open(&self, options: Options, now: Timestamp) -> SqliteStore {
            SqliteStore::open(&format!("sqlite:{}", self.path().display()), options, now).unwrap()
        }

        /// What a process leaves that is killed now: the files as they stand, of which the lock
        /// and the shared memory mean nothing to the next.
        fn killed(&self) -> Self {
            let copy = Self::new();
            for name in ["wilco.db", "wilco.db-wal"] {
                if self.0.path().join(name).exists() {
                    fs::copy(self.0.path().join(name), copy.0.path().join(name)).unwrap();
                }
            }
            copy
        }

        /// A connection that goes past the store, as a disk that decays does.
        fn past_the_store(&self) -> Connection {
            let side = Connection::open(self.path()).unwrap();
            side.pragma_update(None, "foreign_keys", false).unwrap();
            side
        }
    }

    struct Sqlite(Option<OnDisk>);

    impl Backend for Sqlite {
        fn open(&mut self, now: Timestamp) -> Arc<dyn Store> {
            let disk = self.0.as_ref().map_or_else(OnDisk::new, OnDisk::killed);
            Arc::new(self.0.insert(disk).open(Options::default(), now))
        }

        fn break_next_write(&self) {
            // Each stands behind the last statement of its write, so that all before it was done.
            let side = self.0.as_ref().unwrap().past_the_store();
            for (name, when) in [
                ("broken_record", "AFTER INSERT ON event"),
                ("broken_fan_out", "AFTER UPDATE OF routed_through ON progress"),
                ("broken_claim", "AFTER UPDATE ON delivery WHEN new.state = 'running'"),
                ("broken_settle", "AFTER INSERT ON attempt"),
            ] {
                let sql =
                    format!("CREATE TRIGGER {name} {when} BEGIN SELECT raise(ABORT, 'no'); END");
                side.execute_batch(&sql).unwrap();
            }
        }

        fn mend(&self) {
            let side = self.0.as_ref().unwrap().past_the_store();
            for name in ["broken_record", "broken_fan_out", "broken_claim", "broken_settle"] {
                side.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn keeps_every_promise_of_a_store() {
        conformance::run(&|| Box::new(Sqlite(None))).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reader_whose_caller_left_keeps_its_place() {
        let disk = OnDisk::new();
        let store = disk.open(Options::default(), NOW);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..4 {
            let wait = Arc::clone(&wait);
            let look = store.read(move |_| Ok(wait.lock().unwrap().recv().is_ok()));
            let _ = tokio::time::timeout(Duration::from_millis(20), look).await;
        }
        let look = store.unfinished();
        let waits = tokio::time::timeout(Duration::from_millis(100), look).await;
        drop(go);
        assert!(waits.is_err(), "{waits:?}");
        assert_eq!(store.unfinished().await.unwrap(), []);
    }

    async fn record(store: &SqliteStore, sent: Sent<'_>) -> Result<EventId, StoreError> {
        let (verified, envelope) = event(sent);
        store.record(verified, envelope, SUPPRESS).await.map(|receipt| receipt.event_id())
    }

    async fn fan_out(store: &SqliteStore, event_id: EventId) {
        let legs = vec![Leg::to("crm")];
        store.fan_out(vec![Routed { event_id, legs }], NOW).await.unwrap();
    }

    #[tokio::test]
    async fn any_flipped_bit_of_body_headers_or_digest_is_noticed() {
        let disk = OnDisk::new();
        let store = disk.open(Options::default(), NOW);
        let id = record(&store, SENT).await.unwrap();
        let side = disk.past_the_store();
        for column in ["body", "headers", "digest"] {
            let read = format!("SELECT {column} FROM event");
            let whole: Vec<u8> = side.query_row(&read, [], |row| row.get(0)).unwrap();
            let write = |bytes: &[u8]| {
                side.execute(&format!("UPDATE event SET {column} = ?1"), [bytes]).unwrap();
            };
            for place in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[place] ^= 1 << (place % 8);
                write(&flipped);
                let shown = store.event(id).await;
                assert!(
                    matches!(shown, Err(StoreError::Damaged(_))),
                    "byte {place} of {column}: {shown:?}"
                );
            }
            write(&whole);
            assert!(store.event(id).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn a_damaged_event_is_never_delivered_and_hinders_no_other() {
        let disk = OnDisk::new();
        let mut store = disk.open(Options::default(), NOW);
        let side = disk.past_the_store();
        for change in [
            "body = x'00'",
            "headers = x''",
            "name = name || 'x'",
            "subject = NULL",
            "source = 'warehouse'",
            "secret = 'env:OTHER'",
            "received_at_ms = received_at_ms + 1",
            "conflict = 1",
            "checksum = checksum + 1",
            "checksum = -1",
            "digest = x'00'",
            "id = 'evt_00000000000000000000000000'",
            "id = 'not an id'",
        ] {
            let damaged = record(&store, Sent { body: change.as_bytes(), ..SENT }).await.unwrap();
            let whole = record(&store, Sent { body: b"{}", ..SENT }).await.unwrap();
            fan_out(&store, damaged).await;
            fan_out(&store, whole).await;
            let sql = format!("UPDATE event SET {change} WHERE seq = ?1");
            assert_eq!(side.execute(&sql, [seq_of(damaged)]).unwrap(), 1);

            // What is in memory is not damaged: the next process has only the file.
            store.close().await.unwrap();
            store = disk.open(Options::default(), NOW);
            let claims = store.claim("crm", 10, NOW, LONGEST).await.unwrap();
            let claimed: Vec<_> = claims.iter().map(|claim| claim.event().id).collect();
            assert_eq!(claimed, [whole], "{change}");
            store.settle(&claims[0], &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
            assert!(store.event(damaged).await.is_err(), "{change}");
            let (state, error, result): (String, String, String) = side
                .query_row(
                    "SELECT state, last_error, result FROM delivery JOIN attempt \
                     ON attempt.delivery = delivery.id WHERE event = ?1",
                    [seq_of(damaged)],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .unwrap();
            assert_eq!((state.as_str(), &error), ("dead", &result), "{change}");
            assert!(store.claim("crm", 10, after(1_000_000), LONGEST).await.unwrap().is_empty());
            side.execute("DELETE FROM event WHERE seq = ?1", [seq_of(damaged)]).unwrap();
        }
    }

    /// A store too large to be checked first, closed, with a copy of what is in its file.
    async fn large(disk: &OnDisk) -> Vec<u8> {
        let store = disk.open(Options::default(), NOW);
        for number in 0..1_024 {
            let body = format!("{number:01000}");
            record(&store, Sent { body: body.as_bytes(), ..SENT }).await.unwrap();
        }
        store.close().await.unwrap();
        fs::read(disk.path()).unwrap()
    }

    #[tokio::test]
    async fn a_large_store_is_checked_while_it_is_in_use() {
        let disk = OnDisk::new();
        large(&disk).await;
        let mark = disk.path().with_extension("db-check");
        fs::write(&mark, "").unwrap();
        let store = disk.open(Options::default(), NOW);
        record(&store, SENT).await.unwrap();
        while mark.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(store.ready().is_ok());
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn damage_in_a_large_store_latches_it_and_the_next_start_is_refused() {
        let disk = OnDisk::new();
        let whole = large(&disk).await;
        let mut damaged = whole.clone();
        let page = damaged.len() / 3 / 8_192 * 8_192;
        damaged[page..page + 64].fill(0xff);
        fs::write(disk.path(), damaged).unwrap();
        fs::write(disk.path().with_extension("db-check"), "").unwrap();

        let store = disk.open(Options::default(), NOW);
        store.bells().failed().notified().await;
        let Err(StoreError::Latched(cause)) = store.ready() else { panic!("it goes on") };
        assert!(cause.contains("damage"), "{cause}");
        assert!(store.close().await.is_err());

        let url = format!("sqlite:{}", disk.path().display());
        let again = SqliteStore::open(&url, Options::default(), NOW);
        assert!(matches!(again, Err(OpenError::Damaged { .. })));
        // A backup is taken, once it has been read to its end.
        for beside in ["db-wal", "db-shm"] {
            let _ = fs::remove_file(disk.path().with_extension(beside));
        }
        fs::write(disk.path(), whole).unwrap();
        disk.open(Options::default(), NOW).close().await.unwrap();
        assert!(!disk.path().with_extension("db-check").exists());
    }

    #[tokio::test]
    async fn of_many_events_about_one_subject_few_are_read_at_a_start() {
        let disk = OnDisk::new();
        large(&disk).await;
        let unread: i64 = disk
            .past_the_store()
            .query_row(
                "SELECT count(*) FROM event WHERE seq > (SELECT known_through FROM progress)",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert!(unread <= 128, "{unread}");
    }

    #[tokio::test]
    async fn an_event_that_is_gone_is_given_up() {
        let disk = OnDisk::new();
        let store = disk.open(Options::default(), NOW);
        let id = record(&store, SENT).await.unwrap();
        fan_out(&store, id).await;
        store.close().await.unwrap();
        disk.past_the_store().execute("DELETE FROM event", []).unwrap();
        let store = disk.open(Options::default(), NOW);
        assert!(store.claim("crm", 10, NOW, LONGEST).await.unwrap().is_empty());
        assert_eq!(store.unfinished().await.unwrap(), [("crm".into(), State::Dead, 1)]);
    }

    #[tokio::test]
    async fn below_the_reserve_nothing_is_recorded_and_deliveries_go_on() {
        let disk = OnDisk::new();
        let store = disk.open(Options::default(), NOW);
        let routed = record(&store, SENT).await.unwrap();
        let unrouted = record(&store, Sent { body: b"[]", ..SENT }).await.unwrap();
        fan_out(&store, routed).await;
        store.close().await.unwrap();

        let store = disk.open(Options { reserve: u64::MAX, ..Options::default() }, NOW);
        let full = |answer: &Result<(), StoreError>| {
            matches!(answer, Err(StoreError::Full { reserve: Some(u64::MAX) }))
        };
        assert!(full(&store.ready()));
        assert!(full(&record(&store, Sent { body: b"7", ..SENT }).await.map(drop)));
        store.reject(rejection(0));
        fan_out(&store, unrouted).await;
        for claim in store.claim("crm", 10, NOW, LONGEST).await.unwrap() {
            store.settle(&claim, &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
        }
        assert_eq!(store.unfinished().await.unwrap(), []);
        assert!(store.free_bytes().unwrap() > 0);
        store.close().await.unwrap();
        assert_eq!(count(&disk, "attempt"), 2);
        assert_eq!((count(&disk, "event"), count(&disk, "rejection")), (2, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_waits_is_committed_together() {
        let heard = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let (commits, recorded) = (&heard.0, &heard.1);
        let observer = Arc::clone(&heard);
        let options = Options {
            observer: Arc::new(move |events, _: Duration| {
                observer.0.fetch_add(1, Ordering::Relaxed);
                observer.1.fetch_add(events, Ordering::Relaxed);
            }),
            ..Options::default()
        };
        let disk = OnDisk::new();
        let store = Arc::new(disk.open(options, NOW));
        let mut tasks = JoinSet::new();
        for number in 0..1_000 {
            let store = Arc::clone(&store);
            // Every other one is a copy, which is committed and not counted.
            let subject = format!("booking/{}", number / 2);
            tasks.spawn(async move {
                record(&store, Sent { subject: Some(&subject), ..SENT }).await.unwrap()
            });
        }
        tasks.join_all().await;
        assert_eq!(recorded.load(Ordering::Relaxed), 500);
        let commits = commits.load(Ordering::Relaxed);
        assert!((1..500).contains(&commits), "{commits} commits");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn one_odd_write_costs_no_other_its_answer() {
        let disk = OnDisk::new();
        let store = Arc::new(disk.open(Options::default(), NOW));
        disk.past_the_store()
            .execute_batch(
                "CREATE TRIGGER odd AFTER INSERT ON event WHEN new.name = 'odd' \
                 BEGIN SELECT raise(ABORT, 'no'); END",
            )
            .unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..200 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                let subject = format!("booking/{number}");
                let name = if number % 10 == 3 { "odd" } else { "booking.updated" };
                let recorded = record(&store, Sent { subject: Some(&subject), name, ..SENT }).await;
                assert_eq!(recorded.is_err(), name == "odd", "{number}: {recorded:?}");
            });
        }
        tasks.join_all().await;
        let events = store.unrouted(1_000).await.unwrap();
        assert_eq!(events.len(), 180);
        store.ready().unwrap();
    }

    #[tokio::test]
    async fn what_was_recorded_is_in_the_files_before_the_answer() {
        let disk = OnDisk::new();
        let store = disk.open(Options::default(), NOW);
        for number in 0..10 {
            let subject = format!("booking/{number}");
            let id = record(&store, Sent { subject: Some(&subject), ..SENT }).await.unwrap();
            let left = disk.killed();
            let next = left.open(Options::default(), NOW);
            assert_eq!(next.event(id).await.unwrap().unwrap().event.id, id);
        }
    }

    #[tokio::test]
    async fn the_newest_rejections_are_kept() {
        let disk = OnDisk::new();
        let store = disk.open(Options::default(), NOW);
        store.reject(rejection(0));
        store.close().await.unwrap();
        let side = disk.past_the_store();
        // As if as many had come as there is room for, and ten more.
        let room = i64::try_from(crate::REJECTIONS_MAX).unwrap();
        side.execute(
            "WITH RECURSIVE more (id) AS \
             (SELECT 2 UNION ALL SELECT id + 1 FROM more WHERE id < ?1) \
             INSERT INTO rejection SELECT more.id, at_ms, source, reason, remote, headers, body \
             FROM more, rejection",
            [room + 10],
        )
        .unwrap();
        let store = disk.open(Options::default(), NOW);
        store.reject(rejection(7));
        store.close().await.unwrap();
        assert_eq!(count(&disk, "rejection"), room);
        let newest: (String, String, Vec<u8>, Vec<u8>) = side
            .query_row(
                "SELECT reason, remote, headers, body FROM rejection ORDER BY id DESC LIMIT 1",
                params![],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        let expected = ("number 7", "192.0.2.1", &b"host: hooks.example\r\n"[..], &b"{}"[..]);
        assert_eq!((&*newest.0, &*newest.1, &newest.2[..], &newest.3[..]), expected);
    }

    fn count(disk: &OnDisk, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        disk.past_the_store().query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}
