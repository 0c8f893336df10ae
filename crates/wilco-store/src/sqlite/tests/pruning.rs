//! What remains of an event whose payload was pruned.

use super::*;
use crate::{Attempt, CommitObserver, PrunePlace, Pruned, Retention, RetentionStore as _};

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
async fn a_slice_gives_back_as_much_space_as_it_may() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let body = "x".repeat(100_000);
    let id = record(&store, Sent { body: body.as_bytes(), ..SENT }).await.unwrap();
    support::fan_out(&store, &[id], &[]).await;
    disk.clock.set(after(100));
    let (mut returned, mut next) = (Vec::new(), Some(PrunePlace::default()));
    while let Some(place) = next {
        let (pruned, rest) = store.prune(PAYLOADS, place).await.unwrap();
        returned.extend(Some(pruned.returned_bytes).filter(|bytes| *bytes > 0));
        next = rest;
    }
    let slice = small().limits.prune_bytes as u64;
    assert!(returned.len() > 3, "{returned:?}");
    assert!(returned[1..3].iter().all(|bytes| *bytes == slice), "{returned:?}");
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

/// A store in which most payloads were pruned, so that the rows of the others have moved. Half of these can be pruned
/// now, because their deliveries are no longer dead.
async fn store_with_moved_rows() -> OnDisk {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let mut ids = Vec::new();
    for number in 0..400_usize {
        let word = if is_kept(number) { "linnet" } else { "canary" };
        let (body, subject) = (word.repeat(20 + number % 90), format!("booking/{number}"));
        let sent = Sent { subject: Some(&subject), body: body.as_bytes(), ..SENT };
        ids.push(record(&store, sent).await.unwrap());
    }
    support::fan_out(&store, &ids, &[Target::to("crm")]).await;
    for (number, claim) in
        store.claim("crm", 999, LEASE, LONGEST).await.unwrap().into_iter().enumerate()
    {
        let outcome = match number % 5 {
            1 | 3 => Outcome::Dead { holds_key: false },
            _ => Outcome::Delivered,
        };
        let (request, output) = match is_kept(number) {
            true => (String::new(), Vec::new()),
            false => ("canary".repeat(30), b"canary".repeat(40)),
        };
        let attempt = Attempt { request, output, ..attempt("exit 0") };
        store.settle(&claim, &attempt, &outcome, None).await.unwrap();
    }
    disk.clock.set(after(100));
    assert_eq!(prune(&store, PAYLOADS).await.payloads, 240);
    store.close().await.unwrap();
    let cancel = "UPDATE delivery SET state = 'cancelled' WHERE state = 'dead' AND id % 5 = 2";
    assert_eq!(disk.past_the_store().execute(cancel, []).unwrap(), 80);
    disk
}

fn is_kept(number: usize) -> bool {
    number % 5 == 3
}

#[tokio::test]
async fn what_was_pruned_is_in_no_file_of_a_store_in_use_even_if_its_rows_had_moved() {
    let disk = store_with_moved_rows().await;
    disk.clock.set(after(DAY + 100));
    let store = disk.open(small());
    let pruned = prune(&store, PAYLOADS).await;
    assert_eq!(pruned.payloads, 80);
    assert_eq!(files_with(&disk, b"canary"), [""; 0], "{pruned:?}");
    assert_eq!(files_with(&disk, b"linnet"), ["wilco.db"]);
    let through = async || store.contents().await.unwrap().overwritten_through;
    assert_eq!(through().await, Some(after(DAY + 100)));
    assert_eq!(integrity(&disk.past_the_store()), "ok");

    // A pass follows a day after the last one began, but only if something was removed meanwhile.
    for (secs, removed, expected) in [
        (DAY + 200, true, DAY + 100),
        (2 * DAY + 99, false, DAY + 100),
        (2 * DAY + 100, false, 2 * DAY + 100),
        (5 * DAY, false, 2 * DAY + 100),
        (6 * DAY, true, 6 * DAY),
    ] {
        if removed {
            let sent = Sent { subject: None, at: after(secs - 20), ..SENT };
            let id = record(&store, sent).await.unwrap();
            support::fan_out(&store, &[id], &[]).await;
        }
        disk.clock.set(after(secs));
        assert_eq!(prune(&store, PAYLOADS).await.payloads, u64::from(removed), "{secs}");
        assert_eq!(through().await, Some(after(expected)), "{secs}");
    }
}

#[tokio::test]
async fn a_pass_that_a_crash_interrupted_goes_on_where_it_was() {
    let disk = Arc::new(store_with_moved_rows().await);
    disk.clock.set(after(DAY + 100));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, files) = (Arc::clone(&images), Arc::clone(&disk));
    let observer: CommitObserver = Arc::new(move |_, _| {
        if let Some(page) = next_page(&files) {
            taken.lock().unwrap().push((page, files.killed()));
        }
    });
    let store = disk.open(Options { observer, ..small() });
    prune(&store, PAYLOADS).await;
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 5, "{}", images.len());
    for (page, image) in images {
        let store = image.open(small());
        assert_eq!(next_page(&image), Some(page));
        assert_eq!(prune(&store, PAYLOADS).await.payloads, 0);
        assert_eq!(files_with(&image, b"canary"), [""; 0], "from page {page} on");
        let contents = store.contents().await.unwrap();
        assert_eq!(contents.overwritten_through, Some(after(DAY + 100)));
        assert_eq!(integrity(&image.past_the_store()), "ok");
    }
}

#[tokio::test]
async fn a_pass_ends_once_no_program_reads_what_was_removed() {
    let disk = store_with_moved_rows().await;
    disk.clock.set(after(DAY + 100));
    let store = disk.open(small());
    let reader = disk.past_the_store();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event").unwrap();
    assert_eq!(prune(&store, PAYLOADS).await.payloads, 80);
    assert_eq!(integrity(&reader), "ok");
    let seen: i64 = reader.query_row("SELECT count(*) FROM payload", [], |row| row.get(0)).unwrap();
    assert_eq!((seen, next_page(&disk)), (160, Some(0)));
    assert!(!files_with(&disk, b"canary").is_empty());
    drop(reader);
    prune(&store, PAYLOADS).await;
    assert_eq!(next_page(&disk), None);
    assert_eq!(files_with(&disk, b"canary"), [""; 0]);
}

/// Where the pass over the file is.
fn next_page(disk: &OnDisk) -> Option<i64> {
    let sql = "SELECT next_page FROM overwriting";
    disk.past_the_store().query_row(sql, [], |row| row.get(0)).unwrap()
}

fn integrity(connection: &Connection) -> String {
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

const DAY: i64 = 24 * 60 * 60;
/// Payloads are kept for ten seconds, and records for ever.
const PAYLOADS: Retention = Retention { payloads: Some(Duration::from_secs(10)), records: None };
