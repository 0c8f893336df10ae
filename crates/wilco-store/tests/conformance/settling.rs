//! The outcome of an attempt is written once, by the holder of its claim.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{
    bench::{Bench, DEAD, was_notified},
    support::{NOW, after, attempt},
};
use wilco_store::{Attempt, Outcome, Settled, State, StoreError};

promises! {
    each_outcome_leads_to_the_right_state,
    a_settled_delivery_is_never_claimed_again,
    a_delivery_is_settled_once,
    a_failed_settle_can_be_repeated,
    a_retry_wakes_its_worker_and_a_final_outcome_does_not;
    of one process:
    a_stale_claim_changes_nothing,
    the_history_has_every_finished_attempt,
    unfinished_counts_all_but_the_delivered,
}

async fn each_outcome_leads_to_the_right_state(bench: Bench) {
    let error = Some("exit 1");
    for (outcome, state, due_at, last_error) in [
        (Outcome::Delivered, State::Delivered, None, None),
        (bench.retry(after(60)), State::Retrying, Some(after(60)), error),
        (DEAD, State::Dead, None, error),
    ] {
        let mut bench = bench.another();
        let id = bench.one_delivery().await;
        let claim = bench.claim_one(NOW).await;
        bench.settle(&claim, "exit 1", outcome).await;
        for with_crash in [false, true] {
            if with_crash {
                bench.crash(after(5));
            }
            let delivery = bench.delivery(id).await;
            assert_eq!((delivery.state, delivery.due_at, delivery.attempts), (state, due_at, 1));
            assert_eq!(delivery.last_error.as_deref(), last_error);
            assert_eq!(delivery.history, [attempt("exit 1")]);
        }
    }
}

async fn a_settled_delivery_is_never_claimed_again(bench: Bench) {
    for outcome in [Outcome::Delivered, DEAD] {
        let mut bench = bench.another();
        bench.one_delivery().await;
        let claim = bench.claim_one(NOW).await;
        bench.settle(&claim, "over", outcome).await;
        assert!(bench.claim("crm", 10, after(1_000_000)).await.is_empty());
        bench.crash(after(5));
        assert!(bench.claim("crm", 10, after(1_000_000)).await.is_empty());
    }
}

async fn a_stale_claim_changes_nothing(mut bench: Bench) {
    let id = bench.one_delivery().await;
    let stale = bench.claim_one(NOW).await;
    bench.crash(after(5));

    let before = bench.delivery(id).await;
    assert_eq!(bench.try_settle(&stale, "exit 0", Outcome::Delivered).await, Settled::Stale);
    assert_eq!(bench.delivery(id).await, before, "while it waits");

    let newer = bench.claim_one(after(5)).await;
    let before = bench.delivery(id).await;
    assert_eq!(bench.try_settle(&stale, "exit 0", Outcome::Delivered).await, Settled::Stale);
    assert_eq!(bench.try_settle(&stale, "exit 1", bench.retry(after(6))).await, Settled::Stale);
    assert_eq!(bench.delivery(id).await, before, "while the newer one runs");
    assert!(!was_notified(&bench.store.wakers().due("crm")).await);

    bench.settle(&newer, "exit 1", bench.retry(after(60))).await;
    let after_it = bench.delivery(id).await;
    assert_eq!((after_it.state, after_it.attempts), (State::Retrying, 2));
    assert_eq!(after_it.history.len(), 1);
}

async fn a_delivery_is_settled_once(bench: Bench) {
    let id = bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    let settled = bench.delivery(id).await;
    for again in [Outcome::Delivered, bench.retry(after(5)), DEAD] {
        assert_eq!(bench.try_settle(&claim, "exit 1", again).await, Settled::Stale);
    }
    assert_eq!(bench.delivery(id).await, settled);
}

async fn a_failed_settle_can_be_repeated(mut bench: Bench) {
    let id = bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    let running = bench.delivery(id).await;
    bench.backend.break_next_write();
    let failed = bench.store.settle(&claim, &attempt("exit 0"), &Outcome::Delivered, None).await;
    assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    bench.backend.mend();
    assert_eq!(bench.delivery(id).await, running);
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    bench.crash(NOW);
    assert_eq!(bench.delivery(id).await.state, State::Delivered);
}

