//! What happens to a store whose files are taken away, or that another program reads.

use super::*;

#[tokio::test]
async fn a_removed_store_is_noticed_before_anything_is_acknowledged() {
    for name in ["wilco.db", "wilco.db-wal", "wilco.db-shm"] {
        let disk = OnDisk::new();
        let store = disk.open(small());
        record(&store, SENT).await.unwrap();
        fs::remove_file(disk.folder.path().join(name)).unwrap();
        let recorded = record(&store, Sent { body: b"{}", ..SENT }).await;
        assert!(matches!(recorded, Err(StoreError::Latched(_))), "{name}: {recorded:?}");
        let disk = OnDisk::new();
        let store = disk.open(small());
        store.ready().unwrap();
        fs::remove_file(disk.folder.path().join(name)).unwrap();
        assert!(matches!(store.ready(), Err(StoreError::Latched(_))), "{name}");
        store.wakers().failed().notified().await;
    }
}

#[tokio::test]
async fn a_store_can_be_read_with_and_without_a_running_process() {
    let disk = OnDisk::new();
    let url = format!("sqlite:{}", disk.path().display());
    let store = disk.open(small());
    let id = record(&store, SENT).await.unwrap();
    let reader = SqliteStore::open_read_only(&url, disk.clock.clone()).unwrap();
    assert!(reader.event(id).await.unwrap().is_some());
    store.close().await.unwrap();

    let alone = SqliteStore::open_read_only(&url, disk.clock.clone()).unwrap();
    assert!(alone.event(id).await.unwrap().is_some());
    let recorded = record(&alone, Sent { body: b"[1]", ..SENT }).await;
    assert!(recorded.is_err(), "{recorded:?}");
    assert!(alone.cancel(id, None).await.is_err());
    // Neither keeps a server from starting.
    let again = disk.open(small());
    record(&again, Sent { body: b"[1]", ..SENT }).await.unwrap();
    alone.close().await.unwrap();
    reader.close().await.unwrap();
    again.close().await.unwrap();
}

#[tokio::test]
async fn a_log_truncated_by_somebody_else_is_noticed_and_one_emptied_by_a_checkpoint_is_not() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    record(&store, SENT).await.unwrap();
    disk.past_the_store()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        .unwrap();
    record(&store, Sent { body: b"[1]", ..SENT }).await.unwrap();
    fs::File::options()
        .write(true)
        .open(disk.path().with_extension("db-wal"))
        .unwrap()
        .set_len(0)
        .unwrap();
    let recorded = record(&store, Sent { body: b"7", ..SENT }).await;
    assert!(matches!(recorded, Err(StoreError::Latched(_))), "{recorded:?}");
}

#[tokio::test]
async fn a_store_that_another_program_reads_opens_once_that_has_ended() {
    let disk = OnDisk::new();
    let left = {
        let store = disk.open(small());
        record(&store, SENT).await.unwrap();
        disk.killed()
    };
    let reader = left.past_the_store();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    let store = left.open(small());
    let is_opening = |answer: Result<(), StoreError>| matches!(answer, Err(StoreError::Opening(_)));
    assert!(is_opening(store.ready()));
    assert!(is_opening(record(&store, Sent { body: b"[1]", ..SENT }).await.map(drop)));
    assert!(is_opening(store.claim("crm", 1, LEASE, LONGEST).await.map(drop)));
    assert!(is_opening(store.unrouted(1).await.map(drop)));
    reader.execute_batch("COMMIT").unwrap();
    while is_opening(store.ready()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    record(&store, Sent { body: b"[1]", ..SENT }).await.unwrap();
    assert_eq!(unrouted(&store, 9).await.len(), 2);
    store.close().await.unwrap();

    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    let store = left.open(small());
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_log_stays_within_its_bound_while_deliveries_are_made() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let wal = disk.path().with_extension("db-wal");
    let mut longest = 0;
    for number in 0..1_500 {
        let subject = format!("booking/{number}");
        let id = record(&store, Sent { subject: Some(&subject), ..SENT }).await.unwrap();
        fan_out(&store, id).await;
        for claim in store.claim("crm", 1, LEASE, LONGEST).await.unwrap() {
            store.settle(&claim, &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
        }
        longest = longest.max(fs::metadata(&wal).unwrap().len());
    }
    assert!(longest < wal::CHECKPOINT_BYTES_MAX + (1 << 20), "{longest}");
}
