//! Every event is routed once.

use crate::{
    bench::{Bench, was_notified},
    support::{NOW, SENT, Sent, after},
};
use wilco_store::{Delivery, ROUTING_BYTES_MAX, State, StoreError, Target};

promises! {
    the_oldest_unrouted_events_come_first_and_no_more_than_asked_for,
    unrouted_bodies_are_bounded_and_a_larger_one_comes_by_itself,
    fan_out_makes_a_pending_delivery_for_each_destination,
    an_event_without_a_destination_counts_as_routed,
    fan_out_of_some_events_leaves_the_rest_unrouted,
    an_event_is_fanned_out_once,
    many_deliveries_are_made_in_the_order_of_their_events,
    a_failed_fan_out_leaves_no_trace,
    fan_out_wakes_only_its_destinations,
}

async fn the_oldest_unrouted_events_come_first_and_no_more_than_asked_for(bench: Bench) {
    assert_eq!(bench.unrouted(10).await, []);
    let ids = bench.record_many(5).await;
    assert_eq!(bench.unrouted(3).await, ids[..3]);
    assert_eq!(bench.unrouted(3).await, ids[..3], "reading changes nothing");
    assert_eq!(bench.unrouted(10).await, ids);
    assert_eq!(bench.unrouted(0).await, []);
}

async fn unrouted_bodies_are_bounded_and_a_larger_one_comes_by_itself(bench: Bench) {
    let half = vec![b'h'; ROUTING_BYTES_MAX / 2];
    let more = vec![b'm'; ROUTING_BYTES_MAX + 1];
    let bodies: [&[u8]; 5] = [b"", &more, &half, &half[1..], b"xy"];
    let mut ids = Vec::new();
    for body in bodies {
        ids.push(bench.record(Sent { body, ..SENT }).await.event_id());
    }
    for part in [&ids[..1], &ids[1..2], &ids[2..4], &ids[4..]] {
        assert_eq!(bench.unrouted(10).await, part);
        bench.fan_out(part, &[], NOW).await;
    }
    assert_eq!(bench.unrouted(10).await, []);
}

async fn fan_out_makes_a_pending_delivery_for_each_destination(mut bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["mail", "crm"], after(5)).await;
    bench.crash(after(9));
    assert_eq!(bench.unrouted(10).await, []);
    let mut numbers = Vec::new();
    for listed in bench.all().await {
        assert!(listed.is_routed);
        let shown = bench.store.event(listed.id).await.unwrap().unwrap();
        assert_eq!((shown.is_routed, &shown.deliveries), (true, &listed.deliveries));
        for (delivery, destination) in shown.deliveries.iter().zip(["mail", "crm"]) {
            let expected = Delivery {
                id: delivery.id,
                destination: destination.into(),
                item: None,
                state: State::Pending,
                attempts: 0,
                due_at: Some(after(5)),
                order_key: None,
                reason: None,
                replaced_by: None,
                last_error: None,
                history: Vec::new(),
            };
            assert_eq!(*delivery, expected);
            numbers.push(delivery.id);
        }
    }
    assert_eq!(numbers.len(), 4);
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "{numbers:?}");
}

async fn an_event_without_a_destination_counts_as_routed(mut bench: Bench) {
    let ids = bench.record_many(1).await;
    assert!(!bench.all().await[0].is_routed);
    assert!(!bench.store.event(ids[0]).await.unwrap().unwrap().is_routed);
    bench.fan_out(&ids, &[], NOW).await;
    bench.crash(NOW);
    assert_eq!(bench.unrouted(10).await, []);
    let listed = bench.all().await.remove(0);
    assert_eq!((listed.is_routed, listed.deliveries), (true, vec![]));
    assert_eq!(bench.store.unfinished().await.unwrap(), []);
}

async fn fan_out_of_some_events_leaves_the_rest_unrouted(bench: Bench) {
    let ids = bench.record_many(4).await;
    bench.fan_out(&[], &["crm"], NOW).await;
    assert_eq!(bench.unrouted(10).await, ids);
    bench.fan_out(&ids[..3], &["crm"], NOW).await;
    assert_eq!(bench.unrouted(10).await, ids[3..]);
    let routed: Vec<_> = bench.all().await.iter().map(|event| event.is_routed).collect();
    assert_eq!(routed, [true, true, true, false]);
    let later = bench.record(Sent { subject: None, ..SENT }).await.event_id();
    assert_eq!(bench.unrouted(10).await, [ids[3], later]);
}

async fn an_event_is_fanned_out_once(bench: Bench) {
    let ids = bench.record_many(2).await;
    let to_crm = async |count| {
        let batch = bench.store.unrouted(count).await.unwrap();
        batch.route(|_| vec![Target::to("crm")])
    };
    // Two processes that route at the same time get the same events in their batches.
    let (one, all) = (to_crm(1).await, to_crm(10).await);
    for batch in [one.clone(), all, one] {
        bench.store.fan_out(batch).await.unwrap();
    }
    assert_eq!(ids.len(), 2);
    assert_eq!(bench.claim("crm", 10, NOW).await.len(), 2);
}

async fn a_failed_fan_out_leaves_no_trace(mut bench: Bench) {
    let ids = bench.record_many(3).await;
    let batch = bench.store.unrouted(10).await.unwrap();
    bench.backend.break_next_write();
    let targets = [Target::to("crm"), Target::to("mail")];
    let failed = bench.store.fan_out(batch.route(|_| targets.to_vec())).await;
    assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    bench.backend.mend();
    let another = bench.record(Sent { subject: None, ..SENT }).await.event_id();
    assert!(
        !was_notified(&bench.store.wakers().due("crm")).await,
        "nor with the commit of another"
    );
    let ids = [ids, vec![another]].concat();
    for with_crash in [false, true] {
        if with_crash {
            bench.crash(NOW);
        }
        assert_eq!(bench.unrouted(10).await, ids);
        assert_eq!(bench.store.unfinished().await.unwrap(), []);
        assert_eq!(bench.next_due("crm").await, None);
    }
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    assert_eq!(bench.claim("mail", 10, NOW).await.len(), 4);
}

async fn fan_out_wakes_only_its_destinations(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    for (destination, expected) in [("crm", true), ("mail", true), ("chat", false)] {
        let waker = bench.store.wakers().due(destination);
        assert_eq!(was_notified(&waker).await, expected, "{destination}");
        assert!(!was_notified(&waker).await, "{destination} is notified once");
    }
}

async fn many_deliveries_are_made_in_the_order_of_their_events(bench: Bench) {
    let ids = bench.record_many(50).await;
    let destinations: Vec<_> = (0..20).map(|number| format!("d{number}")).collect();
    let destinations: Vec<_> = destinations.iter().map(String::as_str).collect();
    bench.fan_out(&ids, &destinations, NOW).await;
    assert_eq!(bench.unrouted(10).await, []);
    for destination in destinations {
        let claims = bench.claim(destination, 100, NOW).await;
        let claimed: Vec<_> = claims.iter().map(|claim| claim.event().id).collect();
        assert_eq!(claimed, ids, "{destination}");
    }
}
