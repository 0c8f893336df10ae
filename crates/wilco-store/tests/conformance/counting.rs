//! The matches of each secret are counted, as durably as the events.

use wilco_store::SecretMatches;

use crate::{
    bench::Bench,
    support::{NOW, SENT, Sent, after},
};

promises! {
    matches_are_counted_with_duplicates_and_survive_a_crash,
    matches_of_a_write_that_failed_are_not_counted,
    matches_of_other_secrets_are_counted_since_the_last_match,
    secrets_that_are_no_longer_configured_are_forgotten,
}

async fn matches_are_counted_with_duplicates_and_survive_a_crash(mut bench: Bench) {
    let sent = |secs, source| Sent { at: after(secs), source, ..SENT };
    for sent in [sent(2, "office"), sent(3, "office"), sent(1, "office"), sent(9, "warehouse")] {
        bench.record(sent).await;
    }
    bench.crash(NOW);
    assert!(!bench.record(sent(4, "office")).await.is_first());
    let expected = [
        matches(("office", "test:secret"), 2, 4, (1, 4), 0),
        matches(("warehouse", "test:secret"), 9, 1, (9, 9), 0),
    ];
    assert_eq!(bench.store.secret_matches().await.unwrap(), expected);
}

async fn matches_of_a_write_that_failed_are_not_counted(bench: Bench) {
    bench.record(SENT).await;
    bench.backend.break_next_write();
    bench.try_record(Sent { body: b"lost", ..SENT }).await.unwrap_err();
    bench.backend.mend();
    let expected = [matches(("office", "test:secret"), 0, 1, (0, 0), 0)];
    assert_eq!(bench.store.secret_matches().await.unwrap(), expected);
}

async fn matches_of_other_secrets_are_counted_since_the_last_match(bench: Bench) {
    let sent = |secs, secret_name| Sent { at: after(secs), secret_name, ..SENT };
    for (secs, secret_name) in [(1, "old"), (2, "new"), (3, "old"), (4, "new"), (5, "new")] {
        bench.record(sent(secs, secret_name)).await;
    }
    bench.record(Sent { source: "warehouse", ..sent(6, "new") }).await;
    let expected = [
        matches(("office", "new"), 2, 3, (2, 5), 0),
        matches(("office", "old"), 1, 2, (1, 3), 2),
        matches(("warehouse", "new"), 6, 1, (6, 6), 0),
    ];
    assert_eq!(bench.store.secret_matches().await.unwrap(), expected);
}

async fn secrets_that_are_no_longer_configured_are_forgotten(bench: Bench) {
    let configure = |secs, secrets: &[&str]| {
        bench.clock.set(after(secs));
        let secrets = secrets.iter().map(|&secret| ("office".to_owned(), secret.to_owned()));
        bench.store.set_secrets(secrets.collect());
    };
    configure(1, &["old", "new"]);
    bench.record(Sent { at: after(2), secret_name: "old", ..SENT }).await;
    let unused = |secret, since, others_since| SecretMatches {
        first_at: None,
        last_at: None,
        ..matches(("office", secret), since, 0, (0, 0), others_since)
    };
    let old = matches(("office", "old"), 1, 1, (2, 2), 0);
    assert_eq!(bench.store.secret_matches().await.unwrap(), [unused("new", 1, 1), old.clone()]);
    configure(3, &["next", "old"]);
    bench.record(Sent { source: "warehouse", at: after(4), ..SENT }).await;
    let expected =
        [unused("next", 3, 0), old, matches(("warehouse", "test:secret"), 4, 1, (4, 4), 0)];
    assert_eq!(bench.store.secret_matches().await.unwrap(), expected);
}

/// A secret of a source, in seconds since the beginning of the test.
fn matches(
    (source, secret_name): (&str, &str),
    since: i64,
    matches: u64,
    (first, last): (i64, i64),
    others_since: u64,
) -> SecretMatches {
    SecretMatches {
        source: source.into(),
        secret_name: secret_name.into(),
        since: after(since),
        matches,
        first_at: Some(after(first)),
        last_at: Some(after(last)),
        others_since,
    }
}
