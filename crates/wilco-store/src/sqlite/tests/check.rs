//! The check of a whole store, which runs while it is in use if the store is large.

use super::*;

/// A store too large to be checked first, closed, with a copy of what is in its file.
async fn large(disk: &OnDisk) -> Vec<u8> {
    let store = disk.open(small());
    for number in 0..1_024 {
        let body = format!("{number:01000}");
        record(&store, Sent { body: body.as_bytes(), ..SENT }).await.unwrap();
    }
    store.close().await.unwrap();
    fs::read(disk.path()).unwrap()
}

#[tokio::test]
async fn a_large_store_is_checked_while_it_is_in_use() {
    let disk = OnDisk::new();
    large(&disk).await;
    let mark = disk.path().with_extension("db-check");
    fs::write(&mark, "").unwrap();
    let store = disk.open(small());
    record(&store, SENT).await.unwrap();
    until(|| !mark.exists()).await;
    assert!(store.ready().is_ok());
    store.close().await.unwrap();
}

#[tokio::test]
async fn damage_that_a_check_finds_while_in_use_stops_the_store_and_prevents_the_next_start() {
    // Once after an unclean stop, and once in the background after a clean one.
    for is_unclean in [true, false] {
        let disk = OnDisk::new();
        let whole = large(&disk).await;
        let mut damaged = whole.clone();
        let page = damaged.len() / 3 / 8_192 * 8_192;
        damaged[page..page + 64].fill(0xff);
        fs::write(disk.path(), damaged).unwrap();
        let mark = disk.path().with_extension("db-check");
        if is_unclean {
            fs::write(&mark, "").unwrap();
        }

        let options = Options { scrub_after: Duration::ZERO, ..small() };
        let store = disk.open(options);
        let latched = tokio::time::timeout(PATIENCE, store.wakers().failed().notified()).await;
        assert!(latched.is_ok(), "the damage was not found");
        let Err(StoreError::Latched(cause)) = store.ready() else { panic!("it is still ready") };
        assert!(cause.contains("the check found damage"), "{cause}");
        assert!(store.close().await.is_err());

        let url = format!("sqlite:{}", disk.path().display());
        let again = SqliteStore::open(&url, small(), disk.clock.clone());
        assert!(matches!(again, Err(OpenError::Damaged { .. })));
        // A backup is taken, once it has been read to its end.
        for other in ["db-wal", "db-shm"] {
            let _ = fs::remove_file(disk.path().with_extension(other));
        }
        fs::write(disk.path(), &whole).unwrap();
        disk.open(small()).close().await.unwrap();
        assert!(!mark.exists());
    }
}
