//! Bytes on the connection: anything but plain HTTP/1 gets one answer and the connection ends; plain
//! HTTP/1 is served however it is split.

mod malformed;

use std::{
    io::{BufReader, Read as _, Write as _},
    net::Shutdown,
    thread,
    time::Duration,
};

use crate::world::{Reply, World, booking, sign};
use malformed::malformed;

#[test]
fn a_malformed_or_ambiguous_request_gets_one_answer_and_the_connection_ends() {
    let world = World::plan().start();
    let mut wrong = String::new();
    for (request, status) in malformed() {
        for way in [Way::Whole, Way::WithAnother, Way::ByteByByte] {
            wrong += &how_not_refused(&world, &request, status, way);
        }
    }
    assert_eq!(wrong, "");
    assert_eq!(world.recorded(), 0);
}

#[test]
fn a_malformed_request_is_refused_wherever_it_is_split() {
    let world = World::plan().start();
    let mut wrong = String::new();
    for (request, status) in malformed().into_iter().filter(|(r, _)| r.len() < 120).step_by(9) {
        for cut in 1..request.len() {
            wrong += &how_not_refused(&world, &request, status, Way::CutAt(cut));
        }
    }
    assert_eq!(wrong, "");
    assert_eq!(world.recorded(), 0);
}

#[test]
fn a_request_that_hides_another_is_answered_once() {
    let world = World::plan().start();
    let inner = request(&booking("hidden", "A"), "");
    let length = inner.len();
    for outer in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("content-length: 0\r\ncontent-length: {length}\r\n\r\n{inner}"),
        format!("content-length: {length}, 0\r\n\r\n{inner}"),
        format!("x: a\n\ncontent-length: 0\r\n\r\n{inner}"),
        format!("content-length: 0\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\n\r\n0;x=y\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\n\r\n00000000000000000\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\n\r\n-1\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{inner}"),
        format!("transfer-encoding: chunked\r\n\r\n0\n\n{inner}"),
        "connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc".into(),
    ] {
        let whole = format!("POST /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{outer}");
        let replies = world.exchange(whole.as_bytes());
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, [400], "{outer}");
    }
    assert_eq!(world.recorded(), 0);
}

