//! Large bodies: they take disk space and not memory, arrive complete, and leave nothing behind.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use aws_lc_rs::{digest, hmac};
use serde_json::Value;

use crate::world::{Reply, SECRET, World};

const MIB: usize = 1 << 20;

/// The beginning, the middle and the end of a body of this length.
struct Large {
    parts: [Vec<u8>; 3],
}

impl Large {
    fn new(id: &str, bytes: usize) -> Self {
        let head = format!(r#"{{"id":"{id}","type":"booking","event":"booking.updated","data":"#);
        let head = format!("{head}{{\"name\":\"").into_bytes();
        let tail = br#""}}"#.to_vec();
        let bytes = bytes - head.len() - tail.len();
        let mut filler = b"abcdefghijklmnopqrstuvwxyz".repeat(bytes / 26 + 1);
        filler.truncate(bytes);
        Self { parts: [head, filler, tail] }
    }

    fn len(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    fn whole(&self) -> String {
        String::from_utf8(self.parts.concat()).unwrap()
    }

    fn sha256(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        self.parts.iter().for_each(|part| context.update(part));
        hex(context.finish().as_ref())
    }

    fn signature(&self, secret: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        self.parts.iter().for_each(|part| context.update(part));
        hex(context.sign().as_ref())
    }

    /// Opens a connection, and sends all but the last part.
    fn begin(&self, world: &World, secret: &str) -> TcpStream {
        let mut stream = world.connect();
        stream.set_read_timeout(Some(Duration::from_secs(600))).unwrap();
        let (signature, length) = (self.signature(secret), self.len());
        let head = format!(
            "POST /webhook HTTP/1.1\r\nhost: a\r\nx-freispace-signature: {signature}\r\n\
             content-length: {length}\r\n\r\n"
        );
        // It may have been refused already.
        let sent = stream.write_all(head.as_bytes());
        let _ = sent.and_then(|()| self.parts[..2].iter().try_for_each(|p| stream.write_all(p)));
        stream
    }

    fn end(&self, mut stream: TcpStream) -> Reply {
        let _ = stream.write_all(&self.parts[2]);
        Reply::read(&mut BufReader::new(stream)).unwrap()
    }

    fn send(&self, world: &World) -> Reply {
        self.end(self.begin(world, SECRET))
    }
}

/// An HTTP service that keeps the digests of bodies and not the bodies.
struct Sink {
    address: SocketAddr,
    digests: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let digests: Arc<Mutex<Vec<String>>> = Arc::default();
        let list = Arc::clone(&digests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let list = Arc::clone(&list);
                // If a connection fails, the client notices.
                thread::spawn(move || converse(&stream, &list));
            }
        });
        Self { address, digests }
    }

    fn destination(&self) -> String {
        let url = format!("http://{}/", self.address);
        format!(
            "[destination.sink]\ntype = \"http\"\nurl = \"{url}\"\ntimeout = \"2 min\"\n\
             [[route]]\nevents = [\"*\"]\nto = [\"sink\"]\n"
        )
    }
}

fn converse(mut stream: &TcpStream, digests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut context = digest::Context::new(&digest::SHA256);
        let mut buffer = vec![0; 64 << 10];
        let mut body = (&mut reader).take(length);
        loop {
            match body.read(&mut buffer)? {
                0 => break,
                count => context.update(&buffer[..count]),
            }
        }
        if body.limit() > 0 {
            return Ok(());
        }
        digests.lock().unwrap().push(hex(context.finish().as_ref()));
        stream.write_all(b"HTTP/1.1 204 So\r\n\r\n")?;
    }
}

