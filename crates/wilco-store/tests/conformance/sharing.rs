//! Several processes use one store at the same time.

use wilco_store::{Outcome, Settled, Store, Target};

use crate::{
    bench::Bench,
    support::{LEASE, LONGEST, attempt},
};

promises_of_several_processes! {
    processes_share_due_deliveries_and_notice_each_others_claims,
}

async fn processes_share_due_deliveries_and_notice_each_others_claims(bench: Bench) {
    let (one, other) = (bench.store.as_ref(), bench.second_process());
    let other = other.as_ref();
    bench.record_many(2).await;
    // Both route the same events.
    let to_crm = async |store: &dyn Store| {
        let batch = store.unrouted(9).await.unwrap();
        assert_eq!(batch.events().len(), 2);
        batch.route(|_| vec![Target::to("crm")])
    };
    let (first, second) = (to_crm(one).await, to_crm(other).await);
    one.fan_out(first).await.unwrap();
    other.fan_out(second).await.unwrap();
    let claim = async |store: &dyn Store| store.claim("crm", 1, LEASE, LONGEST).await.unwrap();
    let (lost, kept) = (claim(one).await, claim(other).await);
    assert_eq!((lost.len(), kept.len()), (1, 1));
    assert!(claim(one).await.is_empty());

    // The first one hangs, and the second one renews its lease.
    bench.clock.pass(LEASE / 2);
    assert!(other.renew(&kept).await.unwrap().is_empty());
    bench.clock.pass(LEASE / 2);
    let taken_over = claim(other).await;
    assert_eq!(taken_over[0].delivery(), lost[0].delivery());
    assert!(claim(other).await.is_empty());
    assert_eq!(one.renew(&lost).await.unwrap(), [lost[0].delivery()]);
    for (store, claims, expected) in [
        (one, &lost, Settled::Stale),
        (other, &kept, Settled::Written),
        (other, &taken_over, Settled::Written),
    ] {
        let settled = store.settle(&claims[0], &attempt("exit 0"), &Outcome::Delivered, None).await;
        assert_eq!(settled.unwrap(), expected);
    }
    assert_eq!(one.unfinished().await.unwrap(), []);
}
