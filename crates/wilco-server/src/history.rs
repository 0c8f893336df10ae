//! What happened within the last hour: samples of the metrics, kept in memory, from which rates and latencies
//! follow.
//!
//! The metrics are read as Prometheus reads them, so that nothing is counted twice and the path to a 2xx
//! does not know of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    metrics::{FAST_SECONDS, Metrics},
};

/// Samples of the metrics within the last hour.
pub(crate) struct History {
    metrics: Arc<Metrics>,
    began: Instant,
    /// The oldest first.
    samples: Mutex<VecDeque<Sample>>,
}

/// What happened within some time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) began_at: Timestamp,
    pub(crate) took: Duration,
    pub(crate) totals: Totals,
}

/// What was counted since the start, or within a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Requests by outcome.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Events recorded, without duplicates.
    pub(crate) events: u64,
    pub(crate) commits: u64,
    /// Attempts by outcome.
    pub(crate) attempts: BTreeMap<String, u64>,
    /// Acknowledgements that took at most as long as each bucket allows, and all of them.
    ack: Vec<u64>,
}

struct Sample {
    /// Counts the samples since the start.
    number: usize,
    at: Timestamp,
    elapsed: Duration,
    totals: Totals,
}

impl History {
    /// Takes the first sample.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        let history = Self { metrics, began: Instant::now(), samples: Mutex::default() };
        history.add(history.sample());
        Arc::new(history)
    }

    /// Takes a sample every ten seconds, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = interval_at(self.began + SAMPLE_EVERY, SAMPLE_EVERY);
        // After the machine was suspended, there is nothing to catch up with.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.add(self.sample());
        }
    }

    /// What happened within the last `within`, or since the start.
    pub(crate) fn within(&self, within: Duration) -> Window {
        let now = self.sample();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let is_before = |sample: &&Sample| sample.elapsed + within <= now.elapsed;
        let before = samples.iter().rev().find(is_before).or(samples.front());
        before.unwrap_or(&now).until(&now)
    }

    /// What happened in each minute of the last hour, the oldest first. The last one is not over yet.
    pub(crate) fn minutes(&self) -> Vec<Window> {
        let now = self.sample();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bounds: Vec<&Sample> =
            samples.iter().filter(|sample| sample.number.is_multiple_of(MINUTE)).collect();
        bounds.push(&now);
        bounds.windows(2).map(|pair| pair[0].until(pair[1])).collect()
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let number = samples.back().map_or(0, |last| last.number + 1);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(Sample { number, ..sample });
    }

    fn sample(&self) -> Sample {
        let totals = Totals::read(&self.metrics.encoded());
        Sample { number: 0, at: clock::now(), elapsed: self.began.elapsed(), totals }
    }
}

impl Sample {
    fn until(&self, later: &Self) -> Window {
        Window {
            began_at: self.at,
            took: later.elapsed.saturating_sub(self.elapsed),
            totals: later.totals.since(&self.totals),
        }
    }
}

impl Totals {
    /// Reads them from the text that Prometheus scrapes.
    fn read(text: &str) -> Self {
        let mut totals = Self::default();
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().unwrap_or(0);
            let counts = match name {
                "wilco_ack_seconds_bucket" => {
                    totals.ack.push(value);
                    continue;
                }
                "wilco_events_total" => {
                    totals.events += value;
                    continue;
                }
                "wilco_commit_seconds_count" => {
                    totals.commits = value;
                    continue;
                }
                "wilco_requests_total" => &mut totals.requests,
                "wilco_attempts_total" => &mut totals.attempts,
                _ => continue,
            };
            // It is the last label, and its values are words.
            let outcome = labels.rsplit_once("outcome=\"").map_or("", |(_, outcome)| outcome);
            let outcome = outcome.trim_end_matches(['"', '}']);
            *counts.entry(outcome.to_owned()).or_default() += value;
        }
        totals
    }

    fn since(&self, earlier: &Self) -> Self {
        let less = |counts: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let counts = counts.iter().map(|(outcome, count)| {
                let before = before.get(outcome).copied().unwrap_or(0);
                (outcome.clone(), count.saturating_sub(before))
            });
            counts.filter(|(_, count)| *count > 0).collect()
        };
        let before = earlier.ack.iter().chain(std::iter::repeat(&0));
        Self {
            requests: less(&self.requests, &earlier.requests),
            events: self.events.saturating_sub(earlier.events),
            commits: self.commits.saturating_sub(earlier.commits),
            attempts: less(&self.attempts, &earlier.attempts),
            ack: self.ack.iter().zip(before).map(|(now, then)| now.saturating_sub(*then)).collect(),
        }
    }

    /// The acknowledgements.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.ack.last().copied().unwrap_or(0)
    }

    /// How long the fastest `share` of the acknowledgements took at most, estimated within a bucket; the upper
    /// end of the last bucket if it was longer than that. `None` if there was none.
    pub(crate) fn ack_within(&self, share: f64) -> Option<Duration> {
        let all = self.acknowledged();
        if all == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate of a count")]
        let (counts, wanted) =
            (self.ack.iter().map(|&count| count as f64), share * self.acknowledged() as f64);
        let (mut lower, mut below) = (0.0, 0.0);
        for (upper, count) in FAST_SECONDS.into_iter().zip(counts) {
            if count >= wanted {
                let part = if count > below { (wanted - below) / (count - below) } else { 1.0 };
                return Some(Duration::from_secs_f64(lower + (upper - lower) * part));
            }
            (lower, below) = (upper, count);
        }
        Some(Duration::from_secs_f64(lower))
    }
}

