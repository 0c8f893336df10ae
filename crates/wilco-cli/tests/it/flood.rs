//! A flood of unsigned requests: it exhausts neither memory nor the log, and does not block signed ones.

use std::{
    cell::RefCell,
    fs,
    io::{BufReader, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::world::{Reply, World, booking};

#[test]
fn a_sender_that_announces_a_body_and_sends_little_of_it_causes_no_refusals() {
    let world = World::plan().start();
    let wrong = format!("x-freispace-signature: {}\r\n", "0".repeat(64));
    let mut held = Vec::new();
    for (number, framing, sent) in [
        (300, "content-length: 1048576", ""),
        (300, "transfer-encoding: chunked", ""),
        (150, "content-length: 1048576", "x"),
        (150, "transfer-encoding: chunked", "1\r\nx\r\n"),
        (150, "content-length: 60000", "xxxx"),
    ] {
        for _ in 0..number {
            let mut stream = world.connect();
            write!(stream, "POST /webhook HTTP/1.1\r\nhost: a\r\n{wrong}{framing}\r\n\r\n{sent}")
                .unwrap();
            held.push(stream);
        }
    }
    for number in 0..100 {
        assert_eq!(world.send(&booking(&format!("b-{number}"), "A")).status, 200, "{number}");
    }
    let large = booking("large", &"x".repeat(900_000));
    assert_eq!(world.send(&large).status, 200);
    assert_eq!(world.recorded(), 101);
    assert_eq!(world.metric("wilco_requests_total{source=\"freispace\",outcome=\"busy\"}"), 0.0);
    drop(held);
}

#[test]
fn stalled_large_bodies_block_only_large_ones_from_the_same_address() {
    let world = World::plan().listen("max_body = \"32 MiB\"").start();
    // Each of these stays in memory, and together they take all of it that one address gets.
    let most = "x".repeat(255 << 10);
    let length = 256 << 10;
    let stall = || {
        let head = format!("POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        let stalled = (0..64).map(|_| {
            let mut stream = world.connect();
            // It may have been refused already, if another large one was faster.
            let _ = stream.write_all(format!("{head}{most}").as_bytes());
            stream
        });
        stalled.collect::<Vec<_>>()
    };
    // The bytes in the kernel's buffers arrive a moment later.
    let stalled = RefCell::new(stall());
    let large = booking("large", &"x".repeat(2 << 20));
    world.eventually("503", |world| {
        let reply = world.send(&large);
        if reply.status == 503 {
            assert_eq!(reply.message(), "Busy, try again later");
            assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
            assert_eq!(reply.header("connection"), Some("close"));
        } else {
            stalled.replace(stall());
        }
        reply.status == 503
    });
    for number in 0..20 {
        assert_eq!(world.send(&booking(&format!("b-{number}"), "A")).status, 200, "{number}");
    }
    drop(stalled);
    world.eventually("200", |world| world.send(&large).status == 200);
}

#[test]
fn refused_requests_are_logged_and_stored_at_a_limited_rate_and_length() {
    let world = World::plan().start();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(900_000));
    let refuse = |body: &str| {
        let reply = world.post(body, &[("x-freispace-signature", &"0".repeat(64))]);
        assert_eq!(reply.status, 403);
    };
    refuse(&large);
    world.eventually("a rejection", |w| w.count("SELECT count(*) FROM rejection") == 1);
    assert_eq!(world.count("SELECT length(body) = bytes FROM rejection"), 1, "it may be accepted");
    assert_eq!(world.post(&large, &[]).status, 400);
    world.eventually("another", |w| w.count("SELECT count(*) FROM rejection") == 2);
    assert_eq!(world.count("SELECT min(length(body)) FROM rejection"), 65_536);

    let began = Instant::now();
    (0..1_000).for_each(|_| refuse("{}"));
    let seconds = began.elapsed().as_secs();
    let dropped = world.metric("wilco_rejections_dropped_total");
    assert!(dropped >= 1_000.0 - 256.0 * (seconds + 2) as f64, "{dropped} in {seconds} s");
    world.eventually("the rest is counted", |world| {
        world.log().contains("further such requests are only counted")
    });
    let lines = world.log().matches("refused: no secret").count();
    assert!(lines <= 20 + 10 * usize::try_from(seconds + 1).unwrap(), "{lines} in {seconds} s");
}

