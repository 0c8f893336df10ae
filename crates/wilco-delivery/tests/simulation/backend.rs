//! The stores that a run may use, and the events that it records.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::Now;
use jiff::Timestamp;
use tempfile::TempDir;
use wilco::{
    Arrival, Envelope, EventId, Head, Headers, Secret, SourceName, Unsigned, provider, verify,
};
use wilco_store::{Clock, Duplicates, MemoryStore, Options, SqliteStore, Store};

/// The clock of the simulation, as the store reads it.
pub(crate) struct StoreClock {
    wall: AtomicI64,
    elapsed: AtomicI64,
}

impl StoreClock {
    pub(crate) fn new(now: Now) -> Self {
        Self { wall: AtomicI64::new(now.wall), elapsed: AtomicI64::new(now.elapsed) }
    }

    pub(crate) fn set(&self, now: Now) {
        self.wall.store(now.wall, Ordering::Relaxed);
        self.elapsed.store(now.elapsed, Ordering::Relaxed);
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.wall.load(Ordering::Relaxed)).unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::Relaxed).try_into().unwrap())
    }
}

pub(crate) enum Backend {
    Memory(Box<MemoryStore>),
    Sqlite(Box<SqliteStore>, TempDir),
}

impl Backend {
    pub(crate) fn new(clock: Arc<StoreClock>, on_disk: bool) -> Self {
        if on_disk {
            let folder = tempfile::tempdir().unwrap();
            Self::Sqlite(Box::new(open(&folder, clock)), folder)
        } else {
            Self::Memory(Box::new(MemoryStore::new(clock)))
        }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            Self::Memory(store) => store.as_ref(),
            Self::Sqlite(store, _) => store.as_ref(),
        }
    }

    /// Kills the process and starts another.
    pub(crate) fn reopen(&mut self, clock: Arc<StoreClock>) {
        match self {
            Self::Memory(store) => **store = store.reopen(),
            Self::Sqlite(store, folder) => {
                // A killed process leaves what its files contain at that time.
                let left = tempfile::tempdir().unwrap();
                for file in ["wilco.db", "wilco.db-wal"] {
                    fs::copy(folder.path().join(file), left.path().join(file)).unwrap();
                }
                **store = open(&left, clock);
                *folder = left;
            }
        }
    }

    /// Makes the next write fail if the backend can: before it is durable, or after.
    pub(crate) fn break_next_write(&self, is_durable: bool) {
        if let Self::Memory(store) = self {
            if is_durable { store.lose_next_answer() } else { store.fail_next_commit() }
        }
    }

    /// Records an event as a provider sends it.
    pub(crate) async fn record(&self, name: &str, body: String, now: Timestamp) -> EventId {
        let scheme = &provider::find("freispace").unwrap().scheme;
        let secret = Secret::new("test:secret", b"a-made-up-secret".to_vec()).unwrap();
        let key = scheme.key(&secret).unwrap();
        let signed = scheme.sign(&secret, &Unsigned::post(body.as_bytes(), now)).unwrap();
        let head = Head { headers: Headers::from_pairs(signed), ..Head::default() };
        let arrival = Arrival { received_at: now, head, body: body.into_bytes().into() };
        let source = SourceName::new("freispace").unwrap();
        let verified = verify(scheme, &source, &[key], arrival).unwrap();
        let envelope = Envelope {
            provider: "freispace".into(),
            name: name.into(),
            subject: None,
            delivery_id: None,
        };
        let receipt = self.store().record(verified, envelope, Duplicates::Keep).await.unwrap();
        receipt.event_id()
    }
}

fn open(folder: &TempDir, clock: Arc<StoreClock>) -> SqliteStore {
    let url = format!("sqlite:{}", folder.path().join("wilco.db").display());
    SqliteStore::open(&url, Options::default(), clock).unwrap()
}
