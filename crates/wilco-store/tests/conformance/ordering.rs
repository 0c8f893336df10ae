//! Deliveries with the same key are made one after another, in order.

use crate::{
    bench::{Bench, DEAD, was_notified},
    support::{NOW, after},
};
use wilco_store::{Claim, Outcome, State, Target};

promises! {
    a_delivery_waits_only_for_the_previous_one_of_its_key,
    every_final_outcome_releases_the_next_of_the_key,
    a_dead_delivery_that_holds_its_key_blocks_it_until_it_is_released,
    every_key_is_released_however_many_there_are,
    a_dead_delivery_without_a_key_blocks_nothing,
    a_dead_delivery_that_holds_its_key_is_replaced_by_its_replay,
    cancelling_a_held_delivery_changes_nothing_for_the_others,
    a_held_delivery_counts_as_pending_and_has_no_due_time,
    the_next_delivery_of_a_key_wakes_its_worker;
    of one process:
    a_retry_keeps_its_place_even_across_a_crash,
}

fn keyed(key: &str) -> Target {
    Target { order_key: Some(key.into()), ..Target::to("crm") }
}

async fn a_delivery_waits_only_for_the_previous_one_of_its_key(bench: Bench) {
    let ids = bench.targets(6, |number| keyed(["a", "b"][number % 2]), NOW).await;
    let unordered = bench.targets(1, |_| Target::to("crm"), NOW).await;
    let mut claims = bench.claim("crm", 10, after(1)).await;
    assert_eq!(events(&claims), [ids[0], ids[1], unordered[0]]);
    assert!(bench.claim("crm", 10, after(2)).await.is_empty());
    for expected in [ids[3], ids[5]] {
        bench.settle(&claims[1], "exit 0", Outcome::Delivered).await;
        claims[1] = bench.claim_one(after(3)).await;
        assert_eq!(claims[1].event().id, expected);
    }
    bench.settle(&claims[0], "exit 0", Outcome::Delivered).await;
    assert_eq!(bench.claim_one(after(4)).await.event().id, ids[2]);
}

async fn a_retry_keeps_its_place_even_across_a_crash(mut bench: Bench) {
    let ids = bench.targets(3, |_| keyed("a"), NOW).await;
    let first = bench.claim_one(NOW).await;
    bench.settle(&first, "exit 1", bench.retry(after(60))).await;
    assert!(bench.claim("crm", 10, after(59)).await.is_empty());
    assert_eq!(bench.claim_one(after(60)).await.event().id, ids[0]);
    bench.crash(after(61));
    let again = bench.claim("crm", 10, after(61)).await;
    assert_eq!(events(&again), [ids[0]], "the interrupted one is first again, and by itself");
    bench.settle(&again[0], "exit 0", Outcome::Delivered).await;
    bench.crash(after(62));
    assert_eq!(bench.claim_one(after(62)).await.event().id, ids[1]);
}

async fn every_final_outcome_releases_the_next_of_the_key(bench: Bench) {
    for outcome in [Outcome::Delivered, DEAD, Outcome::Skipped] {
        let bench = bench.another();
        let ids = bench.targets(2, |_| keyed("a"), NOW).await;
        let first = bench.claim_one(NOW).await;
        bench.settle(&first, "over", outcome).await;
        assert_eq!(bench.claim_one(after(1)).await.event().id, ids[1]);
    }
    let bench = bench.another();
    let ids = bench.targets(2, |_| keyed("a"), NOW).await;
    assert_eq!(bench.cancel(ids[0], None, after(1)).await, 1);
    assert_eq!(bench.claim_one(after(1)).await.event().id, ids[1]);
}

async fn a_dead_delivery_that_holds_its_key_blocks_it_until_it_is_released(mut bench: Bench) {
    let ids = bench.targets(3, |number| keyed(["a", "a", "b"][number]), NOW).await;
    for claim in bench.claim("crm", 10, NOW).await {
        bench.settle(&claim, "exit 65", Outcome::Dead { holds_key: true }).await;
    }
    let later = bench.targets(1, |_| keyed("a"), NOW).await[0];
    bench.crash(after(5));
    assert!(bench.claim("crm", 10, after(9)).await.is_empty());
    bench.release_keys("mail", after(9)).await;
    assert!(bench.claim("crm", 10, after(9)).await.is_empty());
    bench.release_keys("crm", after(9)).await;
    let next = bench.claim_one(after(9)).await;
    assert_eq!(next.event().id, ids[1]);
    bench.settle(&next, "exit 0", Outcome::Delivered).await;
    assert_eq!(bench.claim_one(after(9)).await.event().id, later);
}

