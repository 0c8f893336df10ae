//! Failures are grouped and found again, and what people did about them is kept.

use wilco::EventId;
use wilco_store::{
    AuditEntry, FailedEvents, FailureGroup, FailureGroupQuery, FailureQuery, Outcome, Replay,
    Target,
};

use crate::{
    bench::{Bench, DEAD},
    support::{NOW, after, attempt},
};

promises! {
    failures_are_grouped_by_destination_and_kind_of_error,
    events_of_a_group_are_found_until_they_are_replayed,
    the_newest_entries_of_the_audit_list_are_kept_over_a_crash,
}

async fn failures_are_grouped_by_destination_and_kind_of_error(bench: Bench) {
    let ids = failed(&bench).await;
    let list = async |destination: Option<&str>, after: Option<(&str, &str)>, limit| {
        let destination = destination.map(Into::into);
        let after = after.map(|(destination, error)| (destination.into(), error.into()));
        let query = FailureGroupQuery { destination, after, limit };
        bench.store.failure_groups(query).await.unwrap()
    };
    let failures = list(None, None, 9).await;
    let expected = [
        group("crm", "503 after N ms", "503 after 1002 ms", ids[2], (2, 1), (0, 2)),
        group("crm", "exit 1", "exit 1", ids[3], (1, 0), (3, 3)),
        group("mail", "exit 1", "exit 1", ids[4], (1, 0), (4, 4)),
    ];
    assert_eq!((&failures.groups[..], failures.is_at_least), (&expected[..], false));
    for (destination, after, limit, part) in [
        (Some("mail"), None, 9, 2..3),
        (Some("none"), None, 9, 0..0),
        (None, None, 2, 0..2),
        (None, Some(("crm", "503 after N ms")), 1, 1..2),
        (None, Some(("crm", "exit 1")), 9, 2..3),
        (Some("crm"), Some(("crm", "exit 1")), 9, 0..0),
        (None, Some(("mail", "exit 1")), 9, 0..0),
    ] {
        let found = list(destination, after, limit).await.groups;
        assert_eq!(found, expected[part], "{destination:?} {after:?} {limit}");
    }
}

async fn events_of_a_group_are_found_until_they_are_replayed(bench: Bench) {
    let ids = failed(&bench).await;
    let of = |error: Option<&str>, after, limit| FailureQuery {
        destination: "crm".into(),
        error: error.map(Into::into),
        after,
        limit,
    };
    let kind = Some("503 after N ms");
    for (what, query, expected) in [
        ("all", of(None, None, 9), &ids[1..4]),
        ("a kind", of(kind, None, 9), &ids[1..3]),
        ("the next part", of(kind, Some(ids[1]), 9), &ids[2..3]),
        ("none", of(Some("exit 2"), None, 9), &[]),
    ] {
        let found = bench.store.failed_events(query).await.unwrap();
        assert_eq!(found, FailedEvents { ids: expected.to_vec(), rest: None }, "{what}");
    }
    let first = bench.store.failed_events(of(kind, None, 1)).await.unwrap();
    assert_eq!(first.ids, ids[1..2]);
    let rest = bench.store.failed_events(of(kind, first.rest, 1)).await.unwrap();
    assert_eq!(rest.ids, ids[2..3]);
    let reason = "replay".to_owned();
    let replay = Replay { event_id: ids[1], targets: vec![Target::to("crm")], reason };
    bench.store.replay(vec![replay]).await.unwrap();
    let found = bench.store.failed_events(of(kind, None, 9)).await.unwrap();
    assert_eq!(found.ids, ids[2..3]);
}

async fn the_newest_entries_of_the_audit_list_are_kept_over_a_crash(mut bench: Bench) {
    let entry = |number| AuditEntry {
        number,
        at: after(number),
        who: "token".into(),
        action: "replay_events".into(),
        target: (number > 1).then(|| "crm".into()),
        affected: (number > 1).then_some(7),
        result: "done".into(),
    };
    for number in 1..4 {
        bench.store.audit(AuditEntry { number: 0, ..entry(number) }).await.unwrap();
    }
    bench.crash(NOW);
    let entries = bench.store.audit_entries(None, 2).await.unwrap();
    assert_eq!(entries, [entry(3), entry(2)]);
    assert_eq!(bench.store.audit_entries(Some(2), 9).await.unwrap(), [entry(1)]);
}

/// Of crm one that is tried again and three that are dead, and one of mail.
async fn failed(bench: &Bench) -> Vec<EventId> {
    let ids = bench.record_many(5).await;
    let wait = std::time::Duration::from_secs(9_000);
    let retry = Outcome::Retry { after: wait, waited: wait };
    for (place, to, error, outcome) in [
        (0, "crm", "503 after 1000 ms", &retry),
        (1, "crm", "503 after 1001 ms", &DEAD),
        (2, "crm", "503 after 1002 ms", &DEAD),
        (3, "crm", "exit 1", &DEAD),
        (4, "mail", "exit 1", &DEAD),
    ] {
        let at = after(i64::try_from(place).unwrap());
        bench.fan_out(&ids[place..=place], &[to], at).await;
        let claim = bench.claim(to, 1, at).await.remove(0);
        let attempt = wilco_store::Attempt { started_at: at, ..attempt(error) };
        bench.store.settle(&claim, &attempt, outcome, None).await.unwrap();
    }
    ids
}

fn group(
    destination: &str,
    error: &str,
    example_error: &str,
    example: EventId,
    (dead, retrying): (u64, u64),
    (first, last): (i64, i64),
) -> FailureGroup {
    FailureGroup {
        destination: destination.into(),
        error: error.into(),
        example_error: example_error.into(),
        example,
        dead,
        retrying,
        first_at: after(first),
        last_at: after(last),
    }
}
