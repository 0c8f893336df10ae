//! Writes and reads that fail, and what becomes of those who wait for them.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};

use super::*;

/// Takes the write lock, as a person does who has begun a transaction in a tool.
fn lock(disk: &OnDisk) -> Connection {
    let other = disk.past_the_store();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

async fn record_all(store: &Arc<SqliteStore>, count: usize) -> Vec<Result<EventId, StoreError>> {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let subject = format!("booking/{number}");
            record(&store, Sent { subject: Some(&subject), ..SENT }).await
        });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_writes_are_refused_together_while_another_program_has_the_write_lock() {
    let disk = OnDisk::new();
    let store = Arc::new(disk.open(small()));
    let other = lock(&disk);
    let began = Instant::now();
    let answers = record_all(&store, 30).await;
    // One by one they would take half a minute.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    for answer in answers {
        assert!(matches!(answer, Err(StoreError::Locked)), "{answer:?}");
    }
    assert!(matches!(store.ready(), Err(StoreError::Locked)));

    other.execute_batch("ROLLBACK").unwrap();
    // It heals without a restart: a balancer that sends nothing to a store that is not ready must see it.
    until(|| store.ready().is_ok()).await;
    for answer in record_all(&store, 30).await {
        answer.unwrap();
    }
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_trace_of_any_of_its_jobs() {
    let disk = OnDisk::new();
    let store = Arc::new(disk.open(small()));
    let (go, busy) = occupy(&store).await;
    let mut waiting = Vec::new();
    for number in 0..50 {
        let subject = format!("booking/{number}");
        let (verified, envelope) = event(Sent { subject: Some(&subject), ..SENT });
        let mut record = store.record(verified, envelope, SUPPRESS);
        assert!(hand_over(&mut record).await.is_none());
        waiting.push(record);
    }
    // The last of the batch: its transaction is gone when it comes to the commit.
    let end = |state: &mut WriterState| state.connection.execute_batch("ROLLBACK");
    let mut hindered = Box::pin(store.writer.write(Kind::Delivery, end));
    assert!(hand_over(&mut hindered).await.is_none());
    drop(go);
    busy.await.unwrap();
    for record in waiting {
        let answer = record.await;
        assert!(matches!(answer, Err(StoreError::Internal(_))), "{answer:?}");
    }
    assert!(hindered.await.is_err());
    assert_eq!((count(&disk, "event"), unrouted(store.as_ref(), 100).await.len()), (0, 0));
    // They are not taken for duplicates when they come again.
    for answer in record_all(&store, 50).await {
        answer.unwrap();
    }
    assert_eq!(count(&disk, "event"), 50);
}

