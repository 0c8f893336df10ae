//! Behind a proxy that says with the PROXY protocol who the client is.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::Command,
};

use super::{connect_from, free_port, send_on, start};
use crate::world::{Plan, Reply, World, booking, sign};

const BEHIND_PROXY: &str = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]";
/// Version 2, for a client at 203.0.113.9, with a value of the proxy's own behind the addresses.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xcb\0\x71\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\0\x02ab";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn plan() -> Plan {
    World::plan().listen(BEHIND_PROXY)
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 198.51.100.1 56324 443\r\n").into_bytes()
}

fn connect_with(world: &World, header: &[u8]) -> TcpStream {
    let mut stream = world.connect();
    stream.write_all(header).unwrap();
    stream
}

/// Whether the other side closes the connection without an answer.
fn is_closed(mut stream: TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0) | Err(_))
}

#[test]
fn allow_from_judges_the_client_that_the_proxy_names() {
    let world = plan().source("allow_from = [\"203.0.113.0/24\"]").start();
    for (number, (header, status)) in [
        (v1("203.0.113.9"), 200),
        (V2.into(), 200),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 443\r\n".into(), 200),
        (v1("198.51.100.7"), 403),
        (b"PROXY TCP6 2001:db8::7 ::1 1 443\r\n".into(), 403),
        (b"PROXY UNKNOWN\r\n".into(), 403),
        (V2_LOCAL.into(), 403),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = send_on(connect_with(&world, &header), &booking(&format!("b-{number}"), "A"));
        assert_eq!(reply.status, status, "{}", header.escape_ascii());
    }
    assert_eq!(world.recorded(), 3);
    world.log_with("198.51.100.7");
}

#[test]
fn a_header_in_the_packet_of_the_request_and_one_byte_by_byte_are_read() {
    let world = plan().start();
    let body = booking("b-1", "A");
    let request = format!(
        "POST /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-freispace-signature: {}\r\n\
         content-length: {}\r\n\r\n{body}",
        sign(body.as_bytes()),
        body.len()
    );
    for header in [v1("203.0.113.9"), V2.into(), b"PROXY UNKNOWN\r\n".into()] {
        let bytes = [&header[..], request.as_bytes()].concat();
        assert_eq!(world.raw(&bytes).status, 200);
        let mut stream = world.connect();
        for byte in &bytes {
            stream.write_all(&[*byte]).unwrap();
        }
        assert_eq!(Reply::read(&mut BufReader::new(stream)).unwrap().status, 200);
    }
}

#[test]
fn a_connection_without_a_valid_header_is_closed_counted_and_logged() {
    let world = plan().start();
    let count = |reason: &str| {
        world.metric(&format!("wilco_proxy_header_failures_total{{reason=\"{reason}\"}}"))
    };
    for (reason, bytes, hint) in [
        ("missing", &b"POST /webhook HTTP/1.1\r\nhost: a\r\n\r\n"[..], "send-proxy-v2"),
        ("malformed", b"PROXY TCP4 nowhere nowhere 1 1\r\n", "what the proxy sends"),
        ("too_long", &[&V2[..13], &[0xff; 3]].concat(), "what the proxy sends"),
    ] {
        for _ in 0..3 {
            assert!(is_closed(connect_with(&world, bytes)), "{reason}");
        }
        assert_eq!(count(reason), 3.0, "{reason}");
        let line = format!("\"reason\":\"{reason}\",\"hint\":\"");
        let log = world.log_with(&line);
        assert_eq!(log.matches(&line).count(), 1, "{log}");
        assert!(log.contains(hint), "{log}");
    }
    assert!(is_closed(connect_from("127.0.0.2", world.address)));
    assert_eq!(count("untrusted"), 1.0);
    drop(connect_with(&world, &V2[..20]));
    world.eventually("the end", |world| {
        world.metric("wilco_proxy_header_failures_total{reason=\"broken_off\"}") == 1.0
    });
    assert!(is_closed(connect_with(&world, &V2[..20])), "it is closed when it took too long");
    assert_eq!(count("too_slow"), 1.0);
    assert_eq!(world.count("SELECT count(*) FROM rejection"), 0);
}

