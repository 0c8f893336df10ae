use std::sync::Arc;

use futures_util::FutureExt as _;
use wilco_store::{Alert, CLAIM_BYTES_MAX, Clock, MemoryStore, OutboundStore as _};

use super::*;
use crate::{effect::Cause, policy::BreakerPolicy};

/// A clock that does not move.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A claim of a delivery with a body of this size.
fn claim(bytes: usize) -> Claim {
    let store = MemoryStore::new(Arc::new(Still));
    let alert = Alert {
        key: "test".into(),
        every: Duration::ZERO,
        name: "alert.test".into(),
        to: "crm".into(),
        body: vec![b'x'; bytes].into(),
    };
    store.record_alert(alert).now_or_never().unwrap().unwrap();
    let claimed = store.claim("crm", 1, LEASE, Duration::MAX).now_or_never().unwrap();
    claimed.unwrap().remove(0)
}

const START: Moment = Moment { now: Timestamp::UNIX_EPOCH, since_opened: Duration::ZERO };

#[test]
fn nothing_is_claimed_while_attempts_hold_as_many_bytes_as_they_may() {
    for (bytes, asks) in [(CLAIM_BYTES_MAX - 1, true), (CLAIM_BYTES_MAX, false)] {
        let mut worker = Worker::new(Policy { concurrency: 9, ..Policy::default() }, 0);
        worker.step(Input::TimerFired, START);
        worker.step(Input::Opened(Ok(DestinationStatus::default())), START);
        worker.step(Input::Claimed(Ok(vec![claim(bytes)])), START);
        let claims =
            |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::Claim { .. }));
        assert_eq!(
            claims(&worker.step(Input::Due(Ok(Some(Duration::ZERO))), START)),
            asks,
            "{bytes}"
        );
        let end = AttemptEnd::Replied(Reply::delivered());
        worker.step(Input::Ended { id: 1, end, took: Duration::ZERO, chance: 0.5 }, START);
        let settled = Input::Settled { id: 1, written: Ok(Settled::Written) };
        assert!(asks || claims(&worker.step(settled, START)), "{bytes}");
    }
}

#[test]
fn an_opening_breaker_is_reported_even_if_the_outcome_is_dropped() {
    for written in [Settled::Written, Settled::Stale] {
        let breaker = BreakerPolicy { failures: 1, ..BreakerPolicy::default() };
        let mut worker = Worker::new(Policy { breaker, ..Policy::default() }, 0);
        let failed = AttemptEnd::Replied(Reply::failed("exit 1".into()));
        for input in [
            Input::TimerFired,
            Input::Opened(Ok(DestinationStatus::default())),
            Input::Claimed(Ok(vec![claim(2)])),
            Input::Ended { id: 1, end: failed, took: Duration::ZERO, chance: 0.5 },
        ] {
            worker.step(input, START);
        }
        let effects = worker.step(Input::Settled { id: 1, written: Ok(written) }, START);
        let count = |is: fn(&Effect) -> bool| effects.iter().filter(|effect| is(effect)).count();
        let dropped = count(|effect| matches!(effect, Effect::Report(Report::Dropped(_))));
        assert_eq!(dropped, usize::from(written == Settled::Stale), "{effects:?}");
        let opened = count(|effect| matches!(effect, Effect::Report(Report::BreakerOpened { .. })));
        let alerts = count(|effect| matches!(effect, Effect::Alert(Cause::BreakerOpened { .. })));
        assert_eq!((opened, alerts), (1, 1), "{written:?}: {effects:?}");
    }
}
