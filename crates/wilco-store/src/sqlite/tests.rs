//! What only a store in a file can show: damage, crashes, locks, and what is committed together.

mod check;
mod damage;
mod erasing;
mod failures;
mod files;
mod large;
mod pruning;
mod searching;
mod trouble;

use std::{
    collections::HashMap,
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rusqlite::{Connection, params};
use tokio::task::JoinSet;

use wilco::{EventId, STORED_CHUNK_BYTES};

use super::*;
use crate::{
    AdminStore as _, EventQuery, InboundStore as _, OutboundStore as _, Outcome, Rejection, State,
    StoreStatus as _, Target,
    support::{
        self, LEASE, LONGEST, OnDisk, SENT, SUPPRESS, Sent, after, attempt, event, hand_over,
        rejection, small, unrouted,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_caller_is_gone_keeps_its_slot_and_delays_no_delivery() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let id = record(&store, SENT).await.unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    for _ in 0..2 {
        let wait = Arc::clone(&wait);
        let look = store.query_readers.read(move |_| Ok(wait.lock().unwrap().recv().is_ok()));
        let _ = tokio::time::timeout(Duration::from_millis(20), look).await;
    }
    let look = store.unfinished();
    let waits = tokio::time::timeout(Duration::from_millis(100), look).await;
    // Every connection for questions is taken; routing and deliveries have others.
    fan_out(&store, id).await;
    assert_eq!(store.next_due("crm").await.unwrap(), Some(Duration::ZERO));
    let claim = store.claim("crm", 1, LEASE, LONGEST).await.unwrap().remove(0);
    store.settle(&claim, &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
    drop(go);
    assert!(waits.is_err(), "{waits:?}");
    assert_eq!(store.unfinished().await.unwrap(), []);
}

#[tokio::test]
async fn an_event_after_removed_ones_is_routed() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    // The clock was ahead, and what came then is gone.
    let ahead = record(&store, Sent { at: after(1_000_000), ..SENT }).await.unwrap();
    support::fan_out(&store, &[ahead], &[]).await;
    store.close().await.unwrap();
    disk.past_the_store().execute("DELETE FROM event", []).unwrap();
    let store = disk.open(small());
    let id = record(&store, SENT).await.unwrap();
    assert_eq!(unrouted(&store, 9).await, [id]);
}

async fn record(store: &SqliteStore, sent: Sent<'_>) -> Result<EventId, StoreError> {
    let (verified, envelope) = event(sent);
    store.record(verified, envelope, SUPPRESS).await.map(|receipt| receipt.event_id())
}

/// Every file of the store that has these bytes.
fn files_with(disk: &OnDisk, canary: &[u8]) -> Vec<String> {
    let files = std::fs::read_dir(disk.folder.path()).unwrap().map(Result::unwrap);
    let found = files.filter(|file| {
        let bytes = std::fs::read(file.path()).unwrap();
        bytes.windows(canary.len()).any(|window| window == canary)
    });
    found.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

async fn fan_out(store: &SqliteStore, event_id: EventId) {
    support::fan_out(store, &[event_id], &[Target::to("crm")]).await;
}

#[tokio::test]
async fn a_start_reads_only_a_few_of_many_events_about_one_subject() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    for number in 0..1_024 {
        let body = format!("{number}");
        record(&store, Sent { body: body.as_bytes(), ..SENT }).await.unwrap();
    }
    assert!(not_indexed(&disk.killed()) <= 128);
}

#[tokio::test]
async fn a_start_after_a_clean_stop_reads_no_event_and_still_recognises_every_duplicate() {
    // Few of them are in memory only, some are on their way into the table, and many are in it.
    for count in [0, 1, 63, 64, 65, 200] {
        let disk = OnDisk::new();
        let store = disk.open(small());
        let mut ids = HashMap::new();
        // Each subject twice: the later event is the one that a duplicate is compared with.
        for number in 0..count {
            let (subject, body) = (format!("booking/{}", number % 100), format!("{number}"));
            let sent = Sent { subject: Some(&subject), body: body.as_bytes(), ..SENT };
            ids.insert(subject.clone(), (body.clone(), record(&store, sent).await.unwrap()));
        }
        store.close().await.unwrap();
        assert_eq!(not_indexed(&disk), 0, "{count}");
        let store = disk.open(small());
        for (subject, (body, id)) in ids {
            let sent = Sent { subject: Some(&subject), body: body.as_bytes(), ..SENT };
            assert_eq!(record(&store, sent).await.unwrap(), id, "{subject} of {count}");
        }
    }
}

/// Events that a start has to read.
fn not_indexed(disk: &OnDisk) -> i64 {
    let sql = "SELECT count(*) FROM event WHERE seq > (SELECT indexed_through FROM progress)";
    disk.past_the_store().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn the_delivery_of_an_event_that_is_gone_is_given_up() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let id = record(&store, SENT).await.unwrap();
    fan_out(&store, id).await;
    store.close().await.unwrap();
    disk.past_the_store().execute("DELETE FROM event", []).unwrap();
    let store = disk.open(small());
    assert!(store.claim("crm", 10, LEASE, LONGEST).await.unwrap().is_empty());
    assert_eq!(store.unfinished().await.unwrap(), [("crm".into(), State::Dead, 1)]);
}

#[tokio::test]
async fn once_many_deliveries_are_unfinished_a_count_serves_for_a_while() {
    for (counted_each_time, then) in [(2, 1), (1, 2)] {
        let disk = OnDisk::new();
        let limits = Limits { counted_each_time, ..small().limits };
        let store = disk.open(Options { limits, ..small() });
        let id = record(&store, SENT).await.unwrap();
        support::fan_out(&store, &[id], &[Target::to("crm"), Target::to("crm")]).await;
        let pending = |deliveries| [("crm".into(), State::Pending, deliveries)];
        assert_eq!(store.unfinished().await.unwrap(), pending(2));
        let claim = store.claim("crm", 1, LEASE, LONGEST).await.unwrap().remove(0);
        store.settle(&claim, &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
        assert_eq!(store.unfinished().await.unwrap(), pending(then), "{counted_each_time}");
        *disk.clock.elapsed.lock().unwrap() += Duration::from_secs(1);
        assert_eq!(store.unfinished().await.unwrap(), pending(1), "{counted_each_time}");
    }
}

#[tokio::test]
async fn below_the_reserve_nothing_is_recorded_but_deliveries_continue() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let routed = record(&store, SENT).await.unwrap();
    let unrouted = record(&store, Sent { body: b"[]", ..SENT }).await.unwrap();
    fan_out(&store, routed).await;
    store.close().await.unwrap();

    let store = disk.open(Options { reserve: u64::MAX, ..small() });
    let full = |answer: &Result<(), StoreError>| {
        matches!(answer, Err(StoreError::Full { reserve: Some(u64::MAX) }))
    };
    assert!(full(&store.ready()));
    assert!(full(&record(&store, Sent { body: b"7", ..SENT }).await.map(drop)));
    store.reject(rejection(0));
    fan_out(&store, unrouted).await;
    for claim in store.claim("crm", 10, LEASE, LONGEST).await.unwrap() {
        store.settle(&claim, &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
    }
    assert_eq!(store.unfinished().await.unwrap(), []);
    assert!(store.usage().unwrap().free_bytes > 0);
    store.close().await.unwrap();
    assert_eq!(count(&disk, "attempt"), 2);
    assert_eq!((count(&disk, "event"), count(&disk, "rejection")), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiting_writes_are_committed_together() {
    let observed = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let (commits, recorded) = (&observed.0, &observed.1);
    let observer = Arc::clone(&observed);
    let options = Options {
        observer: Arc::new(move |events, _: Duration| {
            observer.0.fetch_add(1, Ordering::Relaxed);
            observer.1.fetch_add(events, Ordering::Relaxed);
        }),
        ..small()
    };
    let disk = OnDisk::new();
    let store = disk.open(options);
    // While the thread is busy with this one, all the others gather.
    let (go, busy) = occupy(&store).await;
    let mut waiting = Vec::new();
    for number in 0..1_000 {
        // Every other one is a copy, which is committed and not counted.
        let subject = format!("booking/{}", number / 2);
        let (verified, envelope) = event(Sent { subject: Some(&subject), ..SENT });
        let mut record = store.record(verified, envelope, SUPPRESS);
        assert!(hand_over(&mut record).await.is_none());
        waiting.push(record);
    }
    drop(go);
    busy.await.unwrap();
    for record in waiting {
        record.await.unwrap();
    }
    assert_eq!(recorded.load(Ordering::Relaxed), 500);
    assert_eq!(commits.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_failing_write_does_not_fail_the_others_in_its_batch() {
    let disk = OnDisk::new();
    let store = Arc::new(disk.open(small()));
    disk.past_the_store()
        .execute_batch(
            "CREATE TRIGGER odd AFTER INSERT ON event WHEN new.name = 'odd' \
             BEGIN SELECT raise(ABORT, 'no'); END",
        )
        .unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let subject = format!("booking/{number}");
            let name = if number % 10 == 3 { "odd" } else { "booking.updated" };
            let recorded = record(&store, Sent { subject: Some(&subject), name, ..SENT }).await;
            assert_eq!(recorded.is_err(), name == "odd", "{number}: {recorded:?}");
        });
    }
    tasks.join_all().await;
    assert_eq!(unrouted(store.as_ref(), 1_000).await.len(), 180);
    store.ready().unwrap();
}

#[tokio::test]
async fn a_recorded_event_is_in_the_files_before_the_answer() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    for number in 0..10 {
        let subject = format!("booking/{number}");
        let id = record(&store, Sent { subject: Some(&subject), ..SENT }).await.unwrap();
        let left = disk.killed();
        let next = left.open(small());
        assert_eq!(next.event(id).await.unwrap().unwrap().event.id, id);
    }
}

#[tokio::test]
async fn a_lease_renewed_while_a_claim_is_queued_does_not_end() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let id = record(&store, SENT).await.unwrap();
    fan_out(&store, id).await;
    let claims = store.claim("crm", 1, LEASE, LONGEST).await.unwrap();
    *disk.clock.elapsed.lock().unwrap() = LEASE;
    let (go, busy) = occupy(&store).await;
    let mut second = store.claim("crm", 1, LEASE, LONGEST);
    assert!(hand_over(&mut second).await.is_none());
    assert!(store.renew(&claims).await.unwrap().is_empty());
    drop(go);
    busy.await.unwrap();
    assert!(second.await.unwrap().is_empty());
    let settled = store.settle(&claims[0], &attempt("exit 0"), &Outcome::Delivered, None).await;
    assert_eq!(settled.unwrap(), crate::Settled::Written);
}

#[tokio::test]
async fn the_newest_rejections_are_kept() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    store.reject(rejection(0));
    store.close().await.unwrap();
    let side = disk.past_the_store();
    // As if as many had come as there is room for, and ten more.
    let room = i64::try_from(crate::REJECTIONS_MAX).unwrap();
    side.execute(
        "WITH RECURSIVE more (seq) AS \
         (SELECT 2 UNION ALL SELECT seq + 1 FROM more WHERE seq < ?1) \
         INSERT INTO rejection SELECT more.seq, id, received_at_ms, source, provider, reason, message, client, \
         method, url, hidden, bytes, digest, complete, headers, body FROM more, rejection",
        [room + 10],
    )
    .unwrap();
    let store = disk.open(small());
    store.reject(rejection(7));
    store.close().await.unwrap();
    assert_eq!(count(&disk, "rejection"), room);
    let newest: (String, String, Vec<u8>, Vec<u8>) = side
        .query_row(
            "SELECT message, client || method || url, headers, body FROM rejection ORDER BY seq DESC LIMIT 1",
            params![],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    let expected = (
        "number 7",
        "192.0.2.1POSThttps://hooks.example/",
        &b"host: hooks.example\r\n"[..],
        &b"{}"[..],
    );
    assert_eq!((&*newest.0, &*newest.1, &newest.2[..], &newest.3[..]), expected);
}

fn count(disk: &OnDisk, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    disk.past_the_store().query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// Keeps the writing thread busy until the sender is dropped, so that all else gathers.
async fn occupy(
    store: &SqliteStore,
) -> (std::sync::mpsc::Sender<()>, impl Future<Output = Result<bool, StoreError>>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let mut busy = Box::pin(store.writer.write(Kind::Delivery, move |_| {
        let _ = begun.send(());
        Ok(wait.recv().is_ok())
    }));
    assert!(hand_over(&mut busy).await.is_none());
    has_begun.recv_timeout(PATIENCE).unwrap();
    (go, busy)
}

/// Waits for a condition.
async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("the condition holds in time");
}

/// More than anything here takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);