#[test]
fn the_limit_on_connections_counts_the_client_and_not_the_proxy() {
    let world = plan().files("256:256").start();
    let idle = |client: &str, count: usize| -> Vec<_> {
        (0..count).map(|_| connect_with(&world, &v1(client))).collect()
    };
    let one = idle("203.0.113.9", 64);
    world.eventually("64 connections", |world| world.metric("wilco_connections") == 64.0);
    assert!(is_closed(connect_with(&world, &v1("203.0.113.9"))));
    assert_eq!(world.metric("wilco_connections_refused_total"), 1.0);
    let other = idle("203.0.113.10", 44);
    world.eventually("108 connections", |world| world.metric("wilco_connections") == 108.0);
    let reply = send_on(connect_with(&world, &v1("203.0.113.11")), &booking("b-1", "A"));
    assert_eq!(reply.status, 200);
    drop((one, other));
    world.eventually("all closed", |world| world.metric("wilco_connections") == 0.0);
    drop(idle("203.0.113.9", 64));
}

#[test]
fn x_forwarded_for_is_believed_only_if_the_client_is_a_trusted_proxy() {
    let listen = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]";
    let world = World::plan().listen(listen).source("allow_from = [\"203.0.113.9\"]").start();
    for (client, forwarded, status) in [
        ("203.0.113.9", "198.51.100.7", 200),
        ("198.51.100.7", "203.0.113.9", 403),
        ("10.0.0.1", "203.0.113.9", 200),
        ("10.0.0.1", "198.51.100.7", 403),
    ] {
        let body = booking("b-1", client);
        let mut stream = connect_with(&world, &v1(client));
        write!(
            stream,
            "POST /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-forwarded-for: {forwarded}\r\n\
             x-freispace-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
            sign(body.as_bytes()),
            body.len()
        )
        .unwrap();
        let reply = Reply::read(&mut BufReader::new(stream)).unwrap();
        assert_eq!(reply.status, status, "{client} {forwarded}");
    }
}

#[test]
fn the_header_comes_before_the_tls_handshake() {
    let world = plan()
        .tls("tls = \"self-signed\"\ndomains = [\"localhost\"]")
        .listen(&format!("{BEHIND_PROXY}\nhealth_path = \"/up\""))
        .start();
    for (option, is_served) in [("--haproxy-protocol", true), ("--no-keepalive", false)] {
        let url = format!("https://{}/up", world.address);
        let output = Command::new("curl").args(["-sk", option, &url]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.contains("Healthy"), is_served, "{option}: {output:?}");
    }
}

#[test]
fn whoever_can_open_a_unix_socket_is_a_proxy() {
    let world = World::plan()
        .address(r#"["127.0.0.1:0", "unix:FOLDER/wilco.sock"]"#)
        .listen(BEHIND_PROXY)
        .source("allow_from = [\"203.0.113.9\"]")
        .start();
    for (client, status) in [("203.0.113.9", 200), ("198.51.100.7", 403)] {
        let mut stream = UnixStream::connect(world.path("wilco.sock")).unwrap();
        stream.write_all(&v1(client)).unwrap();
        assert_eq!(send_on(stream, &booking("b-1", "A")).status, status, "{client}");
    }
}

#[test]
fn a_reload_switches_it_on_and_off() {
    let off = "trusted_proxies = [\"127.0.0.1\"]";
    let on = format!("{off}\nproxy_protocol = true");
    let world = World::plan().listen(off).start();
    for (from, to, header) in [(off, on.as_str(), v1("203.0.113.9")), (&on, off, Vec::new())] {
        world.reconfigure(|text| text.replacen(from, to, 1));
        assert!(world.run_verb(&["reload"]).status.success());
        let reply = send_on(connect_with(&world, &header), &booking("b-1", "A"));
        assert_eq!(reply.status, 200, "{to}");
    }
}

#[test]
fn it_needs_to_know_the_proxies() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("\"127.0.0.1:{}\"\nproxy_protocol = true", free_port());
    let output = start(&folder, &address);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("[listen] needs trusted_proxies"), "{said}");
}
