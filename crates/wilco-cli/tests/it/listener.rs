//! Sockets and connections: how they are opened, how many are allowed, and how they end.

mod early;
mod nginx;
mod passed;
mod proxy_protocol;

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    iter,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, symlink},
        net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use tempfile::{TempDir, tempdir};

use crate::world::{Reply, SECRET, World, booking, sign, wilco};

const WITH_SOCKET: &str = r#"["127.0.0.1:0", "unix:FOLDER/wilco.sock"]"#;

#[test]
fn a_file_that_is_not_a_socket_is_reported_and_not_replaced() {
    for make in [
        &(|path: &Path| fs::write(path, "not a socket").unwrap()) as &dyn Fn(&Path),
        &|path| fs::write(path, "").unwrap(),
        &|path| fs::create_dir(path).unwrap(),
        &|path| {
            fs::write(path.with_extension("target"), "not a socket").unwrap();
            symlink(path.with_extension("target"), path).unwrap();
        },
        &|path| symlink(path.with_extension("nowhere"), path).unwrap(),
        &|path| {
            drop(UnixListener::bind(path.with_extension("target")).unwrap());
            symlink(path.with_extension("target"), path).unwrap();
        },
        &|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
    ] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("wilco.sock");
        make(&path);
        let before = (fs::symlink_metadata(&path).unwrap().file_type(), fs::read_link(&path).ok());
        let output = start(&folder, &format!("\"unix:{}\"", path.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("a file that is not a socket exists; move it away"), "{said}");
        let after = (fs::symlink_metadata(&path).unwrap().file_type(), fs::read_link(&path).ok());
        assert_eq!(before, after, "{said}");
        if before.0.is_file() {
            assert!(matches!(fs::read(&path).unwrap().len(), 0 | 12));
        }
    }
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("wilco.sock");
    drop(UnixListener::bind(&path).unwrap());
    let world = World::plan().address(WITH_SOCKET).start_in(folder);
    assert_eq!(send_by(&path, &booking("b-1", "A")).status, 200);
    let other = tempdir().unwrap();
    let output = start(&other, &format!("\"unix:{}\"", path.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stop what listens there"), "{said}");
    assert_eq!(send_by(&path, &booking("b-2", "A")).status, 200);
    assert_eq!(world.recorded(), 2);
}

#[test]
fn a_connection_serves_the_next_request_after_it_has_idled() {
    let world = World::plan().start();
    let mut stream = BufReader::new(world.connect());
    for seconds in [0, 3, 0, 3] {
        thread::sleep(Duration::from_secs(seconds));
        stream.get_mut().write_all(b"GET /webhook HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let reply = Reply::read(&mut stream).unwrap();
        assert_eq!((reply.status, reply.header("connection")), (405, None));
    }
    stream.get_mut().write_all(b"GET /webhook HTTP/1.1\r\n").unwrap();
    thread::sleep(Duration::from_secs(3));
    stream.get_mut().write_all(b"host: a\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut stream).unwrap().status, 405);
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
}

#[test]
fn a_socket_is_open_to_every_user_and_removed_at_the_end() {
    let mut world = World::plan().address(WITH_SOCKET).start();
    let path = world.path("wilco.sock");
    let meta = fs::metadata(&path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o666);
    assert!(world.stop().success());
    assert!(!path.exists());

    let mut world = world.restart_stopped();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "of somebody else").unwrap();
    assert!(world.stop().success());
    assert_eq!(fs::read_to_string(&path).unwrap(), "of somebody else");
}

#[test]
fn ipv4_and_ipv6_are_served_on_one_port() {
    if !Path::new("/proc/net/if_inet6").exists() {
        return; // A machine without IPv6 has nothing to serve.
    }
    for ipv4 in ["127.0.0.1", "0.0.0.0"] {
        for is_turned in [false, true] {
            let port = free_port();
            let mut addresses = [format!("{ipv4}:{port}"), format!("[::]:{port}")];
            if is_turned {
                addresses.reverse();
            }
            let world = World::plan().address(&format!("{addresses:?}")).start();
            for (number, host) in ["127.0.0.1", "::1"].iter().enumerate() {
                let stream = TcpStream::connect((*host, port)).unwrap();
                let reply = send_on(stream, &booking(&format!("b-{number}"), "A"));
                assert_eq!(reply.status, 200, "{addresses:?} {host}");
            }
            assert_eq!(world.recorded(), 2);
        }
    }
    let world = World::plan().address("\"[::]:0\"").start();
    let stream = TcpStream::connect(("127.0.0.1", world.address.port())).unwrap();
    assert_eq!(send_on(stream, &booking("b-1", "A")).status, 200, "alone it takes IPv4 too");
}

#[test]
fn an_address_that_is_given_twice_is_reported() {
    let folder = tempdir().unwrap();
    let port = free_port();
    let output = start(&folder, &format!("[\"127.0.0.1:{port}\", \"0.0.0.0:{port}\"]"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another address of this configuration has the same port"), "{said}");
}

#[test]
fn connections_of_one_address_are_limited_and_others_are_still_served() {
    let world = World::plan().files("256:256").start();
    world.log_with("at most 128 connections are accepted");
    let mut idle: Vec<_> = (0..64).map(|_| world.connect()).collect();
    world.eventually("64 connections", |world| world.metric("wilco_connections") == 64.0);
    let mut refused = world.connect();
    let mut nothing = [0];
    assert!(matches!(refused.read(&mut nothing), Ok(0) | Err(_)), "it is closed at once");
    world.eventually("a refusal", |world| {
        world.metric("wilco_connections_refused_total") == 1.0
            && world.log().contains("connection closed: too many are open")
    });
    let other = connect_from("127.0.0.2", world.address);
    assert_eq!(send_on(other, &booking("b-1", "A")).status, 200);

    world.eventually("it is closed", |world| world.metric("wilco_connections") == 64.0);
    idle.extend((0..64).map(|_| connect_from("127.0.0.2", world.address)));
    world.eventually("128 connections", |world| world.metric("wilco_connections") == 128.0);
    let mut third = connect_from("127.0.0.3", world.address);
    assert!(matches!(third.read(&mut nothing), Ok(0) | Err(_)), "connections are bounded in total");

    drop(idle);
    world.eventually("all closed", |world| world.metric("wilco_connections") == 0.0);
    assert_eq!(world.send(&booking("b-2", "A")).status, 200);
}

#[test]
fn an_eighth_of_the_connections_is_left_to_networks_that_have_sent_a_signed_request() {
    let world = World::plan().listen("health_path = \"/healthz\"").files("256:256").start();
    world.log_with("at most 128 connections are accepted");
    let known = connect_from("127.0.0.9", world.address);
    assert_eq!(send_on(known, &booking("b-1", "A")).status, 200);
    world.eventually("all closed", |world| world.metric("wilco_connections") == 0.0);

    // After a request, a connection may idle for longer than before one.
    let idle = |from: &str, count| -> Vec<_> {
        let one = || {
            let mut stream = connect_from(from, world.address);
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream
        };
        iter::repeat_with(one).take(count).collect()
    };
    let _unknown = [idle("127.0.0.2", 56), idle("127.0.0.3", 56)];
    world.eventually("112 connections", |world| world.metric("wilco_connections") == 112.0);
    let mut refused = connect_from("127.0.0.4", world.address);
    assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)), "the rest is not for it");
    let known = idle("127.0.0.9", 15);
    world.eventually("127 connections", |world| world.metric("wilco_connections") == 127.0);
    assert_eq!(send_on(connect_from("127.0.0.9", world.address), &booking("b-2", "A")).status, 200);
    drop(known);
}

#[test]
fn the_soft_limit_on_open_files_is_raised_to_the_hard_limit() {
    for (limits, expected) in [("64:4096", "4096"), ("1024:10000", "9216")] {
        let world = World::plan().files(limits).start();
        let limits = fs::read_to_string(format!("/proc/{}/limits", world.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().nth(3), Some(expected), "{line}");
        let idle: Vec<_> = (0..200).map(|_| world.connect()).collect();
        assert_eq!(world.send(&booking("b-1", "A")).status, 200);
        drop(idle);
    }
}

#[test]
fn a_sender_that_keeps_sending_after_its_refusal_does_not_delay_a_stop() {
    let mut world = World::plan().start();
    let mut stream = world.connect();
    write!(stream, "POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000000\r\n\r\n")
        .unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(Reply::read(&mut reader).unwrap().status, 413);
    let sending = std::thread::spawn(move || while stream.write_all(&[b'x'; 4096]).is_ok() {});
    let began = std::time::Instant::now();
    assert!(world.stop().success());
    assert!(began.elapsed() < Duration::from_secs(15), "less than the linger timeout");
    sending.join().unwrap();
}

#[test]
fn one_empty_line_before_a_request_is_ignored_and_a_second_is_not() {
    let world = World::plan().start();
    let request = |number: u32| {
        let body = booking(&format!("b-{number}"), "A");
        let (signature, length) = (sign(body.as_bytes()), body.len());
        format!(
            "POST /webhook HTTP/1.1\r\nhost: a\r\nx-freispace-signature: {signature}\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
    };
    for (bytes, statuses) in [
        (format!("\r\n{}\r\n{}", request(1), request(2)), &[200, 200][..]),
        (format!("\r\n\r\n{}", request(3)), &[400]),
        (format!("{}\r\n\r\n{}", request(4), request(5)), &[200, 400]),
        ("\r\n\r\n".into(), &[400]),
        ("\r\n".into(), &[]),
    ] {
        let mut stream = world.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let found: Vec<_> = Reply::read_all(stream).iter().map(|reply| reply.status).collect();
        assert_eq!(found, statuses, "{bytes:.60}");
    }
    assert_eq!(world.recorded(), 3);
}

#[test]
fn a_failed_tls_handshake_is_counted_by_reason_and_logged_once_with_a_hint() {
    let world = World::plan().tls("tls = \"self-signed\"\ndomains = [\"localhost\"]").start();
    let failures =
        |reason: &str| format!("wilco_tls_handshake_failures_total{{reason=\"{reason}\"}}");
    for _ in 0..3 {
        let mut plain = world.connect();
        plain.write_all(b"POST /webhook HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let _ = plain.read(&mut [0; 64]);
        drop(world.connect());
        let address = world.address.to_string();
        let mut client = Command::new("openssl");
        client.args(["s_client", "-verify_return_error", "-connect", &address]);
        assert!(!client.stdin(Stdio::null()).output().unwrap().status.success());
    }
    for (reason, hint) in [
        ("not_tls", "the connection is not TLS"),
        ("certificate_refused", "the sender does not trust the certificate"),
        ("broken_off", "the other side closed the connection"),
    ] {
        world.eventually(reason, |world| world.metric(&failures(reason)) == 3.0);
        let log = world.log_with(hint);
        assert_eq!(log.matches(hint).count(), 1, "{reason}: {log}");
    }
    let mut client = Command::new("openssl");
    client.args(["s_client", "-connect", &world.address.to_string()]);
    assert!(client.stdin(Stdio::null()).output().unwrap().status.success());
}

/// Starts a wilco with these addresses that is expected to end by itself.
fn start(folder: &TempDir, addresses: &str) -> Output {
    let store = folder.path().join("wilco.db");
    let text = format!(
        "[listen]\naddress = {addresses}\ntls = \"off\"\n\
         [store]\nurl = \"sqlite:{}\"\nreserve = \"1 MiB\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [source.freispace]\nprovider = \"freispace\"\npath = \"/webhook\"\n\
         secrets = [{{ env = \"FREISPACE_SECRET\" }}]\n",
        store.display()
    );
    fs::write(folder.path().join("wilco.toml"), text).unwrap();
    let mut command = wilco(folder.path());
    command.args(["serve", "--config", "wilco.toml"]).env("FREISPACE_SECRET", SECRET);
    command.output().unwrap()
}

/// A port that nobody listens on. It is below those that the system chooses for the other tests, of
/// which one could get it before the caller binds it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut ports = iter::repeat_with(|| {
        let number = std::process::id() * 100 + NEXT.fetch_add(1, Ordering::Relaxed);
        u16::try_from(20_000 + number % 12_000).unwrap()
    });
    ports.find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok()).unwrap()
}

/// A connection to `address` from another address of this machine.
pub(super) fn connect_from(from: &str, address: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    connect(&socket, &address).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

pub(crate) fn send_by(path: &Path, body: &str) -> Reply {
    send_on(UnixStream::connect(path).unwrap(), body)
}

pub(crate) fn send_on<S: std::io::Read + std::io::Write>(mut stream: S, body: &str) -> Reply {
    let (signature, length) = (sign(body.as_bytes()), body.len());
    write!(
        stream,
        "POST /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
         x-freispace-signature: {signature}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    Reply::read(&mut BufReader::new(stream)).unwrap()
}
