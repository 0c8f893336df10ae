//! What was acknowledged is kept and delivered, whatever happens to the process or to its disk.

mod disk;
mod faults;
mod hang;
mod hindered;
mod log;
mod power;
mod short_space;
mod slow_disk;

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use wilco::Digest;

use crate::{
    catcher::Catcher,
    deliveries::RETRY,
    world::{Reply, World, sign},
};

/// Events that were sent, and the ids of those that were acknowledged.
#[derive(Default)]
struct Sent {
    address: Mutex<Option<SocketAddr>>,
    is_over: AtomicBool,
    count: AtomicU64,
    acknowledged: Mutex<Vec<(String, Digest)>>,
    odd: Mutex<Vec<Reply>>,
}

impl Sent {
    /// Sends distinct events until it is over. An event that was not acknowledged is sent again,
    /// as providers do, so that in the end every event is acknowledged.
    fn send(&self, sender: usize) {
        let mut chance = Chance::new(sender as u64);
        let mut connection = None;
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let body = format!(
                r#"{{"id":"{sender}-{number}","type":"booking","event":"e","x":"{}"}}"#,
                "y".repeat(chance.below(3_000))
            );
            let reply = loop {
                let address = *self.address.lock().unwrap();
                match address.and_then(|address| exchange(address, &body, &mut connection)) {
                    Some(reply) if reply.status == 200 => break reply,
                    Some(reply) if reply.status != 503 => {
                        self.odd.lock().unwrap().push(reply);
                        return;
                    }
                    _ => thread::sleep(Duration::from_millis(2)),
                }
            };
            let id = reply.header("x-wilco-event").unwrap().to_owned();
            self.acknowledged.lock().unwrap().push((id, Digest::of(body.as_bytes())));
            if chance.below(4) == 0 {
                connection = None;
            }
            thread::sleep(Duration::from_millis(chance.below(6) as u64));
        }
    }
}

/// One request, on the existing connection or a new one. `None` if the connection broke.
fn exchange(
    address: SocketAddr,
    body: &str,
    connection: &mut Option<BufReader<TcpStream>>,
) -> Option<Reply> {
    let mut stream = match connection.take() {
        Some(stream) if stream.get_ref().peer_addr().is_ok_and(|peer| peer == address) => stream,
        _ => {
            let stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            BufReader::new(stream)
        }
    };
    let request = format!(
        "POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\
         x-freispace-signature: {}\r\n\r\n{body}",
        body.len(),
        sign(body.as_bytes())
    );
    stream.get_mut().write_all(request.as_bytes()).ok()?;
    let reply = Reply::read(&mut stream).ok()?;
    *connection = Some(stream);
    Some(reply)
}

/// The number of unfinished deliveries.
fn unfinished(world: &World) -> f64 {
    let text = world.get("/metrics").body;
    let lines = text.lines().filter(|line| line.starts_with("wilco_deliveries{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn what_was_acknowledged_survives_kill_dash_nine_under_load() {
    let kills = number("WILCO_KILLS").unwrap_or(20);
    let seed = number("WILCO_SEED").unwrap_or(0x0077_696c_636f);
    let catcher = Catcher::new();
    let tables = format!(
        "[destination.http]\ntype = \"http\"\nurl = \"{}\"\n{RETRY}\n\
         [destination.print]\ntype = \"print\"\nconcurrency = 8\n\
         [destination.file]\ntype = \"file\"\npath = \"FOLDER/events.jsonl\"\n\
         max_size = \"100 kB\"\nkeep = 1000\n\
         [[route]]\nto = [\"http\", \"print\", \"file\"]\n",
        catcher.url()
    );
    let mut world = World::plan().and(&tables).start();
    let sent = Arc::new(Sent::default());
    *sent.address.lock().unwrap() = Some(world.address);
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let sent = Arc::clone(&sent);
            thread::spawn(move || sent.send(sender))
        })
        .collect();
    let mut chance = Chance::new(seed);
    for _ in 0..kills {
        thread::sleep(Duration::from_millis(20 + chance.below(280) as u64));
        world = world.kill_and_restart();
        *sent.address.lock().unwrap() = Some(world.address);
    }
    thread::sleep(Duration::from_millis(100));
    sent.is_over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    let odd = sent.odd.lock().unwrap();
    assert!(odd.is_empty(), "seed {seed}: {odd:?}");

    let acknowledged = sent.acknowledged.lock().unwrap();
    let recorded = recorded_once(&world);
    let lost =
        acknowledged.iter().filter(|(id, digest)| recorded.get(id) != Some(&digest.to_string()));
    let lost: Vec<_> = lost.collect();
    assert!(lost.is_empty(), "seed {seed}: lost {lost:?} of {}", acknowledged.len());
    // Each was sent until it was acknowledged, so nothing else is recorded.
    assert_eq!(recorded.len(), acknowledged.len(), "seed {seed}");
    assert!(
        acknowledged.len() as u64 > 10 * kills,
        "only {} were acknowledged",
        acknowledged.len()
    );

    check_delivered(&world, &catcher, &recorded, seed);
    assert!(world.stop().success());
    assert_eq!(integrity(&world), "ok", "seed {seed}");
    let again = catcher.caught().len() - recorded.len();
    report(&format!("{} events, {kills} kills, {again} delivered once more", recorded.len()));
}

