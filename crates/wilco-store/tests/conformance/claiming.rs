//! A claim is the right to try a delivery that is due, and only one has it.

use std::time::Duration;

use tokio::task::JoinSet;
use wilco::{BODY_CHUNK_BYTES, EventId};

use crate::{
    bench::{Bench, DEAD},
    support::{LEASE, LONGEST, NOW, SENT, Sent, after},
};
use wilco_store::{CLAIM_BYTES_MAX, Claim, Outcome, State, StoreError, Target};

promises! {
    only_due_deliveries_are_claimed,
    the_longest_due_is_claimed_first,
    the_longest_due_is_claimed_first_even_if_it_is_older_than_the_process,
    deliveries_due_together_are_claimed_in_the_order_in_which_they_were_made,
    claimed_bodies_are_bounded_by_the_memory_that_they_take,
    a_claim_has_its_event_its_destination_and_its_attempt,
    the_time_waited_is_kept_to_the_millisecond,
    a_claim_is_exclusive_however_many_workers_ask,
    a_failed_claim_claims_nothing,
    next_due_is_the_earliest_waiting_delivery,
    no_wait_exceeds_the_longest_even_if_the_clock_is_set_back;
    of one process:
    an_attempt_cut_short_by_a_crash_is_due_again_and_counts,
    every_attempt_cut_short_by_a_crash_is_due_again_however_many,
}

async fn no_wait_exceeds_the_longest_even_if_the_clock_is_set_back(bench: Bench) {
    let ids = bench.record_many(30).await;
    bench.fan_out(&ids, &["crm"], after(1_000_000_000)).await;
    let longest = Duration::from_secs(60);
    let claim = async |now| {
        bench.clock.set(now);
        bench.store.claim("crm", 100, LEASE, longest).await.unwrap()
    };
    assert!(claim(NOW).await.is_empty());
    assert_eq!(bench.next_due("crm").await, Some(after(60)));
    assert!(claim(after(59)).await.is_empty());
    assert_eq!(claim(after(60)).await.len(), 30);
}

async fn claimed_bodies_are_bounded_by_the_memory_that_they_take(bench: Bench) {
    // No larger ones, because a store may keep those elsewhere.
    let mut ids = Vec::new();
    for number in 0..CLAIM_BYTES_MAX / BODY_CHUNK_BYTES + 2 {
        let mut body = vec![b'b'; BODY_CHUNK_BYTES];
        body[..8].copy_from_slice(&number.to_le_bytes());
        ids.push(bench.record(Sent { body: &body, subject: None, ..SENT }).await.event_id());
    }
    bench.fan_out(&ids, &["crm"], NOW).await;
    let (first, rest) = ids.split_at(CLAIM_BYTES_MAX / BODY_CHUNK_BYTES);
    for part in [first, rest] {
        let claims = bench.claim("crm", 1_000, NOW).await;
        let claimed: Vec<_> = claims.iter().map(|claim| claim.event().id).collect();
        assert_eq!(claimed, part);
    }
}

async fn only_due_deliveries_are_claimed(bench: Bench) {
    let ids = bench.record_many(1).await;
    bench.fan_out(&ids, &["crm", "mail"], after(10)).await;
    assert!(bench.claim("crm", 10, after(9)).await.is_empty());
    assert!(bench.claim("chat", 10, after(99)).await.is_empty());
    assert!(bench.claim("crm", 0, after(99)).await.is_empty());
    let claim = bench.claim_one(after(10)).await;
    assert!(bench.claim("crm", 10, after(50)).await.is_empty(), "it is running");
    bench.settle(&claim, "exit 1", bench.retry(after(60))).await;
    assert!(bench.claim("crm", 10, after(59)).await.is_empty());
    assert_eq!(bench.claim_one(after(60)).await.delivery(), claim.delivery());
    assert_eq!(bench.claim("mail", 10, after(10)).await.len(), 1);
}

async fn the_longest_due_is_claimed_first(bench: Bench) {
    let ids = bench.record_many(4).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    let first = bench.claim("crm", 10, NOW).await;
    for (claim, secs) in first.iter().zip([30, 10, 40, 20]) {
        bench.settle(claim, "exit 1", bench.retry(after(secs))).await;
    }
    let earliest = bench.claim("crm", 3, after(60)).await;
    assert_eq!(events(&earliest), [ids[1], ids[3], ids[0]]);
    assert_eq!(events(&bench.claim("crm", 3, after(60)).await), [ids[2]]);
}

async fn the_longest_due_is_claimed_first_even_if_it_is_older_than_the_process(mut bench: Bench) {
    let old = bench.targets(2, |_| Target::to("crm"), NOW).await;
    bench.crash(NOW);
    let new = bench.targets(2, |_| Target::to("crm"), after(1)).await;
    assert_eq!(events(&bench.claim("crm", 10, after(1)).await), [old, new].concat());
}

