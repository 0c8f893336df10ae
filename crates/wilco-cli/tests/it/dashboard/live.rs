//! What is live, and the overview.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::{handled, sign_in, visit, with_destination};
use crate::world::{World, booking};

#[test]
fn a_page_is_told_that_something_changed_and_its_stream_ends_with_wilco() {
    let mut world = World::plan().start();
    let cookie = sign_in(&world, "reader");
    let mut lines = follow(&world, &cookie).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    assert!(lines.any(|line| line.contains("retry: 2000")));
    assert_eq!(world.send(&booking("b-1", "Grade")).status, 200);
    assert!(lines.any(|line| line == "event: changed"));
    assert!(world.stop().success());
    assert!(lines.count() < 20, "it has ended");
}

#[test]
fn what_happened_between_a_page_and_its_stream_is_told_first() {
    let world = handled();
    let cookie = sign_in(&world, "reader");
    let page = visit(&world, "/events", &[("cookie", &cookie)]).body;
    let (_, commits) = page.split_once("data-commits=\"").unwrap();
    let path = format!("/live?after={}", commits.split('"').next().unwrap());
    assert_eq!(world.send(&booking("b-9", "Late")).status, 200);
    let late = |world: &World| world.events()[0]["deliveries"][0]["state"] == "delivered";
    world.eventually("the last change", late);
    // Sooner than the first sign of life of a stream on which nothing happens.
    let stream = follow_at(&world, &path, &cookie);
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(12))).unwrap();
    assert!(stream.lines().map(Result::unwrap).any(|line| line == "event: changed"));
}

#[test]
fn too_many_live_pages_are_refused_and_a_closed_one_makes_room() {
    let world = World::plan().start();
    let cookie = sign_in(&world, "reader");
    let mut open: Vec<_> = (0..32).map(|_| follow(&world, &cookie)).collect();
    for stream in &mut open {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
    }
    let refused = visit(&world, "/live", &[("cookie", &cookie)]);
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("32 streams are open"), "{}", refused.body);
    drop(open);
    world.eventually("a place", |world| {
        let mut line = String::new();
        follow(world, &cookie).read_line(&mut line).unwrap();
        line.contains(" 200 ")
    });
}

#[test]
fn nobody_follows_without_a_session() {
    let world = World::plan().start();
    let mut answer = String::new();
    follow(&world, "wilco_session=x").read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn the_overview_says_what_is_wrong_and_where() {
    let world = handled();
    let cookie = sign_in(&world, "reader");
    let overview = |world: &World| visit(world, "/", &[("cookie", &cookie)]).body;
    let page = overview(&world);
    for text in [
        "All is well",
        "no delivery was given up",
        ">out<",
        ">freispace<",
        "/webhook",
        "; kept for 180 days",
        "; kept for 30 days",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(world.run_verb(&["destinations", "pause", "out"]).status.success());
    let page = overview(&world);
    assert!(page.contains("out is paused; 0 waiting") && !page.contains("All is well"), "{page}");

    let world = with_destination().source("expect_every = \"1 s\"").start();
    world.eventually("the silence", |world| {
        let page = visit(world, "/", &[("cookie", &sign_in(world, "reader"))]).body;
        page.contains("freispace is silent: an event is expected every 1 s")
    });
}

/// The stream that a live page opens.
fn follow(world: &World, cookie: &str) -> BufReader<TcpStream> {
    follow_at(world, "/live", cookie)
}

fn follow_at(world: &World, path: &str, cookie: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(world.admin).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n",
        world.admin
    );
    stream.write_all(head.as_bytes()).unwrap();
    BufReader::new(stream)
}
