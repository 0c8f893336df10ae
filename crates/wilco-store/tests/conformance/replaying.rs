//! A replay is a new delivery that names its reason.

use crate::{
    bench::{Bench, DEAD},
    support::{NOW, after},
};
use wilco_store::{EventQuery, Outcome, Replay, State, Target};

promises! {
    a_replay_is_a_new_delivery_with_a_reason,
    a_dead_delivery_is_replaced_once,
    unknown_ids_are_skipped,
    a_cancellation_concerns_one_event_and_one_destination,
    many_replays_are_made_in_order,
    dead_letters_can_be_listed,
    a_cancelled_delivery_ends_and_a_running_attempt_continues,
}

impl Bench {
    pub(super) async fn replay(
        &self,
        id: wilco::EventId,
        targets: Vec<Target>,
        now: jiff::Timestamp,
    ) {
        let replay = Replay { event_id: id, targets, reason: "replay: by hand".into() };
        self.clock.set(now);
        self.store.replay(vec![replay]).await.unwrap();
    }

    async fn dead(&self, destination: Option<&str>) -> Vec<wilco::EventId> {
        let destination = destination.map(Into::into);
        let query =
            EventQuery { destination, state: Some(State::Dead), limit: 9, ..EventQuery::default() };
        let events = self.store.events(query).await.unwrap().events;
        events.into_iter().map(|event| event.id).collect()
    }
}

async fn a_replay_is_a_new_delivery_with_a_reason(mut bench: Bench) {
    let id = bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    bench.settle(&claim, "exit 0", Outcome::Delivered).await;
    bench.replay(id, vec![Target::to("crm"), Target::to("mail")], after(5)).await;
    bench.crash(after(6));
    let deliveries = bench.deliveries(id).await;
    let seen: Vec<_> = deliveries
        .iter()
        .map(|delivery| (delivery.destination.as_str(), delivery.state, delivery.reason.as_deref()))
        .collect();
    let why = Some("replay: by hand");
    let expected = [
        ("crm", State::Delivered, None),
        ("crm", State::Pending, why),
        ("mail", State::Pending, why),
    ];
    assert_eq!(seen, expected);
    let again = bench.claim_one(after(6)).await;
    assert_eq!((again.event().id, again.attempt()), (id, 1));
    assert_ne!(again.delivery(), claim.delivery());
}

async fn a_dead_delivery_is_replaced_once(bench: Bench) {
    let id = bench.one_delivery().await;
    let claim = bench.claim_one(NOW).await;
    bench.settle(&claim, "exit 65", DEAD).await;
    bench.replay(id, vec![Target::to("mail")], after(1)).await;
    assert_eq!(bench.deliveries(id).await[0].replaced_by, None, "another destination's");
    bench.replay(id, vec![Target::to("crm")], after(2)).await;
    let dead = bench.deliveries(id).await.remove(0);
    assert_eq!((dead.state, dead.replaced_by), (State::Dead, Some(id)));
    let counts = bench.store.unfinished().await.unwrap();
    assert!(counts.iter().all(|(_, state, _)| *state != State::Dead), "{counts:?}");
}

async fn unknown_ids_are_skipped(bench: Bench) {
    let id = bench.one_delivery().await;
    let unknown = wilco::EventId::from_bits(id.to_bits() ^ 1);
    bench.replay(unknown, vec![Target::to("crm")], NOW).await;
    assert_eq!(bench.deliveries(id).await.len(), 1);
    assert_eq!(bench.cancel(unknown, Some("mail"), NOW).await, 0);
}

async fn dead_letters_can_be_listed(bench: Bench) {
    let ids = bench.record_many(3).await;
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    let claims = bench.claim("crm", 2, NOW).await;
    bench.settle(&claims[0], "exit 65", DEAD).await;
    bench.settle(&claims[1], "exit 0", Outcome::Delivered).await;
    for claim in bench.claim("mail", 2, NOW).await {
        bench.settle(&claim, "exit 65", DEAD).await;
    }
    assert_eq!(bench.dead(None).await, [ids[1], ids[0]]);
    assert_eq!(bench.dead(Some("crm")).await, [ids[0]]);
    bench.replay(ids[0], vec![Target::to("crm")], after(1)).await;
    assert_eq!(bench.dead(Some("crm")).await, []);
    let query = EventQuery { destination: Some("crm".into()), limit: 9, ..EventQuery::default() };
    assert_eq!(bench.store.events(query).await.unwrap().events.len(), 3);
}

async fn a_cancelled_delivery_ends_and_a_running_attempt_continues(mut bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    let running = bench.claim("crm", 1, NOW).await.remove(0);
    assert_eq!(bench.cancel(ids[0], None, NOW).await, 1);
    assert_eq!(bench.cancel(ids[1], Some("crm"), NOW).await, 1);
    bench.settle(&running, "exit 0", Outcome::Delivered).await;
    bench.crash(after(1));
    let states = async |id| {
        bench.deliveries(id).await.into_iter().map(|delivery| delivery.state).collect::<Vec<_>>()
    };
    assert_eq!(states(ids[0]).await, [State::Delivered, State::Cancelled]);
    assert_eq!(states(ids[1]).await, [State::Cancelled, State::Pending]);
    assert!(bench.claim("crm", 9, after(9)).await.is_empty());
}

async fn a_cancellation_concerns_one_event_and_one_destination(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["crm", "mail"], NOW).await;
    let with_another_tail = wilco::EventId::from_bits(ids[0].to_bits() ^ (1 << 40));
    for (id, destination, expected) in [
        (with_another_tail, None, 0),
        (with_another_tail, Some("crm"), 0),
        (ids[0], Some("chat"), 0),
        (ids[0], Some("crm"), 1),
        (ids[0], None, 1),
        (ids[1], None, 2),
    ] {
        let ended = bench.cancel(id, destination, NOW).await;
        assert_eq!(ended, expected, "{id} {destination:?}");
    }
}

async fn many_replays_are_made_in_order(bench: Bench) {
    let ids = bench.record_many(30).await;
    bench.fan_out(&ids, &[], NOW).await;
    let replay = |&event_id| Replay {
        event_id,
        targets: vec![Target::to("crm"), Target::to("mail")],
        reason: "by hand".into(),
    };
    bench.store.replay(ids.iter().map(replay).collect()).await.unwrap();
    for destination in ["crm", "mail"] {
        let claims = bench.claim(destination, 100, NOW).await;
        let claimed: Vec<_> = claims.iter().map(|claim| claim.event().id).collect();
        assert_eq!(claimed, ids);
    }
    for _ in 0..20 {
        bench.replay(ids[0], vec![Target::to("chat")], NOW).await;
    }
    let ended = bench.cancel(ids[0], Some("chat"), NOW).await;
    assert_eq!(ended, 20);
}
