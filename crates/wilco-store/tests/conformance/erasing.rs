//! What is erased is gone, and duplicates of it are still recognised.

use bytes::Bytes;
use wilco::{EventId, RejectionId};

use crate::{
    bench::{Bench, DEAD},
    support::{NOW, SENT, Sent, after},
};
use wilco_store::{
    Alert, Contents, Erasure, ErasureQuery, Outcome, Overwritten, PayloadState, Selection, State,
    StoreError, Target,
};

promises! {
    an_erased_event_keeps_nothing_of_what_it_was_about,
    a_copy_of_an_erased_event_is_recognised_also_after_a_crash,
    an_unfinished_event_is_erased_only_with_its_deliveries_cancelled,
    events_are_selected_by_id_subject_or_a_value_of_their_bodies,
    a_dead_delivery_that_holds_its_key_keeps_its_event,
    alerts_about_an_erased_event_are_selected_too,
    an_event_is_erased_once,
    an_erased_event_that_was_not_routed_holds_up_nothing,
    an_event_that_is_erased_while_it_is_routed_gets_no_delivery,
    an_alert_about_an_event_that_was_erased_meanwhile_is_not_recorded,
    contents_are_counted_whatever_was_removed,
}

impl Bench {
    async fn erase(&self, id: EventId, cancels: bool) -> Erasure {
        let expected = self.store.preview_erasure(vec![id], cancels).await.unwrap();
        let erased = self.store.erase(vec![id], cancels).await.unwrap();
        assert_eq!(erased.len(), 1);
        assert_eq!(erased[0].0, id);
        assert_eq!(expected, erased, "as it was foreseen");
        erased[0].1
    }

    async fn select(&self, selection: Selection, source: Option<&str>) -> Vec<EventId> {
        let (mut all, mut after, source) = (Vec::new(), None, source.map(Into::into));
        loop {
            let query =
                ErasureQuery { selection: selection.clone(), source: source.clone(), after };
            let (some, next) = self.store.selected(query).await.unwrap();
            all.extend(some.iter().map(|event| event.id));
            after = next;
            if next.is_none() {
                return all;
            }
        }
    }
}

fn value(path: &str, value: &str) -> Selection {
    Selection::Value { path: path.parse().unwrap(), value: value.into() }
}

async fn an_erased_event_keeps_nothing_of_what_it_was_about(mut bench: Bench) {
    let large = vec![b'x'; 300 << 10];
    for (body, delivery_id) in [(&b"{}"[..], None), (&large[..], Some("d-1"))] {
        let sent = Sent { body, delivery_id, ..SENT };
        let id = bench.record(sent).await.event_id();
        bench.fan_out(&[id], &["crm", "mail"], NOW).await;
        let keyed = Target { order_key: Some("jane".into()), ..Target::to("keyed") };
        bench.replay(id, vec![keyed], NOW).await;
        for (destination, outcome) in
            [("crm", Outcome::Delivered), ("mail", DEAD), ("keyed", Outcome::Delivered)]
        {
            let claim = bench.claim(destination, 1, NOW).await.remove(0);
            bench.settle(&claim, "jane", outcome).await;
        }
        let before = bench.store.position(None).await.unwrap();
        assert_eq!(bench.erase(id, false).await, Erasure::Erased);
        assert_eq!(bench.store.overwrite_erased().await.unwrap(), ALL);
        assert!(bench.store.position(None).await.unwrap() > before, "who follows sees it");
        bench.crash(after(1));
        assert!(matches!(bench.store.event(id).await, Err(StoreError::Pruned(_))));
        let left = bench.store.summary(id).await.unwrap().unwrap();
        assert_eq!((left.payload, left.subject, left.title), (PayloadState::Erased, None, None));
        assert!(!left.is_damaged);
        let states: Vec<_> = left.deliveries.iter().map(|delivery| delivery.state).collect();
        assert_eq!(states, [State::Delivered, State::Cancelled, State::Delivered]);
        for delivery in &left.deliveries {
            assert_eq!(delivery.order_key, None);
            assert!(delivery.last_error.as_deref().is_none_or(|error| error == "erased"));
            assert!(delivery.reason.as_deref().is_none_or(|reason| reason == "erased"));
            for attempt in &delivery.history {
                assert_eq!((attempt.result.as_str(), &attempt.output[..]), ("erased", &b""[..]));
                assert_eq!(attempt.request, "");
            }
        }
    }
    assert_eq!(bench.store.damaged_events().await.unwrap(), 0);
    assert_eq!(bench.store.unfinished().await.unwrap(), []);
}