async fn the_history_has_every_finished_attempt(mut bench: Bench) {
    let id = bench.one_delivery().await;
    let long = vec![0xff; 64 << 10];
    for (result, output) in [("exit 1", &b""[..]), ("timed out", b"\0\xffa\n"), ("500", &long)] {
        let claim = bench.claim_one(after(9)).await;
        let ended = Attempt { result: result.into(), output: output.into(), ..attempt("") };
        bench.store.settle(&claim, &ended, &bench.retry(NOW), None).await.unwrap();
    }
    bench.claim_one(after(9)).await;
    bench.crash(after(9)); // an attempt that did not end
    let claim = bench.claim_one(after(9)).await;
    let precise = Attempt {
        started_at: NOW + SignedDuration::from_nanos(5_999_999),
        took: Duration::from_nanos(7_999),
        ..attempt("exit 0")
    };
    bench.store.settle(&claim, &precise, &Outcome::Delivered, None).await.unwrap();

    let delivery = bench.delivery(id).await;
    assert_eq!((delivery.attempts, delivery.last_error), (5, None));
    let results: Vec<_> = delivery.history.iter().map(|ended| ended.result.as_str()).collect();
    assert_eq!(results, ["exit 1", "timed out", "500", "exit 0"]);
    assert_eq!(delivery.history[1].output, b"\0\xffa\n");
    assert!(delivery.history[2].output == long);
    let kept = Attempt {
        started_at: NOW + SignedDuration::from_millis(5),
        took: Duration::from_micros(7),
        ..precise
    };
    assert_eq!(delivery.history[3], kept);
    let listed = bench.all().await.remove(0).deliveries.remove(0);
    assert_eq!((listed.attempts, listed.history), (5, vec![]), "a listing has no history");
}

async fn a_retry_wakes_its_worker_and_a_final_outcome_does_not(bench: Bench) {
    let ids = bench.record_many(3).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    let waker = bench.store.wakers().due("crm");
    assert!(was_notified(&waker).await);
    let claims = bench.claim("crm", 3, NOW).await;
    let outcomes = [Outcome::Delivered, DEAD, bench.retry(after(60))];
    for (claim, outcome) in claims.iter().zip(outcomes) {
        let is_woken = matches!(outcome, Outcome::Retry { .. });
        bench.settle(claim, "over", outcome).await;
        assert_eq!(was_notified(&waker).await, is_woken);
    }
}

async fn unfinished_counts_all_but_the_delivered(mut bench: Bench) {
    let ids = bench.record_many(9).await;
    bench.fan_out(&ids[..2], &["crm", "mail"], NOW).await;
    bench.fan_out(&ids[2..], &["crm"], NOW).await;
    let claims = bench.claim("crm", 8, NOW).await;
    let retry = bench.retry(after(60));
    let outcomes = [&Outcome::Delivered, &DEAD, &DEAD, &retry, &retry];
    for (claim, outcome) in claims.iter().zip(outcomes) {
        bench.settle(claim, "over", outcome.clone()).await;
    }
    let row = |name: &str, state, count| (name.to_owned(), state, count);
    let expected = [
        row("crm", State::Pending, 1),
        row("crm", State::Running, 3),
        row("crm", State::Retrying, 2),
        row("crm", State::Dead, 2),
        row("mail", State::Pending, 2),
    ];
    assert_eq!(sorted(&bench).await, expected);
    bench.crash(NOW);
    let expected = [
        row("crm", State::Pending, 1),
        row("crm", State::Retrying, 5),
        row("crm", State::Dead, 2),
        row("mail", State::Pending, 2),
    ];
    assert_eq!(sorted(&bench).await, expected);
}

async fn sorted(bench: &Bench) -> Vec<(String, State, u64)> {
    let mut counts = bench.store.unfinished().await.unwrap();
    counts.sort();
    counts
}