/// Every event that was recorded reaches every destination.
fn check_delivered(
    world: &World,
    catcher: &Catcher,
    recorded: &HashMap<String, String>,
    seed: u64,
) {
    world.eventually("every delivery", |world| unfinished(world) == 0.0);
    let by_http: HashMap<String, String> = catcher
        .caught()
        .iter()
        .map(|c| (c.header("webhook-id").to_owned(), Digest::of(&c.body).to_string()))
        .collect();
    assert_eq!(by_http, *recorded, "seed {seed}: delivered by http");
    let printed = complete_lines(&fs::read_to_string(world.path("stdout")).unwrap());
    let not_printed: Vec<_> = recorded.keys().filter(|id| !printed.contains(*id)).collect();
    assert!(not_printed.is_empty(), "seed {seed}: not printed: {not_printed:?}");
    let in_files = in_files(world);
    let not_in_files: Vec<_> = recorded.keys().filter(|id| !in_files.contains(*id)).collect();
    assert!(not_in_files.is_empty(), "seed {seed}: not in a file: {not_in_files:?}");
}

/// `strace` on a running process, if this machine allows that.
struct Strace(Child);

impl Strace {
    /// Makes calls of the process end as `fault` says, counted for each thread from now on.
    fn inject(pid: u32, calls: &str, fault: &str) -> Result<Self, String> {
        Self::inject_at(&[], pid, calls, fault)
    }

    /// The same, but if there are paths, only for calls on these.
    fn inject_at(paths: &[&Path], pid: u32, calls: &str, fault: &str) -> Result<Self, String> {
        let mut child = Command::new("strace")
            .args(["-f", "-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{fault}")])
            .args(["-p", &pid.to_string()])
            .args(paths.iter().flat_map(|path| [Path::new("-P"), path]))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        if line.contains("attached") {
            // Its output must not block it.
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            return Ok(Self(child));
        }
        // It has ended already.
        let _ = child.wait();
        Err(line.trim().to_owned())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It has ended already if the traced process has.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SYNCS: &str = "fsync,fdatasync";

/// The ids in the complete lines of the current file and of the rotated ones.
fn in_files(world: &World) -> HashSet<String> {
    let entries = fs::read_dir(world.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.filter(|path| path.to_string_lossy().contains(".jsonl")).collect();
    assert!(files.len() > 1, "no file was full: {files:?}");
    files.iter().flat_map(|path| complete_lines(&fs::read_to_string(path).unwrap())).collect()
}

/// The ids in the lines that are complete.
fn complete_lines(text: &str) -> HashSet<String> {
    let lines = text.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

/// The recorded events with their digests. Each event and each digest occurs once.
fn recorded_once(world: &World) -> HashMap<String, String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let events = world.events();
    let by_id: HashMap<_, _> =
        events.iter().map(|event| (text(&event["id"]), text(&event["sha256"]))).collect();
    let digests: HashSet<_> = by_id.values().collect();
    assert_eq!((by_id.len(), digests.len()), (events.len(), events.len()), "recorded twice");
    by_id
}

fn integrity(world: &World) -> String {
    let store = rusqlite::Connection::open(world.path("wilco.db")).unwrap();
    store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Pseudo-random numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound).unwrap()
    }
}

/// Prints a message although the test passes: what was skipped, or how much was tested.
pub(crate) fn report(what: &str) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    // The test harness captures what `println!` prints, and this must be visible.
    let _ = writeln!(std::io::stderr(), "{name}: {what}");
}

/// Skips a test because something that it needs is missing on this machine. CI sets
/// `WILCO_NO_SKIPS`, so that a missing tool fails there instead of hiding what it would have found.
#[track_caller]
pub(crate) fn skip(why: &str) {
    let may_skip = std::env::var_os("WILCO_NO_SKIPS").is_none();
    assert!(may_skip, "skipped: {why}");
    report(&format!("skipped: {why}"));
}
