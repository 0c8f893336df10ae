//! Failures are grouped, however many there are.

use super::*;
use crate::FailureGroupQuery;

#[tokio::test]
async fn of_very_many_failures_the_same_number_of_each_destination_is_looked_at() {
    let disk = OnDisk::new();
    let store = disk.open(Options::default());
    let id = record(&store, SENT).await.unwrap();
    support::fan_out(&store, &[id], &[]).await;
    store.close().await.unwrap();
    let deliveries = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 6000) \
                      INSERT INTO delivery (id, event, destination, state, attempts, waited_ms, \
                      needs_reevaluation, last_error, changed) \
                      SELECT n, seq, iif(n % 2, 'crm', 'mail'), 'dead', 1, 0, 0, 'exit 3', seq + n \
                      FROM number JOIN event";
    disk.past_the_store().execute(deliveries, []).unwrap();
    let store = disk.open(Options::default());
    for (destination, expected) in [(None, &[2_500, 2_500][..]), (Some("crm"), &[3_000])] {
        let destination = destination.map(ToOwned::to_owned);
        let query = FailureGroupQuery { destination, limit: 9, ..FailureGroupQuery::default() };
        let found = store.failure_groups(query).await.unwrap();
        let counts: Vec<_> = found.groups.iter().map(|group| group.dead).collect();
        assert_eq!((&counts[..], found.is_at_least), (expected, expected.len() == 2));
    }
}
