//! Answers that are ready before the sender has sent everything: they reach it, and no reset does.

use std::{
    io::{self, Read, Write},
    thread,
    time::Duration,
};

use super::connect_from;
use crate::{
    configuration::certificate::{FILES, Pem},
    tls::Visitor,
    world::{Reply, World},
};

#[test]
fn a_sender_that_writes_everything_before_it_reads_gets_the_answer() {
    check(12 << 20, |stream, request| stream.write_all(request));
}

#[test]
fn a_sender_that_pauses_while_it_sends_gets_the_answer() {
    check(40_000, |stream, request| {
        let (first, rest) = request.split_at(request.len() - 10_000);
        stream.write_all(first)?;
        rest.chunks(4_000).try_for_each(|part| {
            stream.flush()?;
            thread::sleep(Duration::from_secs(3));
            stream.write_all(part)
        })
    });
}

#[test]
fn a_sender_that_sends_slowly_gets_the_answer() {
    check(40_000, |stream, request| {
        request.chunks(1_000).try_for_each(|part| {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(part)?;
            stream.flush()
        })
    });
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

type Send = fn(&mut dyn Stream, &[u8]) -> io::Result<()>;

/// Sends requests that are refused by their heads, with bodies of this size, in this way, with and
/// without TLS, and reads the answers after that.
fn check(body_bytes: usize, send: Send) {
    let (pem, folder) = (Pem::make(), tempfile::tempdir().unwrap());
    pem.write(folder.path());
    let only_this = "allow_from = [\"127.0.0.1\"]";
    let plan = || World::plan().listen("max_body = \"32 KiB\"").source(only_this);
    let (plain, tls) = (plan().start(), plan().tls(FILES).start_in(folder));
    thread::scope(|scope| {
        for (from, request, status) in refused(body_bytes) {
            let (plain, tls, request) = (plain.address, tls.address, request.into_bytes());
            let visitor = Visitor::trusting(&[&pem.der]);
            scope.spawn(move || {
                let stream = visitor.connect(connect_from(from, tls), "localhost", &[]).unwrap();
                expect(stream, &request, status, send);
                expect(connect_from(from, plain), &request, status, send);
            });
        }
    });
}

#[track_caller]
fn expect(mut stream: impl Stream, request: &[u8], status: u16, send: Send) {
    let shown = String::from_utf8_lossy(&request[..90]);
    let sent = send(&mut stream, request);
    assert!(sent.is_ok(), "{shown} {sent:?}");
    let replies = Reply::read_all(stream);
    let found: Vec<_> =
        replies.iter().map(|reply| (reply.status, reply.header("connection"))).collect();
    assert_eq!(found, [(status, Some("close"))], "{shown}");
}

/// From which address, what, and with which status.
fn refused(body_bytes: usize) -> [(&'static str, String, u16); 8] {
    let body = "x".repeat(body_bytes);
    let length = format!("content-length: {body_bytes}\r\n\r\n{body}");
    let chunked =
        format!("transfer-encoding: chunked\r\n\r\n{body_bytes:x}\r\n{body}\r\n0\r\n\r\n");
    let to = |path: &str, rest: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\n{rest}");
    [
        ("127.0.0.1", to("/webhook", &length), 413),
        ("127.0.0.1", to("/webhook", &chunked), 413),
        ("127.0.0.2", to("/webhook", &length), 403),
        ("127.0.0.1", to("/elsewhere", &length), 404),
        ("127.0.0.1", to("/webhook", &length).replacen("POST", "PUT", 1), 405),
        ("127.0.0.1", to("/webhook", &format!("host: b\r\n{length}")), 400),
        ("127.0.0.1", to("/webhook", &format!("{}{length}", "x: y\r\n".repeat(100))), 431),
        (
            "127.0.0.1",
            to("/webhook", &format!("transfer-encoding: chunked\r\n\r\nno\r\n{body}")),
            400,
        ),
    ]
}