/// Ten at once, or as many as `WILCO_LARGE_BODIES` says.
#[test]
fn large_bodies_at_once_take_little_memory_and_arrive_byte_for_byte() {
    let count = env::var("WILCO_LARGE_BODIES").map_or(10, |count| count.parse().unwrap());
    let sink = Sink::start();
    let world = World::plan().listen("max_body = \"25 MiB\"").and(&sink.destination()).start();
    // So that whatever is made once is there.
    assert_eq!(Large::new("first", MIB).send(&world).status, 200);
    world.eventually("a delivery", |_| sink.digests.lock().unwrap().len() == 1);
    let bodies: Vec<_> = (0..count).map(|n| Large::new(&format!("b-{n}"), 25 * MIB - n)).collect();
    let before = memory_kib(&world);
    let (peak, is_over) = (Mutex::new(before), AtomicBool::new(false));
    let all_sent = Barrier::new(count);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let mut peak = peak.lock().unwrap();
                *peak = memory_kib(&world).max(*peak);
                drop(peak);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let senders: Vec<_> = bodies
            .iter()
            .map(|body| {
                scope.spawn(|| {
                    let stream = body.begin(&world, SECRET);
                    all_sent.wait();
                    body.end(stream).status
                })
            })
            .collect();
        let statuses: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        assert_eq!(statuses, vec![200; count], "{}", world.log());
        for _ in 0..600 {
            if sink.digests.lock().unwrap().len() == count + 1 {
                break;
            }
            thread::sleep(Duration::from_secs(1));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut expected: Vec<_> = bodies.iter().map(Large::sha256).collect();
    let mut arrived = sink.digests.lock().unwrap()[1..].to_vec();
    expected.sort();
    arrived.sort();
    assert!(arrived == expected, "{} of {count} arrived as they were sent", arrived.len());
    let more = *peak.lock().unwrap() - before;
    eprintln!("{count} bodies of 25 MiB: {} MiB more than the {} before", more >> 10, before >> 10);
    assert!(more < 64 << 10, "{more} KiB more than before");
}

#[test]
fn a_large_body_reaches_every_kind_of_destination_byte_for_byte() {
    let tables = "[destination.program]\ntype = \"command\"\n\
         command = [\"/bin/sh\", \"-c\", \"cat > FOLDER/given\"]\n\
         [destination.file]\ntype = \"file\"\npath = \"FOLDER/lines\"\n\
         [destination.print]\ntype = \"print\"\n\
         [destination.worker]\ntype = \"command\"\nprotocol = \"lines\"\n\
         command = [\"/bin/sh\", \"-c\", \"\"\"while read -r line; do \
           printf '%s' \"$line\" > FOLDER/line; id=${line#'{\"id\":\"'}; \
           printf '{\"id\":\"%s\",\"ok\":true}\\\\n' \"${id%%'\"'*}\"; done\"\"\"]\n\
         [[route]]\nevents = [\"*\"]\nto = [\"program\", \"file\", \"print\", \"worker\"]\n\
         [[route]]\nevents = [\"*\"]\nwhen = \"data.name\"\nto = [\"rule\"]\n\
         [destination.rule]\ntype = \"print\"\n";
    let world = World::plan().listen("max_body = \"8 MiB\"").and(tables).start();
    for (bytes, is_small_enough) in [(3 * MIB + 7, true), (4 * MIB + 1, false)] {
        let body = Large::new("b-1", bytes);
        let reply = body.send(&world);
        assert_eq!(reply.status, 200);
        let id = reply.header("x-wilco-event").unwrap().to_owned();
        let states = |world: &World| {
            let shown = world.run_verb(&["events", "show", &id, "--json"]);
            let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
            let deliveries = shown["deliveries"].as_array().unwrap().clone();
            let state = |it: &Value| (it["destination"].clone(), it["state"].clone());
            deliveries.iter().map(state).collect::<Vec<_>>()
        };
        let others = if is_small_enough { "delivered" } else { "dead" };
        let expected: Vec<(Value, Value)> = [
            ("program", "delivered"),
            ("file", "delivered"),
            ("print", "delivered"),
            ("worker", others),
            ("rule", others),
        ]
        .map(|(name, state)| (name.into(), state.into()))
        .into();
        world.eventually("all deliveries", |world| {
            let is_over = |(_, state): &(Value, Value)| state == "delivered" || state == "dead";
            states(world).iter().filter(|it| is_over(it)).count() == expected.len()
        });
        assert_eq!(states(&world), expected, "{bytes}");

        let whole = body.whole();
        let is_line = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["id"] == *id && serde_json::from_str::<Value>(&whole).unwrap() == line["body"]
        };
        let read = |name: &str| fs::read_to_string(world.path(name)).unwrap();
        assert!(read("given") == whole, "{bytes}");
        assert!(is_line(read("lines").lines().last().unwrap()), "{bytes}");
        assert!(is_line(read("stdout").lines().last().unwrap()), "{bytes}");
        if is_small_enough {
            let line: Value = serde_json::from_str(&read("line")).unwrap();
            assert!(line["body"] == *whole, "{bytes}");
        }
        let raw = world.run_verb(&["events", "show", &id, "--raw"]);
        assert!(raw.stdout == whole.as_bytes(), "{bytes}");
        let shown = world.run_verb(&["events", "show", &id]);
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("too large to be shown here; see it with --raw"), "{shown}");
    }
}

