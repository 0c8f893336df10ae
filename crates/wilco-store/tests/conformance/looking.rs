//! Queries about the record return what was asked for.

use wilco::{Digest, EventId, Origin, SourceName};

use crate::{
    bench::Bench,
    support::{NOW, SENT, Sent, after},
};
use wilco_store::{EventQuery, EventSummary, LISTING_BYTES_MAX, PayloadState};

promises! {
    a_listing_has_everything_but_headers_and_body,
    a_query_returns_only_what_matches,
    pages_follow_on_without_gap_or_overlap,
    a_rare_event_is_found_among_many,
    an_unknown_id_finds_nothing,
    a_listing_of_events_with_many_deliveries_ends_early_and_follows_on,
}

async fn a_listing_has_everything_but_headers_and_body(bench: Bench) {
    let id = bench.record(Sent { body: b"twelve bytes", ..SENT }).await.event_id();
    let expected = EventSummary {
        origin: Origin::Webhook,
        id,
        source: SourceName::new("office").unwrap(),
        name: "booking.updated".into(),
        subject: Some("booking/1".into()),
        title: None,
        received_at: NOW,
        bytes: 12,
        digest: Digest::of(b"twelve bytes"),
        secret_name: "test:secret".into(),
        is_routed: false,
        is_conflict: false,
        is_damaged: false,
        payload: PayloadState::Kept,
        deliveries: vec![],
    };
    assert_eq!(bench.all().await, [expected]);
}

async fn a_query_returns_only_what_matches(bench: Bench) {
    let events = [
        ("office", "booking.created", 0),
        ("office", "booking.updated", 10),
        ("warehouse", "booking.updated", 20),
        ("office", "book[ing]", 30),
        ("office", "Booking.created", 40),
        ("office", "offer.b*", 50),
        ("office", "", 60),
    ];
    let mut ids = Vec::new();
    for (source, name, secs) in events {
        let sent = Sent { source, name, at: after(secs), subject: Some(name), ..SENT };
        ids.push(bench.record(sent).await.event_id());
    }
    let any = || EventQuery { limit: 100, ..EventQuery::default() };
    let of = |source: &str| EventQuery { source: Some(source.into()), ..any() };
    let named = |name: &str| EventQuery { name: Some(name.into()), ..any() };
    let (early, late) = (Some(after(10)), Some(after(30)));
    for (what, query, expected) in [
        ("all, newest first", any(), &[6, 5, 4, 3, 2, 1, 0][..]),
        ("a source", of("warehouse"), &[2]),
        ("no such source", of("office*"), &[]),
        ("a name", named("booking.updated"), &[2, 1]),
        ("the beginning of a name", named("booking.*"), &[2, 1, 0]),
        ("the beginning is plain text", named("book[ing]*"), &[3]),
        ("a name is plain text", named("book[ing]"), &[3]),
        ("a question mark is not a wildcard", named("booking?updated"), &[]),
        ("a star in the middle is not a wildcard", named("b*.created"), &[]),
        ("a star in the middle, before another", named("offer.b**"), &[5]),
        ("a beginning that is a complete name", named("booking.created*"), &[0]),
        ("a star alone", named("*"), &[6, 5, 4, 3, 2, 1, 0]),
        ("no name", named(""), &[6]),
        ("since", EventQuery { since: late, ..any() }, &[6, 5, 4, 3]),
        ("until", EventQuery { until: early, ..any() }, &[0]),
        ("between", EventQuery { since: early, until: late, ..any() }, &[2, 1]),
        ("after, oldest first", EventQuery { after: Some(ids[4]), ..any() }, &[5, 6]),
        ("before", EventQuery { before: Some(ids[2]), ..any() }, &[1, 0]),
        ("both", EventQuery { after: Some(ids[1]), before: Some(ids[4]), ..any() }, &[2, 3]),
        ("no more than", EventQuery { limit: 2, ..any() }, &[6, 5]),
        ("after, no more than", EventQuery { after: Some(ids[0]), limit: 2, ..any() }, &[1, 2]),
        ("none", EventQuery { limit: 0, ..any() }, &[]),
        ("all at once", EventQuery { since: early, until: late, ..named("b*") }, &[2, 1]),
    ] {
        let found = bench.store.events(query).await.unwrap().events;
        let places: Vec<_> =
            found.iter().filter_map(|event| ids.iter().position(|id| *id == event.id)).collect();
        assert_eq!(places, expected, "{what}");
    }
}

