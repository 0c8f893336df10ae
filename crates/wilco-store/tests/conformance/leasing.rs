//! A claim is a lease: exclusive until it ends, and as long as it is renewed.

use std::time::Duration;

use crate::{
    bench::Bench,
    support::{LEASE, LONGEST, NOW, after, attempt},
};
use wilco_store::{Claim, DestinationStatus, Outcome, Settled, State};

promises! {
    a_delivery_whose_lease_ended_is_claimed_again,
    a_renewed_lease_does_not_end,
    a_late_outcome_is_written_unless_the_delivery_was_claimed_again,
    setting_the_clock_ends_no_lease,
    a_running_delivery_is_due_when_its_lease_ends,
    a_lease_that_ended_during_a_pause_is_claimed_after_the_resume;
    of one process:
    a_stale_claim_cannot_be_renewed,
}

const MOMENT: Duration = Duration::from_secs(1);

async fn a_delivery_whose_lease_ended_is_claimed_again(bench: Bench) {
    let id = bench.one_delivery().await;
    let first = bench.claim_one(NOW).await;
    assert_eq!(first.lease(), LEASE);
    bench.clock.pass(LEASE - MOMENT);
    assert!(bench.claim("crm", 9, NOW).await.is_empty());
    bench.clock.pass(MOMENT);
    assert!(bench.claim("mail", 9, NOW).await.is_empty());
    let second = bench.claim_one(NOW).await;
    assert_eq!((second.delivery(), second.attempt()), (first.delivery(), 2));
    let delivery = bench.delivery(id).await;
    assert_eq!((delivery.state, delivery.attempts), (State::Running, 2));
    assert_eq!(delivery.last_error.as_deref(), Some("the attempt did not end before its lease"));
    assert!(bench.claim("crm", 9, NOW).await.is_empty(), "it has a separate lease");
}

async fn a_renewed_lease_does_not_end(bench: Bench) {
    bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    for _ in 0..10 {
        bench.clock.pass(LEASE - MOMENT);
        assert!(renew(&bench, &claim).await.is_empty());
        assert!(bench.claim("crm", 9, NOW).await.is_empty());
    }
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    bench.clock.pass(LEASE);
    assert!(bench.claim("crm", 9, NOW).await.is_empty());
    assert_eq!(bench.next_due("crm").await, None);
}

async fn a_late_outcome_is_written_unless_the_delivery_was_claimed_again(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    let (late, later) = (bench.claim_one(NOW).await, bench.claim_one(NOW).await);
    bench.clock.pass(LEASE);
    bench.settle(&late, "exit 0", Outcome::Delivered).await;
    let again = bench.claim_one(NOW).await;
    assert_eq!(again.delivery(), later.delivery());
    let breaker = wilco_store::Breaker { failures: 9, open_for: Some(MOMENT), revision: 9 };
    let settled = bench
        .store
        .settle(&later, &attempt("exit 0"), &Outcome::Delivered, Some(breaker))
        .await
        .unwrap();
    assert_eq!(settled, Settled::Stale);
    let status = bench.store.destination_status("crm").await.unwrap();
    assert_eq!(status, DestinationStatus::default());
    bench.settle(&again, "exit 0", Outcome::Delivered).await;
}

async fn setting_the_clock_ends_no_lease(bench: Bench) {
    bench.one_delivery().await;
    bench.claim_one(NOW).await;
    for secs in [1_000_000, -1_000_000] {
        assert!(bench.claim("crm", 9, after(secs)).await.is_empty());
    }
}

async fn a_running_delivery_is_due_when_its_lease_ends(bench: Bench) {
    let ids = bench.record_many(1).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    bench.claim_one(NOW).await;
    for left in [60, 40, 20, 0, 0] {
        assert_eq!(bench.next_due("crm").await, Some(after(left)));
        bench.clock.pass(LEASE / 3);
    }
}

async fn a_stale_claim_cannot_be_renewed(mut bench: Bench) {
    let ids = bench.record_many(3).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    let (settled, running) = (bench.claim_one(NOW).await, bench.claim_one(NOW).await);
    bench.settle(&settled, "exit 0", Outcome::Delivered).await;
    let claims = [settled.clone(), running.clone()];
    assert_eq!(bench.store.renew(&claims).await.unwrap(), [settled.delivery()]);
    bench.crash(NOW);
    assert_eq!(renew(&bench, &running).await, [running.delivery()]);
    bench.clock.pass(LEASE);
    let again = bench.claim("crm", 1, NOW).await.remove(0);
    assert_eq!(renew(&bench, &running).await, [running.delivery()]);
    assert!(renew(&bench, &again).await.is_empty());
}

async fn a_lease_that_ended_during_a_pause_is_claimed_after_the_resume(bench: Bench) {
    bench.one_delivery().await;
    bench.claim_one(NOW).await;
    bench.store.pause("crm", true).await.unwrap();
    bench.clock.pass(LEASE);
    assert!(bench.claim("crm", 9, NOW).await.is_empty());
    assert_eq!(bench.next_due("crm").await, None);
    bench.store.pause("crm", false).await.unwrap();
    assert_eq!(bench.next_due("crm").await, Some(NOW));
    assert_eq!(bench.store.claim("crm", 9, LEASE, LONGEST).await.unwrap().len(), 1);
}

async fn renew(bench: &Bench, claim: &Claim) -> Vec<i64> {
    bench.store.renew(std::slice::from_ref(claim)).await.unwrap()
}
