//! Sockets that somebody else has opened, as systemd does. The tests play its part.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::{fs::MetadataExt as _, net::UnixListener},
};

use super::{send_by, start};
use crate::world::{World, booking};

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn passed_sockets_are_listened_on_and_stay_when_wilco_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (tcp, path) = (tcp(), folder.path().join("passed.sock"));
    let unix = UnixListener::bind(&path).unwrap();
    let inodes = [tcp.try_clone().unwrap().into(), unix.try_clone().unwrap().into()]
        .map(|fd: std::os::fd::OwnedFd| fs::File::from(fd).metadata().unwrap().ino());
    let to = "[destination.c]\ntype = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \
              \"ls -l /proc/$$/fd > FOLDER/files; env > FOLDER/env\"]\n[[route]]\nto = [\"c\"]";
    let plan = World::plan().address("\"systemd\"").and(to);
    let mut world = plan.pass(vec![tcp.try_clone().unwrap().into(), unix.into()]).start_in(folder);
    assert_eq!(world.address, tcp.local_addr().unwrap());
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    assert_eq!(send_by(&path, &booking("b-2", "A")).status, 200);
    world.eventually("a delivery", |world| world.path("env").exists());
    let files = fs::read_to_string(world.path("files")).unwrap();
    for inode in inodes {
        assert!(!files.contains(&format!("socket:[{inode}]")), "a program inherits it: {files}");
    }
    let environment = fs::read_to_string(world.path("env")).unwrap();
    assert!(!environment.contains("LISTEN_"), "{environment}");

    assert!(world.stop().success());
    assert!(path.exists(), "systemd removes it");
    let waiting = world.connect();
    let world = world.restart_stopped();
    assert_eq!(super::send_on(waiting, &booking("b-3", "A")).status, 200);
    assert_eq!(world.recorded(), 3);
}

#[test]
fn a_passed_socket_is_used_for_the_address_that_names_it() {
    let (tcp, other) = (tcp(), tcp());
    let plan = World::plan().address(&format!("\"{}\"", tcp.local_addr().unwrap()));
    let world = plan.pass(vec![tcp.into(), other.into()]).start();
    assert_eq!(world.send(&booking("b-1", "A")).status, 200);
    world.log_with("closed a socket that was passed and is not in [listen] address");
}

#[test]
fn what_cannot_be_listened_on_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let output = start(&folder, "\"systemd\"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("but no socket was passed; start wilco by its socket unit"), "{said}");

    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let plan = World::plan().address("\"systemd\"").pass(vec![datagrams.into()]);
    let output = plan.output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("descriptor 3 is not a listening socket"), "{said}");
    assert!(said.contains("use ListenStream="), "{said}");
}
