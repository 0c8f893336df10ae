//! What bounds a connection of HTTP/2: streams, resets, floods, time and memory.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    time::Duration,
};

use super::{
    frames::{Client, GOAWAY, HEADERS, PING, RST_STREAM, frames},
    http2,
};
use crate::world::booking;

#[test]
fn a_stream_beyond_the_limit_is_refused() {
    let world = http2().start();
    let streams = (0..101).map(|number| format!("HEADERS 04 {} POST", 2 * number + 1));
    let streams: Vec<_> = streams.collect();
    let mut client = Client::begin(&world, &frames(&streams.join(";")));
    let refused = client.next_of(RST_STREAM).unwrap();
    assert_eq!(
        (refused.stream, refused.outcome().unwrap().as_str()),
        (201, "reset REFUSED_STREAM")
    );
}

#[test]
fn each_stream_counts_like_a_connection() {
    let world = http2().files("256:256").start();
    let streams = (0..100).map(|number| format!("HEADERS 04 {} POST", 2 * number + 1));
    let streams: Vec<_> = streams.collect();
    let mut client = Client::begin(&world, &frames(&streams.join(";")));
    // 64 connections of one network are allowed, and the first stream needs no further slot.
    for _ in 0..36 {
        assert_eq!(client.next_of(HEADERS).unwrap().outcome().unwrap(), "503");
    }
    let refused = "wilco_requests_total{source=\"-\",outcome=\"busy\"}";
    assert_eq!(world.metric(refused), 36.0);
    drop(client);
    // Until the slots are free again, a connection is closed at once.
    world.eventually("an answer", |world| {
        let mut stream = world.connect();
        let _ = stream.write_all(b"GET /webhook HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.read_exact(&mut [0]).is_ok()
    });
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
}

#[test]
fn a_flood_of_frames_that_cost_nothing_ends_the_connection() {
    let world = http2().start();
    let reset = "HEADERS 04 NUMBER POST; RST_STREAM 00 NUMBER 00000008";
    for (frame, times) in [
        ("PING 00 0 8*00", 1_001),
        ("SETTINGS 00 0 000300000001", 1_001),
        ("PRIORITY 00 9 0000000010", 1_001),
        ("0xbe 00 0 'x'", 1_001),
        (reset, 101),
    ] {
        let mut client = Client::begin(&world, b"");
        for number in 0..times {
            client.send(&frames(&frame.replace("NUMBER", &(2 * number + 1).to_string())));
        }
        assert!(client.is_closed_within(9), "{frame}");
    }
    assert!(world.metric("wilco_http2_closed_total{reason=\"flood\"}") >= 4.0);
    world.log_with("HTTP/2 connection closed");
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
}

#[test]
fn what_is_begun_and_not_completed_ends_the_connection() {
    let world = http2().start();
    let begin = |sent: &str| Client::begin(&world, &frames(sent));
    let mut half_preface = Client::connect(&world);
    half_preface.send(b"PRI * HTTP/2.0\r\n\r\nS");
    let mut waiting = [
        begin("HEADERS 00 1 POST"),
        begin("SETTINGS 00 0 length=6 0003"),
        begin("HEADERS 04 1 POST; RST_STREAM 00 1 length=4 00"),
        half_preface,
    ];
    for client in &mut waiting {
        assert!(client.is_closed_within(60));
    }
    assert_eq!(world.metric("wilco_http2_closed_total{reason=\"too_slow\"}"), 3.0);
}

#[test]
fn a_body_that_stalls_and_an_answer_that_is_not_taken_end_their_stream() {
    let world = http2().start();
    let mut stalled = Client::begin(&world, &frames("HEADERS 04 1 POST; DATA 00 1 'x'"));
    // A window of 0 is for content, so the head of the answer comes.
    let not_taken = frames("SETTINGS 00 0 000400000000; HEADERS 05 1 GET");
    let mut not_taken = Client::begin(&world, &not_taken);
    assert_eq!(stalled.next_of(HEADERS).unwrap().outcome().unwrap(), "408");
    assert_eq!(not_taken.next_of(HEADERS).unwrap().outcome().unwrap(), "405");
    assert_eq!(not_taken.next_of(RST_STREAM).unwrap().stream, 1);
    drop(not_taken);
    let stalled = "wilco_http2_closed_total{reason=\"stalled\"}";
    world.eventually("the metric", |world| world.metric(stalled) == 1.0);
}

#[test]
#[ignore = "takes a minute"]
fn pings_do_not_keep_a_connection_without_requests_open() {
    let world = http2().start();
    let mut client = Client::begin(&world, b"");
    let began = std::time::Instant::now();
    let mut is_closed = false;
    while !is_closed && began.elapsed() < Duration::from_secs(90) {
        client.send(&frames("PING 00 0 8*00"));
        // The server's own pings are acknowledged.
        is_closed = !client.answers_pings_for(Duration::from_secs(2));
    }
    assert!(is_closed && began.elapsed() > Duration::from_secs(50), "{:?}", began.elapsed());
}

#[test]
fn a_stop_answers_the_requests_under_way_and_refuses_others() {
    let mut world = http2().start();
    let mut client = Client::begin(&world, &frames("HEADERS 04 1 POST SIGNED"));
    world.eventually("a connection", |world| world.metric("wilco_connections") == 1.0);
    client.send(&frames("PING 00 0 8*00"));
    assert!(client.next_of(PING).is_some(), "the head has arrived");
    world.signal("TERM");
    assert!(client.next_of(GOAWAY).is_some());
    client.send(&frames("DATA 01 1 '{}'"));
    assert_eq!(client.next_of(HEADERS).unwrap().outcome().unwrap(), "200");
    assert!(client.is_closed_within(20));
    assert!(world.wait(Duration::from_secs(20)).success());
}

#[test]
fn unverified_bodies_are_charged_to_the_same_budget() {
    let world = http2().start();
    // As much as a connection may send before it is read; one network may have 48 MiB of it.
    let content = ["DATA 00 1 15000*78"; 4].join(";");
    let sent = frames(&format!("HEADERS 04 1 POST; {content}"));
    let mut clients: Vec<_> = (0..1_000).map(|_| Client::begin(&world, &sent)).collect();
    let mut answers = BTreeMap::<_, u32>::new();
    for client in &mut clients {
        let answer = client.next_of(HEADERS).unwrap().outcome().unwrap();
        *answers.entry(answer).or_default() += 1;
    }
    let found = |status: &str| answers.get(status).copied().unwrap_or_default();
    assert!(found("503") > 100 && found("408") > 100, "{answers:?}");
    let status = fs::read_to_string(format!("/proc/{}/status", world.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u32 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 256 << 10, "{peak} KiB");
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
}
