//! What is finished is removed when its time is over, and nothing else is.

use std::time::Duration;

use jiff::Timestamp;
use wilco::EventId;

use crate::{
    bench::{Bench, DEAD},
    support::{NOW, SENT, SUPPRESS, Sent, after, event, rejection},
};
use wilco_store::{
    Outcome, PayloadState, PrunePlace, Pruned, RejectionQuery, Replay, Retention, State,
    StoreError, Target,
};

promises! {
    first_the_payload_leaves_and_then_the_record,
    what_is_not_finished_is_kept_whatever_its_age,
    a_dead_delivery_keeps_its_payload_for_as_long_as_the_record,
    an_event_without_payload_is_not_replayed,
    nothing_is_removed_that_is_to_be_kept_for_ever,
    rejections_leave_with_the_payloads,
    no_id_is_used_again_after_everything_was_removed,
    a_copy_is_recognised_until_the_record_leaves,
    over_months_exactly_what_is_due_is_removed,
}

const DAY: i64 = 86_400;
const PAYLOADS: i64 = 30;
const RECORDS: i64 = 180;
const RETENTION: Retention = Retention {
    payloads: Some(Duration::from_secs(PAYLOADS.unsigned_abs() * DAY.unsigned_abs())),
    records: Some(Duration::from_secs(RECORDS.unsigned_abs() * DAY.unsigned_abs())),
};

impl Bench {
    /// A whole round.
    async fn prune(&self, now: Timestamp) -> Pruned {
        self.prune_with(RETENTION, now).await
    }

    async fn prune_with(&self, retention: Retention, now: Timestamp) -> Pruned {
        self.clock.set(now);
        let (mut all, mut next) = (Pruned::default(), Some(PrunePlace::default()));
        while let Some(place) = next {
            let (pruned, rest) = self.store.prune(retention, place).await.unwrap();
            all += pruned;
            next = rest;
        }
        all
    }

    async fn deliver(&self, now: Timestamp, outcome: Outcome) {
        let claim = self.claim_one(now).await;
        self.settle(&claim, "exit 0", outcome).await;
    }

    async fn payload(&self, id: EventId) -> Option<PayloadState> {
        self.store.summary(id).await.unwrap().map(|summary| summary.payload)
    }
}

async fn first_the_payload_leaves_and_then_the_record(mut bench: Bench) {
    let large = vec![b'x'; 300 << 10];
    let id = bench.record(Sent { body: &large, ..SENT }).await.event_id();
    bench.fan_out(&[id], &["crm"], NOW).await;
    bench.deliver(NOW, Outcome::Delivered).await;
    let none = bench.prune(after(PAYLOADS * DAY)).await;
    assert_eq!((none.payloads, bench.payload(id).await), (0, Some(PayloadState::Kept)));

    let pruned = bench.prune(after(PAYLOADS * DAY + 1)).await;
    assert_eq!((pruned.payloads, pruned.records), (1, 0));
    assert!(pruned.payload_bytes > 300 << 10, "{pruned:?}");
    bench.crash(after(PAYLOADS * DAY + 2));
    assert!(matches!(bench.store.event(id).await, Err(StoreError::Pruned(_))));
    let left = bench.store.summary(id).await.unwrap().unwrap();
    assert_eq!(
        (left.payload, left.bytes, left.is_damaged),
        (PayloadState::Pruned, 300 << 10, false)
    );
    assert_eq!(left.subject.as_deref(), SENT.subject);
    let delivery = &left.deliveries[0];
    assert_eq!((delivery.state, delivery.history.len()), (State::Delivered, 1));
    assert_eq!(
        (delivery.history[0].result.as_str(), &delivery.history[0].output[..]),
        ("exit 0", &b""[..])
    );
    assert_eq!(delivery.history[0].request, "");
    assert_eq!(bench.all().await[0].payload, PayloadState::Pruned);

    let pruned = bench.prune(after(RECORDS * DAY + 1)).await;
    assert_eq!((pruned.payloads, pruned.records), (0, 1));
    assert_eq!(bench.all().await, []);
    assert!(bench.store.event(id).await.unwrap().is_none());
    assert!(bench.store.summary(id).await.unwrap().is_none());
    assert_eq!(bench.prune(after(400 * DAY)).await, Pruned::default());
}

