//! Hundreds of slow clients: they are gone after a while, and no other request fails because of them.
//! `wilco-bench slow` does the same with thousands, and measures latencies.

use std::{
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::world::{World, booking};

#[test]
fn slow_clients_are_closed_and_no_other_request_fails() {
    let plain = World::plan().start();
    let tls = World::plan().tls("tls = \"self-signed\"").start();
    let mut slow = Vec::new();
    for (world, sent) in [
        (&plain, &b"POST /webhook HTTP/1.1\r\nhost: a\r\nx: "[..]),
        (&plain, b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n"),
        (&plain, b"POST /webhook HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5;a="),
        (&plain, b"GET /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        (&plain, b""),
        (&tls, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        (&tls, b""),
    ] {
        for _ in 0..60 {
            let mut stream = world.connect();
            stream.write_all(sent).unwrap();
            slow.push((stream, sent.is_empty()));
        }
    }
    let began = Instant::now();
    let mut number = 0;
    while open(&plain) + open(&tls) > 0.0 {
        // They have to be gone after 35 s; a busy machine may take longer.
        assert!(began.elapsed() < Duration::from_secs(70), "{} {}", open(&plain), open(&tls));
        for _ in 0..20 {
            assert_eq!(plain.send(&booking(&format!("b-{number}"), "A")).status, 200, "{number}");
            number += 1;
        }
        for (stream, is_silent) in &mut slow {
            drip(stream, *is_silent);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(began.elapsed() > Duration::from_secs(5), "they were slow");
    assert_eq!(plain.recorded(), number);
}

/// Sends one byte, unless the client is one that sends nothing. It fails once the connection is closed.
fn drip(stream: &mut TcpStream, is_silent: bool) {
    if !is_silent {
        let _ = stream.write_all(b"x");
    }
}

fn open(world: &World) -> f64 {
    world.metric("wilco_connections")
}
