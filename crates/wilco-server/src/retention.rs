//! The retention: removes what is older than it is to be kept, at start and then once a minute.
//!
//! A round works in slices with pauses that grow with what a slice took, so that pruning never takes more than
//! a fifth of the time of the store. Where space is short, payloads go before their time.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use wilco_store::{PrunePlace, Pruned, Retention, Store, StoreError};

use crate::{clock, metrics::Metrics};

/// The retention, ready to run.
pub(crate) struct Pruner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) retention: watch::Receiver<Retention>,
    pub(crate) counters: Counters,
}

/// What it has removed since the start.
pub(crate) struct Counters {
    payloads: Counter,
    payload_bytes: Counter,
    early: Counter,
    records: Counter,
    rejections: Counter,
    returned: Counter,
    overwritten: Counter,
}

impl Counters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let counter = |name: &str, help: &str| metrics.counter(&format!("pruned_{name}"), help);
        Self {
            payloads: counter("payloads", "Events that lost headers and body because of their age"),
            payload_bytes: counter(
                "payload_bytes",
                "Bytes of bodies and outputs that were removed",
            ),
            early: counter("payloads_early", "Those of them that went because space was short"),
            records: counter("records", "Events that were removed because of their age"),
            rejections: counter("rejections", "Rejections that were removed because of their age"),
            returned: counter("returned_bytes", "Bytes given back to the file system"),
            overwritten: counter(
                "overwritten_pages",
                "Pages in which copies of what was removed were overwritten",
            ),
        }
    }

    fn add(&self, pruned: Pruned) {
        self.payloads.inc_by(pruned.payloads);
        self.payload_bytes.inc_by(pruned.payload_bytes);
        self.records.inc_by(pruned.records);
        self.rejections.inc_by(pruned.rejections);
        self.returned.inc_by(pruned.returned_bytes);
        self.overwritten.inc_by(pruned.overwritten_pages);
    }
}