async fn every_key_is_released_however_many_there_are(bench: Bench) {
    let ids = bench.targets(60, |number| keyed(&format!("k{}", number / 2)), NOW).await;
    for claim in bench.claim("crm", 100, NOW).await {
        bench.settle(&claim, "exit 65", Outcome::Dead { holds_key: true }).await;
    }
    assert!(bench.claim("crm", 100, after(1)).await.is_empty());
    bench.release_keys("crm", after(1)).await;
    let behind: Vec<_> = ids.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(events(&bench.claim("crm", 100, after(1)).await), behind);
}

async fn a_dead_delivery_without_a_key_blocks_nothing(bench: Bench) {
    let ids = bench.targets(2, |_| Target::to("crm"), NOW).await;
    for claim in bench.claim("crm", 10, NOW).await {
        bench.settle(&claim, "exit 65", Outcome::Dead { holds_key: true }).await;
    }
    assert_eq!(bench.cancel(ids[0], None, after(1)).await, 0);
    assert_eq!(bench.state(ids[0]).await, State::Dead);
}

async fn a_dead_delivery_that_holds_its_key_is_replaced_by_its_replay(bench: Bench) {
    let ids = bench.targets(2, |_| keyed("a"), NOW).await;
    let dead = bench.claim_one(NOW).await;
    bench.settle(&dead, "exit 65", Outcome::Dead { holds_key: true }).await;
    bench.replay(ids[0], vec![keyed("a")], after(5)).await;
    let claim = bench.claim_one(after(5)).await;
    assert_eq!(claim.event().id, ids[0], "the replay is first");
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    assert_eq!(bench.claim_one(after(6)).await.event().id, ids[1]);
}

async fn cancelling_a_held_delivery_changes_nothing_for_the_others(bench: Bench) {
    let ids = bench.targets(3, |_| keyed("a"), NOW).await;
    assert_eq!(bench.cancel(ids[1], Some("crm"), NOW).await, 1);
    assert_eq!(bench.state(ids[1]).await, State::Cancelled);
    let first = bench.claim("crm", 10, after(1)).await;
    assert_eq!(events(&first), [ids[0]]);
    bench.settle(&first[0], "exit 0", Outcome::Delivered).await;
    assert_eq!(bench.claim_one(after(1)).await.event().id, ids[2]);
}

async fn a_held_delivery_counts_as_pending_and_has_no_due_time(bench: Bench) {
    let ids = bench.targets(3, |_| keyed("a"), NOW).await;
    let counts = bench.store.unfinished().await.unwrap();
    assert_eq!(counts, [("crm".into(), State::Pending, 3)]);
    let held = bench.delivery(ids[1]).await;
    assert_eq!((held.state, held.due_at), (State::Pending, None));
    assert_eq!(held.order_key.as_deref(), Some("a"));
    assert_eq!(bench.next_due("crm").await, Some(NOW));
    let first = bench.claim_one(NOW).await;
    assert_eq!(bench.next_due("crm").await, Some(after(60)), "when its lease ends");
    bench.settle(&first, "exit 1", bench.retry(after(9))).await;
    assert_eq!(bench.next_due("crm").await, Some(after(9)));
}

async fn the_next_delivery_of_a_key_wakes_its_worker(bench: Bench) {
    bench.targets(2, |_| keyed("a"), NOW).await;
    let waker = bench.store.wakers().due("crm");
    assert!(was_notified(&waker).await);
    let first = bench.claim_one(NOW).await;
    bench.settle(&first, "exit 0", Outcome::Delivered).await;
    assert!(was_notified(&waker).await);
}

fn events(claims: &[Claim]) -> Vec<wilco::EventId> {
    claims.iter().map(|claim| claim.event().id).collect()
}
