//! `wilco listen`: what a wilco records arrives on a developer's machine.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    catcher::{Act, Catcher},
    commands::on_terminals,
    generated::check_output,
    listings::shown::with_fixed_values,
    world::{World, booking, sign, sign_with, wilco},
};

/// A listener that ends with the test.
struct Listener(Child);

impl Listener {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits until it has said so.
    fn wait_until_ready(&mut self) -> String {
        let mut said = String::new();
        let mut lines = BufReader::new(self.0.stderr.as_mut().unwrap());
        while !said.contains(" go to ") {
            assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
        }
        said
    }

    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.0.stdout.take().unwrap()).lines().map(Result::unwrap)
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A listener on the events of this world, with its place in the world's folder.
fn listen(world: &World, catcher: &Catcher, further: &[&str]) -> Command {
    let mut command = wilco(world.folder.path());
    let from = format!("http://{}", world.admin);
    command.args(["listen", "--from", &from, "--token-file", "wilco.db.token"]);
    command.args(["--forward", &catcher.url(), "--place", "place"]).args(further);
    command
}

#[test]
fn an_event_arrives_as_its_provider_sent_it_with_another_signature() {
    let world = World::plan().start();
    let catcher = Catcher::new();
    let mut command = listen(&world, &catcher, &["--since", "1h", "--secret-env", "TEST"]);
    let body = booking("b-1", "A");
    let headers = [("x-freispace-signature", sign(body.as_bytes())), ("x-other", "kept".into())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let id = world.post(&body, &headers).header("x-wilco-event").unwrap().to_owned();
    let mut listener = Listener::start(command.env("TEST", "the-test-secret"));
    let caught = catcher.wait_for(1).remove(0);
    assert_eq!((caught.method.as_str(), caught.path.as_str()), ("POST", "/hook?a=1"));
    assert_eq!(caught.body, body.as_bytes());
    let expected = sign_with("the-test-secret", body.as_bytes());
    assert_eq!(caught.header("x-freispace-signature"), expected.as_str());
    assert_eq!(caught.header("x-other"), "kept");
    assert_eq!(caught.header("content-type"), "application/json");
    assert_eq!(caught.header("x-wilco-event"), id.as_str());
    // The first line has the titles.
    let line = listener.lines().nth(1).unwrap();
    for part in ["booking.updated", &id, "✓ 200 in "] {
        assert!(line.contains(part), "{line}");
    }
    listener.kill();
}

#[test]
fn no_event_is_missed_over_restarts_of_both_sides_and_their_order_is_kept() {
    let mut world = World::plan().start();
    let catcher = Catcher::new();
    let mut listener = Listener::start(&mut listen(&world, &catcher, &[]));
    listener.wait_until_ready();
    // From now on it knows its place.
    world.eventually("its place", |world| world.path("place").exists());
    let mut sent = Vec::new();
    let mut send = |world: &World, count: usize| {
        for _ in 0..count {
            let body = booking(&format!("b-{}", sent.len()), "A");
            assert_eq!(world.send(&body).status, 200);
            sent.push(body.into_bytes());
        }
    };
    send(&world, 3);
    catcher.wait_for(3);
    // What is recorded while nobody listens is sent later.
    listener.kill();
    send(&world, 5);
    let mut command = listen(&world, &catcher, &[]);
    let mut listener = Listener::start(&mut command);
    catcher.wait_for(8);
    // wilco is killed and comes back at the same address.
    let address = format!("[admin]\naddress = \"{}\"", world.admin);
    world.reconfigure(|file| file.replace("[admin]\naddress = \"127.0.0.1:0\"", &address));
    world = world.kill_and_restart();
    send(&world, 5);
    catcher.wait_for(13);
    let said = listener.wait_until_ready();
    assert!(!said.contains("secret wilco"), "{said}");
    // Both are killed while events come.
    send(&world, 10);
    listener.kill();
    world = world.kill_and_restart();
    send(&world, 2);
    let listener = Listener::start(&mut command);
    // One that was being handled when the listener was killed may come again.
    world.eventually("the last event", |_| {
        catcher.caught().last().is_some_and(|last| Some(&last.body) == sent.last())
    });
    listener.kill();
    let mut caught: Vec<_> = catcher.caught().into_iter().map(|caught| caught.body).collect();
    caught.dedup();
    assert_eq!(caught.len(), sent.len());
    assert!(caught == sent, "they are in order");
}

#[test]
fn a_handler_that_fails_is_shown_and_with_retry_nothing_overtakes_the_event() {
    let world = World::plan().start();
    let acts = [Act::Answer(500), Act::Reset, Act::Answer(200)];
    for (further, expected) in [
        (&["--json", "--since", "1h"][..], [Some(500), None, Some(200)]),
        (&["--json", "--since", "1h", "--retry"], [Some(500), None, Some(200)]),
    ] {
        let catcher = Catcher::of(&acts);
        let before = world.recorded();
        for n in 0..3 - before {
            world.send(&booking(&format!("b-{n}"), "A"));
        }
        let mut listener = Listener::start(&mut listen(&world, &catcher, further));
        let lines: Vec<Value> =
            listener.lines().take(3).map(|line| serde_json::from_str(&line).unwrap()).collect();
        let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64()).collect();
        assert_eq!(statuses, expected, "{further:?}");
        assert!(lines[1]["error"].as_str().unwrap().contains("no answer"), "{further:?}");
        let is_one = lines.iter().all(|line| line["id"] == lines[0]["id"]);
        assert_eq!(is_one, further.contains(&"--retry"), "{further:?}");
        listener.kill();
    }
}

