//! Stores with a past: many events, recorded through the crate's own door, each with a delivery that
//! waits or with none.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use wilco::{Arrival, Envelope, Head, Headers, SourceName, Verified, verify};
use wilco_store::{Duplicates, Options, SqliteStore, Store, StoreError, Target};

use crate::{
    bodies::{self, Signer},
    clock,
    deliver::DESTINATION,
    fill,
    rounds::tell,
};

/// A folder with a store in it, which no process has open.
pub(crate) struct Stock {
    /// The folder.
    pub(crate) dir: PathBuf,
}

impl Stock {
    /// Records `count` events in a new store in `dir`, and gives each a delivery to a destination
    /// that is paused, if they are to wait. A store that is there already is taken as it is.
    ///
    /// # Errors
    ///
    /// The store cannot be made or written.
    pub(crate) async fn build(dir: PathBuf, count: u64, is_waiting: bool) -> io::Result<Self> {
        let what = if is_waiting { "events that wait" } else { "events that wait for nobody" };
        let targets = if is_waiting { Targets::One } else { Targets::None };
        Self { dir }.make(count, what, targets).await
    }

    /// Records `count` events in a new store in `dir`, spread over the last 30 days, and ends their deliveries. A
    /// store that is there already is taken as it is.
    ///
    /// # Errors
    ///
    /// The store cannot be made or written.
    pub(crate) async fn fill(dir: PathBuf, count: u64) -> io::Result<Self> {
        Self { dir }.make(count, "events that were delivered", Targets::Ended).await
    }

    async fn make(self, count: u64, what: &str, targets: Targets) -> io::Result<Self> {
        let stock = self;
        if stock.mark().is_file() {
            tell(&format!("{count} {what} are there already"));
            return Ok(stock);
        }
        fs::create_dir_all(&stock.dir)?;
        let begun = Instant::now();
        let store = stock.open()?;
        if targets != Targets::Ended {
            store.pause(DESTINATION, true).await.map_err(io::Error::other)?;
        }
        let every = match targets {
            Targets::Ended => MONTH / u32::try_from(count).unwrap_or(u32::MAX).max(1),
            Targets::One | Targets::None => Duration::ZERO,
        };
        let signer = Arc::new(Sender::new(count, every)?);
        let mut told = 0;
        for first in (0..count).step_by(AT_ONCE) {
            let end = count.min(first + AT_ONCE as u64);
            record(&store, &signer, first..end).await?;
            route(store.as_ref(), targets).await?;
            if targets == Targets::Ended {
                fill::end(&store).await?;
            }
            if end - told >= TELL_EVERY || end == count {
                tell(&format!("{end} of {count} {what}, {:.0} s", begun.elapsed().as_secs_f64()));
                told = end;
            }
        }
        store.close().await.map_err(io::Error::other)?;
        File::create(stock.mark())?;
        Ok(stock)
    }

    /// Stops the destination, or lets it go on.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub(crate) async fn pause(&self, is_paused: bool) -> io::Result<()> {
        let store = self.open()?;
        store.pause(DESTINATION, is_paused).await.map_err(io::Error::other)?;
        store.close().await.map_err(io::Error::other)
    }

    /// Asks the kernel to forget what it has of the file, as after a reboot.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(crate) fn forget(&self) -> io::Result<()> {
        for name in ["wilco.db", "wilco.db-wal"] {
            // A clean stop removes the log.
            if let Ok(file) = File::open(self.dir.join(name)) {
                // Only what is on the disk can be forgotten.
                file.sync_all()?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
            }
        }
        Ok(())
    }

    /// The size of the file, in bytes.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        Ok(fs::metadata(self.dir.join("wilco.db"))?.len())
    }

    /// Whether the server that has it open has still to check it.
    pub(crate) fn is_unchecked(&self) -> bool {
        self.dir.join("wilco.db-check").exists()
    }

    fn open(&self) -> io::Result<Arc<dyn Store>> {
        let url = format!("sqlite:{}", self.dir.join("wilco.db").display());
        let store = SqliteStore::open(
            &url,
            Options::default(),
            Arc::new(clock::System { started: Instant::now() }),
        );
        Ok(Arc::new(store.map_err(io::Error::other)?))
    }

    /// Made when all is recorded.
    fn mark(&self) -> PathBuf {
        self.dir.join("complete")
    }
}

