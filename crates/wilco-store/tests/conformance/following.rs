//! Whoever follows what happens reads all of it, in order, and goes on where it left off.

use std::time::Duration;

use wilco::EventId;

use crate::{
    bench::{Bench, DEAD},
    support::{NOW, SENT, Sent, after},
};
use wilco_store::{
    Change, ChangeKind, ChangeQuery, Changes, Outcome, Position, Replay, State, Target,
};

promises! {
    everything_that_happens_is_read_once_and_in_order,
    a_change_is_read_after_an_event_only_when_that_is_routed,
    a_filter_leaves_out_changes_and_never_holds_up_the_others,
    a_position_is_found_by_a_time,
    whoever_follows_is_woken_by_each_commit_with_a_change;
    of one process:
    a_position_is_still_good_after_a_crash,
}

async fn everything_that_happens_is_read_once_and_in_order(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &["crm"], NOW).await;
    let mut read = Read::default();
    let expected = [event(ids[0]), event(ids[1]), "pending 0".into(), "pending 0".into()];
    assert_eq!(read.rest(&bench).await, expected);

    let claim = bench.claim_one(after(1)).await;
    assert!(read.rest(&bench).await.is_empty(), "that an attempt begins is not a change");
    bench.settle(&claim, "no", bench.retry(after(2))).await;
    assert_eq!(read.rest(&bench).await, ["retrying 1"]);
    let claim = bench.claim_one(after(1)).await;
    bench.settle(&claim, "yes", Outcome::Delivered).await;
    assert_eq!(read.rest(&bench).await, ["delivered 1"]);
    let claim = bench.claim_one(after(2)).await;
    bench.settle(&claim, "no", DEAD).await;
    let (reason, targets) = ("again".into(), vec![Target::to("crm")]);
    bench.store.replay(vec![Replay { event_id: ids[0], targets, reason }]).await.unwrap();
    assert_eq!(read.rest(&bench).await, ["dead 2, replaced", "pending 0"]);
    assert_eq!(bench.cancel(ids[0], None, after(3)).await, 1);
    assert_eq!(read.rest(&bench).await, ["cancelled 0"]);

    // Whoever begins later reads the same, each delivery as it is now.
    let mut late = Read { limit: 2, ..Read::default() };
    let expected = [event(ids[0]), event(ids[1]), "delivered 1".into()];
    let expected = expected.into_iter().chain(["dead 2, replaced".into(), "cancelled 0".into()]);
    assert_eq!(late.rest(&bench).await, expected.collect::<Vec<_>>());
}

async fn a_change_is_read_after_an_event_only_when_that_is_routed(bench: Bench) {
    bench.one_delivery().await;
    let mut read = Read::default();
    assert_eq!(read.rest(&bench).await.len(), 2);
    let claim = bench.claim_one(after(1)).await;
    let id = bench.record(Sent { body: b"[]", ..SENT }).await.event_id();
    bench.settle(&claim, "yes", Outcome::Delivered).await;
    assert!(read.rest(&bench).await.is_empty(), "the event is not routed");
    bench.fan_out(&[id], &["mail"], after(2)).await;
    let changes = bench.store.changes(read.query()).await.unwrap();
    let is_whole = |change: &Change| match change {
        Change::Event(found) => found.is_routed && found.deliveries[0].destination == "mail",
        Change::Delivery(_) => false,
    };
    assert!(is_whole(&changes.items[0].1), "{changes:?}");
    assert_eq!(read.rest(&bench).await, [event(id), "delivered 1".into(), "pending 0".into()]);
}

async fn a_filter_leaves_out_changes_and_never_holds_up_the_others(bench: Bench) {
    let mut ids = Vec::new();
    for number in 0..20 {
        let subject = format!("booking/{number}");
        let (source, name) = match number {
            7 => ("office", "offer.created"),
            15 => ("shop", "booking.created"),
            _ => ("office", "booking.created"),
        };
        let sent = Sent { source, name, subject: Some(&subject), ..SENT };
        ids.push(bench.record(sent).await.event_id());
    }
    bench.fan_out(&ids[..10], &["crm"], NOW).await;
    bench.fan_out(&ids[10..], &["mail"], NOW).await;
    let only = |kind| Read { limit: 3, kind: Some(kind), ..Read::default() };
    let text = |text: &str| Some(text.to_owned());
    for (mut read, expected) in [
        (Read { limit: 3, ..Read::default() }, 40),
        (only(ChangeKind::Event), 20),
        (only(ChangeKind::Delivery), 20),
        (Read { source: text("shop"), ..only(ChangeKind::Event) }, 1),
        (Read { source: text("shop"), ..only(ChangeKind::Delivery) }, 1),
        (Read { name: text("offer.*"), ..only(ChangeKind::Event) }, 1),
        (Read { name: text("offer.created"), ..only(ChangeKind::Delivery) }, 1),
        (Read { name: text("offer"), ..only(ChangeKind::Delivery) }, 0),
        (Read { destination: text("mail"), ..only(ChangeKind::Event) }, 10),
        (Read { destination: text("mail"), ..only(ChangeKind::Delivery) }, 10),
        (Read { destination: text("nowhere"), limit: 3, ..Read::default() }, 0),
    ] {
        assert_eq!(read.rest(&bench).await.len(), expected, "{read:?}");
        assert!(read.after > Position::BEGINNING, "{read:?}");
    }
}

