//! The stream of events and of the states of their deliveries.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::world::{World, booking};

/// One client of a stream.
pub(crate) struct Follower {
    lines: BufReader<TcpStream>,
    status: u16,
    /// The id of the last message.
    id: String,
}

/// One message: its kind and its data.
type Message = (String, Value);

impl Follower {
    /// Opens a stream. `query` begins with `?`, and an empty `last` is none.
    pub(crate) fn open(world: &World, query: &str, last: &str) -> Self {
        let mut stream = TcpStream::connect(world.admin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // Of HTTP/1.0, so that the body ends with the connection and is in no chunks.
        let head = format!(
            "GET /api/v1/stream{query} HTTP/1.0\r\nauthorization: {}\r\nlast-event-id: {last}\r\n\r\n",
            world.authorization()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut follower = Self { lines: BufReader::new(stream), status: 0, id: String::new() };
        let status = follower.line().unwrap();
        follower.status = status.split(' ').nth(1).unwrap().parse().unwrap();
        while !follower.line().unwrap().is_empty() {}
        // It says its position at once.
        while follower.status == 200 && follower.id.is_empty() {
            let line = follower.line().unwrap();
            follower.id = line.strip_prefix("id: ").unwrap_or_default().into();
        }
        follower
    }

    /// The next message with data; `None` at the end of the stream.
    fn try_next(&mut self) -> Option<Message> {
        let (mut kind, mut data) = (String::new(), String::new());
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", value)) => kind = value.into(),
                Some(("data", value)) => data = value.into(),
                Some(("id", value)) => self.id = value.into(),
                Some(_) => {}
                None if line.is_empty() && !data.is_empty() => {
                    return Some((kind, serde_json::from_str(&data).unwrap()));
                }
                None => {}
            }
        }
    }

    fn next(&mut self) -> Message {
        self.try_next().unwrap()
    }

    /// Reads on until a delivery has this state.
    fn until(&mut self, state: &str) {
        while self.next().1["state"] != state {}
    }

