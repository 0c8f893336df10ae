//! Power cuts: what a disk keeps of the store if only synced data is safe.
//!
//! strace records every call that changes the files of the store, over several runs of the real
//! binary: kills, starts and a stop. From these the possible states of the disk after a cut at any call
//! are built: everything that was synced, and of the rest nothing, all, a beginning with a torn write, an
//! end without its beginning, or any sectors. A store is opened on each, and every event that was
//! acknowledged before the cut has to be there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use tokio::runtime::Runtime;
use wilco::Digest;
use wilco_store::{
    AdminStore as _, EventQuery, Options, SqliteStore, Store as _, StoreStatus as _,
};

use super::{Chance, exchange, number, report, skip};
use crate::world::{World, booking};

/// A call that changed a file of the store, or made changes durable.
struct Call {
    /// When it began, in seconds since 1970.
    at: f64,
    path: PathBuf,
    change: Change,
}

enum Change {
    Create,
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
    Remove,
    Sync,
}

/// A file: what certainly survives a power cut, and what may be lost.
#[derive(Clone, Default)]
struct OnDisk {
    synced: Vec<u8>,
    unsynced: Vec<Unsynced>,
    is_name_synced: bool,
    is_removed: bool,
}

#[derive(Clone)]
enum Unsynced {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

impl Unsynced {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(file, *offset, bytes),
            Self::Resize(bytes) => file.resize(*bytes, 0),
        }
    }
}

fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    file.resize(file.len().max(offset + bytes.len()), 0);
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// The files of the store by their paths.
#[derive(Default)]
struct Disk(BTreeMap<PathBuf, OnDisk>);

impl Disk {
    fn apply(&mut self, Call { path, change, .. }: &Call) {
        let is_folder = self.0.keys().any(|file| file.parent() == Some(path.as_path()));
        if is_folder {
            self.0.retain(|_, file| !file.is_removed);
            self.0.values_mut().for_each(|file| file.is_name_synced = true);
            return;
        }
        let file = self.0.entry(path.clone()).or_default();
        match change {
            Change::Create if file.is_removed => *file = OnDisk::default(),
            Change::Create => {}
            Change::Write { offset, bytes } => {
                file.unsynced.push(Unsynced::Write { offset: *offset, bytes: bytes.clone() });
            }
            Change::Resize(bytes) => file.unsynced.push(Unsynced::Resize(*bytes)),
            Change::Remove => file.is_removed = true,
            Change::Sync => {
                let unsynced = std::mem::take(&mut file.unsynced);
                unsynced.iter().for_each(|change| change.apply(&mut file.synced));
            }
        }
    }

    /// Writes into `folder` what a power cut leaves.
    fn cut(&self, folder: &Path, chance: &mut Chance) {
        for (path, file) in &self.0 {
            let is_named = file.is_name_synced || chance.below(2) == 0;
            let is_gone = file.is_removed && chance.below(2) == 0;
            if is_named && !is_gone {
                let name = path.file_name().unwrap();
                fs::write(folder.join(name), file.after_a_cut(chance)).unwrap();
            }
        }
    }
}

impl OnDisk {
    fn after_a_cut(&self, chance: &mut Chance) -> Vec<u8> {
        let count = self.unsynced.len() as u64;
        let (kept, torn) = match chance.below(5) {
            0 => (0..0, None),
            1 => (0..self.unsynced.len(), None),
            2 => {
                let end = chance.below(count + 1);
                (0..end, self.unsynced.get(end))
            }
            3 => (chance.below(count + 1)..self.unsynced.len(), None),
            _ => return self.with_any_sectors(chance),
        };
        let mut file = self.synced.clone();
        self.unsynced[kept].iter().for_each(|change| change.apply(&mut file));
        if let Some(Unsynced::Write { offset, bytes }) = torn {
            let end = chance.below(bytes.len() as u64);
            write(&mut file, *offset, &bytes[..end]);
        }
        file
    }

    fn with_any_sectors(&self, chance: &mut Chance) -> Vec<u8> {
        let mut file = self.synced.clone();
        for change in &self.unsynced {
            match change {
                Unsynced::Write { offset, bytes } => {
                    let (mut at, end) = (*offset, offset + bytes.len());
                    while at < end {
                        let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
                        if chance.below(2) == 0 {
                            write(&mut file, at, &bytes[at - offset..next - offset]);
                        }
                        at = next;
                    }
                }
                Unsynced::Resize(_) if chance.below(2) == 0 => {}
                Unsynced::Resize(_) => change.apply(&mut file),
            }
        }
        file
    }