/// How often a sample is taken.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Samples of a minute.
const MINUTE: usize = 6;
/// Samples that are kept: of an hour, and the one at its beginning.
const SAMPLES_MAX: usize = 60 * MINUTE + 1;

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn totals_are_read_from_the_text_that_prometheus_reads() {
        let text = "# HELP wilco_requests Requests by outcome.\n\
                    wilco_requests_total{source=\"a\",outcome=\"recorded\"} 3\n\
                    wilco_requests_total{source=\"b\",outcome=\"recorded\"} 4\n\
                    wilco_requests_total{source=\"b\",outcome=\"busy\"} 1\n\
                    wilco_attempts_total{destination=\"on \\\"x outcome=\\\"\",outcome=\"dead\"} 2\n\
                    wilco_events_total{source=\"a\",event=\"other\"} 5\n\
                    wilco_commit_seconds_count 6\n\
                    wilco_ack_seconds_bucket{le=\"0.0001\"} 1\n\
                    wilco_ack_seconds_bucket{le=\"+Inf\"} 7\n\
                    # EOF\n";
        let totals = Totals::read(text);
        let counts = |counts: &[(&str, u64)]| {
            counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
        };
        let expected = Totals {
            requests: counts(&[("busy", 1), ("recorded", 7)]),
            events: 5,
            commits: 6,
            attempts: counts(&[("dead", 2)]),
            ack: vec![1, 7],
        };
        assert_eq!(totals, expected);
        assert_eq!(totals.acknowledged(), 7);
    }

    #[test]
    fn a_latency_is_estimated_within_its_bucket() {
        let ack = |counts: &[u64]| {
            let all = counts.iter().sum::<u64>();
            let mut sum = 0;
            let counts = counts.iter().chain(std::iter::repeat(&0)).take(FAST_SECONDS.len());
            let ack = counts.map(|count| {
                sum += count;
                sum
            });
            Totals { ack: ack.chain([all]).collect(), ..Totals::default() }
        };
        for (counts, share, micros) in [
            (&[] as &[u64], 0.5, None),
            (&[100], 0.5, Some(50)),
            (&[100], 1.0, Some(100)),
            (&[50, 50], 0.5, Some(100)),
            (&[50, 50], 0.75, Some(175)),
            (&[90, 0, 0, 10], 0.99, Some(950)),
            (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 1.0, Some(5_000_000)),
        ] {
            let found = ack(counts).ack_within(share).map(|took| took.as_micros());
            assert_eq!(found, micros, "{counts:?} {share}");
        }
        let beyond = Totals { ack: [0].repeat(13).into_iter().chain([3]).collect(), ..ack(&[]) };
        assert_eq!(beyond.ack_within(0.5), Some(Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_samples_is_kept_and_gives_minutes() {
        let metrics = Metrics::new(false);
        let history = History::new(Arc::clone(&metrics));
        for second in 0..2 * 3_600 {
            metrics.committed(0, Duration::ZERO);
            advance(Duration::from_secs(1)).await;
            if second % 10 == 9 {
                history.add(history.sample());
            }
        }
        let samples = history.samples.lock().unwrap().len();
        assert_eq!(samples, SAMPLES_MAX);
        for (within, commits) in [(60, 60), (3_600, 3_600), (7_200, 3_600)] {
            let window = history.within(Duration::from_secs(within));
            assert_eq!(window.took, Duration::from_secs(commits), "{within}");
            assert_eq!(window.totals.commits, commits, "{within}");
        }
        metrics.committed(0, Duration::ZERO);
        advance(Duration::from_secs(1)).await;
        let minutes = history.minutes();
        let commits: Vec<_> = minutes.iter().map(|minute| minute.totals.commits).collect();
        assert_eq!(commits, [[60].repeat(60), vec![1]].concat());
        assert_eq!(history.within(Duration::from_secs(60)).totals.commits, 61, "the sample before");
    }
}