async fn what_is_not_finished_is_kept_whatever_its_age(bench: Bench) {
    let ids = bench.record_many(5).await;
    bench.fan_out(&ids[..1], &["nobody"], NOW).await;
    let key = |_: &EventId| vec![Target { order_key: Some("a".into()), ..Target::to("crm") }];
    let batch = bench.store.unrouted(3).await.unwrap();
    bench.store.fan_out(batch.route(|event| key(&event.id))).await.unwrap();
    bench.deliver(NOW, Outcome::Dead { holds_key: true }).await;
    bench.prune(after(400 * DAY)).await;
    let kept = async |number: usize| bench.payload(ids[number]).await;
    for number in 0..5 {
        assert_eq!(kept(number).await, Some(PayloadState::Kept), "number {number}");
    }
    // The first delivery of the key does not wait any more, and the second is retried.
    bench.release_keys("crm", after(400 * DAY)).await;
    let claim = bench.claim_one(after(400 * DAY)).await;
    bench.settle(&claim, "exit 1", bench.retry(after(401 * DAY))).await;
    bench.prune(after(400 * DAY)).await;
    assert_eq!(kept(1).await, None);
    assert_eq!(kept(2).await, Some(PayloadState::Kept));
    // One runs.
    let claim = bench.claim_one(after(401 * DAY)).await;
    bench.prune(after(401 * DAY)).await;
    assert_eq!(kept(2).await, Some(PayloadState::Kept));
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    bench.prune(after(401 * DAY)).await;
    assert_eq!((kept(2).await, kept(3).await), (None, Some(PayloadState::Kept)));
}

async fn a_dead_delivery_keeps_its_payload_for_as_long_as_the_record(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    bench.deliver(NOW, DEAD).await;
    bench.deliver(NOW, DEAD).await;
    bench.prune(after(100 * DAY)).await;
    assert_eq!(bench.payload(ids[0]).await, Some(PayloadState::Kept));
    bench.replay(ids[0], vec![Target::to("crm")], after(100 * DAY)).await;
    bench.deliver(after(100 * DAY), Outcome::Delivered).await;
    let pruned = bench.prune(after(100 * DAY)).await;
    assert_eq!(pruned.payloads, 1, "its replay was delivered");
    assert_eq!(bench.payload(ids[1]).await, Some(PayloadState::Kept));
    let pruned = bench.prune(after(RECORDS * DAY + 1)).await;
    assert_eq!((pruned.payloads, pruned.records), (1, 2));
    assert_eq!(bench.store.unfinished().await.unwrap(), []);
}

async fn an_event_without_payload_is_not_replayed(bench: Bench) {
    let id = bench.one_delivery().await;
    bench.deliver(NOW, Outcome::Delivered).await;
    bench.prune(after(31 * DAY)).await;
    let replay =
        Replay { event_id: id, targets: vec![Target::to("crm")], reason: "by hand".into() };
    bench.store.replay(vec![replay]).await.unwrap();
    assert!(bench.claim("crm", 9, after(31 * DAY)).await.is_empty());
    assert_eq!(bench.store.summary(id).await.unwrap().unwrap().deliveries.len(), 1);
}

async fn nothing_is_removed_that_is_to_be_kept_for_ever(bench: Bench) {
    let id = bench.one_delivery().await;
    bench.deliver(NOW, Outcome::Delivered).await;
    let forever = Retention { payloads: None, records: None };
    assert_eq!(bench.prune_with(forever, after(4_000 * DAY)).await, Pruned::default());
    assert_eq!(bench.payload(id).await, Some(PayloadState::Kept));
    let records_forever = Retention { records: None, ..RETENTION };
    let pruned = bench.prune_with(records_forever, after(4_000 * DAY)).await;
    assert_eq!((pruned.payloads, pruned.records), (1, 0));
}

