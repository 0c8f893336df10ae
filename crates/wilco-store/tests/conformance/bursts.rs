//! Only the last event of a burst is delivered: after a quiet time, or at the latest some time after the
//! first.

use std::time::Duration;

use crate::{
    bench::Bench,
    support::{NOW, after},
};
use wilco_store::{Burst, Outcome, State, Target};

promises! {
    only_the_last_of_a_burst_is_delivered,
    an_endless_burst_is_ended_at_its_longest,
    bursts_of_different_keys_and_destinations_are_separate,
    a_delivery_that_was_attempted_is_never_superseded,
    a_burst_continues_after_a_crash,
    a_burst_is_ended_at_its_longest_even_if_the_clock_is_set_back,
    a_burst_with_an_order_key_keeps_the_order,
    a_burst_longer_than_any_calendar_can_still_be_listed,
}

fn burst(key: &str) -> Target {
    let burst = Burst {
        key: key.into(),
        quiet: Duration::from_secs(30),
        at_most: Duration::from_secs(100),
    };
    Target { burst: Some(burst), ..Target::to("crm") }
}

async fn only_the_last_of_a_burst_is_delivered(bench: Bench) {
    let mut ids = Vec::new();
    for secs in [0, 10, 39] {
        ids.extend(bench.targets(1, |_| burst("a"), after(secs)).await);
    }
    assert!(bench.claim("crm", 10, after(68)).await.is_empty());
    let claim = bench.claim_one(after(69)).await;
    assert_eq!(claim.event().id, ids[2]);
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    for (id, by) in [(ids[0], ids[1]), (ids[1], ids[2])] {
        let superseded = bench.delivery(id).await;
        assert_eq!((superseded.state, superseded.due_at), (State::Superseded, None));
        assert_eq!((superseded.replaced_by, superseded.attempts), (Some(by), 0));
    }
    assert_eq!(bench.store.unfinished().await.unwrap(), []);
}

async fn an_endless_burst_is_ended_at_its_longest(bench: Bench) {
    for secs in (0..=90).step_by(10) {
        bench.targets(1, |_| burst("a"), after(secs)).await;
    }
    assert!(bench.claim("crm", 10, after(99)).await.is_empty());
    let last = bench.claim("crm", 10, after(100)).await;
    assert_eq!(last.len(), 1);
    let next = bench.targets(1, |_| burst("a"), after(100)).await[0];
    assert_eq!(bench.delivery(next).await.due_at, Some(after(130)), "another burst began");
}

async fn bursts_of_different_keys_and_destinations_are_separate(bench: Bench) {
    let a = bench.targets(1, |_| burst("a"), NOW).await[0];
    let b = bench.targets(1, |_| burst("b"), NOW).await[0];
    let elsewhere = Target { destination: "mail".into(), ..burst("a") };
    let mail = bench.targets(1, |_| elsewhere.clone(), NOW).await[0];
    for id in [a, b, mail] {
        assert_eq!(bench.state(id).await, State::Pending);
    }
}

async fn a_delivery_that_was_attempted_is_never_superseded(bench: Bench) {
    let first = bench.targets(1, |_| burst("a"), NOW).await[0];
    let claim = bench.claim_one(after(30)).await;
    let second = bench.targets(1, |_| burst("a"), after(31)).await[0];
    bench.settle(&claim, "exit 1", bench.retry(after(40))).await;
    bench.targets(1, |_| burst("a"), after(35)).await;
    assert_eq!(bench.state(first).await, State::Retrying);
    assert_eq!(bench.state(second).await, State::Superseded);
}

async fn a_burst_continues_after_a_crash(mut bench: Bench) {
    let first = bench.targets(1, |_| burst("a"), NOW).await[0];
    bench.crash(after(20));
    let second = bench.targets(1, |_| burst("a"), after(90)).await[0];
    assert_eq!(bench.state(first).await, State::Superseded);
    assert_eq!(bench.delivery(second).await.due_at, Some(after(100)), "it began before the crash");
}

async fn a_burst_is_ended_at_its_longest_even_if_the_clock_is_set_back(bench: Bench) {
    bench.targets(1, |_| burst("a"), after(1_000_000)).await;
    let mut last = Vec::new();
    for secs in (0..=90).step_by(10) {
        last = bench.targets(1, |_| burst("a"), after(secs)).await;
    }
    assert_eq!(bench.delivery(last[0]).await.due_at, Some(after(100)));
}

async fn a_burst_with_an_order_key_keeps_the_order(bench: Bench) {
    let keyed = |burst_key: Option<&str>| {
        let target = burst_key.map_or(Target::to("crm"), burst);
        Target { order_key: Some("k".into()), ..target }
    };
    let first = bench.targets(1, |_| keyed(Some("a")), NOW).await[0];
    let second = bench.targets(1, |_| keyed(None), after(1)).await[0];
    let third = bench.targets(1, |_| keyed(Some("a")), after(2)).await[0];
    assert_eq!(bench.state(first).await, State::Superseded);
    let claim = bench.claim_one(after(2)).await;
    assert_eq!(claim.event().id, second, "the first one ended, so the next one starts");
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    assert!(bench.claim("crm", 10, after(31)).await.is_empty(), "its burst is not over");
    assert_eq!(bench.claim_one(after(32)).await.event().id, third);
}

async fn a_burst_longer_than_any_calendar_can_still_be_listed(bench: Bench) {
    let forever = Burst { key: "a".into(), quiet: Duration::MAX, at_most: Duration::MAX };
    let target = Target { burst: Some(forever), ..Target::to("crm") };
    let id = bench.targets(1, |_| target.clone(), NOW).await[0];
    let due_at = bench.delivery(id).await.due_at;
    assert!(due_at > Some(after(1_000_000_000)), "{due_at:?}");
    assert_eq!(bench.next_due("crm").await, due_at);
}
