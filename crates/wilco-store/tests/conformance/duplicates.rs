//! A duplicate is recognised, and a change is never taken for one.

use tokio::task::JoinSet;
use wilco::EventId;

use crate::{
    bench::Bench,
    support::{SENT, SUPPRESS, Sent, after, event},
};
use wilco_store::Duplicates;

promises! {
    a_change_back_is_not_a_duplicate,
    a_resend_is_a_duplicate,
    two_hundred_concurrent_resends_give_one_event,
    a_resend_after_a_crash_is_a_duplicate,
    the_window_starts_at_the_event_and_not_at_its_last_duplicate,
    a_duplicate_is_recognised_even_if_the_clock_went_back,
    sources_and_subjects_are_separate,
    events_without_a_subject_are_compared_with_one_another,
    events_with_other_names_are_not_duplicates_although_their_bodies_are_equal,
    a_duplicate_is_recognised_however_many_events_came_in_between,
    a_delivery_id_is_recorded_once,
    a_delivery_id_with_another_body_is_a_conflict,
    duplicates_are_events_of_their_own_if_they_are_kept,
}

async fn a_change_back_is_not_a_duplicate(mut bench: Bench) {
    check(&bench, &[(about("b/1", "A"), None), (about("b/1", "B"), None)]).await;
    bench.crash(after(0));
    check(&bench, &[(about("b/1", "A"), None), (about("b/1", "A"), Some(2))]).await;
    assert_eq!(bench.all().await.len(), 3);
}

async fn a_resend_is_a_duplicate(bench: Bench) {
    let rows = [
        (about("b/1", "A"), None),
        (about("b/1", "A"), Some(0)),
        (about("b/2", "B"), None), // about something else, so it stands between no copies
        (about("b/1", "A"), Some(0)),
        (about("b/1", "a"), None),
    ];
    check(&bench, &rows).await;
}

async fn two_hundred_concurrent_resends_give_one_event(bench: Bench) {
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let store = bench.store.clone();
        tasks.spawn(async move {
            let (verified, envelope) = event(SENT);
            store.record(verified, envelope, SUPPRESS).await.unwrap()
        });
    }
    let receipts = tasks.join_all().await;
    assert_eq!(receipts.iter().filter(|receipt| receipt.is_first()).count(), 1);
    let all = bench.all().await;
    assert_eq!(all.len(), 1);
    assert!(receipts.iter().all(|receipt| receipt.event_id() == all[0].id));
}

async fn a_resend_after_a_crash_is_a_duplicate(mut bench: Bench) {
    let first = bench.record(SENT).await;
    bench.crash(after(1));
    let second = bench.record(Sent { at: after(1), ..SENT }).await;
    assert_eq!((second.is_first(), second.event_id()), (false, first.event_id()));
}

async fn the_window_starts_at_the_event_and_not_at_its_last_duplicate(bench: Bench) {
    let at = |secs| Sent { at: after(secs), ..SENT };
    let rows = [(at(0), None), (at(3_000), Some(0)), (at(3_600), Some(0)), (at(3_601), None)];
    check(&bench, &rows).await;
    check(&bench, &[(at(7_201), Some(1)), (at(7_202), None)]).await;
}

async fn a_duplicate_is_recognised_even_if_the_clock_went_back(bench: Bench) {
    check(&bench, &[(SENT, None), (Sent { at: after(-60), ..SENT }, Some(0))]).await;
}

async fn sources_and_subjects_are_separate(bench: Bench) {
    let elsewhere = Sent { source: "warehouse", ..about("b/1", "A") };
    let rows = [
        (about("b/1", "A"), None),
        (elsewhere, None),
        (about("b/2", "A"), None),
        (about("B/1", "A"), None),
        (about("", "A"), None),
        (elsewhere, Some(1)),
        (about("b/1", "A"), Some(0)),
    ];
    check(&bench, &rows).await;
}

async fn events_without_a_subject_are_compared_with_one_another(bench: Bench) {
    let bare = |body| Sent { subject: None, ..about("", body) };
    let rows = [
        (bare("A"), None),
        (about("", "A"), None),
        (about("b/1", "B"), None),
        (bare("A"), Some(0)),
        (bare("B"), None),
        (bare("A"), None),
        (Sent { source: "warehouse", ..bare("A") }, None),
    ];
    check(&bench, &rows).await;
}