    /// What a process reads from the file without a power cut.
    fn now(&self) -> Vec<u8> {
        let mut file = self.synced.clone();
        self.unsynced.iter().for_each(|change| change.apply(&mut file));
        file
    }
}

/// An event that was acknowledged, and when its answer had arrived.
struct Acknowledged {
    at: f64,
    id: String,
    digest: Digest,
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_call() {
    let cuts = number("WILCO_CUTS").unwrap_or(60);
    let seed = number("WILCO_SEED").unwrap_or(0x0077_696c_636f);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    let calls = "trace=openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink";
    let strace = ["strace", "-D", "-ff", "-ttt", "-y", "-xx", "-s", "16777216", "-e", calls];
    if let Err(error) = std::process::Command::new("strace").arg("-V").output() {
        return skip(&format!("no strace: {error}"));
    }
    let world = World::plan()
        .and(
            "[store]\nurl = \"sqlite:FOLDER/store/wilco.db\"\nreserve = \"1 MiB\"\n\
             [destination.it]\ntype = \"print\"\n[[route]]\nto = [\"it\"]\n",
        )
        .under(&[&strace[..], &["-o", "FOLDER/trace"]].concat())
        .start_in(folder);
    let (mut world, acknowledged) = killed_under_load(world, seed);
    assert!(world.stop().success());
    let calls = read_calls(&world);

    // Each cut happens before one of the calls. Those that create the store happen only once.
    let mut chance = Chance::new(seed);
    let any = (0..cuts).map(|_| chance.below(calls.len() as u64 + 1));
    let mut places: Vec<_> = (0..CREATING_CALLS).chain(any).collect();
    places.sort_unstable();
    let runtime = Runtime::new().unwrap();
    let (mut disk, mut applied, mut unsynced_cuts) = (Disk::default(), 0, 0);
    for place in places {
        calls[applied..place].iter().for_each(|call| disk.apply(call));
        applied = place;
        unsynced_cuts += u64::from(disk.0.values().any(|file| !file.unsynced.is_empty()));
        let cut_at = calls.get(place).map_or(f64::MAX, |call| call.at);
        let expected = acknowledged.iter().filter(|acknowledged| acknowledged.at < cut_at);
        let folder = tempfile::tempdir().unwrap();
        disk.cut(folder.path(), &mut chance);
        let what = format!("seed {seed}: a cut before call {place} of {}", calls.len());
        runtime.block_on(check(folder.path(), expected.collect(), &what));
    }
    calls[applied..].iter().for_each(|call| disk.apply(call));
    // The files were changed only by the recorded calls.
    for (path, file) in disk.0.iter().filter(|(_, file)| !file.is_removed) {
        assert!(fs::read(path).is_ok_and(|bytes| bytes == file.now()), "{}", path.display());
    }
    let count = acknowledged.len();
    assert!(count > 50 && unsynced_cuts * 5 > cuts, "{count}, {unsynced_cuts}");
    report(&format!("{count} events, {} calls, {cuts} cuts", calls.len()));
}

/// Sends events while the process is killed and started again, several times.
fn killed_under_load(mut world: World, seed: u64) -> (World, Vec<Acknowledged>) {
    let acknowledged = Mutex::new(Vec::new());
    let count = AtomicU64::new(0);
    // The log is copied into the database at each of these starts, and at the stop.
    for life in 0..4 {
        thread::scope(|scope| {
            let senders = (0..3).map(|sender| {
                let (world, acknowledged, count) = (&world, &acknowledged, &count);
                scope.spawn(move || {
                    let mut chance = Chance::new(seed ^ (life * 3 + sender));
                    send(world, &mut chance, count, acknowledged);
                })
            });
            let senders: Vec<_> = senders.collect();
            let until = Instant::now() + Duration::from_millis(300);
            let wanted = 30 * (life + 1);
            while count.load(Ordering::Relaxed) < wanted || Instant::now() < until {
                assert!(Instant::now() < until + Duration::from_secs(60), "nothing is accepted");
                thread::sleep(Duration::from_millis(5));
            }
            world.signal("KILL");
            senders.into_iter().for_each(|sender| sender.join().unwrap());
        });
        world = world.kill_and_restart();
    }
    (world, acknowledged.into_inner().unwrap())
}

/// Sends events until the process is gone.
fn send(world: &World, chance: &mut Chance, count: &AtomicU64, into: &Mutex<Vec<Acknowledged>>) {
    let mut connection = None;
    loop {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let bytes = chance.below(if number.is_multiple_of(10) { 60_000 } else { 3_000 });
        let body = booking(&format!("b-{number}"), &"x".repeat(bytes));
        let Some(reply) = exchange(world.address, &body, &mut connection) else { return };
        assert_eq!(reply.status, 200, "{}", reply.body);
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        let id = reply.header("x-wilco-event").unwrap().to_owned();
        into.lock().unwrap().push(Acknowledged { at, id, digest: Digest::of(body.as_bytes()) });
    }
}

/// Opens the store after a cut, and compares it with what was acknowledged.
async fn check(folder: &Path, expected: Vec<&Acknowledged>, what: &str) {
    let url = format!("sqlite:{}/wilco.db", folder.display());
    let opened = SqliteStore::open(&url, Options::default(), wilco_server::clock::system());
    assert!(opened.is_ok(), "{what}: {:?}", opened.err());
    let store = opened.unwrap();
    assert!(store.ready().is_ok(), "{what}: {:?}", store.ready());
    for Acknowledged { id, digest, .. } in &expected {
        let shown = store.event(id.parse().unwrap()).await.unwrap();
        let body = shown.map(|shown| Digest::of_body(&shown.event.body).unwrap());
        assert_eq!(body.as_ref(), Some(digest), "{what}: {id} of {}", expected.len());
    }
    let all = store.events(EventQuery { limit: 100_000, ..EventQuery::default() }).await.unwrap();
    let all = all.events;
    assert!(all.iter().all(|event| !event.is_damaged), "{what}");
    assert!(all.len() >= expected.len(), "{what}");
    // A torn end does not count as damage.
    assert_eq!(store.usage().unwrap().lost_commits, 0, "{what}");
    let names = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
    let kept = names.filter(|name| name.to_string_lossy().contains("damaged")).count();
    assert_eq!(kept, 0, "{what}: taken for damage");
    store.close().await.unwrap();
}

/// The calls on the files of the store, in order.
fn read_calls(world: &World) -> Vec<Call> {
    let mut calls = Vec::new();
    let files = fs::read_dir(world.folder.path()).unwrap().map(|file| file.unwrap().path());
    for path in files.filter(|path| path.file_stem().is_some_and(|stem| stem == "trace")) {
        let whole = || fs::read_to_string(&path).unwrap();
        // The end of a thread is the last that strace writes about it.
        let until = Instant::now() + Duration::from_secs(60);
        while !whole().trim_end().ends_with("+++") {
            assert!(Instant::now() < until, "{} has no end", path.display());
            thread::sleep(Duration::from_millis(20));
        }
        calls.extend(whole().lines().filter_map(call));
    }
    calls.sort_by(|a, b| a.at.total_cmp(&b.at));
    let store = fs::canonicalize(world.path("store")).unwrap();
    let is_of_store = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path == store || (path.starts_with(&store) && STORE_FILES.contains(&&*name))
    };
    calls.retain(|call| is_of_store(&call.path));
    calls
}

