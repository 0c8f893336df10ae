//! What is erased is in no file, however much of it there is and whenever the process ends.

use super::*;
use wilco::Event;

use crate::{Attempt, CommitObserver, Erasure, ErasureQuery, Overwritten, Selection};

#[tokio::test]
async fn what_is_erased_is_in_no_file_of_a_store_in_use_and_in_no_backup() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let mut ids = Vec::new();
    let canary = |number: usize| format!("canary-{}", number % 4);
    for number in 0..120_usize {
        // The chunks of the largest are removed in several commits.
        let size = if number == 110 { 1_200_000 } else { [3, 90, 900, 40_000][number / 4 % 4] };
        let body = canary(number).repeat(size);
        let subject = format!("{}/{number}", canary(number));
        let sent = Sent { subject: Some(&subject), body: body.as_bytes(), ..SENT };
        ids.push(record(&store, sent).await.unwrap());
    }
    let all: Vec<EventId> = ids.clone();
    // Several deliveries of each, whose rows grow at different times.
    let keyed = |event: &Event| {
        let key = event.subject.clone();
        ["crm", "mail"].map(|to| Target { order_key: key.clone(), ..Target::to(to) }).to_vec()
    };
    while !unrouted(&store, 9).await.is_empty() {
        let batch = store.unrouted(7).await.unwrap();
        store.fan_out(batch.route(|event| keyed(event))).await.unwrap();
    }
    for (destination, outcome) in
        [("mail", Outcome::Dead { holds_key: false }), ("crm", Outcome::Delivered)]
    {
        loop {
            let claims = store.claim(destination, 5, LEASE, LONGEST).await.unwrap();
            if claims.is_empty() {
                break;
            }
            for claim in claims {
                let text = claim.event().subject.clone().unwrap().repeat(9);
                let (request, output) = (text.clone(), text.clone().into_bytes());
                let attempt = Attempt { request, output, ..attempt(&text) };
                store.settle(&claim, &attempt, &outcome, None).await.unwrap();
            }
        }
    }
    let (erased, kept): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(number, _)| number % 4 == 2);
    let erased: Vec<_> = erased.into_iter().map(|(_, id)| id).collect();
    let outcomes = store.erase(erased.clone(), false).await.unwrap();
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == Erasure::Erased), "{outcomes:?}");
    assert_eq!(store.overwrite_erased().await.unwrap(), ALL);
    assert_eq!(files_with(&disk, b"canary-2"), [""; 0]);
    assert_eq!(files_with(&disk, b"canary-1"), ["wilco.db"]);
    let copy = disk.folder.path().join("copy.db");
    SqliteStore::back_up(&format!("sqlite:{}", disk.path().display()), &copy).unwrap();
    assert_eq!(files_with(&disk, b"canary-2"), [""; 0]);
    for (_, id) in kept {
        assert!(store.event(id).await.unwrap().is_some());
    }
    assert_eq!(store.damaged_events().await.unwrap(), 0);
}

#[tokio::test]
async fn a_file_whose_pages_cannot_be_overwritten_is_reported() {
    let disk = OnDisk::new();
    disk.open(small()).close().await.unwrap();
    let side = disk.past_the_store();
    side.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
    drop(side);
    let done = disk.open(small()).overwrite_erased().await.unwrap();
    assert_eq!(done, Overwritten { file: false, ..ALL });
}

/// A store with one routed event about `canary/1`, which has this many deliveries, each with two attempts, and is
/// said to be about it in all of them.
async fn event_with_deliveries(count: usize) -> (OnDisk, EventId) {
    let disk = OnDisk::new();
    let store = disk.open(Options::default());
    let sent = Sent { subject: Some("canary/1"), body: b"canary", ..SENT };
    let id = record(&store, sent).await.unwrap();
    support::fan_out(&store, &[id], &[]).await;
    store.close().await.unwrap();
    let numbers =
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)";
    let deliveries = "INSERT INTO delivery (id, event, destination, state, attempts, waited_ms, \
                      needs_reevaluation, order_key, reason, changed) \
                      SELECT n, seq, 'crm', iif(n % 3 = 0, 'dead', 'delivered'), 2, 0, 0, 'canary ' || n, \
                      'canary', seq + n FROM number JOIN event";
    let attempts = "INSERT INTO attempt (delivery, number, started_at_ms, took_us, result, request, \
                    output) SELECT n / 2, n % 2 + 1, n, n, 'canary', 'canary', CAST('canary' AS BLOB) \
                    FROM number WHERE n > 1";
    let side = disk.past_the_store();
    side.pragma_update(None, "secure_delete", true).unwrap();
    for (sql, rows) in [(deliveries, count), (attempts, 2 * count + 1)] {
        side.execute(&format!("{numbers} {sql}"), [rows as i64]).unwrap();
    }
    (disk, id)
}