#[test]
fn the_output_in_the_manual_is_what_it_prints() {
    let world = World::plan().env("TZ", "XST-1").start();
    let mut catcher =
        Some(Catcher::of(&[Act::Answer(200), Act::With(500, "connection: close\r\n")]));
    let address = catcher.as_ref().unwrap().address;
    let mut command = listen(&world, catcher.as_ref().unwrap(), &["--since", "1h"]);
    command.env("TZ", "XST-1");
    // Two remarks, the titles, a row for each event, and why there was no answer.
    let lines = 2 + 1 + 3 + 1;
    let printed = thread::scope(|scope| {
        let terminal = &[(100, false)];
        let environment = &[("TERM", "xterm")];
        let printed = scope.spawn(|| on_terminals(&command, terminal, environment, lines));
        for (number, about) in ["Salt Roads", "映画祭のための編集室", "Viewing"].iter().enumerate()
        {
            if number == 2 {
                // The handler is stopped.
                catcher.take().unwrap().wait_for(number);
                world.eventually("nobody there", |_| TcpStream::connect(address).is_err());
            }
            assert_eq!(world.send(&booking(&format!("b-{number}"), about)).status, 200);
        }
        printed.join().unwrap().remove(0)
    });
    let printed = printed.replace(&world.admin.to_string(), "127.0.0.1:9440");
    let printed = printed.replace(&format!("{address}/hook?a=1"), "localhost:3000/webhook");
    let (before, secret) = printed.split_once("the secret ").unwrap();
    let printed = format!("{before}the secret {}{}", "5eed".repeat(16), &secret[64..]);
    check_output("docs/api.md", "listen", &with_fixed_values(&printed));
}

#[test]
fn an_event_that_cannot_be_signed_as_its_provider_does_is_signed_as_standard_webhooks() {
    let tables = "[provider.shop]\nscheme = { family = \"hex\", signature = { header = \"x-shop\" } }\n\
                  envelope = { name = [{ text = \"order\" }], content = \"any\" }\n\
                  [source.shop]\nprovider = \"shop\"\npath = \"/shop\"\n\
                  secrets = [{ env = \"FREISPACE_SECRET\" }]\n";
    let world = World::plan().and(tables).start();
    let headers = [("x-shop", sign(b"{}")), ("x-freispace-signature", sign(b"{}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(world.post_to("/shop", "{}", &headers).status, 200);
    let catcher = Catcher::new();
    let arguments = ["--since", "1h", "--source", "shop"];
    let mut listener = Listener::start(&mut listen(&world, &catcher, &arguments));
    let said = listener.wait_until_ready();
    let caught = catcher.wait_for(1).remove(0);
    assert!(caught.header("webhook-signature").starts_with("v1,"), "{said}");
    assert!(caught.header("webhook-id").starts_with("evt_"), "{said}");
    listener.kill();
}

#[test]
fn a_large_event_arrives_over_a_slow_line() {
    let world = World::plan().start();
    let catcher = Catcher::new();
    let body = booking("b-1", &"x".repeat(800_000));
    assert_eq!(world.send(&body).status, 200);
    let mut command = wilco(world.folder.path());
    let from = format!("http://{}", slow_line(world.admin));
    command.args(["listen", "--from", &from, "--token-file", "wilco.db.token"]);
    command.args(["--forward", &catcher.url(), "--place", "place", "--since", "1h"]);
    let listener = Listener::start(&mut command);
    world.eventually("the event", |_| !catcher.caught().is_empty());
    assert!(catcher.caught()[0].body == body.as_bytes());
    listener.kill();
}

/// A line to this server that brings 100 KB of an answer a second.
fn slow_line(to: SocketAddr) -> SocketAddr {
    let line = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = line.local_addr().unwrap();
    thread::spawn(move || {
        for client in line.incoming().map(Result::unwrap) {
            let server = TcpStream::connect(to).unwrap();
            let (mut request, mut out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            // It ends when one of the two does.
            thread::spawn(move || io::copy(&mut request, &mut out));
            thread::spawn(move || carry_slowly(server, client));
        }
    });
    address
}

fn carry_slowly(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let mut part = [0; 10_000];
    loop {
        let length = from.read(&mut part)?;
        if length == 0 {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(&part[..length])?;
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn two_listeners_do_not_share_a_place() {
    let world = World::plan().start();
    let catcher = Catcher::new();
    let mut first = Listener::start(&mut listen(&world, &catcher, &[]));
    first.wait_until_ready();
    let second = listen(&world, &catcher, &[]).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(
        second.status.code() == Some(1) && said.contains("name another file with --place"),
        "{said}"
    );
    // One that was killed leaves its place to the next.
    first.kill();
    let mut third = Listener::start(&mut listen(&world, &catcher, &[]));
    third.wait_until_ready();
    third.kill();
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let world = World::plan().start();
    let catcher = Catcher::new();
    let mut wrong = listen(&world, &catcher, &["--token-env", "TOKEN"]);
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&mut wrong);
    assert!(code == Some(2) && said.contains("cannot be used with"), "{said}");
    std::fs::write(world.path("other.token"), "another-token").unwrap();
    let from = format!("http://{}", world.admin);
    for (arguments, expected) in [
        (&["--token-file", "nowhere"][..], "cannot read nowhere"),
        (&["--token-env", "NOWHERE"], "NOWHERE"),
        (&["--token-file", "wilco.db.token", "--place", "nowhere/place"], "cannot write nowhere"),
        (
            &["--token-file", "other.token", "--place", "place"],
            "refuses the token from other.token",
        ),
    ] {
        let mut command = wilco(world.folder.path());
        command.args(["listen", "--from", &from, "--forward", &catcher.url()]);
        command.args(arguments);
        let (code, said) = run(&mut command);
        assert!(code != Some(0) && said.contains(expected), "{arguments:?}: {said}");
    }
}
