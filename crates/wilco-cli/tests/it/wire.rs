//! Bytes on the connection: anything but plain HTTP/1 gets one answer and the connection ends; plain
//! HTTP/1 is served however it is split.

mod attempts;
mod cases;

use std::{
    io::{BufReader, Write as _},
    net::Shutdown,
    thread,
    time::Duration,
};

use crate::world::{Reply, World, booking, sign};

#[test]
fn an_ambiguous_request_gets_one_answer_however_it_is_split_and_the_connection_ends() {
    let world = World::plan().start();
    let cases = cases::refused();
    assert!(cases.len() >= 300, "{}", cases.len());
    assert_eq!(attempts::wrong_answers(&world, &cases), "");
    assert_eq!(world.recorded(), 0);
}

#[test]
fn an_unambiguous_request_is_answered_however_it_is_split() {
    let world = World::plan().start();
    assert_eq!(attempts::wrong_answers(&world, &cases::answered()), "");
    assert_eq!(world.recorded(), 1);
}

#[test]
fn a_request_that_is_cut_off_anywhere_is_not_an_event() {
    let world = World::plan().start();
    let cases = cases::answered().into_iter().filter(|case| case.status == 200);
    let cases: Vec<_> = cases.step_by(5).collect();
    assert_eq!(attempts::answers_to_parts(&world, &cases), "");
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
fn an_http_1_0_sender_is_served_and_its_connection_closed_unless_it_asks_to_keep_it() {
    let world = World::plan().start();
    let old = |number: u32, fields: &str| {
        let new = request(&booking(&format!("b-{number}"), "A"), fields);
        new.replace("HTTP/1.1\r\nhost: a", "HTTP/1.0")
    };
    for (bytes, count) in [
        (old(1, ""), 1),
        (old(2, "") + &old(3, ""), 1),
        (old(4, "connection: close\r\n") + &old(5, ""), 1),
        (old(6, "connection: keep-alive\r\n") + &old(7, ""), 2),
    ] {
        let replies = world.exchange(bytes.as_bytes());
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, vec![200; count], "{bytes}");
        assert_ne!(replies[count - 1].header("connection"), Some("keep-alive"), "{bytes}");
    }
    assert_eq!(world.recorded(), 5);
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