const LEFT: &str = "SELECT (SELECT count(*) FROM attempt WHERE result = 'canary' \
                    OR length(request) + length(output) > 0) \
                    + (SELECT count(*) FROM delivery WHERE order_key IS NOT NULL)";

async fn erase_completely(disk: &OnDisk, options: Options, id: EventId) {
    let store = disk.open(options);
    let selection = Selection::Subject("canary/1".into());
    let query = ErasureQuery { selection, source: None, after: None };
    let (found, _) = store.selected(query).await.unwrap();
    assert_eq!(found.iter().map(|event| event.id).collect::<Vec<_>>(), [id]);
    assert_eq!(store.erase(vec![id], false).await.unwrap(), [(id, Erasure::Erased)]);
    assert_eq!(store.overwrite_erased().await.unwrap(), ALL);
    assert_eq!(files_with(disk, b"canary"), [""; 0]);
    let states = "SELECT count(*) FROM delivery WHERE state NOT IN ('delivered', 'cancelled')";
    let side = disk.past_the_store();
    for sql in [states, LEFT] {
        assert_eq!(side.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "{sql}");
    }
    assert_eq!(store.damaged_events().await.unwrap(), 0);
}

#[tokio::test]
async fn an_event_with_many_deliveries_is_erased_in_slices() {
    let (disk, id) = event_with_deliveries(5_000).await;
    let disk = Arc::new(disk);
    let commits = Arc::new(Mutex::new(vec![15_000_i64]));
    let (seen, files) = (Arc::clone(&commits), Arc::clone(&disk));
    let observer: CommitObserver = Arc::new(move |_, _| {
        let left = files.past_the_store().query_row(LEFT, [], |row| row.get(0)).unwrap();
        seen.lock().unwrap().push(left);
    });
    erase_completely(&disk, Options { observer, ..Options::default() }, id).await;
    let commits = commits.lock().unwrap();
    assert_eq!(commits.last(), Some(&0));
    let rows_max = i64::try_from(Limits::default().write_rows).unwrap();
    for two in commits.windows(2) {
        assert!(two[0] - two[1] <= rows_max, "{commits:?}");
    }
}

#[tokio::test]
async fn an_event_that_was_half_erased_at_a_crash_is_found_and_erased_again() {
    let (disk, id) = event_with_deliveries(900).await;
    let disk = Arc::new(disk);
    let killed = Arc::new(Mutex::new(Vec::new()));
    let (images, files) = (Arc::clone(&killed), Arc::clone(&disk));
    let observer: CommitObserver =
        Arc::new(move |_, _| images.lock().unwrap().push(files.killed()));
    erase_completely(&disk, Options { observer, ..Options::default() }, id).await;
    let killed = std::mem::take(&mut *killed.lock().unwrap());
    let mut half_erased = 0;
    for killed in killed {
        let store = killed.open(Options::default());
        let is_whole = store.event(id).await.is_ok();
        store.close().await.unwrap();
        let left: i64 = killed.past_the_store().query_row(LEFT, [], |row| row.get(0)).unwrap();
        if is_whole {
            erase_completely(&killed, Options::default(), id).await;
            half_erased += usize::from(left < 2_700);
        } else {
            assert_eq!(left, 0);
        }
    }
    assert!(half_erased > 3, "{half_erased}");
}

const ALL: Overwritten = Overwritten { file: true, log: true };
