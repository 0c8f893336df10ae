//! Actions whose client leaves before the answer, or never sends all of the request.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread::sleep,
    time::Duration,
};

use serde_json::json;

use crate::world::{World, booking};

#[test]
fn what_was_done_is_in_the_audit_list_even_if_the_client_left_meanwhile() {
    let log = "[destination.log]\ntype = \"print\"\n[[route]]\nto = [\"log\"]\n";
    let mut world = World::plan().and(log).start();
    for number in 0..EVENTS {
        world.send(&booking(&format!("b-{number}"), "A"));
    }
    world.eventually("every event", |world| world.count(DELIVERIES) == EVENTS);
    let ids: Vec<_> = world.events().iter().map(|event| event["id"].clone()).collect();
    let body = json!({ "ids": ids }).to_string();
    // A client that leaves early enough prevents the replay, and one that leaves late gets the answer.
    for wait in (0..=60).step_by(2).map(Duration::from_millis) {
        let mut client = post(&world, "/api/v1/replay", &world.authorization(), body.len());
        client.write_all(body.as_bytes()).unwrap();
        sleep(wait);
    }
    // A stop waits for what is being carried out.
    assert!(world.stop().success());
    let noted = world.count("SELECT count(*) FROM audit WHERE action = 'replay_events'");
    assert!(noted > 0);
    assert_eq!(world.count(DELIVERIES), EVENTS * (noted + 1));
}

#[test]
fn a_request_under_way_is_answered_at_a_stop() {
    let mut world = World::plan().start();
    let body = json!({ "ids": [] }).to_string();
    let (first, rest) = body.as_bytes().split_at(4);
    let token = world.authorization() + "\r\nexpect: 100-continue";
    let mut client = post(&world, "/api/v1/replay", &token, body.len());
    client.write_all(first).unwrap();
    let mut taken = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    client.read_exact(&mut taken).unwrap();
    assert!(taken.starts_with(b"HTTP/1.1 100 "));
    world.signal("TERM");
    world.eventually("it accepts no more", |world| TcpStream::connect(world.address).is_err());
    client.write_all(rest).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(world.wait(Duration::from_secs(60)).success());
}

#[test]
fn a_body_that_does_not_arrive_is_not_waited_for() {
    let plan = World::plan().admin("reader_token = { env = \"READER\" }");
    let world = plan.env("READER", "only-for-looking").start();
    let reader = "Bearer only-for-looking".to_owned();
    let requests = [("/settings", reader), ("/api/v1/replay", world.authorization())];
    let clients = requests.map(|(path, token)| {
        let mut client = post(&world, path, &token, 10);
        client.write_all(b"{").unwrap();
        (path, client)
    });
    for (path, mut client) in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
    }
}

/// Sends the head of a request with a body of this length.
fn post(world: &World, path: &str, token: &str, length: usize) -> TcpStream {
    let mut client = TcpStream::connect(world.admin).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n",
        world.admin
    );
    client.write_all(head.as_bytes()).unwrap();
    client
}

const EVENTS: i64 = 100;
const DELIVERIES: &str = "SELECT count(*) FROM delivery";
