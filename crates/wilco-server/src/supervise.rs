//! Tasks that have to run as long as the service does. If one ends before it was asked to, or panics, that
//! is noticed at once; otherwise wilco would acknowledge events that nothing delivers.

use std::{collections::HashMap, future::pending};

use tokio::{
    runtime::Handle,
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// Named tasks, each with the token that asks it to end. Dropping them aborts them.
#[derive(Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    watched: HashMap<Id, Watched>,
}

struct Watched {
    name: String,
    stop: CancellationToken,
}

/// A task that ended although it should still run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {how}")]
pub(crate) struct Ended {
    name: String,
    how: &'static str,
}

impl Tasks {
    /// Runs a task on the threads of `on`. It may end once `stop` is cancelled.
    pub(crate) fn spawn(
        &mut self,
        name: impl Into<String>,
        stop: CancellationToken,
        on: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.running.spawn_on(task, on).id();
        self.watched.insert(id, Watched { name: name.into(), stop });
    }

    /// Waits until a task ends before it was asked to, or panics.
    pub(crate) async fn failed(&mut self) -> Ended {
        while let Some(ended) = self.running.join_next_with_id().await {
            if let Some(ended) = self.judge(&ended) {
                return ended;
            }
        }
        pending().await
    }

    /// Waits until all have ended.
    pub(crate) async fn join(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    fn judge(&mut self, ended: &Result<(Id, ()), JoinError>) -> Option<Ended> {
        let (id, how) = match ended {
            Ok((id, ())) => (*id, "ended"),
            Err(error) if error.is_panic() => (error.id(), "panicked"),
            Err(error) => (error.id(), "was aborted"),
        };
        let Watched { name, stop } = self.watched.remove(&id)?;
        (ended.is_err() || !stop.is_cancelled()).then_some(Ended { name, how })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_or_panics_is_named_and_one_that_was_asked_to_end_is_not() {
        let (mut tasks, on) = (Tasks::default(), Handle::current());
        let (asked, running) = (CancellationToken::new(), CancellationToken::new());
        asked.cancel();
        tasks.spawn("asked", asked.clone(), &on, async {});
        tasks.spawn("steady", running.clone(), &on, pending());
        let quiet = timeout(Duration::from_millis(50), tasks.failed()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        tasks.spawn("early", running.clone(), &on, async {});
        assert_eq!(tasks.failed().await.to_string(), "early ended");
        tasks.spawn("shaky", asked.clone(), &on, async { panic!("at the end too") });
        assert_eq!(tasks.failed().await.to_string(), "shaky panicked");
        assert_eq!(tasks.watched.len(), 1, "only what runs is remembered");
    }
}