#[tokio::test]
async fn a_claim_is_released_if_its_events_cannot_be_read_now() {
    let disk = OnDisk::new();
    let (store, ids) = with_a_backlog(&disk, 3).await;
    let side = disk.past_the_store();
    side.execute_batch("ALTER TABLE payload RENAME TO elsewhere").unwrap();
    let failed = store.claim("crm", 10, LEASE, LONGEST).await;
    assert!(matches!(failed, Err(StoreError::Internal(_))), "{failed:?}");
    side.execute_batch("ALTER TABLE elsewhere RENAME TO payload").unwrap();
    assert_eq!(claimed(&disk, &store).await, ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_cannot_be_released_at_once_is_released_later() {
    let disk = OnDisk::new();
    let (store, ids) = with_a_backlog(&disk, 3).await;
    let side = disk.past_the_store();
    // Neither can the events be read, nor the deliveries be given back.
    side.execute_batch(
        "ALTER TABLE payload RENAME TO elsewhere;
         CREATE TRIGGER no AFTER UPDATE ON delivery WHEN new.state = 'retrying'
         BEGIN SELECT raise(ABORT, 'no'); END",
    )
    .unwrap();
    assert!(store.claim("crm", 10, LEASE, LONGEST).await.is_err());
    let states = || -> i64 {
        let sql = "SELECT count(*) FROM delivery WHERE state = 'running'";
        side.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(states(), 3);
    side.execute_batch("DROP TRIGGER no; ALTER TABLE elsewhere RENAME TO payload").unwrap();
    until(|| states() == 0).await;
    assert_eq!(claimed(&disk, &store).await, ids);
}

#[tokio::test]
async fn a_damaged_event_does_not_keep_the_others_of_its_claim_from_being_delivered() {
    let disk = OnDisk::new();
    let (store, ids) = with_a_backlog(&disk, 3).await;
    let side = disk.past_the_store();
    // The damaged one cannot even be written off just now.
    side.execute_batch(
        "UPDATE payload SET body = x'00' WHERE event = (SELECT min(seq) FROM event);
         CREATE TRIGGER no AFTER UPDATE ON delivery WHEN new.state = 'dead'
         BEGIN SELECT raise(ABORT, 'no'); END",
    )
    .unwrap();
    assert_eq!(claimed(&disk, &store).await, ids[1..]);
    side.execute_batch("DROP TRIGGER no").unwrap();
    let state = || -> String {
        let sql = "SELECT state FROM delivery WHERE event = (SELECT min(seq) FROM event)";
        side.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    until(|| state() == "dead").await;
}

/// Deliveries to `crm` of events that are in the file and not in memory.
async fn with_a_backlog(disk: &OnDisk, count: usize) -> (SqliteStore, Vec<EventId>) {
    let store = disk.open(small());
    let mut ids = Vec::new();
    for number in 0..count {
        let subject = format!("booking/{number}");
        ids.push(record(&store, Sent { subject: Some(&subject), ..SENT }).await.unwrap());
        fan_out(&store, ids[number]).await;
    }
    store.close().await.unwrap();
    (disk.open(small()), ids)
}

async fn claimed(disk: &OnDisk, store: &SqliteStore) -> Vec<EventId> {
    disk.clock.set(after(60));
    let claims = store.claim("crm", 10, LEASE, LONGEST).await.unwrap();
    claims.iter().map(|claim| claim.event().id).collect()
}

#[tokio::test]
async fn the_beginning_of_a_rejected_body_is_stored_with_its_length() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let body: Vec<u8> = (0..=255).cycle().take(crate::REJECTION_BODY_BYTES_MAX + 7).collect();
    let large =
        Rejection { body: body.clone().into(), bytes: 1 << 20, is_complete: false, ..rejection(1) };
    assert!(store.reject(large));
    store.close().await.unwrap();
    assert!(!store.reject(rejection(2)));
    let (bytes, kept): (usize, Vec<u8>) = disk
        .past_the_store()
        .query_row("SELECT bytes, body FROM rejection", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(bytes, 1 << 20);
    assert!(kept == body[..crate::REJECTION_BODY_BYTES_MAX]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rejections_never_share_a_commit_with_events() {
    let commits = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&commits);
    let observer: crate::CommitObserver =
        Arc::new(move |events, _| observed.lock().unwrap().push(events));
    let disk = OnDisk::new();
    let store = Arc::new(disk.open(Options { observer, ..small() }));
    let flood = {
        let store = Arc::clone(&store);
        tokio::task::spawn_blocking(move || {
            (0..10_000).filter(|_| store.reject(rejection(0))).count()
        })
    };
    for answer in record_all(&store, 200).await {
        answer.unwrap();
    }
    let kept = flood.await.unwrap();
    store.close().await.unwrap();
    assert_eq!(usize::try_from(count(&disk, "rejection")).unwrap(), kept);
    let commits = commits.lock().unwrap();
    let of_rejections = commits.iter().filter(|&&events| events == 0).count();
    assert!((1..=kept).contains(&of_rejections), "{of_rejections} commits without an event");
    assert_eq!(commits.iter().sum::<usize>(), 200);
}
