//! Bounds what a flood of refused requests writes into the log.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Bounds the lines that are logged about each source, kind by kind. What is left out is counted.
#[derive(Debug)]
pub(super) struct LogLimit {
    lines_max: u32,
    window: Duration,
    by_key: Mutex<HashMap<Key, Window>>,
}

/// A source and what is said about it; there are few of both.
type Key = (String, &'static str);

#[derive(Debug)]
struct Window {
    ends: Instant,
    lines: u32,
    left_out: u64,
}

impl LogLimit {
    /// At most `lines_max` lines of a kind about a source in each `window`.
    pub(super) fn new(lines_max: u32, window: Duration) -> Self {
        Self { lines_max, window, by_key: Mutex::default() }
    }

    /// Whether a line of this `kind` about `source` is to be logged. Otherwise it is counted.
    pub(super) fn allows(&self, source: &str, kind: &'static str, now: Instant) -> bool {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window { ends: now + self.window, lines: 0, left_out: 0 };
        let window = by_key.entry((source.to_owned(), kind)).or_insert(fresh);
        if window.ends <= now {
            window.ends = now + self.window;
            window.lines = 0;
        }
        let is_allowed = window.lines < self.lines_max;
        if is_allowed {
            window.lines += 1;
        } else {
            window.left_out += 1;
        }
        is_allowed
    }

    /// Of which source lines were left out in a window that has ended, of which kind, and how many.
    /// They are told once.
    pub(super) fn left_out(&self, now: Instant) -> Vec<(String, &'static str, u64)> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = by_key.extract_if(|_, window| window.ends <= now);
        let told = ended.filter(|(_, window)| window.left_out > 0);
        told.map(|((source, kind), window)| (source, kind, window.left_out)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_lines_of_a_window_are_logged_and_the_rest_is_counted_for_each_kind() {
        let now = Instant::now();
        let limit = LogLimit::new(3, SECOND);
        let logged =
            |kind, times, now| (0..times).filter(|_| limit.allows("source", kind, now)).count();
        assert_eq!((logged("a", 10, now), logged("b", 2, now)), (3, 2));
        assert_eq!(limit.left_out(now), [], "the window is not over");
        let later = now + SECOND;
        assert_eq!(limit.left_out(later), [("source".to_owned(), "a", 7)]);
        assert_eq!(limit.left_out(later), [], "they are told once");
        assert_eq!(logged("a", 10, later), 3);
        assert_eq!(logged("a", 10, later + SECOND), 3, "what was left out before is not forgotten");
        assert_eq!(limit.left_out(later + 2 * SECOND), [("source".to_owned(), "a", 14)]);
        assert!(limit.by_key.lock().unwrap().is_empty(), "no key is kept after its window");
    }
}