impl Pruner {
    /// Runs until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let retention = *self.retention.borrow_and_update();
            // A clock that is wrong after a boot is set within this time on most machines.
            self.wait(round_pause(retention)).await;
            let mut times = Times::now();
            loop {
                let retention = *self.retention.borrow_and_update();
                if times.allow_round(clock::now(), Instant::now()) {
                    self.round(retention).await;
                }
                self.wait(round_pause(retention)).await;
            }
        })
        .await;
    }

    /// Waits until the next round, or the next configuration; meanwhile payloads go early if space is short.
    async fn wait(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.retention.has_changed().unwrap_or(true) && Instant::now() < until {
            if self.is_short() {
                let retention = *self.retention.borrow();
                self.make_space(retention).await;
            }
            sleep(SPACE_LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn round(&self, retention: Retention) {
        let (mut all, mut next) = (Pruned::default(), Some(PrunePlace::default()));
        let mut overwriting_since = None;
        while let Some(place) = next {
            if place.is_about_copies() {
                let since = *overwriting_since.get_or_insert_with(Instant::now);
                // The next round goes on with it.
                if since.elapsed() > OVERWRITING_MAX || self.is_short() {
                    break;
                }
            }
            match self.slice(retention, place).await {
                Ok((pruned, rest)) => {
                    all += pruned;
                    next = rest;
                }
                Err(error) => {
                    if !error.is_final() {
                        tracing::warn!(%error, "pruning is interrupted; it is continued later");
                    }
                    break;
                }
            }
        }
        if all != Pruned::default() {
            let Pruned {
                payloads,
                payload_bytes,
                records,
                rejections,
                returned_bytes,
                overwritten_pages,
            } = all;
            tracing::info!(
                payloads,
                payload_bytes,
                records,
                rejections,
                returned_bytes,
                overwritten_pages,
                "pruned what is older than it is to be kept"
            );
        }
    }

    async fn slice(
        &self,
        retention: Retention,
        place: PrunePlace,
    ) -> Result<(Pruned, Option<PrunePlace>), StoreError> {
        let began = Instant::now();
        let (pruned, next) = self.store.prune(retention, place).await?;
        self.counters.add(pruned);
        if pruned != Pruned::default() || place.is_about_copies() {
            sleep((began.elapsed() * 4).clamp(PAUSE_MIN, PAUSE_MAX)).await;
        }
        Ok((pruned, next))
    }

    fn is_short(&self) -> bool {
        matches!(self.store.ready(), Err(StoreError::Full { .. }))
    }

    /// Gives free pages back while space is short, and then removes the oldest finished payloads, a few at a
    /// time, down to the youngest that may go.
    async fn make_space(&self, retention: Retention) {
        let Some(payloads) = retention.payloads else { return };
        let early = Retention { payloads: Some(payloads.min(EARLY_AGE)), records: None };
        let (mut removed, mut place) = (0, Some(PrunePlace::default()));
        loop {
            if let Err(error) = self.give_back(early).await {
                tracing::warn!(%error, "space of the store cannot be given back");
                break;
            }
            // The write-ahead log is emptied at most once a second.
            sleep(LOG_EMPTIED).await;
            let Some(from) = place.filter(|place| place.is_about_payloads() && self.is_short())
            else {
                break;
            };
            match self.few(early, from).await {
                Ok((payloads, next)) => {
                    self.counters.early.inc_by(payloads);
                    removed += payloads;
                    place = next;
                }
                Err(error) => {
                    tracing::warn!(%error, "payloads cannot be removed to make space");
                    break;
                }
            }
        }
        if removed > 0 {
            tracing::warn!(
                payloads = removed,
                "removed the oldest payloads before their time, because space is short"
            );
        }
    }

    /// Removes payloads in a few slices.
    async fn few(
        &self,
        retention: Retention,
        from: PrunePlace,
    ) -> Result<(u64, Option<PrunePlace>), StoreError> {
        let (mut removed, mut next) = (0, Some(from));
        for _ in 0..EARLY_SLICES {
            let Some(place) = next.filter(PrunePlace::is_about_payloads) else { break };
            let (pruned, rest) = self.slice(retention, place).await?;
            removed += pruned.payloads;
            next = rest;
        }
        Ok((removed, next))
    }

    async fn give_back(&self, retention: Retention) -> Result<(), StoreError> {
        let mut next = Some(PrunePlace::space());
        while let Some(place) = next.filter(PrunePlace::is_about_space) {
            next = self.slice(retention, place).await?.1;
        }
        Ok(())
    }
}

/// From one round to the next, and before the first.
fn round_pause(Retention { payloads, records }: Retention) -> Duration {
    let shortest = payloads.into_iter().chain(records).min().unwrap_or(ROUND_EVERY);
    shortest.clamp(ROUND_EVERY_MIN, ROUND_EVERY)
}

/// The time of day, compared with the time that has passed. A clock that was set ahead by mistake would remove
/// everything.
struct Times {
    last: (Timestamp, Instant),
    /// No round before this time, because the clock was set ahead.
    not_before: Option<Instant>,
}

impl Times {
    fn now() -> Self {
        Self { last: (clock::now(), Instant::now()), not_before: None }
    }

    /// Whether a round may begin.
    fn allow_round(&mut self, now: Timestamp, instant: Instant) -> bool {
        let (last, last_instant) = std::mem::replace(&mut self.last, (now, instant));
        let passed = instant.saturating_duration_since(last_instant);
        let shown = Duration::try_from(now.duration_since(last)).unwrap_or_default();
        if shown > passed + JUMP {
            let ahead_secs = (shown - passed).as_secs();
            tracing::warn!(ahead_secs, "the clock was set ahead; nothing is pruned for an hour");
            self.not_before = Some(instant + JUMP);
        }
        self.not_before.is_none_or(|time| instant >= time)
    }
}

/// Payloads that are younger than this are never removed before their time.
const EARLY_AGE: Duration = Duration::from_secs(24 * 3_600);
const ROUND_EVERY: Duration = Duration::from_secs(60);
const ROUND_EVERY_MIN: Duration = Duration::from_secs(1);
/// Slices of payloads that are removed before space is looked at again.
const EARLY_SLICES: usize = 16;
const SPACE_LOOK: Duration = Duration::from_secs(5);
const LOG_EMPTIED: Duration = Duration::from_millis(1_100);
/// How long a round looks for copies of what was removed, so that the next one can prune again.
const OVERWRITING_MAX: Duration = Duration::from_secs(30);
/// Between two slices that removed something.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// By how much the clock can be set ahead without notice, and how long is waited then.
const JUMP: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_pruned_for_an_hour_after_the_clock_was_set_ahead() {
        let (start, instant) = (Timestamp::from_second(1_000_000_000).unwrap(), Instant::now());
        let mut times = Times { last: (start, instant), not_before: None };
        for (shown_secs, passed_secs, expected) in [
            (60, 60, true),
            (3_700, 120, true), // within an hour
            (100, 180, true),   // set back
            (1_000_000, 240, false),
            (1_000_060, 300, false),
            (1_003_600, 3_839, false),
            (1_003_700, 3_900, true),
        ] {
            let now = start + Duration::from_secs(shown_secs);
            let at = instant + Duration::from_secs(passed_secs);
            assert_eq!(times.allow_round(now, at), expected, "{shown_secs} {passed_secs}");
        }
    }

    #[test]
    fn rounds_come_once_a_minute_or_as_often_as_something_falls_due() {
        let secs = |secs| Some(Duration::from_secs(secs));
        for (payloads, records, expected) in
            [(None, None, 60), (secs(5), None, 5), (secs(99), secs(20), 20), (secs(0), None, 1)]
        {
            let pause = round_pause(Retention { payloads, records });
            assert_eq!(pause, Duration::from_secs(expected));
        }
    }
}
