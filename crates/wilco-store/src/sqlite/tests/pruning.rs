//! What remains of an event whose payload was pruned.

use super::*;
use crate::{Attempt, PrunePlace, Pruned, Retention, RetentionStore as _};

#[tokio::test]
async fn an_event_whose_payload_was_pruned_is_still_listed_and_recognised() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let pruned = record(&store, SENT).await.unwrap();
    fan_out(&store, pruned).await;
    let newest = record(&store, Sent { subject: None, at: after(60), ..SENT }).await.unwrap();
    support::fan_out(&store, &[newest], &[]).await;
    store.close().await.unwrap();
    let side = disk.past_the_store();
    side.execute_batch("DELETE FROM payload").unwrap();
    side.execute("UPDATE progress SET pruned_through = ?1", [seq_of(newest)]).unwrap();
    for sql in ["DELETE FROM event WHERE seq = ?1", "DELETE FROM latest_event WHERE event = ?1"] {
        side.execute(sql, [seq_of(newest)]).unwrap();
    }

    let store = disk.open(Options { scrub_after: Duration::ZERO, ..small() });
    let listed =
        store.events(EventQuery { limit: 9, ..EventQuery::default() }).await.unwrap().events;
    let listed: Vec<_> = listed.iter().map(|event| (event.id, event.is_damaged)).collect();
    assert_eq!(listed, [(pruned, false)]);
    assert!(matches!(store.event(pruned).await, Err(StoreError::Pruned(_))));
    assert_eq!(record(&store, SENT).await.unwrap(), pruned, "it is a duplicate");
    assert!(store.claim("crm", 9, LEASE, LONGEST).await.unwrap().is_empty());
    assert_eq!(store.unfinished().await.unwrap(), [("crm".into(), State::Dead, 1)]);
    assert_eq!(store.damaged_events().await.unwrap(), 0);
    // The clock has been set back, and the newest event is gone.
    let next = record(&store, Sent { body: b"[]", ..SENT }).await.unwrap();
    assert!(next > newest, "{next} {newest}");
    assert_eq!(unrouted(&store, 9).await, [next]);
}

#[tokio::test]
async fn an_unrouted_event_whose_payload_was_pruned_is_skipped_and_is_not_damage() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let pruned = record(&store, SENT).await.unwrap();
    let whole = record(&store, Sent { body: b"[]", ..SENT }).await.unwrap();
    store.close().await.unwrap();
    let side = disk.past_the_store();
    side.execute("DELETE FROM payload WHERE event = ?1", [seq_of(pruned)]).unwrap();
    side.execute("UPDATE progress SET pruned_through = ?1", [seq_of(pruned)]).unwrap();
    let store = disk.open(small());
    assert_eq!(unrouted(&store, 9).await, [whole]);
    assert_eq!(store.damaged_events().await.unwrap(), 0);
}

async fn prune(store: &SqliteStore, retention: Retention) -> Pruned {
    let (mut all, mut next) = (Pruned::default(), Some(PrunePlace::default()));
    while let Some(place) = next {
        let (pruned, rest) = store.prune(retention, place).await.unwrap();
        all += pruned;
        next = rest;
    }
    all
}

#[tokio::test]
async fn what_is_pruned_is_overwritten_and_its_space_is_given_back() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let mut ids = Vec::new();
    for number in 0..40_usize {
        let body = format!("canary {number}").repeat(if number == 20 { 40_000 } else { 800 });
        let subject = format!("booking/{number}");
        let sent = Sent { subject: Some(&subject), body: body.as_bytes(), ..SENT };
        ids.push(record(&store, sent).await.unwrap());
    }
    support::fan_out(&store, &ids, &[Target::to("crm")]).await;
    for claim in store.claim("crm", 99, LEASE, LONGEST).await.unwrap() {
        let (request, output) = ("canary".repeat(99), b"canary".repeat(99));
        let attempt = Attempt { request, output, ..attempt("exit 0") };
        store.settle(&claim, &attempt, &Outcome::Delivered, None).await.unwrap();
    }
    let bytes = || std::fs::metadata(disk.path()).unwrap().len();
    store.close().await.unwrap();
    assert_eq!(files_with(&disk, b"canary"), ["wilco.db"]);
    let before = bytes();

    disk.clock.set(after(100));
    let age = |secs| Some(Duration::from_secs(secs));
    let retention = Retention { payloads: age(10), records: age(1_000) };
    let store = disk.open(Options { scrub_after: Duration::ZERO, ..small() });
    let pruned = prune(&store, retention).await;
    assert_eq!((pruned.payloads, pruned.records), (40, 0));
    assert!(pruned.returned_bytes > before / 2, "{pruned:?}");
    store.close().await.unwrap();
    assert!(bytes() < before / 2, "{} of {before}", bytes());
    assert_eq!(files_with(&disk, b"canary"), [""; 0]);

    disk.clock.set(after(2_000));
    let store = disk.open(Options { scrub_after: Duration::ZERO, ..small() });
    assert_eq!(prune(&store, retention).await.records, 40);
    let side = disk.past_the_store();
    let left = "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM delivery) \
                + (SELECT count(*) FROM attempt) + (SELECT count(*) FROM latest_event) \
                + (SELECT count(*) FROM payload_chunk) + (SELECT count(*) FROM partial_body)";
    assert_eq!(side.query_row(left, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    let contents = "SELECT events = 0 AND payloads = 0 AND body_bytes = 0 FROM contents";
    assert!(side.query_row(contents, [], |row| row.get::<_, bool>(0)).unwrap());
    assert_eq!(store.damaged_events().await.unwrap(), 0);
}