async fn pages_follow_on_without_gap_or_overlap(bench: Bench) {
    let ids = bench.record_many(25).await;
    let mut seen = Vec::new();
    let mut query = EventQuery { limit: 7, ..EventQuery::default() };
    loop {
        let page = bench.store.events(query.clone()).await.unwrap().events;
        let Some(last) = page.last() else { break };
        query.before = Some(last.id);
        seen.extend(page.iter().map(|event| event.id));
    }
    seen.reverse();
    assert_eq!(seen, ids);
}

async fn a_rare_event_is_found_among_many(bench: Bench) {
    let mut ids = Vec::new();
    for number in 0..100_usize {
        let subject = format!("booking/{number}");
        let source = if number.is_multiple_of(33) { "warehouse" } else { "office" };
        let secs = i64::try_from(number).unwrap();
        let sent = Sent { source, subject: Some(&subject), at: after(secs), ..SENT };
        ids.push(bench.record(sent).await.event_id());
    }
    bench.fan_out(&ids[..50], &[], NOW).await;
    bench.fan_out(&[ids[50], ids[80]], &["crm"], NOW).await;
    let any = || EventQuery { limit: 100, ..EventQuery::default() };
    let rare = || EventQuery { source: Some("warehouse".into()), ..any() };
    for (what, query, expected) in [
        ("a source", rare(), &[99, 66, 33, 0][..]),
        ("some of it", EventQuery { limit: 2, ..rare() }, &[99, 66]),
        ("the next page", EventQuery { before: Some(ids[66]), ..rare() }, &[33, 0]),
        ("since", EventQuery { since: Some(after(34)), ..rare() }, &[99, 66]),
        ("onwards", EventQuery { after: Some(ids[0]), ..rare() }, &[33, 66, 99]),
        ("some of those", EventQuery { after: Some(ids[0]), limit: 1, ..rare() }, &[33]),
        ("of a destination", EventQuery { destination: Some("crm".into()), ..any() }, &[80, 50]),
        ("of no destination", EventQuery { destination: Some("mail".into()), ..any() }, &[]),
    ] {
        let found = bench.store.events(query).await.unwrap().events;
        let places: Vec<_> =
            found.iter().filter_map(|event| ids.iter().position(|id| *id == event.id)).collect();
        assert_eq!(places, expected, "{what}");
    }
}

async fn an_unknown_id_finds_nothing(bench: Bench) {
    let id = bench.record(SENT).await.event_id();
    let with_another_tail = EventId::from_bits(id.to_bits() ^ 1);
    for unknown in [with_another_tail, EventId::from_bits(0), EventId::from_bits(u128::MAX)] {
        assert!(bench.store.event(unknown).await.unwrap().is_none(), "{unknown}");
    }
    assert!(bench.store.event(id).await.unwrap().is_some());
}

async fn a_listing_of_events_with_many_deliveries_ends_early_and_follows_on(bench: Bench) {
    let ids = bench.record_many(5).await;
    // Each event takes half of what a listing may.
    let destination = "x".repeat(LISTING_BYTES_MAX / 16);
    bench.fan_out(&ids, &[destination.as_str(); 8], NOW).await;
    let (mut listed, mut before) = (Vec::new(), None);
    for expected in [2, 2, 1] {
        let query = EventQuery { before, limit: 10, ..EventQuery::default() };
        let page = bench.store.events(query).await.unwrap();
        assert_eq!((page.events.len(), page.rest.is_some()), (expected, expected == 2));
        listed.extend(page.events.iter().map(|event| event.id));
        before = listed.last().copied();
    }
    listed.reverse();
    assert_eq!(listed, ids);
}
