//! Events with bodies that are too large for one row.

use super::*;

#[tokio::test]
async fn a_body_that_is_stored_elsewhere_is_recorded_in_chunks_and_read_one_by_one() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let body = body(5, 7);
    let id = record(&store, Sent { body: &body, ..SENT }).await.unwrap();
    let spooled = {
        let mut spool = store.spool().unwrap();
        body.chunks(100_000).for_each(|chunk| spool.write(chunk).unwrap());
        spool.into_body()
    };
    assert!(spooled.is_stored());
    let shown = store.event(id).await.unwrap().unwrap().event.body;
    assert!(shown.is_stored() && shown == spooled);
    let sizes: Vec<_> = shown.chunks().map(|chunk| chunk.unwrap().len()).collect();
    assert_eq!(sizes, [&[STORED_CHUNK_BYTES; 5][..], &[7]].concat());
    assert_eq!((count(&disk, "payload_chunk"), count(&disk, "partial_body")), (6, 0));
    store.close().await.unwrap();
    assert!(shown.contiguous(usize::MAX).is_err(), "the store is closed");
}

#[tokio::test]
async fn small_events_are_recorded_between_the_chunks_of_a_large_one() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let (go, busy) = occupy(&store).await;
    let body = body(3 * CHUNKS_PER_COMMIT, 0);
    let mut large = Box::pin(record(&store, Sent { body: &body, ..SENT }));
    assert!(hand_over(&mut large).await.is_none());
    let mut small = Box::pin(record(&store, Sent { subject: Some("b/2"), ..SENT }));
    assert!(hand_over(&mut small).await.is_none());
    drop(go);
    busy.await.unwrap();
    let (small, large) = (small.await.unwrap(), large.await.unwrap());
    assert!(small < large, "the large one is an event once all of it is written");
    assert_eq!(unrouted(&store, 9).await, [small, large]);
}

#[tokio::test]
async fn a_large_body_that_comes_twice_at_once_is_kept_once() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let body = body(2 * CHUNKS_PER_COMMIT, 1);
    let send = || record(&store, Sent { body: &body, ..SENT });
    let (first, second, third) = tokio::join!(send(), send(), send());
    let first = first.unwrap();
    assert_eq!((second.unwrap(), third.unwrap()), (first, first));
    assert_eq!(send().await.unwrap(), first);
    let chunks = i64::try_from(2 * CHUNKS_PER_COMMIT + 1).unwrap();
    until(|| count(&disk, "payload_chunk") == chunks && count(&disk, "partial_body") == 0).await;
    assert!(store.event(first).await.unwrap().unwrap().event.body == body.clone().into());
}

#[tokio::test]
async fn a_start_removes_the_chunks_of_a_body_that_no_event_got() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let body = body(5, 0);
    let id = record(&store, Sent { body: &body, ..SENT }).await.unwrap();
    store.close().await.unwrap();
    disk.past_the_store()
        .execute_batch(
            "INSERT INTO partial_body VALUES (5), (9);
             WITH RECURSIVE number AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM number WHERE n < 99)
             INSERT INTO payload_chunk SELECT 5, n, zeroblob(99) FROM number",
        )
        .unwrap();
    let store = disk.open(small());
    until(|| count(&disk, "payload_chunk") == 5 && count(&disk, "partial_body") == 0).await;
    assert!(store.event(id).await.unwrap().unwrap().event.body == body.clone().into());
    let another = record(&store, Sent { body: &body[1..], ..SENT }).await.unwrap();
    let last: i64 = disk
        .past_the_store()
        .query_row("SELECT max(chunks) FROM payload", [], |row| row.get(0))
        .unwrap();
    assert_eq!(last, 10, "no number is used twice");
    assert!(store.event(another).await.unwrap().unwrap().event.body == body[1..].to_vec().into());
}

#[tokio::test]
async fn what_could_not_be_recorded_leaves_no_chunks() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    disk.past_the_store().execute_batch("ALTER TABLE payload RENAME TO elsewhere").unwrap();
    let body = body(2 * CHUNKS_PER_COMMIT, 1);
    assert!(record(&store, Sent { body: &body, ..SENT }).await.is_err());
    disk.past_the_store().execute_batch("ALTER TABLE elsewhere RENAME TO payload").unwrap();
    until(|| count(&disk, "payload_chunk") == 0 && count(&disk, "partial_body") == 0).await;
    assert!(record(&store, Sent { body: &body, ..SENT }).await.is_ok());
}

/// A body with this number of chunks and further bytes, of which each chunk differs.
fn body(chunks: usize, more: usize) -> Vec<u8> {
    let bytes = chunks * STORED_CHUNK_BYTES + more;
    (0..bytes).map(|place| (place >> 10).to_le_bytes()[0] ^ place.to_le_bytes()[0]).collect()
}
