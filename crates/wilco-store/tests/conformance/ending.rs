//! A closed store has finished the writes that it accepted, and accepts no more.

use std::{sync::Arc, time::Duration};

use crate::{
    bench::Bench,
    support::{
        LEASE, LONGEST, NOW, SENT, SUPPRESS, Sent, after, attempt, event, hand_over, rejection,
    },
};
use wilco_store::{Alert, EventQuery, Outcome, Replay, State, StoreError, Target};

promises! {
    an_open_store_is_ready,
    after_close_every_call_says_closed,
    a_stopped_store_accepts_nothing_more_and_says_why,
    writes_accepted_before_close_are_finished;
    of one process:
    after_a_clean_stop_everything_is_as_before,
}

async fn an_open_store_is_ready(bench: Bench) {
    bench.store.ready().unwrap();
    assert!(bench.store.usage().is_none_or(|usage| usage.free_bytes > 0));
}

async fn a_stopped_store_accepts_nothing_more_and_says_why(bench: Bench) {
    bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    bench.record(Sent { subject: None, ..SENT }).await;
    let store = &bench.store;
    let batch = store.unrouted(1).await.unwrap().route(|_| vec![Target::to("crm")]);
    store.latch("routing ended");
    store.wakers().failed().notified().await;
    for (call, refused) in [
        ("ready", store.ready().err()),
        ("record", bench.try_record(Sent { body: b"[]", ..SENT }).await.err()),
        ("fan_out", store.fan_out(batch.clone()).await.err()),
        ("settle", store.settle(&claim, &attempt("x"), &Outcome::Delivered, None).await.err()),
    ] {
        let is_latched = matches!(
            &refused, Some(StoreError::Latched(cause)) if cause == "routing ended"
        );
        assert!(is_latched, "{call}: {refused:?}");
    }
}

async fn after_close_every_call_says_closed(bench: Bench) {
    let id = bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    bench.record(Sent { subject: None, ..SENT }).await;
    let store = &bench.store;
    let batch = store.unrouted(1).await.unwrap().route(|_| vec![Target::to("crm")]);
    store.close().await.unwrap();

    let replay =
        Replay { event_id: id, targets: vec![Target::to("crm")], reason: "by hand".into() };
    let alert = Alert {
        key: "dead:crm".into(),
        every: Duration::ZERO,
        name: "alert.dead".into(),
        to: "chat".into(),
        body: b"{}"[..].into(),
    };
    let refused = [
        ("record", bench.try_record(Sent { body: b"[]", ..SENT }).await.err()),
        ("unrouted", store.unrouted(1).await.err()),
        ("fan_out", store.fan_out(batch.clone()).await.err()),
        ("claim", store.claim("crm", 1, LEASE, LONGEST).await.err()),
        ("settle", store.settle(&claim, &attempt("x"), &Outcome::Delivered, None).await.err()),
        ("renew", store.renew(std::slice::from_ref(&claim)).await.err()),
        ("next_due", store.next_due("crm").await.err()),
        ("replay", store.replay(vec![replay]).await.err()),
        ("cancel", store.cancel(id, None).await.err()),
        ("release_keys", store.release_keys("crm").await.err()),
        ("pause", store.pause("crm", true).await.err()),
        ("destination_status", store.destination_status("crm").await.err()),
        ("record_alert", store.record_alert(alert).await.err()),
        ("last_received", store.last_received("office", NOW, NOW).await.err()),
        ("events", store.events(EventQuery { limit: 1, ..EventQuery::default() }).await.err()),
        ("event", store.event(id).await.err()),
        ("unfinished", store.unfinished().await.err()),
        ("damaged_events", store.damaged_events().await.err()),
        ("ready", store.ready().err()),
        ("close", store.close().await.err()),
    ];
    assert!(!store.reject(rejection(0)));
    for (call, error) in refused {
        assert!(matches!(error, Some(StoreError::Closed)), "{call}: {error:?}");
    }
}

async fn writes_accepted_before_close_are_finished(mut bench: Bench) {
    let store = Arc::clone(&bench.store);
    let mut asked = Vec::new();
    for number in 0..50 {
        let subject = format!("booking/{number}");
        let (verified, envelope) = event(Sent { subject: Some(&subject), ..SENT });
        let mut record = store.record(verified, envelope, SUPPRESS);
        let answer = hand_over(&mut record).await;
        asked.push((record, answer));
    }
    store.close().await.unwrap();
    let mut recorded = Vec::new();
    for (record, answer) in asked {
        let answer = match answer {
            Some(answer) => answer,
            None => record.await,
        };
        recorded.push(answer.unwrap().event_id());
    }
    bench.crash(NOW);
    assert_eq!(bench.unrouted(1_000).await, recorded);
}

async fn after_a_clean_stop_everything_is_as_before(mut bench: Bench) {
    let ids = bench.record_many(3).await;
    bench.fan_out(&ids[..2], &["crm"], NOW).await;
    bench.claim_one(NOW).await;
    bench.store.close().await.unwrap();
    bench.crash(after(5));
    assert_eq!(bench.unrouted(10).await, ids[2..]);
    assert_eq!(bench.delivery(ids[0]).await.state, State::Retrying);
    assert_eq!(bench.delivery(ids[1]).await.state, State::Pending);
    assert!(!bench.record(Sent { subject: Some("booking/2"), ..SENT }).await.is_first());
}
