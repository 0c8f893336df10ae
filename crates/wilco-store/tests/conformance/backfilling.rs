//! What never arrived: events that were fetched, and the gaps in which the service did not run.

use jiff::Timestamp;
use wilco::{Envelope, ListedEvents, Origin, Proof, SourceName};
use wilco_store::{
    BackfillStatus, Duplicates, EventQuery, Gap, GapQuery, REDELIVERIES_MAX, Receipt, Redelivery,
};

use crate::{
    bench::Bench,
    support::{NOW, SENT, SUPPRESS, Sent, after},
};

promises! {
    a_fetched_event_and_its_webhook_are_one_whichever_is_first,
    an_event_keeps_how_it_got_here,
    a_delivery_id_that_no_event_has_is_missing,
    each_time_that_the_service_did_not_run_is_a_gap_with_what_was_taken_in_for_it,
    a_failed_round_leaves_the_source_uncovered_and_its_gaps_open,
    the_error_of_a_source_without_a_backfill_is_forgotten,
    a_delivery_that_was_asked_for_is_marked_when_it_comes_also_after_a_crash,
    a_delivery_that_never_comes_is_asked_for_a_limited_number_of_times,
}

const IN_LIST: &str = r#"{"id": "evt_1", "in": "a list"}"#;

async fn fetch(bench: &Bench, id: &str, at: Timestamp, rule: Duplicates) -> Receipt {
    let page = format!(r#"{{"data": [{IN_LIST}], "has_more": false}}"#);
    let source = SourceName::new(SENT.source).unwrap();
    let listed = ListedEvents::read(page.as_bytes(), &source, "env:TOKEN", at).unwrap();
    let fetched = listed.events.into_iter().next().unwrap();
    let envelope = Envelope {
        provider: "stripe".into(),
        name: "invoice.paid".into(),
        subject: None,
        delivery_id: Some(id.into()),
    };
    bench.store.record_proven(Proof::Fetched(fetched), envelope, rule).await.unwrap()
}

async fn a_fetched_event_and_its_webhook_are_one_whichever_is_first(mut bench: Bench) {
    let sent = |id| Sent { delivery_id: Some(id), ..SENT };
    let later = after(40 * 86_400);
    let signed = bench.record(sent("evt_1")).await;
    bench.crash(later);
    for rule in [SUPPRESS, Duplicates::Keep] {
        let fetched = fetch(&bench, "evt_1", later, rule).await;
        assert_eq!((fetched.is_first(), fetched.event_id()), (false, signed.event_id()));
    }
    let fetched = fetch(&bench, "evt_2", later, SUPPRESS).await;
    assert!(fetched.is_first());
    bench.crash(later);
    let signed = bench.record(Sent { at: after(80 * 86_400), ..sent("evt_2") }).await;
    assert_eq!((signed.is_first(), signed.event_id()), (false, fetched.event_id()));
}

async fn an_event_keeps_how_it_got_here(mut bench: Bench) {
    let ids =
        [bench.record(SENT).await.event_id(), fetch(&bench, "a", NOW, SUPPRESS).await.event_id()];
    bench.crash(NOW);
    for (id, origin) in ids.into_iter().zip([Origin::Webhook, Origin::Fetched]) {
        let event = bench.store.event(id).await.unwrap().unwrap().event;
        assert_eq!(event.origin, origin);
        let query = EventQuery { limit: 9, ..EventQuery::default() };
        let listed = bench.store.events(query).await.unwrap().events;
        assert!(listed.iter().any(|event| event.id == id && event.origin == origin));
        assert_eq!(event.secret_name == "env:TOKEN", origin == Origin::Fetched);
    }
}

async fn a_delivery_id_that_no_event_has_is_missing(mut bench: Bench) {
    bench.record(Sent { delivery_id: Some("a"), ..SENT }).await;
    bench.crash(NOW);
    let ask =
        async |source| bench.store.missing(source, vec!["a".into(), "b".into()]).await.unwrap();
    assert_eq!(ask(SENT.source).await, ["b"]);
    assert_eq!(ask("another").await, ["a", "b"]);
}

async fn status(bench: &Bench) -> BackfillStatus {
    bench.store.backfills().await.unwrap().remove(0)
}

async fn gaps(bench: &Bench, source: Option<&str>, before: Option<i64>, limit: usize) -> Vec<Gap> {
    let source = source.map(Into::into);
    bench.store.gaps(GapQuery { source, before, limit }).await.unwrap()
}

async fn each_time_that_the_service_did_not_run_is_a_gap_with_what_was_taken_in_for_it(
    mut bench: Bench,
) {
    let sources = || vec![SENT.source.to_owned()];
    bench.store.note_start(sources()).await.unwrap();
    assert_eq!(gaps(&bench, None, None, 9).await, []);
    bench.clock.set(after(60));
    bench.store.note_running().await.unwrap();
    bench.crash(after(660));
    bench.store.note_start(sources()).await.unwrap();
    let gap = Gap {
        number: 1,
        source: SENT.source.into(),
        from: after(60),
        to: after(660),
        closed_at: None,
        taken_in: 0,
    };
    assert_eq!(gaps(&bench, None, None, 9).await, std::slice::from_ref(&gap));
    fetch(&bench, "evt_1", after(661), SUPPRESS).await;
    bench.record(Sent { at: after(662), ..SENT }).await;
    bench.clock.set(after(663));
    let covered = bench.store.end_round(SENT.source, Ok(after(662))).await.unwrap();
    assert_eq!(covered, None);
    fetch(&bench, "evt_2", after(10_000), SUPPRESS).await;
    bench.crash(after(20_000));
    bench.store.note_start(vec![SENT.source.into(), "stripe".into()]).await.unwrap();
    fetch(&bench, "evt_3", after(20_000), SUPPRESS).await;
    let status = status(&bench).await;
    assert_eq!((status.covered_through, status.taken_in), (after(662), 3));
    let closed = Gap { closed_at: Some(after(663)), taken_in: 1, ..gap.clone() };
    let (from, to) = (after(660), after(20_000));
    let open = Gap { number: 2, from, to, taken_in: 1, ..gap };
    let source = "stripe".to_owned();
    let of_stripe = Gap { number: 3, source, taken_in: 0, ..open.clone() };
    let all = [of_stripe, open, closed];
    for (source, before, limit, part) in [
        (None, None, 9, 0..3),
        (None, None, 1, 0..1),
        (None, Some(3), 1, 1..2),
        (None, Some(1), 9, 3..3),
        (Some("stripe"), None, 9, 0..1),
        (Some(SENT.source), Some(2), 9, 2..3),
    ] {
        assert_eq!(gaps(&bench, source, before, limit).await, all[part], "{source:?} {before:?}");
    }
}

async fn a_failed_round_leaves_the_source_uncovered_and_its_gaps_open(bench: Bench) {
    let covered = async || bench.store.covered_through(SENT.source).await.unwrap();
    assert_eq!(covered().await, NOW);
    for secs in [1, 2] {
        bench.clock.set(after(secs));
        let failing = bench.store.end_round(SENT.source, Err("status 401".into())).await.unwrap();
        assert_eq!(failing, Some(after(1)));
    }
    let failed = status(&bench).await;
    assert_eq!(failed.error.as_deref(), Some("status 401"));
    assert_eq!(covered().await, NOW);
    assert_eq!(bench.store.end_round(SENT.source, Ok(after(2))).await.unwrap(), None);
    let done = status(&bench).await;
    assert_eq!((done.error, done.failing_since, done.covered_through), (None, None, after(2)));
}

async fn the_error_of_a_source_without_a_backfill_is_forgotten(bench: Bench) {
    bench.store.covered_through(SENT.source).await.unwrap();
    bench.store.end_round(SENT.source, Err("status 401".into())).await.unwrap();
    bench.store.forget_errors(vec![SENT.source.into()]).await.unwrap();
    assert!(status(&bench).await.error.is_some());
    bench.store.forget_errors(vec!["another".into()]).await.unwrap();
    let status = status(&bench).await;
    assert_eq!((status.error, status.failing_since, status.covered_through), (None, None, NOW));
}

async fn a_delivery_that_was_asked_for_is_marked_when_it_comes_also_after_a_crash(
    mut bench: Bench,
) {
    bench.store.covered_through(SENT.source).await.unwrap();
    let ask = async |bench: &Bench, id| bench.store.ask_again(SENT.source, id).await.unwrap();
    for id in ["a", "b"] {
        assert_eq!(ask(&bench, id).await, Redelivery::Ask);
    }
    bench.crash(NOW);
    assert_eq!(status(&bench).await.awaited, 2);
    for (id, source, body, origin) in [
        ("a", "another", b"1", Origin::Webhook),
        ("a", SENT.source, b"2", Origin::Redelivered),
        ("c", SENT.source, b"3", Origin::Webhook),
        // Once it has come, it is not expected any more.
        ("a", SENT.source, b"4", Origin::Webhook),
    ] {
        let sent = Sent { delivery_id: Some(id), source, body, ..SENT };
        let receipt = bench.record(sent).await;
        let event = bench.store.event(receipt.event_id()).await.unwrap().unwrap().event;
        assert_eq!(event.origin, origin, "{id} of {source}");
    }
    let status = status(&bench).await;
    assert_eq!((status.awaited, status.taken_in), (1, 1));
}

async fn a_delivery_that_never_comes_is_asked_for_a_limited_number_of_times(mut bench: Bench) {
    bench.store.covered_through(SENT.source).await.unwrap();
    let ask = async |bench: &Bench, id| bench.store.ask_again(SENT.source, id).await.unwrap();
    for _ in 0..REDELIVERIES_MAX {
        assert_eq!(ask(&bench, "a").await, Redelivery::Ask);
    }
    bench.crash(after(60));
    for expected in [Redelivery::GivenUp, Redelivery::GivenUpBefore, Redelivery::GivenUpBefore] {
        assert_eq!(ask(&bench, "a").await, expected);
    }
    let given_up = status(&bench).await;
    assert_eq!((given_up.awaited, given_up.given_up), (0, 1));
    // No provider lists it any more.
    bench.clock.set(after(11 * 86_400));
    assert_eq!(ask(&bench, "b").await, Redelivery::Ask);
    let status = status(&bench).await;
    assert_eq!((status.awaited, status.given_up), (1, 0));
}
