//! What an endpoint answers: the table that senders can rely on.

use crate::world::{World, booking};

#[test]
fn a_signed_event_is_acknowledged_recorded_and_named() {
    let world = World::plan().start();
    let reply = world.send(&booking("b-1", "Grade"));
    assert_eq!((reply.status, reply.message().as_str()), (200, "Webhook processed successfully"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let events = world.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["id"].as_str(), reply.header("x-wilco-event"));
}