#[test]
fn a_valid_request_is_served_however_it_is_split() {
    let world = World::plan().start();
    let chunked = |body: &str| {
        let (left, right) = body.split_at(7);
        let signature = sign(body.as_bytes());
        format!(
            "POST /webhook HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\
             X-Freispace-Signature: {signature}\r\nConnection: close\r\n\r\n\
             7\r\n{left}\r\n{:X};a=\"b\"\r\n{right}\r\n0\r\nX-Trailer: c\r\n\r\n",
            right.len()
        )
    };
    let plain = |body: &str| request(body, "connection: close\r\n");
    for (name, make) in [("A", &plain as &dyn Fn(&str) -> String), ("B", &chunked)] {
        let length = make(&booking("0000", name)).len();
        for cut in 1..length {
            let bytes = make(&booking(&format!("{cut:04}"), name)).into_bytes();
            let mut stream = world.connect();
            stream.set_nodelay(true).unwrap();
            stream.write_all(&bytes[..cut]).unwrap();
            thread::yield_now();
            stream.write_all(&bytes[cut..]).unwrap();
            let statuses: Vec<_> = Reply::read_all(stream).iter().map(|r| r.status).collect();
            assert_eq!(statuses, [200], "{name} cut at {cut}");
        }
        let before = world.recorded();
        let mut stream = world.connect();
        stream.set_nodelay(true).unwrap();
        for byte in make(&booking("byte", name)).bytes() {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(Reply::read_all(stream)[0].status, 200);
        assert_eq!(world.recorded(), before + 1);
    }
}

#[test]
fn valid_requests_of_every_form_are_accepted() {
    let world = World::plan().start();
    let body = booking("b-1", "A");
    let rest = format!(
        "x-freispace-signature: {}\r\ncontent-length: {}\r\n",
        sign(body.as_bytes()),
        body.len()
    );
    for head in [
        format!("POST /webhook HTTP/1.1\r\nhost: a\r\n{rest}"),
        format!("\r\nPOST /webhook HTTP/1.1\r\nhost: a\r\n{rest}"),
        format!("POST /webhook?a=b HTTP/1.1\r\nhost: a\r\n{rest}"),
        format!("POST http://hooks.example.com/webhook HTTP/1.1\r\nhost: a\r\n{rest}"),
        format!("POST /webhook HTTP/1.1\r\nHOST:a\r\n{}", rest.replace(": ", ": \t ")),
        format!("POST /webhook HTTP/1.1\r\nhost: [::1]:8080\r\n{rest}"),
        format!("POST /webhook HTTP/1.1\r\nhost: a\r\n{}{rest}", "x: \u{e9}\r\n".repeat(90)),
        format!("POST /webhook HTTP/1.1\r\nhost: a\r\nx: {}\r\n{rest}", "y".repeat(15_000)),
        format!("POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-encoding: gzip\r\n{rest}"),
        format!("POST /webhook HTTP/1.1\r\nhost: a\r\n{}", rest.replace("x-frei", "X-FREI")),
        format!("POST /webhook HTTP/1.0\r\n{rest}"),
    ] {
        let request = format!("{head}connection: close\r\n\r\n{body}");
        let replies = world.exchange(request.as_bytes());
        assert_eq!(replies.iter().map(|r| r.status).collect::<Vec<_>>(), [200], "{head:.300}");
    }
    assert_eq!(world.recorded(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let world = World::plan().start();
    let mut bytes: String =
        (0..20).map(|n| request(&booking(&format!("b-{n}"), "A"), "")).collect();
    bytes.push_str(&request(&booking("last", "A"), "connection: close\r\n"));
    let ids: Vec<_> = world
        .exchange(bytes.as_bytes())
        .iter()
        .map(|reply| reply.header("x-wilco-event").unwrap().to_owned())
        .collect();
    let events = world.events();
    assert_eq!(events.iter().map(|e| e["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    assert_eq!((ids.len(), events[20]["subject"].as_str().unwrap()), (21, "booking/last"));
}

#[test]
fn a_malformed_request_after_a_valid_one_ends_the_connection_after_two_answers() {
    let world = World::plan().start();
    let bytes = request(&booking("b-1", "A"), "") + "GET / HTTP/1.1\nhost: a\n\n" + &good();
    let statuses: Vec<_> = world.exchange(bytes.as_bytes()).iter().map(|r| r.status).collect();
    assert_eq!(statuses, [200, 400]);
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_connection_is_kept_alive_even_after_a_refusal() {
    let world = World::plan().start();
    let mut stream = BufReader::new(world.connect());
    let unsigned = "POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}";
    for (number, signed) in [true, false, true, true].into_iter().enumerate() {
        let good = request(&booking(&format!("b-{number}"), "A"), "");
        let (bytes, status) = if signed { (good.as_str(), 200) } else { (unsigned, 400) };
        stream.get_mut().write_all(bytes.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream).unwrap().status, status, "{number}");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.recorded(), 3);
}

#[test]
fn an_http_1_0_client_is_served_and_its_connection_closed() {
    let world = World::plan().start();
    let bytes = good().replace("HTTP/1.1\r\nhost: a", "HTTP/1.0");
    assert_eq!(world.exchange(bytes.as_bytes()).len(), 1);
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let world = World::plan().start();
    let bytes = request(&booking("b-1", "A"), "expect: 100-continue\r\nconnection: close\r\n");
    let (head, body) = bytes.split_at(bytes.find("\r\n\r\n").unwrap() + 4);
    let mut stream = BufReader::new(world.connect());
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut stream).unwrap().status, 100);
    stream.get_mut().write_all(body.as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut stream).unwrap().status, 200);
}

#[test]
fn a_client_that_closes_its_sending_half_still_gets_its_answer() {
    let world = World::plan().start();
    let mut stream = world.connect();
    stream.write_all(good().as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let replies = Reply::read_all(stream);
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200]);
}

#[test]
fn an_incomplete_body_is_not_an_event() {
    let world = World::plan().start();
    let whole = good();
    for end in [whole.len() - 1, whole.len() - 20, whole.find("\r\n\r\n").unwrap() + 4, 10] {
        let mut stream = world.connect();
        stream.write_all(&whole.as_bytes()[..end]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{end} {rest}");
    }
    assert_eq!(world.recorded(), 0);
}

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
enum Way {
    Whole,
    WithAnother,
    ByteByByte,
    CutAt(usize),
}

/// Sends it, and returns what is wrong with the answer, which must be a single refusal.
fn how_not_refused(world: &World, request: &[u8], status: u16, way: Way) -> String {
    let mut stream = world.connect();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_nodelay(true).unwrap();
    // The server may have refused it already and closed its side.
    let _ = match way {
        Way::Whole => stream.write_all(request),
        Way::WithAnother => stream.write_all(&[request, good().as_bytes()].concat()),
        Way::ByteByByte => request.iter().try_for_each(|byte| stream.write_all(&[*byte])),
        Way::CutAt(cut) => stream.write_all(&request[..cut]).and_then(|()| {
            thread::yield_now();
            stream.write_all(&request[cut..])
        }),
    };
    let replies = Reply::try_read_all(stream);
    let is_right = |reply: &Reply| {
        let is_json = reply.header("content-type") == Some("application/json");
        let is_last = reply.header("connection") == Some("close");
        reply.status == status && is_json && is_last && !reply.message().is_empty()
    };
    match &replies {
        Ok(replies) if replies.len() == 1 && is_right(&replies[0]) => String::new(),
        _ => {
            let shown = String::from_utf8_lossy(&request[..request.len().min(200)]);
            format!("{way:?} {shown:?} {replies:?}\n")
        }
    }
}

fn good() -> String {
    request(&booking("good", "A"), "connection: close\r\n")
}

/// A signed request with these additional header lines.
fn request(body: &str, fields: &str) -> String {
    format!(
        "POST /webhook HTTP/1.1\r\nhost: a\r\n{fields}x-freispace-signature: {}\r\n\
         content-length: {}\r\n\r\n{body}",
        sign(body.as_bytes()),
        body.len()
    )
}
