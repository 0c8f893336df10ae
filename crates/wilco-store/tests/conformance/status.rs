//! The status of a destination outlives the process.

use std::time::Duration;

use crate::{
    bench::{Bench, DEAD, was_notified},
    support::{NOW, after, attempt},
};
use wilco_store::{Breaker, DestinationStatus, Outcome, Settled};

promises! {
    a_paused_destination_gets_no_delivery_until_it_is_resumed,
    an_open_breaker_counts_down_by_the_clock_of_the_store,
    a_breaker_is_written_with_the_outcome_that_changed_it,
    an_older_breaker_state_never_replaces_a_newer_one,
    what_waits_for_its_next_attempt_is_due_at_once_on_demand;
    of one process:
    a_stale_claim_leaves_the_breaker_as_it_is,
}

async fn a_paused_destination_gets_no_delivery_until_it_is_resumed(mut bench: Bench) {
    assert_eq!(bench.store.destination_status("crm").await.unwrap(), DestinationStatus::default());
    bench.store.pause("crm", true).await.unwrap();
    let ids = bench.record_many(1).await;
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    bench.crash(after(1));
    assert!(bench.store.destination_status("crm").await.unwrap().is_paused);
    assert!(bench.claim("crm", 9, after(9)).await.is_empty());
    assert_eq!(bench.next_due("crm").await, None);
    assert_eq!(bench.claim("mail", 9, after(9)).await.len(), 1);
    let waker = bench.store.wakers().due("crm");
    let _ = was_notified(&waker).await;
    bench.store.pause("crm", false).await.unwrap();
    assert!(was_notified(&waker).await, "its waiter is woken");
    assert_eq!(bench.next_due("crm").await, Some(after(9)));
    assert_eq!(bench.claim("crm", 9, after(9)).await.len(), 1);
}

async fn an_open_breaker_counts_down_by_the_clock_of_the_store(mut bench: Bench) {
    bench.one_delivery().await;
    let open = Breaker { failures: 7, open_for: Some(Duration::from_secs(30)), revision: 1 };
    let claim = bench.claim_one(after(100)).await;
    bench.store.settle(&claim, &attempt("no"), &DEAD, Some(open)).await.unwrap();
    for (secs, left) in [(100, 30), (101, 29), (130, 0), (1_000, 0), (40, 90)] {
        bench.crash(after(secs));
        let status = bench.store.destination_status("crm").await.unwrap();
        assert_eq!(status.breaker.open_for, Some(Duration::from_secs(left)), "at {secs}");
    }
}

async fn a_breaker_is_written_with_the_outcome_that_changed_it(mut bench: Bench) {
    bench.store.pause("crm", true).await.unwrap();
    bench.store.pause("crm", false).await.unwrap();
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    for (revision, open_for) in [(1, Some(Duration::from_secs(30))), (2, None)] {
        let breaker = Breaker { failures: 7, open_for, revision };
        let claim = bench.claim_one(NOW).await;
        bench.backend.break_next_write();
        let failed = bench.store.settle(&claim, &attempt("no"), &DEAD, Some(breaker)).await;
        assert!(failed.is_err(), "{failed:?}");
        bench.backend.mend();
        assert_ne!(bench.store.destination_status("crm").await.unwrap().breaker, breaker);
        bench.store.settle(&claim, &attempt("no"), &DEAD, Some(breaker)).await.unwrap();
        bench.crash(NOW);
        let expected = DestinationStatus { is_paused: false, breaker };
        assert_eq!(bench.store.destination_status("crm").await.unwrap(), expected);
    }
}

async fn an_older_breaker_state_never_replaces_a_newer_one(bench: Bench) {
    let ids = bench.record_many(3).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    let open = Breaker { failures: 7, open_for: Some(Duration::from_secs(30)), revision: 1 };
    let closed = Breaker { failures: 0, open_for: None, revision: 2 };
    // As if two attempts had ended together, and the later change was written first.
    let breakers = [Some(closed), Some(open), None];
    for (claim, breaker) in bench.claim("crm", 3, NOW).await.iter().zip(breakers) {
        bench.store.settle(claim, &attempt("over"), &Outcome::Delivered, breaker).await.unwrap();
        assert_eq!(bench.store.destination_status("crm").await.unwrap().breaker, closed);
    }
}

async fn what_waits_for_its_next_attempt_is_due_at_once_on_demand(mut bench: Bench) {
    let ids = bench.record_many(5).await;
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    let waited = Duration::from_secs(120);
    let retry = Outcome::Retry { after: Duration::from_secs(100), waited };
    for destination in ["crm", "mail"] {
        for claim in bench.claim(destination, 4, NOW).await {
            bench.store.settle(&claim, &attempt("no"), &retry, None).await.unwrap();
        }
    }
    bench.clock.set(after(60));
    let waker = bench.store.wakers().due("crm");
    let _ = was_notified(&waker).await;
    assert_eq!(bench.store.retry_now("crm").await.unwrap(), 4);
    assert!(was_notified(&waker).await, "its waiter is woken");
    assert_eq!(bench.store.retry_now("crm").await.unwrap(), 0);
    assert_eq!(bench.store.retry_now("nobody").await.unwrap(), 0);
    bench.crash(after(60));
    let claims = bench.claim("crm", 9, after(60)).await;
    // The fifth was not tried yet. The 40 s that were left do not count towards the age of the others.
    let mut ages: Vec<_> = claims.iter().map(|claim| claim.waited().as_secs()).collect();
    ages.sort_unstable();
    assert_eq!(ages, [0, 80, 80, 80, 80]);
    assert_eq!(bench.claim("mail", 9, after(60)).await.len(), 1);
}

async fn a_stale_claim_leaves_the_breaker_as_it_is(mut bench: Bench) {
    bench.one_delivery().await;
    let stale = bench.claim_one(NOW).await;
    bench.crash(after(1));
    let open = Breaker { failures: 7, open_for: Some(Duration::from_secs(30)), revision: 1 };
    let settled = bench.store.settle(&stale, &attempt("no"), &DEAD, Some(open)).await.unwrap();
    assert_eq!(settled, Settled::Stale);
    assert_eq!(bench.store.destination_status("crm").await.unwrap(), DestinationStatus::default());
}