    /// The subjects of the next events.
    fn subjects(&mut self, count: usize) -> Vec<String> {
        let mut subjects = Vec::new();
        while subjects.len() < count {
            let (kind, data) = self.next();
            if kind == "event" {
                subjects.push(data["subject"].as_str().unwrap().to_owned());
            }
        }
        subjects
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap_or_default();
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

#[test]
fn whoever_follows_gets_events_and_what_becomes_of_them() {
    let world = World::plan().and(PRINT).start();
    let mut all = Follower::open(&world, "", "");
    assert_eq!(all.status, 200);
    let reply = world.send(&booking("b-1", "A"));
    let id = reply.header("x-wilco-event").unwrap();
    let (kind, event) = all.next();
    assert_eq!((kind.as_str(), &event["id"]), ("event", &Value::from(id)));
    assert_eq!(event["deliveries"][0]["destination"], "erp");
    let (kind, delivery) = all.next();
    assert_eq!((kind.as_str(), &delivery["event_id"]), ("delivery", &Value::from(id)));
    assert_eq!((&delivery["source"], &delivery["event"]), (&"freispace".into(), &event["event"]));
    if delivery["state"] != "delivered" {
        all.until("delivered");
    }
}

#[test]
fn a_client_goes_on_where_it_left_off_even_after_a_crash_of_wilco() {
    let world = World::plan().and(PRINT).start();
    let mut follower = Follower::open(&world, "?only=events", "");
    let mut last = Vec::new();
    for round in 0..3 {
        let ids: Vec<_> = (0..4).map(|n| format!("b-{round}-{n}")).collect();
        for id in &ids {
            assert_eq!(world.send(&booking(id, "A")).status, 200);
        }
        let expected: Vec<_> = ids.iter().map(|id| format!("booking/{id}")).collect();
        assert_eq!(follower.subjects(2), expected[..2], "round {round}");
        let mut again = Follower::open(&world, "?only=events&from=beginning", &follower.id);
        assert_eq!(again.subjects(2), expected[2..], "the header takes precedence");
        follower = again;
        last = expected;
    }
    let id = follower.id.clone();
    let world = world.kill_and_restart();
    assert_eq!(follower.try_next(), None, "its connection ended");
    world.send(&booking("b-4", "A"));
    let mut follower = Follower::open(&world, "?only=events", &id);
    assert_eq!(follower.subjects(1), ["booking/b-4"]);
    let query = format!("?only=events&after={id}");
    assert_eq!(Follower::open(&world, &query, "").subjects(1), ["booking/b-4"]);
    let all = Follower::open(&world, "?from=beginning", "").subjects(13);
    assert_eq!(all[8..12], last);
    let times = Follower::open(&world, "?from=2026-01-01T00:00:00Z&only=events", "").subjects(13);
    assert_eq!(times, all);
}

#[test]
fn a_filter_leaves_out_everything_else() {
    let tables = "[destination.erp]\ntype = \"print\"\n[destination.crm]\ntype = \"print\"\n\
                  [[route]]\nto = [\"erp\"]\n[[route]]\nwhen = 'id == \"b-2\"'\nto = [\"crm\"]\n";
    let world = World::plan().and(tables).start();
    for id in ["b-1", "b-2", "b-3"] {
        world.send(&booking(id, "A"));
    }
    for (query, expected) in [
        ("?from=beginning&destination=crm", &["event booking/b-2", "delivery crm"][..]),
        ("?from=beginning&destination=crm&only=deliveries", &["delivery crm"]),
        (
            "?from=beginning&only=deliveries&event=booking.*&source=freispace&destination=crm",
            &["delivery crm"],
        ),
        (
            "?from=beginning&only=events&source=freispace",
            &["event booking/b-1", "event booking/b-2", "event booking/b-3"],
        ),
    ] {
        let mut follower = Follower::open(&world, query, "");
        for expected in expected {
            let (kind, data) = follower.next();
            let what = data["subject"].as_str().or(data["destination"].as_str()).unwrap();
            assert_eq!(format!("{kind} {what}"), *expected, "{query}");
        }
    }
    for (query, expected) in [
        ("?only=nothing", "invalid only: unknown variant"),
        ("?from=yesterday", "invalid from: expected now, beginning or a time"),
        ("?after=abc", "invalid id \"abc\": expected the `id` of a message"),
        ("?dead=true", "invalid dead: unknown field"),
    ] {
        let reply = world.get(&format!("/api/v1/stream{query}"));
        let problem: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(reply.status, 400, "{query}");
        assert!(problem["detail"].as_str().unwrap().starts_with(expected), "{query} {problem}");
    }
}

#[test]
fn whoever_begins_ahead_of_everything_gets_what_comes_next() {
    let world = World::plan().start();
    world.send(&booking("b-0", "A"));
    let far_ahead = BASE64_URL_SAFE_NO_PAD.encode("stream:9000000000000000000");
    let followers = [("?from=2099-01-01T00:00:00Z&only=events", ""), ("?only=events", &far_ahead)];
    let followers = followers.map(|(query, last)| Follower::open(&world, query, last));
    world.send(&booking("b-1", "A"));
    for mut follower in followers {
        assert_eq!(follower.subjects(1), ["booking/b-1"]);
    }
}

#[test]
fn streams_are_bounded_counted_and_end_when_wilco_stops() {
    let mut world = World::plan().start();
    let mut open: Vec<_> = (0..32).map(|_| Follower::open(&world, "", "")).collect();
    assert!(open.iter().all(|stream| stream.status == 200));
    assert_eq!(world.metric("wilco_streams"), 32.0);
    assert_eq!(world.get("/api/v1/stream").status, 503);
    assert_eq!(world.metric("wilco_streams_refused_total"), 1.0);
    drop(open.pop());
    world.eventually("room for another", |world| Follower::open(world, "", "").status == 200);
    assert!(world.stop().success());
    for mut stream in open {
        assert_eq!(stream.try_next(), None);
    }
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_and_holds_up_nobody() {
    let world = World::plan().start();
    let long = "x".repeat(200);
    for n in 0..200 {
        assert_eq!(world.send(&booking(&format!("{long}-{n}"), &long)).status, 200);
    }
    let mut stream = TcpStream::connect(world.admin).unwrap();
    let head = format!(
        "GET /api/v1/events?limit=200 HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\n\r\n",
        world.authorization()
    );
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // The answers are more than the buffers of the sockets hold. wilco may stop to read before the end.
    let _ = stream.write_all(head.repeat(2_000).as_bytes());
    assert_eq!(world.get("/api/v1/events?limit=1").status, 200);
    let until = Instant::now() + Duration::from_secs(120);
    let is_open = |written: Result<usize, std::io::Error>| match written {
        Ok(_) => true,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    };
    while is_open(stream.write(b"x")) {
        assert!(Instant::now() < until, "it is not cut off");
        thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn the_client_of_the_manual_follows_over_a_restart() {
    let world = World::plan().and(PRINT).start();
    let manual = include_str!("../../../../docs/api.md");
    let (_, script) = manual.split_once("```python\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    assert!(script.lines().count() <= 30, "about twenty lines");
    fs::write(world.path("follow.py"), script).unwrap();
    let run = || {
        let mut client = Command::new("python3");
        client.arg("follow.py").current_dir(world.folder.path());
        client.env("WILCO_URL", format!("http://{}", world.admin)).stdout(Stdio::piped());
        client.spawn().unwrap()
    };
    let send = |id| world.send(&booking(id, "A")).header("x-wilco-event").unwrap().to_owned();
    for sent in [["b-1", "b-2"], ["b-3", "b-4"]] {
        // The first of each two is sent while no client runs.
        let first = send(sent[0]);
        let mut client = run();
        let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(&first), "{line}");
        let second = send(sent[1]);
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains(&second), "{line}");
        let mut all = Follower::open(&world, "?only=events&from=beginning", "");
        while all.next().1["id"] != second {}
        let place = all.id;
        world.eventually("its place", |world| {
            fs::read_to_string(world.path("place.txt")).is_ok_and(|written| written == place)
        });
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

const PRINT: &str = "[destination.erp]\ntype = \"print\"\n[[route]]\nto = [\"erp\"]\n";