async fn a_copy_of_an_erased_event_is_recognised_also_after_a_crash(mut bench: Bench) {
    for (subject, delivery_id) in [("a", None), ("b", Some("d-1"))] {
        let sent = Sent { subject: Some(subject), delivery_id, ..SENT };
        let id = bench.record(sent).await.event_id();
        bench.fan_out(&[id], &[], NOW).await;
        assert_eq!(bench.erase(id, false).await, Erasure::Erased);
        for crashes in [false, true] {
            if crashes {
                bench.crash(NOW);
            }
            let again = bench.record(Sent { at: after(9), ..sent }).await;
            assert_eq!((again.event_id(), again.is_first()), (id, false), "{subject}");
            let other =
                bench.record(Sent { subject: Some("other"), delivery_id: None, ..SENT }).await;
            assert_ne!(other.event_id(), id);
        }
    }
    assert_eq!(bench.store.damaged_events().await.unwrap(), 0);
}

async fn an_unfinished_event_is_erased_only_with_its_deliveries_cancelled(bench: Bench) {
    let ids = bench.record_many(4).await;
    assert_eq!(bench.erase(ids[3], false).await, Erasure::Unfinished, "it is not routed");
    bench.fan_out(&ids, &["crm"], NOW).await;
    let claims = bench.claim("crm", 2, NOW).await;
    bench.settle(&claims[0], "exit 1", bench.retry(after(60))).await;
    for (number, expected) in
        [(0, Erasure::Unfinished), (1, Erasure::Running), (2, Erasure::Unfinished)]
    {
        assert_eq!(bench.erase(ids[number], false).await, expected, "number {number}");
        assert_eq!(bench.deliveries(ids[number]).await.len(), 1);
    }
    for (number, expected) in [(0, Erasure::Erased), (1, Erasure::Running), (2, Erasure::Erased)] {
        assert_eq!(bench.erase(ids[number], true).await, expected, "number {number}");
    }
    bench.settle(&claims[1], "exit 0", Outcome::Delivered).await;
    assert_eq!(bench.erase(ids[1], false).await, Erasure::Erased);
    let left = bench.claim("crm", 9, after(99)).await;
    assert_eq!(left.iter().map(|claim| claim.event().id).collect::<Vec<_>>(), [ids[3]]);
}

async fn a_dead_delivery_that_holds_its_key_keeps_its_event(bench: Bench) {
    let id = bench
        .targets(1, |_| Target { order_key: Some("a".into()), ..Target::to("crm") }, NOW)
        .await[0];
    let claim = bench.claim_one(NOW).await;
    bench.settle(&claim, "exit 65", Outcome::Dead { holds_key: true }).await;
    assert_eq!(bench.erase(id, false).await, Erasure::Unfinished);
    assert_eq!(bench.erase(id, true).await, Erasure::Erased);
}

