//! Where deliveries go: an HTTP server that reads a request, counts it, and answers 200 at once. It
//! has one thread of this process for itself, whose CPU time is its own.

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, Response, body::Incoming, header::HeaderMap, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{Semaphore, oneshot},
    task::{JoinSet, LocalSet},
    time::Instant,
};
use wilco::EventId;

use crate::{
    bodies::{self, BODY_BYTES},
    clock, process,
};

/// A running sink. It ends with this value.
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    tally: Arc<Tally>,
    thread: i32,
    _stop: oneshot::Sender<()>,
}

/// What has come.
#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    seen: Mutex<Received>,
    window: Option<Arc<Semaphore>>,
}

/// What a sink has received.
#[derive(Clone, Default)]
pub(crate) struct Received {
    ids: HashSet<u128>,
    numbers: HashSet<u64>,
    /// Requests whose id had come before.
    pub(crate) doubled: u64,
    /// Requests that were not as wilco should send them.
    pub(crate) odd: u64,
    /// When the last one came.
    pub(crate) last: Option<Instant>,
    /// How many deliveries had which age, in milliseconds.
    ages: BTreeMap<u64, u64>,
}

impl Sink {
    /// Starts one. With each delivery it gives a place of `window` back.
    ///
    /// # Errors
    ///
    /// It cannot listen, or its thread cannot be started.
    pub(crate) async fn start(window: Option<Arc<Semaphore>>) -> io::Result<Self> {
        let tally = Arc::new(Tally { window, ..Tally::default() });
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let counted = Arc::clone(&tally);
        thread::Builder::new().name("sink".into()).spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            LocalSet::new().block_on(&runtime, serve(counted, ready, stopped));
        })?;
        let started = is_ready.await.map_err(|_| io::Error::other("the sink could not listen"))?;
        let (address, thread) = started;
        Ok(Self { address, tally, thread, _stop: stop })
    }

    /// How many requests it has answered.
    pub(crate) fn requests(&self) -> u64 {
        self.tally.requests.load(Ordering::Relaxed)
    }

    /// The CPU time that it has taken.
    ///
    /// # Errors
    ///
    /// Its thread is not there any more.
    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        process::thread_cpu_time(self.thread)
    }

    /// What it has received so far.
    pub(crate) fn received(&self) -> Received {
        self.tally.seen().clone()
    }

    /// How many different events it has received.
    pub(crate) fn events(&self) -> u64 {
        self.tally.seen().ids.len() as u64
    }
}

impl Received {
    /// How many different events arrived, counted by id.
    pub(crate) fn events(&self) -> u64 {
        self.ids.len() as u64
    }

    /// How many different bodies came.
    pub(crate) fn bodies(&self) -> u64 {
        self.numbers.len() as u64
    }

    /// The age that `percent` of all deliveries did not exceed.
    pub(crate) fn age(&self, percent: u64) -> Duration {
        let rank = (self.ages.values().sum::<u64>() * percent).div_ceil(100);
        let mut counted = 0;
        let found = self.ages.iter().find(|(_, count)| {
            counted += **count;
            counted >= rank
        });
        Duration::from_millis(found.map_or(0, |(age, _)| *age))
    }

    fn note(&mut self, id: Option<EventId>, body: &[u8], now_ms: i64) {
        let (Some(id), Some(number), BODY_BYTES) = (id, bodies::number(body), body.len()) else {
            self.odd += 1;
            return;
        };
        self.last = Some(Instant::now());
        if !self.ids.insert(id.to_bits()) {
            self.doubled += 1;
            return;
        }
        self.numbers.insert(number);
        // An id begins with the time at which its event came.
        let came_ms = i64::try_from(id.to_bits() >> ID_BITS_BEHIND_TIME).unwrap_or(i64::MAX);
        let age = u64::try_from(now_ms.saturating_sub(came_ms)).unwrap_or(0);
        *self.ages.entry(age).or_default() += 1;
    }
}

impl Tally {
    fn seen(&self) -> MutexGuard<'_, Received> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(
    tally: Arc<Tally>,
    ready: oneshot::Sender<(SocketAddr, i32)>,
    mut stopped: oneshot::Receiver<()>,
) {
    let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await else { return };
    let Ok(address) = listener.local_addr() else { return };
    // Who started it has gone if nobody hears this.
    let _ = ready.send((address, rustix::thread::gettid().as_raw_nonzero().get()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // What is sent here is nothing; what counts is that the sender is dropped.
            _ = &mut stopped => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Without it an answer is late, which the figures would show.
                let _ = stream.set_nodelay(true);
                connections.spawn_local(converse(stream, Arc::clone(&tally)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, tally: Arc<Tally>) {
    let service = service_fn(|request| answer(request, &tally));
    // That the other side breaks off is seen by what it did not deliver.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    mut request: Request<Incoming>,
    tally: &Tally,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut body = Vec::with_capacity(BODY_BYTES);
    while let Some(Ok(frame)) = request.body_mut().frame().await {
        if let Some(data) = frame.data_ref() {
            body.extend_from_slice(data);
        }
        if body.len() > BODY_BYTES {
            break;
        }
    }
    tally.seen().note(id(request.headers()), &body, clock::now().as_millisecond());
    tally.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(window) = &tally.window {
        window.add_permits(1);
    }
    Ok(Response::new(Empty::new()))
}

fn id(headers: &HeaderMap) -> Option<EventId> {
    headers.get("webhook-id")?.to_str().ok()?.parse().ok()
}

/// Of an event's id.
const ID_BITS_BEHIND_TIME: u32 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Option<EventId> {
        Some(EventId::from_bits((100 << ID_BITS_BEHIND_TIME) | number))
    }

    #[test]
    fn what_comes_twice_or_is_odd_is_no_further_event() {
        let mut received = Received::default();
        received.note(id(1), &bodies::body(1, 1), 103);
        received.note(id(2), &bodies::body(2, 2), 109);
        received.note(id(2), &bodies::body(2, 2), 500);
        received.note(id(3), b"{}", 500);
        received.note(None, &bodies::body(3, 3), 500);
        assert_eq!((received.events(), received.bodies()), (2, 2));
        assert_eq!((received.doubled, received.odd), (1, 2));
        assert_eq!(received.age(50), Duration::from_millis(3));
        assert_eq!(received.age(99), Duration::from_millis(9));
    }
}
