//! Events and the states of their deliveries as they change, as server-sent events.

use std::{convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
};
use futures_util::stream;
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use wilco_store::{Change, ChangeQuery, Position};

use super::Backend;
use crate::admin::{
    DeliveryChange, EventStream, EventSummary, FollowChanges, LastEventId, OpenStream, Problem,
    Query, StreamStart, StreamedKind, decode, encode,
};

pub(super) async fn follow(
    State(backend): State<Arc<Backend>>,
    LastEventId(last): LastEventId,
    Query(query): Query<FollowChanges>,
) -> Result<EventStream, Problem> {
    let Some(running) = &backend.running else {
        let why = "no wilco runs on this store, so nothing happens that could be followed";
        return Err(Problem::new(StatusCode::CONFLICT, why));
    };
    let after = match last.filter(|last| !last.is_empty()).or(query.after) {
        Some(id) => decode(STREAM, &id).ok_or_else(|| {
            let what = "expected the `id` of a message of this stream";
            Problem::bad_request(format!("invalid id {id:?}: {what}"))
        })?,
        None => start(&backend, query.from.unwrap_or_default()).await?,
    };
    // One ahead of all, as by a clock that is fast, would leave out what comes until then.
    let after = after.min(backend.store.position(None).await?);
    let follower = Follower {
        open: running.streams.open()?,
        commits: backend.store.commits(),
        query: ChangeQuery {
            after,
            source: query.source,
            name: query.event,
            destination: query.destination,
            kind: query.only.map(StreamedKind::into),
            limit: CHANGES_MAX,
        },
        backend: Arc::clone(&backend),
        read_at: None,
        has_more: true,
    };
    let chunks = stream::unfold(follower, async |mut follower: Follower| {
        let chunk = follower.next().await?;
        Some((Ok::<_, Infallible>(chunk), follower))
    });
    Ok(EventStream(Body::from_stream(chunks)))
}

async fn start(backend: &Backend, from: StreamStart) -> Result<Position, Problem> {
    Ok(match from {
        StreamStart::Beginning => Position::BEGINNING,
        StreamStart::Now => backend.store.position(None).await?,
        StreamStart::Time(time) => backend.store.position(Some(time)).await?,
    })
}

/// Reads the changes for one client. The client's connection asks for the next chunk when it has room for
/// it, so a slow client holds one chunk in memory.
struct Follower {
    open: OpenStream,
    backend: Arc<Backend>,
    commits: watch::Receiver<u64>,
    query: ChangeQuery,
    /// When it last read from the store; `None` before the first time.
    read_at: Option<Instant>,
    has_more: bool,
}

impl Follower {
    /// The next part of the response; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        let stop = self.open.stop.clone();
        stop.run_until_cancelled_owned(self.wait_for_text()).await.flatten().map(Bytes::from)
    }

    async fn wait_for_text(&mut self) -> Option<String> {
        let silent_until = Instant::now() + KEEP_ALIVE;
        let Some(mut read_at) = self.read_at else {
            self.read_at = Some(Instant::now());
            // The client knows its position at once, even if nothing ever happens.
            return Some(format!("retry: {RETRY_MS}\n{}\n", self.id()));
        };
        loop {
            if !self.has_more {
                tokio::select! {
                    changed = self.commits.changed() => changed.ok()?,
                    () = sleep_until(silent_until) => return Some(format!(":\n{}\n", self.id())),
                }
                sleep_until(read_at + READ_INTERVAL).await;
            }
            self.commits.mark_unchanged();
            let changes = self.backend.store.changes(self.query.clone()).await;
            read_at = Instant::now();
            // The client connects again, and learns then what is wrong.
            let changes =
                changes.inspect_err(|error| tracing::debug!(%error, "a stream ends")).ok()?;
            (self.query.after, self.has_more) = (changes.through, changes.has_more);
            self.read_at = Some(read_at);
            if !changes.items.is_empty() {
                let text = changes.items.into_iter().map(|(at, change)| message(at, change));
                return Some(text.collect());
            }
        }
    }

    fn id(&self) -> String {
        format!("id: {}\n", encode(STREAM, &self.query.after.to_string()))
    }
}

/// One message.
fn message(at: Position, change: Change) -> String {
    match change {
        Change::Event(event) => lines(at, "event", &EventSummary::from(*event)),
        Change::Delivery(change) => lines(at, "delivery", &DeliveryChange::from(*change)),
    }
}

fn lines(at: Position, kind: &str, data: &impl Serialize) -> String {
    let mut text = format!("id: {}\nevent: {kind}\n", encode(STREAM, &at.to_string()));
    // JSON has no line break in it. Serializing these types and writing to memory cannot fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    let _ = write!(text, "data: {data}\n\n");
    text
}

const STREAM: &str = "stream";
/// After how long without a message the client gets its position again, which shows that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After how many milliseconds a client should connect again.
const RETRY_MS: u64 = 1_000;
/// From one look at the store to the next, unless more is known to be there.
const READ_INTERVAL: Duration = Duration::from_millis(50);
/// Changes that are read at once.
const CHANGES_MAX: usize = 256;
