//! A search of bodies that come from a slow disk.

use super::*;

#[tokio::test]
async fn a_search_ends_when_its_time_is_over_and_the_next_one_goes_on_behind_it() {
    let disk = OnDisk::new();
    for (search_time, search_bytes_min, pages) in [
        (Duration::ZERO, 0, [1, 1, 1, 1, 1, 1].as_slice()),
        (Duration::ZERO, 2_000, &[4, 2]),
        (Duration::from_secs(3_600), 0, &[6]),
    ] {
        let limits = Limits { search_time, search_bytes_min, ..small().limits };
        let store = disk.open(Options { limits, ..small() });
        let mut ids = Vec::new();
        for number in 0..6 {
            // A body counts as 512 bytes at least.
            let (subject, body) = (format!("booking/{number}"), format!("haystack {number}"));
            let sent = Sent { subject: Some(&subject), body: body.as_bytes(), ..SENT };
            ids.push(record(&store, sent).await.unwrap());
        }
        let mut query =
            EventQuery { search: Some("haystack 0".into()), limit: 9, ..EventQuery::default() };
        let mut left = ids.len();
        for page in pages {
            let list = store.events(query.clone()).await.unwrap();
            left -= page;
            let found: Vec<_> = list.events.iter().map(|event| event.id).collect();
            assert_eq!(found, ids[..usize::from(left == 0)], "{left} left, {search_time:?}");
            query.before = list.rest;
            let rest = list.rest.unwrap_or(ids[0]);
            assert_eq!(seq_of(rest), seq_of(ids[left]), "{left} left, {search_time:?}");
        }
        let counts = store.count_events(query).await.unwrap();
        let is_all = pages.len() == 1;
        assert_eq!((counts.all.events, counts.all.is_at_least), (u64::from(is_all), !is_all));
        store.close().await.unwrap();
    }
}
