//! How a destination stands outlives the process.

use super::{Bench, Fresh, NOW, after, has_rung};
use crate::{Breaker, Standing};

pub(super) async fn run(fresh: Fresh<'_>) {
    a_paused_destination_is_left_alone_and_resumed(fresh()).await;
    a_breaker_is_remembered(fresh()).await;
}

async fn a_paused_destination_is_left_alone_and_resumed(mut bench: Bench) {
    assert_eq!(bench.store.standing("crm").await.unwrap(), Standing::default());
    bench.store.pause("crm", true).await.unwrap();
    let ids = bench.record_many(1).await;
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    bench.crash(after(1));
    assert!(bench.store.standing("crm").await.unwrap().is_paused);
    assert!(bench.claim("crm", 9, after(9)).await.is_empty());
    assert_eq!(bench.store.next_due("crm").await.unwrap(), None);
    assert_eq!(bench.claim("mail", 9, after(9)).await.len(), 1);
    let bell = bench.store.bells().due("crm");
    let _ = has_rung(&bell).await;
    bench.store.pause("crm", false).await.unwrap();
    assert!(has_rung(&bell).await, "whoever waits for it is woken");
    assert_eq!(bench.store.next_due("crm").await.unwrap(), Some(NOW));
    assert_eq!(bench.claim("crm", 9, after(9)).await.len(), 1);
}

async fn a_breaker_is_remembered(mut bench: Bench) {
    let open = Breaker { failures: 7, open_until: Some(after(30)) };
    bench.store.pause("crm", true).await.unwrap();
    bench.store.set_breaker("crm", open).await.unwrap();
    bench.crash(after(1));
    let expected = Standing { is_paused: true, breaker: open };
    assert_eq!(bench.store.standing("crm").await.unwrap(), expected);
    bench.store.set_breaker("crm", Breaker::default()).await.unwrap();
    let expected = Standing { is_paused: true, breaker: Breaker::default() };
    assert_eq!(bench.store.standing("crm").await.unwrap(), expected);
}
