//! What is recorded is durable, complete and in order.

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use wilco::{Event, Origin};

use crate::{
    bench::{Bench, was_notified},
    support::{NOW, SENT, SUPPRESS, Sent, after, event, hand_over, rejection},
};
use wilco_store::{Duplicates, Outcome, StoreError};

promises! {
    an_event_comes_back_byte_for_byte,
    times_are_kept_to_the_millisecond,
    an_id_begins_with_the_time_of_receipt,
    an_event_with_a_receipt_survives_a_crash,
    a_failed_record_leaves_no_trace,
    concurrent_events_are_all_recorded,
    a_recorded_event_wakes_routing_and_a_duplicate_does_not,
    a_rejection_never_fails_and_is_not_an_event;
    of one process:
    ids_strictly_increase_even_if_the_clock_goes_back,
    an_event_is_recorded_even_if_its_caller_stops_waiting,
}

async fn an_event_comes_back_byte_for_byte(mut bench: Bench) {
    let large: Vec<u8> = (0..1_u32 << 20).map(|place| (place >> 3).to_le_bytes()[0]).collect();
    let odd: &[(&str, &[u8])] = &[
        ("Host", b"hooks.example"),
        ("x-not-text", b"\xff\xfe\x80: ;\t"),
        ("x-empty", b""),
        ("accept", b"a"),
        ("accept", b" b "),
    ];
    let rows = [
        Sent { headers: odd, ..SENT },
        Sent { body: b"{}", subject: None, ..SENT },
        Sent { provider: "github", body: b"[]", ..SENT },
        Sent { body: b"", name: "", ..SENT },
        Sent { body: b"{\"a\": 1,\r\n \"a\":10000000000000000000001}\n\0\xff", ..SENT },
        Sent { body: &large, subject: Some(""), ..SENT },
        Sent { name: "b\"ö'\u{1f4c5};--\0\n%", subject: Some("b/'\u{0}x"), ..SENT },
    ];
    for sent in rows {
        let (verified, envelope) = event(sent);
        let arrival = verified.arrival();
        let receipt =
            bench.store.record(verified.clone(), envelope.clone(), SUPPRESS).await.unwrap();
        assert!(receipt.is_first());
        let expected = Event {
            id: receipt.event_id(),
            source: verified.source().clone(),
            provider: envelope.provider,
            name: envelope.name,
            subject: envelope.subject,
            received_at: arrival.received_at,
            secret_name: "test:secret".into(),
            digest: verified.digest(),
            conflict: false,
            origin: Origin::Webhook,
            item: None,
            headers: arrival.head.headers.clone(),
            body: arrival.body.clone(),
        };

        let shown = bench.store.event(expected.id).await.unwrap().unwrap();
        assert!(shown.event == expected, "shown: {:?}", envelope_of(&shown.event));
        let unrouted = bench.store.unrouted(1).await.unwrap().events()[0].clone();
        assert!(*unrouted == expected, "unrouted: {:?}", envelope_of(&unrouted));
        bench.crash(NOW);
        bench.fan_out(&[expected.id], &["crm"], NOW).await;
        let claim = bench.claim_one(NOW).await;
        assert!(**claim.event() == expected, "claimed: {:?}", envelope_of(claim.event()));
        bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    }
}

/// The columns of an event in a listing.
fn envelope_of(event: &Event) -> (&str, Option<&str>, usize) {
    (&event.name, event.subject.as_deref(), event.body.len())
}

async fn times_are_kept_to_the_millisecond(bench: Bench) {
    let at = NOW + SignedDuration::from_nanos(7_999_999);
    let id = bench.record(Sent { at, ..SENT }).await.event_id();
    let kept = bench.store.event(id).await.unwrap().unwrap().event.received_at;
    assert_eq!(kept, NOW + SignedDuration::from_millis(7));
}