#[test]
fn a_flood_of_large_forged_bodies_takes_no_memory_and_blocks_no_signed_event() {
    let world = World::plan().start();
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) - 8));
    let wrong = format!(
        "POST /webhook HTTP/1.1\r\nhost: a\r\nx-freispace-signature: {}\r\n\
         content-length: {}\r\n\r\n{body}",
        "0".repeat(64),
        body.len()
    );
    let (is_over, refused) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| flood(world.connect(), wrong.as_bytes(), &is_over, &refused));
        }
        let until = Instant::now() + Duration::from_secs(5);
        let mut number = 0;
        while Instant::now() < until {
            let began = Instant::now();
            let reply = world.send(&booking(&format!("b-{number}"), "A"));
            assert_eq!(reply.status, 200, "{number}");
            assert!(began.elapsed() < Duration::from_secs(5), "{number}");
            number += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(world.recorded(), number);
    });
    assert!(refused.load(Ordering::Relaxed) > 16, "it was not a flood");
    let peak = memory_kib(&world, "VmHWM:");
    assert!(peak < 256 << 10, "{peak} KiB");
}

/// All answers together take at least as long as their bytes take at the rate, however slow
/// the machine is.
#[test]
fn refusals_are_answered_at_a_rate_shared_by_all_senders() {
    let world = World::plan().start();
    let request = |path: &str, bytes: usize| {
        let wrong = format!("x-freispace-signature: {}\r\nconnection: close", "0".repeat(64));
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{wrong}\r\ncontent-length: {bytes}");
        format!("{head}\r\n\r\n{}", "x".repeat(bytes))
    };
    for (status, path, bytes, times) in [(403, "/webhook", 60_000, 16), (404, "/other", 0, 64)] {
        let request = request(path, bytes);
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..times {
                        let mut stream = world.connect();
                        stream.write_all(request.as_bytes()).unwrap();
                        let reply = Reply::read(&mut BufReader::new(stream)).unwrap();
                        assert_eq!(reply.status, status);
                    }
                });
            }
        });
        // The last one waits for all the others.
        let counted = (16 * times - 1) * bytes.max(16 << 10);
        let least = (counted - (4 << 20)) as f64 / f64::from(8 << 20);
        let took = began.elapsed().as_secs_f64();
        assert!(took >= least, "{status}: {took} s, and not {least} s");
    }
    assert!(world.metric("wilco_refusals_delayed_total") > 0.0);
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
}

#[test]
fn a_body_refused_unread_is_drained_at_that_rate_too() {
    let world = World::plan().start();
    let (bytes, held_by_the_kernel) = (56 << 20, 40 << 20);
    let head = format!("POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
    let began = Instant::now();
    let mut stream = world.connect();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b'x'; bytes]).unwrap();
    let least = (bytes - held_by_the_kernel - (4 << 20)) as f64 / f64::from(8 << 20);
    let took = began.elapsed().as_secs_f64();
    assert!(took >= least, "{took} s, and not {least} s");
    assert_eq!(Reply::read(&mut BufReader::new(stream)).unwrap().status, 413);
}

fn memory_kib(world: &World, field: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends the request repeatedly and reads the answers.
fn flood(stream: TcpStream, request: &[u8], is_over: &AtomicBool, refused: &AtomicU32) {
    let mut stream = BufReader::new(stream);
    while !is_over.load(Ordering::Relaxed) {
        stream.get_mut().write_all(request).unwrap();
        assert_eq!(Reply::read(&mut stream).unwrap().status, 403);
        refused.fetch_add(1, Ordering::Relaxed);
    }
}
