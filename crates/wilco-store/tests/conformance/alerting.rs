//! An alert of wilco is an event, and is not repeated too often.

use std::time::Duration;

use crate::{
    bench::Bench,
    support::{NOW, SENT, Sent, after},
};
use wilco_store::{ALERTS, Alert, State};

promises! {
    an_alert_is_an_event_with_one_delivery,
    alerts_of_one_key_are_at_least_their_interval_apart,
    the_last_event_of_a_source_is_found,
}

fn alert(key: &str) -> Alert {
    Alert {
        key: key.into(),
        every: Duration::from_secs(900),
        name: "alert.dead".into(),
        to: "chat".into(),
        body: br#"{"event":"alert.dead"}"#[..].into(),
    }
}

async fn an_alert_is_an_event_with_one_delivery(mut bench: Bench) {
    let before = bench.record(SENT).await.event_id();
    bench.clock.set(after(1));
    assert!(bench.store.record_alert(alert("dead:crm")).await.unwrap());
    bench.crash(after(2));
    let claim = bench.claim("chat", 9, after(2)).await.remove(0);
    let event = claim.event();
    assert_eq!((event.source.as_str(), event.name.as_str()), (ALERTS, "alert.dead"));
    assert_eq!(event.body, alert("").body.into());
    assert!(event.id > before);
    let ids = bench.unrouted(9).await;
    assert_eq!(ids, [before, event.id]);
    bench.fan_out(&ids, &[], after(3)).await;
    assert_eq!(bench.state(ids[1]).await, State::Running);
}

async fn alerts_of_one_key_are_at_least_their_interval_apart(mut bench: Bench) {
    for (key, secs, expected) in [
        ("dead:crm", 0, true),
        ("dead:crm", 899, false),
        ("dead:erp", 899, true),
        ("dead:crm", 900, true),
        ("dead:crm", 901, false),
        ("dead:crm", -9_000, true), // the clock was set back
    ] {
        bench.clock.set(after(secs));
        let is_recorded = bench.store.record_alert(alert(key)).await.unwrap();
        assert_eq!(is_recorded, expected, "{key} at {secs}");
        bench.crash(NOW);
    }
}

async fn the_last_event_of_a_source_is_found(bench: Bench) {
    for secs in [10, 20] {
        let subject = format!("booking/{secs}");
        let sent = Sent { subject: Some(&subject), ..SENT };
        bench.record(Sent { at: after(secs), ..sent }).await;
        bench.record(Sent { at: after(secs + 1), source: "archive", ..sent }).await;
    }
    let between = async |source, since, until| {
        bench.store.last_received(source, after(since), after(until)).await.unwrap()
    };
    let last = async |source, since| between(source, since, 10_000).await;
    assert_eq!(last("office", 0).await, Some(after(20)));
    assert_eq!(last("office", 20).await, Some(after(20)));
    assert_eq!(last("office", 21).await, None);
    assert_eq!(last("nowhere", 0).await, None);
    // The clock was ahead, and has been corrected.
    for (number, secs) in [(1, 500), (2, 40)] {
        let subject = format!("clock/{number}");
        bench.record(Sent { at: after(secs), subject: Some(&subject), ..SENT }).await;
    }
    assert_eq!(last("office", 30).await, Some(after(40)), "its id is that of a later time");
    assert_eq!(last("office", 41).await, Some(after(500)));
    assert_eq!(last("office", 501).await, None, "although its id is later than one of that time");
    assert_eq!(between("office", 0, 39).await, Some(after(20)));
    assert_eq!(between("office", 41, 499).await, None, "an event from the future does not count");
    // The only event of its source comes after more events than one read searches.
    for number in 0..30 {
        let subject = format!("other/{number}");
        let sent = Sent { at: after(600), subject: Some(&subject), source: "archive", ..SENT };
        bench.record(sent).await;
    }
    assert_eq!(last("office", 30).await, Some(after(40)));
    assert_eq!(last("nowhere", 0).await, None);
}
