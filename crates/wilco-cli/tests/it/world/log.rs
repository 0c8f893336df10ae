//! The log of a running wilco.

use std::{
    io::{BufRead as _, BufReader},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

/// The log of a process, read as it is written.
pub(super) struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    pub(super) fn empty() -> Arc<Self> {
        Arc::new(Self { lines: Mutex::default(), grown: Condvar::new() })
    }

    pub(super) fn follow(stderr: std::process::ChildStderr) -> Arc<Self> {
        let log = Self::empty();
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.lines.lock().unwrap().push(line);
                writer.grown.notify_all();
            }
            writer.lines.lock().unwrap().push("(the log ended)".into());
            writer.grown.notify_all();
        });
        log
    }

    pub(super) fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(20);
        let mut lines = self.lines.lock().unwrap();
        loop {
            if let Some(found) = lines.iter().find_map(|line| find(line)) {
                return found;
            }
            let is_over = lines.last().is_some_and(|line| line == "(the log ended)");
            assert!(!is_over && Instant::now() < until, "it did not start:\n{}", lines.join("\n"));
            lines = self.grown.wait_timeout(lines, Duration::from_millis(100)).unwrap().0;
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}
