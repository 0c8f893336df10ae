//! Events are found by their text and by the state of their deliveries, and counted.

use std::collections::BTreeMap;

use wilco::EventId;
use wilco_store::{EventQuery, Outcome, State};

use crate::{
    bench::{Bench, DEAD},
    support::{NOW, SENT, Sent, attempt},
};

promises! {
    a_text_is_found_in_body_subject_name_and_id,
    events_are_found_by_the_state_of_their_deliveries,
    events_are_counted_by_the_state_of_their_deliveries,
    a_rare_text_is_found_on_a_later_page,
}

async fn a_text_is_found_in_body_subject_name_and_id(bench: Bench) {
    let large = [vec![b'x'; 300_000], b"needle".to_vec()].concat();
    let across = [vec![b'x'; 65_533], b"haystack".to_vec(), vec![b'x'; 300_000]].concat();
    let events: [(&str, Option<&str>, &[u8]); 5] = [
        ("booking.created", Some("booking/17"), br#"{"name":"Viewing"}"#),
        ("booking.updated", Some("booking/18"), br#"{"name":"viewing of booking/17"}"#),
        ("offer.created", None, br#"{"name":"Gr\u00f6\u00dfe"}"#),
        ("offer.updated", Some("offer/1"), &large),
        ("offer.removed", Some("offer/2"), &across),
    ];
    let mut ids = Vec::new();
    for (name, subject, body) in events {
        ids.push(bench.record(Sent { name, subject, body, ..SENT }).await.event_id());
    }
    let id = ids[2].to_string();
    let of = |subject: &str| EventQuery { subject: Some(subject.into()), ..any() };
    for (what, query, expected) in [
        ("a body, in any case", search("VIEWING"), &[1, 0][..]),
        ("a subject or a body", search("booking/17"), &[1, 0]),
        ("a name", search("offer."), &[4, 3, 2]),
        ("a body as it was sent", search("\\u00df"), &[2]),
        ("the end of a large body", search("needle"), &[3]),
        ("across two chunks of a large body", search("haystack"), &[4]),
        ("a whole id", search(&id), &[2]),
        ("an id in lower case", search(&id.to_lowercase()), &[2]),
        ("the beginning of all ids", search(&id[..8]), &[4, 3, 2, 1, 0]),
        ("what is nowhere", search("nowhere"), &[]),
        ("a filter too", EventQuery { name: Some("booking.*".into()), ..search("17") }, &[1, 0]),
        ("a subject", of("booking/17"), &[0]),
        ("the beginning of a subject", of("booking/*"), &[1, 0]),
        ("no such subject", of("booking"), &[]),
    ] {
        assert_eq!(places(&bench, &ids, query).await, expected, "{what}");
    }
}

async fn events_are_found_by_the_state_of_their_deliveries(bench: Bench) {
    let ids = in_all_states(&bench).await;
    let at_mail = |state| EventQuery { destination: Some("mail".into()), ..of(state) };
    for (what, query, expected) in [
        ("pending, or not routed", of(State::Pending), &[7, 6][..]),
        ("running", of(State::Running), &[2]),
        ("retrying", of(State::Retrying), &[3]),
        ("delivered", of(State::Delivered), &[4, 3]),
        ("dead", of(State::Dead), &[5]),
        ("skipped, or routed nowhere", of(State::Skipped), &[1]),
        ("cancelled", of(State::Cancelled), &[0]),
        ("superseded", of(State::Superseded), &[]),
        ("delivered at one destination", at_mail(State::Delivered), &[3]),
        ("pending at one destination", at_mail(State::Pending), &[]),
        ("skipped at one destination", at_mail(State::Skipped), &[]),
        ("dead at one destination", at_mail(State::Dead), &[]),
        ("a page", EventQuery { before: Some(ids[4]), ..of(State::Delivered) }, &[3]),
        ("onwards", EventQuery { after: Some(ids[2]), ..of(State::Pending) }, &[6, 7]),
        ("a text too", EventQuery { search: Some("/7".into()), ..of(State::Pending) }, &[7]),
    ] {
        assert_eq!(places(&bench, &ids, query).await, expected, "{what}");
    }
}

async fn events_are_counted_by_the_state_of_their_deliveries(bench: Bench) {
    in_all_states(&bench).await;
    let at_mail = EventQuery { destination: Some("mail".into()), ..any() };
    for (what, query, all, expected) in [
        (
            "all",
            any(),
            8,
            &[
                (State::Pending, 2),
                (State::Running, 1),
                (State::Delivered, 2),
                (State::Retrying, 1),
                (State::Dead, 1),
                (State::Skipped, 1),
                (State::Cancelled, 1),
            ][..],
        ),
        ("of a destination", at_mail, 1, &[(State::Delivered, 1)]),
        ("with a text", search("booking/3"), 1, &[(State::Delivered, 1), (State::Retrying, 1)]),
        (
            "whatever the state",
            of(State::Dead),
            8,
            &[
                (State::Pending, 2),
                (State::Running, 1),
                (State::Delivered, 2),
                (State::Retrying, 1),
                (State::Dead, 1),
                (State::Skipped, 1),
                (State::Cancelled, 1),
            ],
        ),
        ("none", search("nowhere"), 0, &[]),
    ] {
        let counts = bench.store.count_events(query).await.unwrap();
        assert_eq!((counts.all.events, counts.all.is_at_least), (all, false), "{what}");
        let found = State::ALL.map(|state| (state, counts.of(state)));
        assert!(found.iter().all(|(_, count)| !count.is_at_least), "{what}");
        let found: BTreeMap<_, _> = found
            .into_iter()
            .map(|(state, count)| (state, count.events))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(found, expected.iter().copied().collect(), "{what}");
    }
}

async fn a_rare_text_is_found_on_a_later_page(bench: Bench) {
    let ids = bench.record_many(1_500).await;
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut query = search("booking/7");
    loop {
        let page = bench.store.events(query.clone()).await.unwrap();
        found.extend(page.events.iter().map(|event| event.id));
        pages += 1;
        let Some(rest) = page.rest else { break };
        query.before = Some(rest);
    }
    let expected = ids.iter().enumerate().rev();
    let expected = expected.filter(|(place, _)| format!("booking/{place}").contains("booking/7"));
    assert_eq!(found, expected.map(|(_, id)| *id).collect::<Vec<_>>());
    assert!(pages < 10, "{pages}");
}

/// Eight events: cancelled, routed nowhere, running, retrying and delivered, delivered, dead, pending, not routed.
async fn in_all_states(bench: &Bench) -> Vec<EventId> {
    let ids = bench.record_many(8).await;
    let retry = Outcome::Retry {
        after: std::time::Duration::from_secs(9),
        waited: std::time::Duration::ZERO,
    };
    bench.fan_out(&ids[..1], &["crm"], NOW).await;
    bench.store.cancel(ids[0], None).await.unwrap();
    bench.fan_out(&ids[1..2], &[], NOW).await;
    bench.fan_out(&ids[2..3], &["crm"], NOW).await;
    bench.claim_one(NOW).await;
    for (place, outcome) in [(3, &retry), (4, &Outcome::Delivered), (5, &DEAD)] {
        bench.fan_out(&ids[place..=place], &["crm"], NOW).await;
        let claim = bench.claim_one(NOW).await;
        bench.store.settle(&claim, &attempt("so"), outcome, None).await.unwrap();
    }
    bench.fan_out(&ids[6..7], &["crm"], NOW).await;
    let replay = wilco_store::Replay {
        event_id: ids[3],
        targets: vec![wilco_store::Target::to("mail")],
        reason: "replay".into(),
    };
    bench.store.replay(vec![replay]).await.unwrap();
    let claim = bench.claim("mail", 1, NOW).await.remove(0);
    bench.store.settle(&claim, &attempt("200"), &Outcome::Delivered, None).await.unwrap();
    ids
}

async fn places(bench: &Bench, ids: &[EventId], query: EventQuery) -> Vec<usize> {
    let found = bench.store.events(query).await.unwrap().events;
    found.iter().filter_map(|event| ids.iter().position(|id| *id == event.id)).collect()
}

fn any() -> EventQuery {
    EventQuery { limit: 10_000, ..EventQuery::default() }
}

fn search(text: &str) -> EventQuery {
    EventQuery { search: Some(text.into()), ..any() }
}

fn of(state: State) -> EventQuery {
    EventQuery { state: Some(state), ..any() }
}