async fn deliveries_due_together_are_claimed_in_the_order_in_which_they_were_made(bench: Bench) {
    let ids = bench.record_many(30).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    for part in ids.chunks(7) {
        assert_eq!(events(&bench.claim("crm", 7, NOW).await), part);
    }
}

async fn a_claim_has_its_event_its_destination_and_its_attempt(bench: Bench) {
    let id = bench.record_many(1).await[0];
    bench.fan_out(&[id], &["crm"], after(5)).await;
    let mut number = None;
    for attempt in 1..=3 {
        let claim = bench.claim_one(after(100)).await;
        assert_eq!((claim.event().id, claim.destination()), (id, "crm"));
        let waited = Duration::from_secs(u64::from(attempt > 1));
        assert_eq!((claim.attempt(), claim.waited()), (attempt, waited));
        assert_eq!(*number.get_or_insert(claim.delivery()), claim.delivery());
        let delivery = bench.delivery(id).await;
        assert_eq!((delivery.id, delivery.attempts), (claim.delivery(), attempt));
        assert_eq!((delivery.state, delivery.due_at), (State::Running, None));
        bench.settle(&claim, "exit 1", bench.retry(after(50))).await;
    }
}

async fn the_time_waited_is_kept_to_the_millisecond(bench: Bench) {
    bench.one_delivery().await;
    let waited = Duration::from_micros(1_500);
    let claim = bench.claim_one(NOW).await;
    bench.settle(&claim, "exit 1", Outcome::Retry { after: Duration::ZERO, waited }).await;
    assert_eq!(bench.claim_one(NOW).await.waited(), Duration::from_millis(1));
}

async fn a_claim_is_exclusive_however_many_workers_ask(bench: Bench) {
    let ids = bench.record_many(100).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = bench.store.clone();
        tasks.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claims = store.claim("crm", 7, LEASE, LONGEST).await.unwrap();
                if claims.is_empty() {
                    return mine;
                }
                mine.extend(claims);
            }
        });
    }
    let claims: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let mut claimed = events(&claims);
    claimed.sort();
    assert_eq!(claimed, ids);
    assert!(claims.iter().all(|claim| claim.attempt() == 1));
}

async fn a_failed_claim_claims_nothing(bench: Bench) {
    let id = bench.one_delivery().await;
    bench.backend.break_next_write();
    let failed = bench.store.claim("crm", 10, LEASE, LONGEST).await;
    assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    bench.backend.mend();
    let delivery = bench.delivery(id).await;
    assert_eq!((delivery.state, delivery.attempts), (State::Pending, 0));
    assert_eq!(bench.claim_one(NOW).await.attempt(), 1);
}

async fn an_attempt_cut_short_by_a_crash_is_due_again_and_counts(mut bench: Bench) {
    let id = bench.one_delivery().await;
    for attempt in 1..=3 {
        let begun_at = after(i64::from(attempt) * 10);
        assert_eq!(bench.claim_one(begun_at).await.attempt(), attempt);
        bench.crash(begun_at);
        let delivery = bench.delivery(id).await;
        assert_eq!((delivery.state, delivery.due_at), (State::Retrying, Some(begun_at)));
        assert_eq!(delivery.last_error.as_deref(), Some("wilco stopped during the attempt"));
        assert_eq!((delivery.attempts, delivery.history), (attempt, vec![]));
    }
    bench.crash(after(99));
    let untouched = bench.delivery(id).await;
    assert_eq!((untouched.due_at, untouched.attempts), (Some(after(30)), 3), "it did not run");
}

async fn every_attempt_cut_short_by_a_crash_is_due_again_however_many(mut bench: Bench) {
    let ids = bench.record_many(30).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    assert_eq!(bench.claim("crm", 100, NOW).await.len(), 30);
    bench.crash(after(1));
    assert_eq!(bench.claim("crm", 100, after(1)).await.len(), 30);
}

async fn next_due_is_the_earliest_waiting_delivery(bench: Bench) {
    let due = async |name| bench.next_due(name).await;
    assert_eq!(due("crm").await, None);
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids[..1], &["crm"], after(5)).await;
    bench.fan_out(&ids[1..], &["crm", "mail"], after(9)).await;
    bench.clock.set(NOW);
    assert_eq!((due("crm").await, due("mail").await), (Some(after(5)), Some(after(9))));
    let first = bench.claim_one(after(5)).await;
    assert_eq!(due("crm").await, Some(after(9)), "a running delivery does not wait");
    bench.settle(&first, "exit 1", bench.retry(after(7))).await;
    assert_eq!(due("crm").await, Some(after(7)));
    for claim in bench.claim("crm", 2, after(9)).await {
        assert!(due("crm").await >= Some(after(9 + 60)), "when the leases end");
        let outcome = if claim.attempt() == 1 { Outcome::Delivered } else { DEAD };
        bench.settle(&claim, "exit 0", outcome).await;
    }
    assert_eq!((due("crm").await, due("mail").await), (None, Some(after(9))));
}

fn events(claims: &[Claim]) -> Vec<EventId> {
    claims.iter().map(|claim| claim.event().id).collect()
}