/// Some providers name the event in a header only.
async fn events_with_other_names_are_not_duplicates_although_their_bodies_are_equal(
    mut bench: Bench,
) {
    let named = |name| Sent { name, ..about("b/1", "A") };
    check(&bench, &[(named("up"), None), (named("down"), None), (named("down"), Some(1))]).await;
    bench.crash(after(0));
    check(&bench, &[(named("down"), Some(1)), (named("up"), None), (named("up"), Some(2))]).await;
}

async fn a_duplicate_is_recognised_however_many_events_came_in_between(mut bench: Bench) {
    let first = bench.record(about("b/0", "A")).await.event_id();
    let given_first = bench.record(given("0", "A")).await.event_id();
    let mut ids = Vec::new();
    // Enough to push a key out of any cache of the latest ones, several times.
    for number in 1..400 {
        let subject = format!("b/{number}");
        ids.push(bench.record(about(&subject, "A")).await.event_id());
        for (copy, id) in [(about("b/0", "A"), first), (given("0", "A"), given_first)] {
            let copy = bench.record(copy).await;
            assert_eq!((copy.is_first(), copy.event_id()), (false, id), "after {number}");
        }
        if number % 150 == 0 {
            bench.crash(after(0));
        }
    }
    for (number, id) in (1..).zip(ids) {
        let copy = bench.record(about(&format!("b/{number}"), "A")).await;
        assert_eq!((copy.is_first(), copy.event_id()), (false, id), "{number}");
    }
    assert_eq!(bench.all().await.len(), 401);
}

async fn a_delivery_id_is_recorded_once(mut bench: Bench) {
    let rows = [
        (given("1", "A"), None),
        (given("2", "A"), None), // the same body, and the provider says that it is another
        (given("3", "B"), None),
        (given("1", "A"), Some(0)),
        (Sent { subject: Some("b/9"), ..given("2", "A") }, Some(1)),
        (Sent { source: "warehouse", ..given("1", "A") }, None),
        (Sent { at: after(3_601), ..given("1", "A") }, None),
    ];
    check(&bench, &rows).await;
    bench.crash(after(1));
    check(&bench, &[(given("3", "B"), Some(2))]).await;
    for listed in bench.all().await {
        assert!(!bench.store.event(listed.id).await.unwrap().unwrap().event.conflict);
    }
}

async fn a_delivery_id_with_another_body_is_a_conflict(bench: Bench) {
    let rows = [
        (given("1", "A"), None),
        (given("1", "B"), None),
        (Sent { source: "warehouse", ..given("1", "B") }, None),
        (given("1", "A"), Some(0)), // a resend of the first, whatever came in between
        (given("1", "B"), Some(1)),
    ];
    check(&bench, &rows).await;
    let mut conflicts = Vec::new();
    for listed in bench.all().await {
        conflicts.push(bench.store.event(listed.id).await.unwrap().unwrap().event.conflict);
    }
    assert_eq!(conflicts, [false, true, false]);
}

async fn duplicates_are_events_of_their_own_if_they_are_kept(bench: Bench) {
    for sent in [SENT, SENT, given("1", "A"), given("1", "B")] {
        let (verified, envelope) = event(sent);
        let kept = bench.store.record(verified, envelope, Duplicates::Keep).await.unwrap();
        assert!(kept.is_first());
        assert!(!bench.store.event(kept.event_id()).await.unwrap().unwrap().event.conflict);
    }
    check(&bench, &[(SENT, Some(1)), (given("1", "B"), Some(3))]).await;
}

/// Records row after row. Each gives a new event, or is a duplicate of the event with that index.
async fn check(bench: &Bench, rows: &[(Sent<'_>, Option<usize>)]) {
    for (number, (sent, copy_of)) in rows.iter().enumerate() {
        let before: Vec<EventId> = bench.all().await.iter().map(|event| event.id).collect();
        let receipt = bench.record(*sent).await;
        let after = bench.all().await.len();
        let recognised = before.iter().position(|id| *id == receipt.event_id());
        assert_eq!(recognised, *copy_of, "row {number}");
        assert_eq!(receipt.is_first(), copy_of.is_none(), "row {number}");
        assert_eq!(after - before.len(), usize::from(copy_of.is_none()), "row {number}");
    }
}

fn about<'a>(subject: &'a str, body: &'a str) -> Sent<'a> {
    Sent { subject: Some(subject), body: body.as_bytes(), ..SENT }
}

fn given<'a>(delivery_id: &'a str, body: &'a str) -> Sent<'a> {
    Sent { delivery_id: Some(delivery_id), body: body.as_bytes(), ..SENT }
}