async fn events_are_selected_by_id_subject_or_a_value_of_their_bodies(bench: Bench) {
    let large = format!(r#"{{"data":{{"x":"{}","email":"jane@x"}}}}"#, "x".repeat(300 << 10));
    let mut ids = Vec::new();
    for (number, (source, body)) in [
        ("office", r#"{"data":{"email":"jane@x","n":7}}"#),
        ("office", r#"{"data":{"email":"joe@x","n":"7"}}"#),
        ("warehouse", r#"{"data":{"email":"jane\u0040x"}}"#),
        ("office", "not JSON: jane@x"),
        ("office", large.as_str()),
        ("office", r#"{"email":"jane@x"}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = format!("booking/{}", number % 3);
        let sent = Sent { source, subject: Some(&subject), body: body.as_bytes(), ..SENT };
        ids.push(bench.record(sent).await.event_id());
    }
    bench.fan_out(&ids, &[], NOW).await;
    let subject = || Selection::Subject("booking/1".into());
    for (what, selection, source, expected) in [
        ("an id", Selection::Event(ids[2]), None, &[2][..]),
        ("an id of another source", Selection::Event(ids[2]), Some("office"), &[]),
        ("a subject", subject(), None, &[1, 4]),
        ("a subject of a source", Selection::Subject("booking/2".into()), Some("warehouse"), &[2]),
        ("a text", value("data.email", "jane@x"), None, &[0, 2, 4]),
        ("a text of a source", value("data.email", "jane@x"), Some("office"), &[0, 4]),
        ("a number or its text", value("data.n", "7"), None, &[0, 1]),
        ("another place", value("email", "jane@x"), None, &[5]),
        ("nothing", value("data.email", "jane"), None, &[]),
    ] {
        let found = bench.select(selection, source).await;
        let places: Vec<_> =
            found.iter().filter_map(|id| ids.iter().position(|other| other == id)).collect();
        assert_eq!(places, expected, "{what}");
    }
    bench.erase(ids[1], false).await;
    assert_eq!(bench.select(subject(), None).await, [ids[4]]);
}

async fn alerts_about_an_erased_event_are_selected_too(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &[], NOW).await;
    for (key, id) in [("a", ids[0]), ("b", ids[1])] {
        let body = Bytes::from(format!(r#"{{"text":"see {id}","result":"jane"}}"#));
        let every = std::time::Duration::ZERO;
        let (key, name, to) = (key.into(), "alert.dead".into(), "chat".into());
        assert!(bench.store.record_alert(Alert { key, every, name, to, body }).await.unwrap());
    }
    let alert = bench.all().await[2].id;
    let wanted = || Selection::Event(ids[0]);
    assert_eq!(bench.select(wanted(), None).await, [ids[0], alert]);
    assert_eq!(bench.select(wanted(), Some("office")).await, [ids[0], alert]);
    bench.erase(ids[0], false).await;
    assert_eq!(bench.select(Selection::Event(EventId::from_bits(7)), None).await, [alert]);
}

async fn an_event_is_erased_once(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &[], NOW).await;
    assert_eq!(bench.erase(ids[0], false).await, Erasure::Erased);
    let with_another_tail = EventId::from_bits(ids[1].to_bits() ^ 1);
    for id in [ids[0], with_another_tail, EventId::from_bits(0)] {
        assert_eq!(bench.erase(id, true).await, Erasure::Gone);
    }
    let none = bench.store.erase_rejections(vec![RejectionId::from_bits(9)]).await.unwrap();
    assert_eq!(none, 0);
}

async fn an_erased_event_that_was_not_routed_holds_up_nothing(bench: Bench) {
    let ids = bench.record_many(2).await;
    assert_eq!(bench.erase(ids[0], true).await, Erasure::Erased);
    assert_eq!(bench.unrouted(9).await, [ids[1]]);
    bench.fan_out(&ids[1..], &["crm"], NOW).await;
    assert_eq!(bench.claim_one(NOW).await.event().id, ids[1]);
}

async fn an_event_that_is_erased_while_it_is_routed_gets_no_delivery(bench: Bench) {
    let ids = bench.record_many(3).await;
    let batch = bench.store.unrouted(9).await.unwrap();
    assert_eq!(bench.erase(ids[1], true).await, Erasure::Erased);
    let keyed = |event: &wilco::Event| {
        vec![Target { order_key: event.subject.clone(), ..Target::to("crm") }]
    };
    bench.store.fan_out(batch.route(keyed)).await.unwrap();
    let all = bench.all().await;
    let deliveries: Vec<_> = all.iter().map(|event| event.deliveries.len()).collect();
    assert_eq!(deliveries, [1, 0, 1]);
    assert_eq!(bench.unrouted(9).await, []);
}

async fn an_alert_about_an_event_that_was_erased_meanwhile_is_not_recorded(bench: Bench) {
    let ids = bench.record_many(2).await;
    bench.fan_out(&ids, &[], NOW).await;
    bench.erase(ids[0], false).await;
    for (id, is_recorded) in [(ids[0], false), (ids[1], true)] {
        let body = Bytes::from(format!(r#"{{"text":"see {id}","result":"jane"}}"#));
        let every = std::time::Duration::ZERO;
        let (key, name, to) = ("a".into(), "alert.dead".into(), "chat".into());
        let alert = Alert { key, every, name, to, body };
        assert_eq!(bench.store.record_alert(alert).await.unwrap(), is_recorded, "{id}");
    }
    assert_eq!(bench.all().await.len(), 3);
}

async fn contents_are_counted_whatever_was_removed(mut bench: Bench) {
    use std::time::Duration;
    use wilco_store::{PrunePlace, Retention};
    let mut ids = Vec::new();
    let none = bench.store.contents().await.unwrap();
    assert_eq!(Contents { unused_bytes: 0, ..none }, Contents::default());
    for number in 0..30 {
        let subject = format!("booking/{number}");
        let sent = Sent { subject: Some(&subject), body: b"ten bytes.", at: after(number), ..SENT };
        ids.push(bench.record(sent).await.event_id());
    }
    bench.fan_out(&ids, &[], NOW).await;
    bench.erase(ids[12], false).await;
    let secs = |secs| Some(Duration::from_secs(secs));
    // Some of them are counted before they lose something, and some never.
    for (now, payloads, records, expected) in [
        (29, 100, 100, (30, 29)),
        (40, 30, 35, (25, 19)),
        (50, 30, 35, (15, 10)),
        (55, 30, 30, (5, 5)),
        (99, 30, 30, (0, 0)),
    ] {
        let retention = Retention { payloads: secs(payloads), records: secs(records) };
        bench.clock.set(after(now));
        let mut next = Some(PrunePlace::default());
        while let Some(place) = next {
            next = bench.store.prune(retention, place).await.unwrap().1;
        }
        bench.crash(after(now));
        let found = bench.store.contents().await.unwrap();
        assert_eq!((found.events, found.payloads), expected, "{now}");
        assert_eq!(found.body_bytes, found.payloads * 10, "{now}");
        let all = bench.all().await;
        assert_eq!(found.oldest_event_at, all.first().map(|event| event.received_at), "{now}");
        let whole = all.iter().find(|event| event.payload == PayloadState::Kept);
        assert_eq!(found.oldest_payload_at, whole.map(|event| event.received_at), "{now}");
    }
}

const ALL: Overwritten = Overwritten { file: true, log: true };
