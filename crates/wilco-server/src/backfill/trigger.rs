//! Rounds that a person asks for.

use std::time::Duration;

use tokio::{sync::watch, time::timeout};

/// Counts the rounds that were asked for, and those that are done.
pub(crate) struct Trigger {
    wanted: watch::Sender<u64>,
    done: watch::Sender<u64>,
}

impl Default for Trigger {
    fn default() -> Self {
        Self { wanted: watch::Sender::new(0), done: watch::Sender::new(0) }
    }
}

impl Trigger {
    /// Asks for a round of every source, and waits for its end. False if that takes longer than
    /// [`WAIT`]; the round continues.
    pub(crate) async fn round(&self) -> bool {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        let mut done = self.done.subscribe();
        timeout(WAIT, done.wait_for(|done| *done >= number)).await.is_ok()
    }

    pub(super) fn wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    pub(super) fn done(&self) -> u64 {
        *self.done.borrow()
    }

    pub(super) fn complete(&self, number: u64) {
        self.done.send_replace(number);
    }
}

/// A client of the admin API waits for 30 s.
const WAIT: Duration = Duration::from_secs(20);