async fn a_position_is_found_by_a_time(bench: Bench) {
    let mut ids = Vec::new();
    for secs in [0, 10, 20] {
        let body = secs.to_string();
        let sent = Sent { at: after(secs), body: body.as_bytes(), ..SENT };
        ids.push(bench.record(sent).await.event_id());
    }
    bench.fan_out(&ids, &[], NOW).await;
    for (since, expected) in [
        (Some(NOW), &ids[..]),
        (Some(after(1)), &ids[1..]),
        (Some(after(20)), &ids[2..]),
        (Some(after(21)), &[]),
        (None, &[]),
    ] {
        let after = bench.store.position(since).await.unwrap();
        let read = Read { after, ..Read::default() }.rest(&bench).await;
        assert_eq!(read, expected.iter().copied().map(event).collect::<Vec<_>>(), "{since:?}");
    }
}

async fn whoever_follows_is_woken_by_each_commit_with_a_change(bench: Bench) {
    let mut commits = bench.store.commits();
    let id = bench.record(SENT).await.event_id();
    let woken = tokio::time::timeout(Duration::from_secs(60), commits.changed()).await;
    woken.unwrap().unwrap();
    commits.mark_unchanged();
    bench.fan_out(&[id], &[], NOW).await;
    assert!(commits.has_changed().unwrap(), "the event was routed");
    commits.mark_unchanged();
    bench
        .fan_out(&[bench.record(Sent { body: b"[]", ..SENT }).await.event_id()], &["crm"], NOW)
        .await;
    let claim = bench.claim_one(after(1)).await;
    commits.mark_unchanged();
    bench.settle(&claim, "yes", Outcome::Delivered).await;
    assert!(commits.has_changed().unwrap(), "an attempt ended");
}

async fn a_position_is_still_good_after_a_crash(mut bench: Bench) {
    let first = bench.one_delivery().await;
    let mut read = Read::default();
    assert_eq!(read.rest(&bench).await, [event(first), "pending 0".into()]);
    bench.claim_one(after(1)).await;
    // The clock was set back.
    bench.crash(after(-1_000));
    assert_eq!(read.rest(&bench).await, ["retrying 1"], "the attempt was interrupted");
    let second = bench.record(Sent { body: b"[]", at: after(-900), ..SENT }).await.event_id();
    bench.fan_out(&[second], &["crm"], after(-900)).await;
    assert_eq!(read.rest(&bench).await, [event(second), "pending 0".into()]);
    assert_eq!(bench.cancel(first, None, after(-900)).await, 1);
    bench.crash(after(-800));
    assert_eq!(read.rest(&bench).await, ["cancelled 1"]);
}

/// Reads on and on.
#[derive(Debug)]
struct Read {
    after: Position,
    source: Option<String>,
    name: Option<String>,
    destination: Option<String>,
    kind: Option<ChangeKind>,
    limit: usize,
}

impl Default for Read {
    fn default() -> Self {
        let (source, name, destination, kind) = (None, None, None, None);
        Self { after: Position::BEGINNING, source, name, destination, kind, limit: 1_000 }
    }
}

impl Read {
    fn query(&self) -> ChangeQuery {
        ChangeQuery {
            after: self.after,
            source: self.source.clone(),
            name: self.name.clone(),
            destination: self.destination.clone(),
            kind: self.kind,
            limit: self.limit,
        }
    }

    /// Everything that is left to read, each change as a few words.
    async fn rest(&mut self, bench: &Bench) -> Vec<String> {
        let mut read = Vec::new();
        loop {
            let query = self.query();
            let Changes { items, through, has_more } = bench.store.changes(query).await.unwrap();
            for (position, change) in items {
                assert!(position > self.after && position <= through, "{position} {through}");
                self.after = position;
                read.push(words(change));
            }
            self.after = through;
            if !has_more {
                return read;
            }
        }
    }
}

fn words(change: Change) -> String {
    match change {
        Change::Event(summary) => event(summary.id),
        Change::Delivery(change) => {
            let delivery = change.delivery;
            let is_replaced = delivery.state == State::Dead && delivery.replaced_by.is_some();
            let replaced = if is_replaced { ", replaced" } else { "" };
            format!("{} {}{replaced}", delivery.state, delivery.attempts)
        }
    }
}

fn event(id: EventId) -> String {
    id.to_string()
}