/// `1795957495.955997 pwrite64(5<\x2f…>, "\x61…", 1, 0) = 1`
fn call(line: &str) -> Option<Call> {
    let (at, rest) = line.split_once(' ')?;
    let (name, rest) = rest.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let quoted = |text: &str| text.split('"').nth(1).map(unescaped);
    let descriptor = |text: &str| Some(unescaped(text.split_once('<')?.1.split_once('>')?.0));
    let numbers = || arguments.trim_end_matches(')').rsplit(", ").map_while(|n| n.parse().ok());
    let (path, change) = match name {
        "openat" if arguments.contains("O_CREAT") => (descriptor(result)?, Change::Create),
        "unlink" => (quoted(arguments)?, Change::Remove),
        "ftruncate" => (descriptor(arguments)?, Change::Resize(numbers().next()?)),
        "fsync" | "fdatasync" => (descriptor(arguments)?, Change::Sync),
        "pwrite64" => {
            let mut bytes = quoted(arguments)?;
            bytes.truncate(result.split(' ').next()?.parse().ok()?);
            (descriptor(arguments)?, Change::Write { offset: numbers().next()?, bytes })
        }
        _ => return None,
    };
    let path = PathBuf::from(String::from_utf8(path).ok()?);
    Some(Call { at: at.parse().ok()?, path, change })
}

/// `\x61\x62`, as strace writes bytes.
fn unescaped(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits.filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()).collect()
}

const STORE_FILES: [&str; 3] = ["wilco.db", "wilco.db-wal", "wilco.db-journal"];
/// The first calls, until the store has its tables.
const CREATING_CALLS: usize = 60;
/// A disk writes this many bytes completely or not at all.
const SECTOR_BYTES: usize = 512;