/// Makes what a server would have made of a request, by the library's own sign and verify.
struct Sender {
    signer: Signer,
    sources: Vec<SourceName>,
    count: u64,
    /// From one event to the next; the last one comes now.
    every: Duration,
}

impl Sender {
    fn new(count: u64, every: Duration) -> io::Result<Self> {
        let names: &[&str] =
            if every.is_zero() { &["freispace"] } else { &["freispace", "office", "warehouse"] };
        let sources = names.iter().map(|name| SourceName::new(name).map_err(io::Error::other));
        Ok(Self {
            signer: Signer::new()?,
            sources: sources.collect::<Result<_, _>>()?,
            count,
            every,
        })
    }

    fn verified(&self, number: u64) -> io::Result<(Verified, Envelope)> {
        let body = Bytes::from(bodies::body(number, number));
        let (name, value) = self.signer.sign(&body)?;
        let headers = [("content-type", "application/json"), ("user-agent", "wilco-bench")];
        let signed = (name.as_str(), value.as_str());
        let headers = Headers::from_pairs(headers.into_iter().chain([signed]));
        let head = Head { method: "POST".into(), url: String::new(), headers };
        let ago = self.every * u32::try_from(self.count - number).unwrap_or(u32::MAX);
        let received_at = clock::now().checked_sub(ago).map_err(io::Error::other)?;
        let arrival = Arrival { received_at, head, body: body.into() };
        let Signer { provider, keys, .. } = &self.signer;
        let source =
            &self.sources[usize::try_from(number % self.sources.len() as u64).unwrap_or(0)];
        let verified = verify(&provider.scheme, source, keys, arrival);
        let verified = verified.map_err(io::Error::other)?;
        let envelope = provider.envelope(&verified).map_err(io::Error::other)?;
        Ok((verified, envelope))
    }
}

async fn record(
    store: &Arc<dyn Store>,
    signer: &Arc<Sender>,
    numbers: Range<u64>,
) -> io::Result<()> {
    let mut recording = JoinSet::new();
    for number in numbers {
        let (store, signer) = (Arc::clone(store), Arc::clone(signer));
        recording.spawn(async move {
            loop {
                let (verified, envelope) = signer.verified(number)?;
                let duplicates = Duplicates::Suppress { window: COPY_WINDOW };
                match store.record(verified, envelope, duplicates).await {
                    // Something else uses the machine.
                    Err(StoreError::Busy) => sleep(BUSY_PAUSE).await,
                    recorded => return recorded.map_err(io::Error::other),
                }
            }
        });
    }
    while let Some(recorded) = recording.join_next().await {
        if !recorded??.is_first() {
            return Err(io::Error::other("two bodies were taken for copies"));
        }
    }
    Ok(())
}

/// Where the events of a stock go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Targets {
    None,
    /// To one destination that is paused.
    One,
    /// To destinations at which each delivery comes to its end.
    Ended,
}

async fn route(store: &dyn Store, targets: Targets) -> io::Result<()> {
    loop {
        let batch = store.unrouted(AT_ONCE).await.map_err(io::Error::other)?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut number = 0;
        let routed = batch.route(|_| {
            number += 1;
            match targets {
                Targets::None => Vec::new(),
                Targets::One => vec![Target::to(DESTINATION)],
                Targets::Ended => fill::targets(number),
            }
        });
        store.fan_out(routed).await.map_err(io::Error::other)?;
    }
}

/// The folder of a stock below `dir`.
pub(crate) fn folder(dir: &Path, count: u64, is_waiting: bool) -> PathBuf {
    dir.join(format!("{count}-{}", if is_waiting { "waiting" } else { "skipped" }))
}

/// Events under way at once: half of what the store's queue takes.
const AT_ONCE: usize = 4_096;
const BUSY_PAUSE: Duration = Duration::from_millis(100);
const TELL_EVERY: u64 = 100_000;
const MONTH: Duration = Duration::from_hours(30 * 24);
/// As `wilco serve` has it if nothing else is said.
const COPY_WINDOW: Duration = Duration::from_hours(24);
