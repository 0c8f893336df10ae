use std::sync::Arc;

use futures_util::FutureExt as _;
use wilco_store::{Alert, Clock, MemoryStore, OutboundStore as _};

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

/// A claim of the only delivery to `crm`.
fn claim() -> Claim {
    let store = MemoryStore::new(Arc::new(Still));
    let alert = Alert {
        key: "test".into(),
        every: Duration::ZERO,
        name: "alert.test".into(),
        to: "crm".into(),
        body: (&b"{}"[..]).into(),
    };
    store.record_alert(alert).now_or_never().unwrap().unwrap();
    let claimed = store.claim("crm", 1, LEASE, Duration::MAX).now_or_never().unwrap();
    claimed.unwrap().remove(0)
}

#[test]
fn an_opening_breaker_is_reported_even_if_the_outcome_is_dropped() {
    for written in [Settled::Written, Settled::Stale] {
        let breaker = BreakerPolicy { failures: 1, ..BreakerPolicy::default() };
        let mut worker = Worker::new(Policy { breaker, ..Policy::default() }, 0);
        let at = Moment { now: Timestamp::UNIX_EPOCH, since_opened: Duration::ZERO };
        let failed = AttemptEnd::Replied(Reply::failed("exit 1".into()));
        for input in [
            Input::TimerFired,
            Input::Opened(Ok(DestinationStatus::default())),
            Input::Claimed(Ok(vec![claim()])),
            Input::Ended { id: 1, end: failed, took: Duration::ZERO, chance: 0.5 },
        ] {
            worker.step(input, at);
        }
        let effects = worker.step(Input::Settled { id: 1, written: Ok(written) }, at);
        let count = |is: fn(&Effect) -> bool| effects.iter().filter(|effect| is(effect)).count();
        let dropped = count(|effect| matches!(effect, Effect::Report(Report::Dropped(_))));
        assert_eq!(dropped, usize::from(written == Settled::Stale), "{effects:?}");
        let opened = count(|effect| matches!(effect, Effect::Report(Report::BreakerOpened { .. })));
        let alerts = count(|effect| matches!(effect, Effect::Alert(Cause::BreakerOpened { .. })));
        assert_eq!((opened, alerts), (1, 1), "{written:?}: {effects:?}");
    }
}
