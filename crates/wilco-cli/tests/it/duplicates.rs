//! Duplicates are acknowledged and nothing more; changes are events, even if their bytes are the same.

use std::{collections::HashSet, thread, time::Duration};

use crate::world::{World, booking, sign};

#[test]
fn a_change_and_its_reversal_are_three_events() {
    let world = World::plan().start();
    let ids: HashSet<_> = ["A", "B", "A"].map(|name| send(&world, "b-1", name)).into();
    assert_eq!((ids.len(), world.recorded()), (3, 3));
}

#[test]
fn a_duplicate_is_acknowledged_and_nothing_is_recorded_or_handled_twice() {
    let print = "[destination.print]\ntype = \"print\"\n[[route]]\nto = [\"print\"]\n";
    let world = World::plan().and(print).start();
    let first = send(&world, "b-1", "A");
    send(&world, "b-2", "A");
    for _ in 0..20 {
        assert_eq!(send(&world, "b-1", "A"), first, "another booking in between does not matter");
    }
    assert_eq!(world.recorded(), 2);
    let lines = |world: &World| std::fs::read_to_string(world.path("stdout")).unwrap();
    world.eventually("two lines", |world| lines(world).lines().count() == 2);
    let is_copy = r#"wilco_requests_total{source="freispace",outcome="duplicate"}"#;
    assert!((world.metric(is_copy) - 20.0).abs() < 0.5);
    assert_eq!(lines(&world).lines().count(), 2);
}

#[test]
fn two_hundred_concurrent_duplicates_are_one_event() {
    let world = World::plan().start();
    let ids: HashSet<_> = thread::scope(|scope| {
        let senders: Vec<_> =
            (0..40).map(|_| scope.spawn(|| [(); 5].map(|()| send(&world, "b-1", "A")))).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    assert_eq!((ids.len(), world.recorded()), (1, 1));
}

#[test]
fn a_duplicate_is_recognised_after_a_restart_and_after_kill_dash_nine() {
    let world = World::plan().start();
    let first = send(&world, "b-1", "A");
    let world = world.restart();
    assert_eq!(send(&world, "b-1", "A"), first);
    let second = send(&world, "b-1", "B");
    let world = world.kill_and_restart();
    assert_eq!(send(&world, "b-1", "B"), second);
    assert_eq!(world.recorded(), 2);
    assert!(![first, second].contains(&send(&world, "b-1", "A")));
}

#[test]
fn the_treatment_of_duplicates_can_be_configured() {
    for (setting, pause_ms, events) in [
        ("duplicates = \"suppress\"", 0, 1),
        ("duplicates = \"keep\"", 0, 3),
        ("duplicate_window = \"50 ms\"", 100, 3),
        ("duplicate_window = \"1 h\"", 100, 1),
    ] {
        let world = World::plan().source(setting).start();
        for _ in 0..3 {
            send(&world, "b-1", "A");
            thread::sleep(Duration::from_millis(pause_ms));
        }
        assert_eq!(world.recorded(), events, "{setting}");
    }
}

#[test]
fn duplicates_are_recognised_by_the_body_and_not_by_signature_or_headers() {
    let world = World::plan().start();
    let body = booking("b-1", "A");
    let signature = sign(body.as_bytes());
    for header in [("x-request-id", "1"), ("x-request-id", "2"), ("user-agent", "other")] {
        assert_eq!(world.post(&body, &[header, ("x-freispace-signature", &signature)]).status, 200);
    }
    assert_eq!(world.recorded(), 1);
    // One more byte makes it a different body.
    assert_eq!(world.send(&format!("{body} ")).status, 200);
    assert_eq!(world.recorded(), 2);
}

#[test]
fn duplicates_of_an_event_without_a_subject_are_detected_by_its_bytes() {
    let world = World::plan().start();
    for (body, events) in
        [("{}", 1), ("{}", 1), (r#"{"event":"x"}"#, 2), (r#"{"event":"x"}"#, 2), ("{}", 3)]
    {
        assert_eq!(world.send(body).status, 200);
        assert_eq!(world.recorded(), events, "{body}");
    }
}

/// Sends a booking and returns the id of the event from the answer.
#[track_caller]
fn send(world: &World, id: &str, name: &str) -> String {
    let reply = world.send(&booking(id, name));
    assert_eq!((reply.status, reply.message().as_str()), (200, "Webhook processed successfully"));
    reply.header("x-wilco-event").unwrap().to_owned()
}
