//! Records that are not what was written: nothing of them is shown as right, delivered, or lost
//! without a word.

use super::*;

#[tokio::test]
async fn any_flipped_bit_of_body_headers_or_digest_is_noticed() {
    let disk = OnDisk::new();
    let store = disk.open(small());
    let id = record(&store, SENT).await.unwrap();
    let side = disk.past_the_store();
    for (table, column) in [("payload", "body"), ("payload", "headers"), ("event", "digest")] {
        let read = format!("SELECT {column} FROM {table}");
        let whole: Vec<u8> = side.query_row(&read, [], |row| row.get(0)).unwrap();
        let write = |bytes: &[u8]| {
            side.execute(&format!("UPDATE {table} SET {column} = ?1"), [bytes]).unwrap();
        };
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << (place % 8);
            write(&flipped);
            let shown = store.event(id).await;
            assert!(
                matches!(shown, Err(StoreError::Damaged(_))),
                "byte {place} of {column}: {shown:?}"
            );
        }
        write(&whole);
        assert!(store.event(id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_damaged_event_is_never_delivered_and_delays_no_other() {
    let disk = OnDisk::new();
    let mut store = disk.open(small());
    let side = disk.past_the_store();
    for change in [
        "body = x'00'",
        "headers = x''",
        "name = name || 'x'",
        "subject = NULL",
        "source = 'warehouse'",
        "provider = 'github'",
        "provider = 'github'",
        "secret_name = 'env:OTHER'",
        "received_at_ms = received_at_ms + 1",
        "conflict = 1",
        "origin = 'fetched'",
        "checksum = checksum + 1",
        "checksum = -1",
        "digest = x'00'",
        "id = 'evt_00000000000000000000000000'",
        "id = 'not an id'",
    ] {
        let damaged = record(&store, Sent { body: change.as_bytes(), ..SENT }).await.unwrap();
        let whole = record(&store, Sent { body: b"{}", ..SENT }).await.unwrap();
        fan_out(&store, damaged).await;
        fan_out(&store, whole).await;
        assert_eq!(side.execute(&update(change), [seq_of(damaged)]).unwrap(), 1);

        // What is in memory is not damaged: the next process has only the file.
        store.close().await.unwrap();
        store = disk.open(small());
        let claims = store.claim("crm", 10, LEASE, LONGEST).await.unwrap();
        let claimed: Vec<_> = claims.iter().map(|claim| claim.event().id).collect();
        assert_eq!(claimed, [whole], "{change}");
        store.settle(&claims[0], &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
        assert!(store.event(damaged).await.is_err(), "{change}");
        let (state, error, result): (String, String, String) = side
            .query_row(
                "SELECT state, last_error, result FROM delivery JOIN attempt \
                 ON attempt.delivery = delivery.id WHERE event = ?1",
                [seq_of(damaged)],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert_eq!((state.as_str(), &error), ("dead", &result), "{change}");
        disk.clock.set(after(1_000_000));
        assert!(store.claim("crm", 10, LEASE, LONGEST).await.unwrap().is_empty());
        side.execute("DELETE FROM event WHERE seq = ?1", [seq_of(damaged)]).unwrap();
    }
}

/// Three events, of which the second is then changed by the disk.
async fn with_damage(disk: &OnDisk, change: &str) -> (SqliteStore, Vec<EventId>) {
    let store = disk.open(small());
    let mut ids = Vec::new();
    for number in 0..3 {
        let subject = format!("booking/{number}");
        ids.push(record(&store, Sent { subject: Some(&subject), ..SENT }).await.unwrap());
    }
    store.close().await.unwrap();
    let changed = disk.past_the_store().execute(&update(change), [seq_of(ids[1])]);
    assert_eq!(changed.unwrap(), 1, "{change}");
    // Only what is asked for finds damage, and not the check in the background.
    (disk.open(Options { scrub_after: PATIENCE * 10, ..small() }), ids)
}

/// The statement that changes the event in a place.
fn update(change: &str) -> String {
    let is_payload = change.starts_with("body") || change.starts_with("headers");
    let (table, place) = if is_payload { ("payload", "event") } else { ("event", "seq") };
    format!("UPDATE {table} SET {change} WHERE {place} = ?1")
}

const BODY_AND_HEADERS: [&str; 2] = ["body = x'00'", "headers = x''"];
const HEAD: [&str; 13] = [
    "name = name || 'x'",
    "name = CAST(x'ff' AS TEXT)",
    "subject = NULL",
    "source = 'warehouse'",
    "provider = 'github'",
    "source = 'no name'",
    "secret_name = 'env:OTHER'",
    "received_at_ms = received_at_ms + 1",
    "received_at_ms = -9000000000000000",
    "bytes = bytes + 1",
    "delivery_id = 'x'",
    "digest = zeroblob(32)",
    "digest = x'00'",
];

#[tokio::test]
async fn a_damaged_event_is_listed_as_damaged_and_does_not_hide_others() {
    let ids_damaged = ["id = 'evt_00000000000000000000000000'", "id = 'not an id'"];
    for change in HEAD.into_iter().chain(ids_damaged) {
        let disk = OnDisk::new();
        let (store, ids) = with_damage(&disk, change).await;
        let query = EventQuery { limit: 9, ..EventQuery::default() };
        for _ in 0..2 {
            let summary = store.events(query.clone()).await.unwrap().events;
            let seen: Vec<_> =
                summary.iter().map(|event| (seq_of(event.id), event.is_damaged)).collect();
            let expected =
                [(seq_of(ids[2]), false), (seq_of(ids[1]), true), (seq_of(ids[0]), false)];
            assert_eq!(seen, expected, "{change}");
            // Nothing that may be wrong is shown.
            assert_eq!((&*summary[1].name, &summary[1].subject), ("damaged", &None), "{change}");
            assert_eq!(summary[1].digest, wilco::Digest([0; 32]), "{change}");
        }
        assert_eq!(store.damaged_events().await.unwrap(), 1, "{change}");
    }
}

#[tokio::test]
async fn a_damaged_event_found_by_routing_is_listed_and_delays_no_other() {
    for change in BODY_AND_HEADERS.into_iter().chain(["name = name || 'x'", "id = 'not an id'"]) {
        let disk = OnDisk::new();
        let (store, ids) = with_damage(&disk, change).await;
        for _ in 0..2 {
            assert_eq!(unrouted(&store, 9).await, [ids[0], ids[2]], "{change}");
        }
        assert_eq!(store.damaged_events().await.unwrap(), 1, "{change}");
        support::fan_out(&store, &[ids[0], ids[2]], &[Target::to("crm")]).await;
        store.close().await.unwrap();

        let store = disk.open(small());
        let query = EventQuery { limit: 9, ..EventQuery::default() };
        let summary = store.events(query).await.unwrap().events;
        let damaged: Vec<_> = summary.iter().map(|event| event.is_damaged).collect();
        assert_eq!(damaged, [false, true, false], "{change}");
        // It has no delivery that could be dead, and never gets one.
        let dead = EventQuery { state: Some(State::Dead), limit: 9, ..EventQuery::default() };
        let summary = store.events(dead.clone()).await.unwrap().events;
        let summary: Vec<_> = summary.iter().map(|event| seq_of(event.id)).collect();
        assert_eq!(summary, [seq_of(ids[1])], "{change}");
        let at_crm = EventQuery { destination: Some("crm".into()), ..dead };
        assert_eq!(store.events(at_crm).await.unwrap().events, [], "{change}");
    }
}

#[tokio::test]
async fn damage_found_by_a_query_is_recorded() {
    let disk = OnDisk::new();
    let (store, ids) = with_damage(&disk, "body = x'00'").await;
    assert!(matches!(store.event(ids[1]).await, Err(StoreError::Damaged(_))));
    assert_eq!(store.damaged_events().await.unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_event_that_is_sent_again_is_recorded_again() {
    for change in BODY_AND_HEADERS.into_iter().chain(["secret_name = 'x'", "id = 'not an id'"]) {
        let disk = OnDisk::new();
        let (store, ids) = with_damage(&disk, change).await;
        let again = |subject| Sent { subject: Some(subject), ..SENT };
        let second = record(&store, again("booking/1")).await.unwrap();
        assert!(!ids.contains(&second), "{change}");
        let shown = store.event(second).await.unwrap().unwrap();
        assert_eq!(&shown.event.body.contiguous(usize::MAX).unwrap()[..], SENT.body, "{change}");
        // The next copy is one of this record, and what is whole is still recognised.
        assert_eq!(record(&store, again("booking/1")).await.unwrap(), second, "{change}");
        assert_eq!(record(&store, again("booking/0")).await.unwrap(), ids[0], "{change}");
        // Under another id it is not found at all.
        if !change.starts_with("id") {
            assert_eq!(store.damaged_events().await.unwrap(), 1, "{change}");
            let notified = store.wakers().damaged().notified();
            assert!(tokio::time::timeout(PATIENCE, notified).await.is_ok(), "{change}");
        }
    }
}

/// What happens to the file while it is closed, how many events are reported for it, and as what.
type Decay = (&'static str, u64);

#[tokio::test]
async fn damage_in_unused_records_is_found_in_the_background() {
    let cases: [Decay; 9] = [
        ("", 0),
        ("UPDATE payload SET body = x'00' WHERE event IN (SELECT seq FROM event LIMIT 3)", 3),
        ("DELETE FROM payload WHERE event = (SELECT min(seq) FROM event)", 1),
        // Pruned, and so missing with good reason.
        (
            "DELETE FROM payload WHERE event = (SELECT min(seq) FROM event); \
             UPDATE progress SET pruned_through = (SELECT min(seq) FROM event)",
            0,
        ),
        // Pruned, and the rest of it is damaged.
        (
            "DELETE FROM payload WHERE event = (SELECT min(seq) FROM event); \
             UPDATE progress SET pruned_through = (SELECT min(seq) FROM event); \
             UPDATE event SET name = 'x' WHERE seq = (SELECT min(seq) FROM event)",
            1,
        ),
        ("UPDATE event SET name = 'x' WHERE seq = (SELECT max(seq) FROM event)", 1),
        // As when the disk has kept an older version of a page.
        ("DELETE FROM event WHERE seq IN (SELECT seq FROM event ORDER BY seq DESC LIMIT 5)", 5),
        ("DELETE FROM event WHERE seq = (SELECT min(event) FROM delivery)", 1),
        (
            "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name LIKE 'delivery_%'; \
             PRAGMA writable_schema = RESET; DELETE FROM delivery WHERE id IN (3, 17)",
            2,
        ),
    ];
    for (change, expected) in cases {
        let disk = OnDisk::new();
        let store = disk.open(small());
        for number in 0..40 {
            let subject = format!("booking/{number}");
            let id = record(&store, Sent { subject: Some(&subject), ..SENT }).await.unwrap();
            let targets = if number < 20 { vec![Target::to("crm")] } else { Vec::new() };
            support::fan_out(&store, &[id], &targets).await;
        }
        for claim in store.claim("crm", 40, LEASE, LONGEST).await.unwrap() {
            store.settle(&claim, &attempt("exit 0"), &Outcome::Delivered, None).await.unwrap();
        }
        store.close().await.unwrap();
        decay(&disk, change);
        // Found by the last reading of a round, so that a case in which nothing is wrong is looked through.
        decay(&disk, "INSERT INTO latest_event VALUES (9223372036854775807, 1)");
        let expected = expected + 1;

        let options = Options { scrub_after: Duration::ZERO, ..small() };
        let store = disk.open(options);
        let found = async || store.damaged_events().await.unwrap();
        let waited = tokio::time::timeout(PATIENCE, async {
            while found().await < expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "{change}: {} found", found().await);
        store.close().await.unwrap();
        assert_eq!(count(&disk, "damaged"), i64::try_from(expected).unwrap(), "{change}");
    }
}

/// Changes the file, but for what it says of indexes that are not there any more.
fn decay(disk: &OnDisk, change: &str) {
    let side = disk.past_the_store();
    let schema = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema";
    side.execute_batch(&format!("CREATE TEMP TABLE kept AS {schema}")).unwrap();
    side.execute_batch(change).unwrap();
    side.execute_batch(
        "PRAGMA writable_schema = ON; \
         INSERT INTO sqlite_schema SELECT * FROM kept WHERE name NOT IN \
           (SELECT name FROM sqlite_schema); \
         PRAGMA writable_schema = RESET; PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .unwrap();
}

#[tokio::test]
async fn a_wrong_or_missing_chunk_of_a_body_is_noticed() {
    let large: Vec<u8> = (0..=255).cycle().take((1 << 20) + 7).collect();
    for change in [
        "UPDATE payload_chunk SET body = zeroblob(length(body)) WHERE number = 2",
        "UPDATE payload_chunk SET body = x'' WHERE number = 4",
        "DELETE FROM payload_chunk WHERE number = 4",
        "DELETE FROM payload_chunk",
        "DELETE FROM payload",
    ] {
        let disk = OnDisk::new();
        let store = disk.open(small());
        let id = record(&store, Sent { body: &large, ..SENT }).await.unwrap();
        assert!(store.event(id).await.unwrap().unwrap().event.body == large.clone().into());
        disk.past_the_store().execute(change, []).unwrap();
        assert!(matches!(store.event(id).await, Err(StoreError::Damaged(_))), "{change}");
    }
}
