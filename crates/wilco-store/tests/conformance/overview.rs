//! What an overview asks for, each answered without looking at every event.

use std::collections::BTreeMap;

use crate::{
    bench::Bench,
    support::{LEASE, LONGEST, SENT, Sent, after},
};

promises! {
    the_last_request_of_each_source_is_known_with_duplicates_and_after_a_crash,
    the_earliest_due_delivery_of_a_destination_is_known,
}

async fn the_last_request_of_each_source_is_known_with_duplicates_and_after_a_crash(
    mut bench: Bench,
) {
    assert_eq!(bench.store.last_of_sources().await.unwrap(), BTreeMap::new());
    let sent = |secs, source| Sent { at: after(secs), source, ..SENT };
    for sent in [sent(5, "office"), sent(2, "warehouse"), sent(3, "office")] {
        bench.record(sent).await;
    }
    assert!(!bench.record(sent(9, "warehouse")).await.is_first());
    bench.crash(after(20));
    let expected = [("office".to_owned(), after(5)), ("warehouse".to_owned(), after(9))];
    assert_eq!(bench.store.last_of_sources().await.unwrap(), expected.into());
    // A secret that is no longer configured is forgotten, and the event that it signed is not.
    bench.store.set_secrets(Vec::new());
    bench.record(sent(12, "office")).await;
    let expected = [("office".to_owned(), after(12)), ("warehouse".to_owned(), after(2))];
    assert_eq!(bench.store.last_of_sources().await.unwrap(), expected.into());
}

async fn the_earliest_due_delivery_of_a_destination_is_known(bench: Bench) {
    assert_eq!(bench.store.earliest_due("crm").await.unwrap(), None);
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids[..1], &["crm", "mail"], after(3)).await;
    bench.fan_out(&ids[1..], &["crm"], after(5)).await;
    assert_eq!(bench.store.earliest_due("crm").await.unwrap(), Some(after(3)));
    bench.clock.set(after(6));
    let claimed = bench.store.claim("crm", 1, LEASE, LONGEST).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(bench.store.earliest_due("crm").await.unwrap(), Some(after(5)));
    assert_eq!(bench.store.earliest_due("mail").await.unwrap(), Some(after(3)));
}