#[test]
fn a_large_body_that_is_refused_leaves_nothing_on_the_disk() {
    let world = World::plan().listen("max_body = \"25 MiB\"").start();
    let before = names(&world);
    let body = Large::new("b-1", 25 * MIB);
    assert_eq!(body.end(body.begin(&world, "another-secret")).status, 403);
    assert_eq!(Large::new("b-1", 25 * MIB + 1).send(&world).status, 413);
    let mut broken = body.begin(&world, SECRET);
    world.eventually("a file without a name", |world| unnamed_files(world) > 0);
    broken.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = broken.read_to_end(&mut Vec::new());
    world.eventually("no open file", |world| unnamed_files(world) == 0);
    world.eventually("a rejection", |world| world.count("SELECT count(*) FROM rejection") == 1);
    assert_eq!(names(&world), before);
    assert_eq!((world.recorded(), world.count("SELECT count(*) FROM payload_chunk")), (0, 0));
    let kept = "SELECT bytes = 26214400 AND length(body) = 65536 AND NOT complete FROM rejection";
    assert_eq!(world.count(kept), 1, "the beginning is kept");
    assert_eq!(body.send(&world).status, 200);
    assert_eq!(body.send(&world).status, 200);
    assert_eq!((world.recorded(), world.count("SELECT count(*) FROM payload_chunk")), (1, 400));
    let id = world.events()[0]["id"].as_str().unwrap().to_owned();
    assert!(world.run_verb(&["events", "show", &id, "--raw"]).stdout == body.whole().as_bytes());
}

#[test]
fn a_kill_in_the_middle_of_a_large_body_leaves_nothing_on_the_disk() {
    let world = World::plan().listen("max_body = \"25 MiB\"").start();
    let body = Large::new("b-1", 25 * MIB);
    let before = names(&world);
    let held: Vec<_> = (0..3).map(|_| body.begin(&world, SECRET)).collect();
    world.eventually("files without a name", |world| unnamed_files(world) == 3);
    let world = world.kill_and_restart();
    drop(held);
    let mut after = names(&world);
    after.retain(|name| !name.contains("-check"));
    assert_eq!(after, before);
    let bytes: u64 = names(&world).iter().map(|name| size(&world.path(name))).sum();
    assert!(bytes < MIB as u64, "{bytes} bytes are left");
    assert_eq!(body.send(&world).status, 200);
    assert_eq!(world.count("SELECT count(*) FROM partial_body"), 0);
}

#[test]
fn a_large_body_whose_signature_needs_all_of_it_in_memory_is_refused_and_the_log_says_why() {
    let source = "[source.mail]\nprovider = \"mailgun\"\npath = \"/mail\"\n\
                  secrets = [{ env = \"FREISPACE_SECRET\" }]\n";
    let world = World::plan().listen("max_body = \"8 MiB\"").and(source).start();
    for (bytes, status) in [(MIB, 403), (MIB + 1, 413)] {
        let body = r#"{"signature":{"timestamp":"1","token":"t","signature":""#;
        let body = format!("{body}{}\"}},\"a\":\"", "0".repeat(64));
        let body = format!("{body}{}\"}}", "x".repeat(bytes - body.len() - 2));
        let reply = world.post_to("/mail", &body, &[]);
        assert!(reply.status == status || status == 403 && reply.status == 406, "{reply:?}");
    }
    world.log_with("the signature of this provider can only be checked over smaller ones");
}

/// Memory that is not backed by files, in KiB.
fn memory_kib(world: &World) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How many files the process has open that have no name.
fn unnamed_files(world: &World) -> usize {
    let entries = fs::read_dir(format!("/proc/{}/fd", world.pid())).unwrap();
    let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.to_string_lossy().ends_with(" (deleted)")).count()
}

fn names(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.folder.path()).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
