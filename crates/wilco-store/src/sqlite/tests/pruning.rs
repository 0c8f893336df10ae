//! What remains of an event whose payload was pruned.

use super::*;

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
    let listed = store.events(EventQuery { limit: 9, ..EventQuery::default() }).await.unwrap();
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