async fn rejections_leave_with_the_payloads(bench: Bench) {
    for number in 0..12 {
        let at = after(i64::try_from(number).unwrap() * DAY);
        let rejection = wilco_store::Rejection { received_at: at, ..rejection(number) };
        assert!(bench.store.reject(rejection));
    }
    let kept = async || {
        let query = RejectionQuery { limit: 99, ..RejectionQuery::default() };
        bench.store.rejections(query).await.unwrap().len()
    };
    while kept().await < 12 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pruned = bench.prune(after((PAYLOADS + 5) * DAY)).await;
    assert_eq!((pruned.rejections, kept().await), (5, 7));
}

async fn no_id_is_used_again_after_everything_was_removed(mut bench: Bench) {
    let before = bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    let pruned = bench.prune(after(RECORDS * DAY + 1)).await;
    assert_eq!(pruned.records, 1);
    // The clock is set back.
    bench.crash(NOW);
    let next = bench.one_delivery().await;
    let next_claim = bench.claim_one(NOW).await;
    assert!(next > before && next_claim.delivery() > claim.delivery());
}

async fn a_copy_is_recognised_until_the_record_leaves(mut bench: Bench) {
    let deliveries = [None, Some("delivery-1")];
    for delivery_id in deliveries {
        let mut bench = bench.another();
        let sent = Sent { delivery_id, ..SENT };
        let first = bench.record(sent).await.event_id();
        bench.fan_out(&[first], &[], NOW).await;
        bench.prune(after(PAYLOADS * DAY + 1)).await;
        for crashes in [false, true] {
            if crashes {
                bench.crash(after(PAYLOADS * DAY + 1));
            }
            // The clock of the request says that it is within the window.
            let again = bench.record(Sent { at: after(60), ..sent }).await;
            assert_eq!((again.event_id(), again.is_first()), (first, false), "{delivery_id:?}");
        }
        bench.prune(after(RECORDS * DAY + 1)).await;
        let (verified, envelope) = event(Sent { at: after(60), ..sent });
        let again = bench.store.record(verified, envelope, SUPPRESS).await.unwrap();
        assert!(again.is_first(), "{delivery_id:?}");
        assert_eq!(bench.store.damaged_events().await.unwrap(), 0);
    }
    bench.crash(NOW);
}

/// A year and more, a day at a time, with all that can become of an event; a crash now and then.
async fn over_months_exactly_what_is_due_is_removed(mut bench: Bench) {
    struct Expected {
        id: EventId,
        day: i64,
        /// When its delivery came to its end, and how.
        end: Option<(i64, State)>,
    }
    let mut random = 7_u64;
    let mut roll = move |sides: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % sides
    };
    let mut all: Vec<Expected> = Vec::new();
    for day in 0..420 {
        let now = after(day * DAY);
        for number in 0..roll(3) {
            let subject = format!("booking/{day}/{number}");
            let id =
                bench.record(Sent { subject: Some(&subject), at: now, ..SENT }).await.event_id();
            bench.fan_out(&[id], &["crm"], now).await;
            all.push(Expected { id, day, end: None });
        }
        // Some wait for long.
        for claim in bench.claim("crm", usize::try_from(roll(3)).unwrap(), now).await {
            let (state, outcome) = match roll(6) {
                0 => (State::Dead, DEAD),
                1 => (State::Retrying, bench.retry(after((day + 40) * DAY))),
                _ => (State::Delivered, Outcome::Delivered),
            };
            bench.settle(&claim, "exit 0", outcome).await;
            let of = all.iter_mut().find(|expected| expected.id == claim.event().id).unwrap();
            of.end = (state != State::Retrying).then_some((day, state));
        }
        if roll(20) == 0 {
            bench.crash(now);
        }
        if roll(4) > 0 {
            continue;
        }
        bench.prune(now).await;
        all.retain(|one| !(one.end.is_some() && day - one.day > RECORDS));
        let found: Vec<_> =
            bench.all().await.iter().map(|event| (event.id, event.payload)).collect();
        let expected = all.iter().map(|one| {
            let is_pruned = day - one.day > PAYLOADS
                && one.end.is_some_and(|(_, state)| state == State::Delivered);
            (one.id, if is_pruned { PayloadState::Pruned } else { PayloadState::Kept })
        });
        assert_eq!(found, expected.collect::<Vec<_>>(), "day {day}");
    }
    assert_eq!(bench.store.damaged_events().await.unwrap(), 0);
}