async fn an_id_begins_with_the_time_of_receipt(bench: Bench) {
    let id = bench.record(SENT).await.event_id();
    assert_eq!(id.to_bits() >> 80, u128::try_from(NOW.as_millisecond()).unwrap());
}

/// Two processes that write to the same store would each have their own clock.
async fn ids_strictly_increase_even_if_the_clock_goes_back(mut bench: Bench) {
    let mut last = None;
    for (number, secs) in [0, 0, 0, 5, -5, -86_400, 5, 6].into_iter().enumerate() {
        for with_crash in [false, true] {
            if with_crash {
                bench.crash(after(secs));
            }
            let body = format!("{number} {with_crash}");
            let sent = Sent { body: body.as_bytes(), at: after(secs), ..SENT };
            let id = bench.record(sent).await.event_id();
            assert!(Some(id) > last, "{id} after {last:?}, {secs} s, crash: {with_crash}");
            last = Some(id);
        }
    }
    let before_1970 = Sent { body: b"old", at: Timestamp::MIN, ..SENT };
    assert!(Some(bench.record(before_1970).await.event_id()) > last);
}

async fn an_event_with_a_receipt_survives_a_crash(mut bench: Bench) {
    let ids = bench.record_many(20).await;
    bench.crash(NOW);
    assert_eq!(bench.unrouted(100).await, ids);
}

async fn a_failed_record_leaves_no_trace(mut bench: Bench) {
    bench.backend.break_next_write();
    let failed = bench.try_record(SENT).await;
    assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    bench.backend.mend();
    assert!(!was_notified(bench.store.wakers().recorded()).await);
    assert_eq!(bench.all().await, []);
    bench.crash(NOW);
    assert_eq!(bench.all().await, []);
    assert!(bench.record(SENT).await.is_first());
}

/// A process executes its writes in the order in which they arrived.
async fn an_event_is_recorded_even_if_its_caller_stops_waiting(bench: Bench) {
    for number in 0..50 {
        let subject = format!("booking/{number}");
        let (verified, envelope) = event(Sent { subject: Some(&subject), ..SENT });
        let mut record = bench.store.record(verified, envelope, SUPPRESS);
        hand_over(&mut record).await;
        drop(record);
    }
    // So those before it are finished when this one is.
    bench.record(Sent { subject: None, ..SENT }).await;
    assert_eq!(bench.all().await.len(), 51);
    assert!(!bench.record(Sent { subject: Some("booking/7"), ..SENT }).await.is_first());
}

async fn concurrent_events_are_all_recorded(mut bench: Bench) {
    let mut tasks = JoinSet::new();
    for number in 0..300 {
        let store = bench.store.clone();
        tasks.spawn(async move {
            let body = format!("{{\"number\":{number}}}");
            let (verified, envelope) = event(Sent { body: body.as_bytes(), ..SENT });
            store.record(verified, envelope, Duplicates::Keep).await.unwrap().event_id()
        });
    }
    let mut ids = tasks.join_all().await;
    bench.crash(NOW);
    ids.sort();
    assert_eq!(bench.unrouted(1_000).await, ids);
    ids.dedup();
    assert_eq!(ids.len(), 300);
}

async fn a_recorded_event_wakes_routing_and_a_duplicate_does_not(bench: Bench) {
    assert!(!was_notified(bench.store.wakers().recorded()).await);
    bench.record_many(2).await;
    assert!(was_notified(bench.store.wakers().recorded()).await, "the notification is kept");
    bench.record(Sent { subject: Some("booking/1"), ..SENT }).await;
    assert!(!was_notified(bench.store.wakers().recorded()).await);
}

async fn a_rejection_never_fails_and_is_not_an_event(bench: Bench) {
    for number in 0..100 {
        bench.store.reject(rejection(number));
    }
    assert!(bench.record(SENT).await.is_first());
    assert_eq!(bench.all().await.len(), 1);
    bench.store.close().await.unwrap();
    bench.store.reject(rejection(100));
}
