//! An item of an event is a delivery of its own, with exactly the bytes of that item.

use crate::{
    bench::{Bench, DEAD},
    support::{NOW, SENT, Sent, after},
};
use wilco::{EventId, Item};
use wilco_store::{Burst, Delivery, Outcome, State, Target};

promises! {
    an_item_is_delivered_alone_and_stays_the_same_over_retries_and_a_crash,
    items_that_are_no_longer_in_memory_are_read_from_the_record,
    a_replay_of_an_item_replaces_the_dead_one_of_the_same_number,
    a_whole_event_and_its_items_replace_each_other,
    items_of_one_key_come_one_after_another,
    the_last_item_of_a_burst_goes_in_place_of_the_others,
}

/// Three items, with what no other writer of JSON would keep.
const BODY: &[u8] = b"[ {\"n\":1.0e+2}\r\n,\"\\ud83d\", {\"a\" : 1,\"a\":2} ]\r\n";
const ITEMS: [(usize, usize); 3] = [(2, 14), (17, 25), (27, 42)];

fn bytes_of(number: usize) -> Vec<u8> {
    let (start, end) = ITEMS[number];
    BODY[start..end].to_vec()
}

fn item(number: usize) -> Item {
    let (start, end) = ITEMS[number];
    Item { number: u32::try_from(number).unwrap(), start, end }
}

fn target(number: usize) -> Target {
    Target { item: Some(item(number)), ..Target::to("crm") }
}

impl Bench {
    async fn split(&self, targets: &[Target]) -> EventId {
        let id = self.record(Sent { body: BODY, ..SENT }).await.event_id();
        self.clock.set(NOW);
        crate::support::fan_out(self.store.as_ref(), &[id], targets).await;
        id
    }

    /// The item, the state and whether it was replaced, of each delivery.
    async fn items(&self, id: EventId) -> Vec<(Option<u32>, State, bool)> {
        let what = |d: &Delivery| (d.item, d.state, d.replaced_by.is_some());
        self.deliveries(id).await.iter().map(what).collect()
    }
}

async fn an_item_is_delivered_alone_and_stays_the_same_over_retries_and_a_crash(mut bench: Bench) {
    let id = bench.split(&[target(0), target(2), target(1), Target::to("log")]).await;
    for now in [NOW, after(1)] {
        let claims = bench.claim("crm", 10, now).await;
        let mut seen = Vec::new();
        for claim in &claims {
            let event = claim.event();
            assert_eq!(event.id, id);
            seen.push((event.delivered_id(), event.body.contiguous(usize::MAX).unwrap()));
            bench.settle(claim, "exit 1", bench.retry(after(1))).await;
        }
        let expected = [0, 2, 1].map(|number| {
            (format!("{id}_{number}"), BODY[ITEMS[number].0..ITEMS[number].1].to_vec().into())
        });
        assert_eq!(seen, expected);
        bench.crash(after(1));
    }
    let whole = bench.claim("log", 1, after(1)).await.remove(0);
    assert_eq!(
        (whole.event().item, &whole.event().body.contiguous(usize::MAX).unwrap()[..]),
        (None, BODY)
    );
    let listed = bench.all().await.remove(0);
    let items: Vec<_> = listed.deliveries.iter().map(|delivery| delivery.item).collect();
    assert_eq!(items, [Some(0), Some(2), Some(1), None]);
}

async fn items_that_are_no_longer_in_memory_are_read_from_the_record(mut bench: Bench) {
    let first = bench.split(&[target(0), target(1)]).await;
    let second = bench.record(Sent { body: BODY, subject: None, ..SENT }).await.event_id();
    crate::support::fan_out(bench.store.as_ref(), &[second], &[target(2), Target::to("crm")]).await;
    bench.crash(after(1));
    let claims = bench.claim("crm", 10, after(1)).await;
    let seen = claims
        .iter()
        .map(|claim| (claim.event().id, claim.event().body.contiguous(usize::MAX).unwrap()));
    let expected = [
        (first, bytes_of(0).into()),
        (first, bytes_of(1).into()),
        (second, bytes_of(2).into()),
        (second, BODY.to_vec().into()),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}

async fn a_replay_of_an_item_replaces_the_dead_one_of_the_same_number(bench: Bench) {
    let id = bench.split(&[target(0), target(1)]).await;
    for claim in bench.claim("crm", 10, NOW).await {
        bench.settle(&claim, "exit 65", DEAD).await;
    }
    bench.replay(id, vec![target(1), target(2)], after(1)).await;
    let expected = [
        (Some(0), State::Dead, false),
        (Some(1), State::Dead, true),
        (Some(1), State::Pending, false),
        (Some(2), State::Pending, false),
    ];
    assert_eq!(bench.items(id).await, expected);
}

async fn a_whole_event_and_its_items_replace_each_other(bench: Bench) {
    for (dead, replayed) in [(Target::to("crm"), target(1)), (target(1), Target::to("crm"))] {
        let bench = bench.another();
        let id = bench.split(&[dead]).await;
        bench.settle(&bench.claim_one(NOW).await, "exit 65", DEAD).await;
        bench.replay(id, vec![replayed], after(1)).await;
        let states: Vec<_> =
            bench.items(id).await.iter().map(|(_, state, done)| (*state, *done)).collect();
        assert_eq!(states, [(State::Dead, true), (State::Pending, false)]);
    }
}

async fn items_of_one_key_come_one_after_another(bench: Bench) {
    let keyed = |number, key: &str| Target { order_key: Some(key.into()), ..target(number) };
    let id = bench.split(&[keyed(0, "a"), keyed(1, "b"), keyed(2, "a")]).await;
    let claims = bench.claim("crm", 10, NOW).await;
    let items: Vec<_> = claims.iter().map(|claim| claim.event().item).collect();
    assert_eq!(items, [Some(0), Some(1)]);
    bench.settle(&claims[0], "exit 65", Outcome::Dead { holds_key: true }).await;
    assert!(bench.claim("crm", 10, after(1)).await.is_empty());
    bench.replay(id, vec![keyed(0, "a")], after(2)).await;
    let again = bench.claim_one(after(2)).await;
    assert_eq!(again.event().item, Some(0), "it takes the place of the dead one");
    bench.settle(&again, "exit 0", Outcome::Delivered).await;
    assert_eq!(bench.claim_one(after(3)).await.event().item, Some(2));
}

async fn the_last_item_of_a_burst_goes_in_place_of_the_others(bench: Bench) {
    let [quiet, at_most] = [10, 60].map(std::time::Duration::from_secs);
    let burst = |number| {
        let burst = Burst { key: "k".into(), quiet, at_most };
        Target { burst: Some(burst), ..target(number) }
    };
    let id = bench.split(&[burst(0), target(1), burst(2)]).await;
    let expected = [
        (Some(0), State::Superseded, true),
        (Some(1), State::Pending, false),
        (Some(2), State::Pending, false),
    ];
    assert_eq!(bench.items(id).await, expected);
}
