//! Limits the log lines that a flood of refused requests causes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Client, Inbound, Refusal};
use crate::config;

/// Limits the lines that are logged of each kind for each source, and counts those it suppresses.
#[derive(Debug)]
pub(super) struct LogLimit {
    lines_max: u32,
    window: Duration,
    by_key: Mutex<HashMap<Key, Window>>,
}

/// A source and a kind of line; there are few of both.
type Key = (String, &'static str);

#[derive(Debug)]
struct Window {
    ends: Instant,
    lines: u32,
    suppressed: u64,
}

impl LogLimit {
    /// Allows `lines_max` lines of a kind and source in each `window`.
    pub(super) fn new(lines_max: u32, window: Duration) -> Self {
        Self { lines_max, window, by_key: Mutex::default() }
    }

    /// Whether to log a line of this `kind` about `source`. If not, it is counted as suppressed.
    pub(super) fn allows(&self, source: &str, kind: &'static str, now: Instant) -> bool {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window { ends: now + self.window, lines: 0, suppressed: 0 };
        let window = by_key.entry((source.to_owned(), kind)).or_insert(fresh);
        if window.ends <= now {
            window.ends = now + self.window;
            window.lines = 0;
        }
        let is_allowed = window.lines < self.lines_max;
        if is_allowed {
            window.lines += 1;
        } else {
            window.suppressed += 1;
        }
        is_allowed
    }

    /// Returns, once, the lines suppressed in windows that have ended: source, kind and number.
    pub(super) fn suppressed(&self, now: Instant) -> Vec<(String, &'static str, u64)> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = by_key.extract_if(|_, window| window.ends <= now);
        let suppressed = ended.filter(|(_, window)| window.suppressed > 0);
        suppressed.map(|((source, kind), window)| (source, kind, window.suppressed)).collect()
    }
}

impl Inbound {
    /// Counts a refusal, and logs it unless there were too many of its kind.
    pub(super) fn log_refused(
        &self,
        source: Option<&config::Source>,
        refusal: &Refusal,
        client: Client,
    ) {
        let name = source.map_or("-", |source| source.name.as_str());
        let (usual, outcome, _) = refusal.outcome();
        self.counters.answered(name, outcome);
        if self.refusal_lines.allows(name, outcome, Instant::now()) {
            let is_ours = usual.is_server_error();
            let status = refusal.status(source.map(|source| source.provider.as_ref())).as_u16();
            if is_ours {
                tracing::warn!(source = name, status, %client, "refused: {refusal}");
            } else {
                tracing::info!(source = name, status, %client, "refused: {refusal}");
            }
        }
        self.log_suppressed();
    }

    /// Logs how many lines were suppressed in the periods that have ended.
    pub(super) fn log_suppressed(&self) {
        let now = Instant::now();
        for (source, outcome, more) in self.refusal_lines.suppressed(now) {
            let message = "further such requests are only counted";
            tracing::warn!(source, outcome, more, "{message}");
        }
        for (_, reason, more) in self.connection_lines.suppressed(now) {
            tracing::warn!(reason, more, "further failed connections are only counted");
        }
    }

    pub(super) fn log_not_accepted(&self, error: &std::io::Error) {
        if self.connection_lines.allows("-", "not_accepted", Instant::now()) {
            tracing::warn!(%error, "cannot accept a connection");
        }
    }

    /// Counts and logs a connection that is one too many.
    pub(super) fn refuse_connection(&self, client: Client) {
        self.counters.connections_refused.inc();
        if self.connection_lines.allows("-", "too_many", Instant::now()) {
            tracing::warn!(%client, "connection closed: too many are open");
        }
    }

    /// Counts and logs a connection of HTTP/2 that was closed, or whose streams were reset, because of
    /// its client.
    pub(super) fn closed_http2(&self, client: Client, reason: &'static str) {
        self.counters.closed_http2(reason);
        if self.connection_lines.allows("http2", reason, Instant::now()) {
            tracing::warn!(%client, reason, "HTTP/2 connection closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_lines_of_each_kind_are_logged_and_the_rest_counted() {
        let now = Instant::now();
        let limit = LogLimit::new(3, SECOND);
        let logged =
            |kind, times, now| (0..times).filter(|_| limit.allows("source", kind, now)).count();
        assert_eq!((logged("a", 10, now), logged("b", 2, now)), (3, 2));
        assert_eq!(limit.suppressed(now), [], "the window is not over");
        let later = now + SECOND;
        assert_eq!(limit.suppressed(later), [("source".to_owned(), "a", 7)]);
        assert_eq!(limit.suppressed(later), [], "they are returned once");
        assert_eq!(logged("a", 10, later), 3);
        assert_eq!(logged("a", 10, later + SECOND), 3, "what was left out before is not forgotten");
        assert_eq!(limit.suppressed(later + 2 * SECOND), [("source".to_owned(), "a", 14)]);
        assert!(limit.by_key.lock().unwrap().is_empty(), "no key is kept after its window");
    }
}
