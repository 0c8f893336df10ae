//! Tells pages that something changed, as server-sent events. They then ask for what they show.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
};
use futures_util::stream;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    super::{EventStream, OpenStream},
    Dashboard, Parameters, Problem,
};

pub(super) async fn live(
    State(dashboard): State<Arc<Dashboard>>,
    query: Parameters,
) -> Result<EventStream, Problem> {
    let (open, mut commits) = (dashboard.streams.open()?, dashboard.store.commits());
    // What the page was made of, unless wilco was started again since.
    if query.text("after").is_some_and(|after| after != commits.borrow().to_string()) {
        commits.mark_changed();
    }
    let follower = Follower { open, commits, told_at: None };
    let chunks = stream::unfold(follower, async |mut follower: Follower| {
        let chunk = follower.next().await?;
        Some((Ok::<_, Infallible>(chunk), follower))
    });
    Ok(EventStream(Body::from_stream(chunks)))
}

/// Follows the commits of the store for one page.
struct Follower {
    open: OpenStream,
    commits: watch::Receiver<u64>,
    /// When it last said something; `None` before the first time.
    told_at: Option<Instant>,
}

impl Follower {
    /// The next message; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let stop = self.open.stop.clone();
        stop.run_until_cancelled_owned(self.wait()).await?.map(Bytes::from_static)
    }

    async fn wait(&mut self) -> Option<&'static [u8]> {
        let Some(told_at) = self.told_at else {
            self.told_at = Some(Instant::now());
            return Some(b"retry: 2000\n\n");
        };
        tokio::select! {
            changed = self.commits.changed() => changed.ok()?,
            () = sleep_until(Instant::now() + KEEP_ALIVE) => return Some(b":\n\n"),
        }
        // What happens until then is part of the same message.
        sleep_until(told_at + TELL_INTERVAL).await;
        self.commits.mark_unchanged();
        self.told_at = Some(Instant::now());
        Some(b"event: changed\ndata: 1\n\n")
    }
}

/// From one message to the next: a page changes at most four times a second.
const TELL_INTERVAL: Duration = Duration::from_millis(250);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
