//! Reads a body within its limits on size and time, and charges it to the budget as it arrives. A large one
//! goes to the disk.

mod budget;
mod stored;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use wilco::{
    BODY_CHUNK_BYTES, Refused, STORED_CHUNK_BYTES, Scheme, SourceName, Verified, Verifier,
    WHOLE_BODY_BYTES_MAX,
};
use wilco_store::{InboundStore, Spool, StoreError};

use super::Refusal;
use crate::clock;

pub(crate) use budget::{BodyBudget, Charge};
use stored::with_one_of;
pub(super) use stored::{envelope, read_rejected};

/// The largest body that is read, and what a larger one is refused with.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    bytes_max: usize,
    is_of_scheme: bool,
}

/// The limit of requests that are signed like this.
pub(super) fn limit(scheme: &Scheme, max_body: usize) -> Limit {
    let is_of_scheme = scheme.needs_whole_body() && max_body > WHOLE_BODY_BYTES_MAX;
    Limit { bytes_max: if is_of_scheme { WHOLE_BODY_BYTES_MAX } else { max_body }, is_of_scheme }
}

impl Limit {
    fn check(self, bytes: u64) -> Result<(), Refusal> {
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= self.bytes_max => Ok(()),
            _ if self.is_of_scheme => Err(Refusal::TooLargeForScheme),
            _ => Err(Refusal::TooLarge { limit: self.bytes_max }),
        }
    }
}

/// Refuses a body that announces more than the limit, before any of it is read.
pub(super) fn check_announced<B: Body>(request: &Request<B>, limit: Limit) -> Result<(), Refusal> {
    limit.check(request.body().size_hint().lower())
}

/// Reads the body, hands each complete chunk of it to `arriving`, and gives its length.
pub(super) async fn read<B>(
    mut body: B,
    limit: Limit,
    charge: &mut Charge,
    arriving: &mut Arriving<'_>,
) -> Result<usize, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let most = announced.unwrap_or(limit.bytes_max);
    if announced.is_some_and(|bytes| bytes > BODY_CHUNK_BYTES) {
        arriving.leave_memory();
    }
    let mut progress = Progress::new(Instant::now());
    let mut received = 0;
    // Frames are copied, because each would keep all of hyper's buffer in memory as long as the
    // event.
    let mut chunk = Vec::new();
    loop {
        let frame = timeout_at(progress.due(), body.frame()).await;
        progress.check(Instant::now(), received)?;
        if progress.is_slow() && !charge.hold(arriving.held_bytes + chunk.capacity(), true) {
            return Err(Refusal::Busy);
        }
        let Ok(frame) = frame else { continue };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Refusal::Broken(error.to_string()))?;
        let Ok(mut data) = frame.into_data() else { continue }; // trailers are not signed
        limit.check((received + data.len()) as u64)?;
        while !data.is_empty() {
            if chunk.len() == arriving.chunk_bytes_max() {
                arriving.leave_memory();
                arriving.take(std::mem::take(&mut chunk).into(), charge).await?;
            }
            let chunk_bytes_max = arriving.chunk_bytes_max();
            let part = data.split_to(data.len().min(chunk_bytes_max - chunk.len()));
            let before = received - chunk.len();
            let bytes = chunk.len() + part.len();
            if bytes > chunk.capacity() {
                let most = most.saturating_sub(before).clamp(bytes, chunk_bytes_max);
                let doubled = before + chunk.capacity() * 2;
                let capacity = bytes.max(doubled).max(FIRST_BYTES).min(most);
                let is_slow = progress.is_slow() || arriving.is_large();
                if !charge.hold(arriving.held_bytes + capacity, is_slow) {
                    return Err(Refusal::Busy);
                }
                chunk.reserve_exact(capacity - chunk.len());
            }
            chunk.extend_from_slice(&part);
            received += part.len();
        }
    }
    chunk.shrink_to_fit();
    arriving.take(chunk.into(), charge).await?;
    Ok(received)
}

/// A body that is verified while it arrives. A large one is written to the disk meanwhile.
pub(super) struct Arriving<'k> {
    verifier: Verifier<'k>,
    spooling: Spooling<'k>,
    /// Bytes of complete chunks in memory.
    held_bytes: usize,
}

enum Spooling<'k> {
    /// The signature can only be checked with all of the body in memory.
    Never,
    /// It is not large, as far as it has arrived.
    NotYet(&'k dyn InboundStore),
    /// It is large, and nothing of it is written yet.
    Due(&'k dyn InboundStore),
    Begun(Spool),
}

impl<'k> Arriving<'k> {
    pub(super) fn new(
        scheme: &Scheme,
        verifier: Verifier<'k>,
        store: &'k dyn InboundStore,
    ) -> Self {
        let spooling = match scheme.needs_whole_body() {
            true => Spooling::Never,
            false => Spooling::NotYet(store),
        };
        Self { verifier, spooling, held_bytes: 0 }
    }

    /// Decides whether the signature is right.
    pub(super) fn finish(self, source: &SourceName) -> Result<Verified, Box<Refused>> {
        let now = clock::now();
        match self.spooling {
            Spooling::Begun(spool) => self.verifier.finish_stored(source, now, spool.into_body()),
            _ => self.verifier.finish(source, now),
        }
    }

    /// The body is large: it goes to the disk, if it need not be in memory.
    fn leave_memory(&mut self) {
        if let Spooling::NotYet(store) = self.spooling {
            self.spooling = Spooling::Due(store);
        }
    }

    fn is_large(&self) -> bool {
        matches!(self.spooling, Spooling::Due(_) | Spooling::Begun(_))
    }

    /// While a body goes to the disk, its chunks are small, because there may be many at once.
    fn chunk_bytes_max(&self) -> usize {
        if self.is_large() { STORED_CHUNK_BYTES } else { BODY_CHUNK_BYTES }
    }

    async fn take(&mut self, chunk: Bytes, charge: &mut Charge) -> Result<(), Refusal> {
        self.held_bytes += chunk.len();
        self.verifier.update(chunk);
        if !self.is_large() || self.held_bytes == 0 {
            return Ok(());
        }
        if !charge.spool(self.held_bytes) {
            return Err(Refusal::Busy);
        }
        let mut spool = match std::mem::replace(&mut self.spooling, Spooling::Never) {
            Spooling::Begun(spool) => spool,
            Spooling::Due(store) | Spooling::NotYet(store) => store.spool()?,
            Spooling::Never => return Ok(()),
        };
        let kept = self.verifier.take_kept();
        // Apart from the threads that read: a body that arrives must not wait for those.
        static THREADS: Semaphore = Semaphore::const_new(CHUNKS_WRITTEN_MAX);
        let written = with_one_of(&THREADS, move || {
            for chunk in kept.chunks().map_while(Result::ok) {
                spool.write(&chunk)?;
            }
            Ok::<_, StoreError>(spool)
        });
        self.spooling = Spooling::Begun(written.await??);
        self.held_bytes = 0;
        charge.release_memory();
        Ok(())
    }
}

/// Whether a body arrives quickly enough.
struct Progress {
    began: Instant,
    /// When it has to be complete, judged by what has arrived so far.
    ends: Instant,
    slow_from: Instant,
    window_ends: Instant,
    window_began_with: usize,
    is_slow: bool,
}

impl Progress {
    fn new(began: Instant) -> Self {
        Self {
            began,
            ends: began + BODY_TIMEOUT,
            slow_from: began + QUICK_BODY_TIME_MAX,
            window_ends: began + BODY_WINDOW,
            window_began_with: 0,
            is_slow: false,
        }
    }

    /// When to look again, whether a byte has arrived by then or not.
    fn due(&self) -> Instant {
        let due = self.ends.min(self.window_ends);
        if self.is_slow { due } else { due.min(self.slow_from) }
    }

    /// Notes that `received` bytes are there `now`, which may be too few.
    fn check(&mut self, now: Instant, received: usize) -> Result<(), Refusal> {
        self.is_slow |= now >= self.slow_from;
        let earned = Duration::from_secs((received / BODY_BYTES_PER_SEC) as u64);
        self.ends = self.began + BODY_TIMEOUT + earned;
        if now >= self.window_ends {
            if received - self.window_began_with < BODY_WINDOW_BYTES_MIN {
                let what = "too few bytes of the body arrived";
                return Err(Refusal::TooSlow { what, seconds: BODY_WINDOW.as_secs() });
            }
            self.window_began_with = received;
            self.window_ends = now + BODY_WINDOW;
        }
        if now >= self.ends {
            let what = "the body was not complete";
            return Err(Refusal::TooSlow { what, seconds: (self.ends - self.began).as_secs() });
        }
        Ok(())
    }

    fn is_slow(&self) -> bool {
        self.is_slow
    }
}

/// How long a body may take from its head to its last byte, beyond what [`BODY_BYTES_PER_SEC`] allows.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a body that have arrived extend its time by a second.
const BODY_BYTES_PER_SEC: usize = 256 << 10;
/// How long it may take and still count as quick.
const QUICK_BODY_TIME_MAX: Duration = Duration::from_secs(2);
/// In this time, [`BODY_WINDOW_BYTES_MIN`] of a body have to arrive, or its end.
const BODY_WINDOW: Duration = Duration::from_secs(10);
/// How much of a body has to arrive in each [`BODY_WINDOW`].
const BODY_WINDOW_BYTES_MIN: usize = 10 << 10;
/// What the first bytes of a chunk reserve, unless the body is smaller.
const FIRST_BYTES: usize = 4 << 10;
/// Chunks of large bodies that are written to the disk at a time.
const CHUNKS_WRITTEN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use wilco::{Head, provider};
    use wilco_store::MemoryStore;

    use super::*;
    use crate::inbound::Network;

    #[tokio::test]
    async fn a_body_of_any_size_is_kept_completely_and_a_large_one_on_the_disk() {
        let store = MemoryStore::new(clock::system());
        const CHUNK: usize = BODY_CHUNK_BYTES;
        for bytes in [0, 1, 1_000, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            for frame_bytes in [999, 70_000, 4 * CHUNK] {
                let sent: Bytes = (0..=250).cycle().take(bytes).collect();
                let frames = sent.chunks(frame_bytes).map(|part| sent.slice_ref(part));
                let frames = frames.map(|part| Ok::<_, Infallible>(Frame::data(part)));
                let body = StreamBody::new(stream::iter(frames));
                let budget = Arc::<BodyBudget>::default();
                let mut charge = budget.charge(Network::Local, true);
                let provider = provider::find("freispace").unwrap();
                let verifier = provider.scheme.begin(Head::default(), &[], clock::now());
                let mut arriving = Arriving::new(&provider.scheme, verifier, &store);
                let received =
                    read(body, limit(&provider.scheme, bytes), &mut charge, &mut arriving);
                let received = received.await;
                assert_eq!(received.unwrap(), bytes, "in frames of {frame_bytes}");
                let refused = arriving.finish(&SourceName::new("t").unwrap()).unwrap_err();
                let body = refused.arrival.body;
                assert!(body == sent.into(), "{bytes} in frames of {frame_bytes}");
                assert_eq!(body.is_stored(), bytes > CHUNK);
                assert!(body.chunks().all(|chunk| chunk.unwrap().len() <= CHUNK));
            }
        }
    }

    #[test]
    fn a_body_must_arrive_at_a_minimum_rate_and_within_its_timeout() {
        let kib = 1 << 10;
        // (seconds, bytes received by then): whether that is quick enough, and whether it is slow.
        for (steps, expected) in [
            (&[(0, 0), (1, 1), (2, 2)][..], (true, true)),
            (&[(1, 1_000_000)], (true, false)),
            (&[(9, 1)], (true, true)),
            (&[(10, 1)], (false, true)),
            (&[(10, 10 * kib - 1)], (false, true)),
            (&[(10, 10 * kib), (19, 10 * kib)], (true, true)),
            (&[(11, 10 * kib), (19, 30 * kib)], (true, true)),
            (&[(10, 10 * kib), (20, 255 * kib)], (false, true)),
            (&[(10, 10 * kib), (20, 1 << 20), (23, 1 << 20)], (true, true)),
            (&[(10, 10 * kib), (20, 1 << 20), (24, 1 << 20)], (false, true)),
            (&[(10, 3 << 20), (20, 20 << 20), (40, 40 << 20), (179, 64 << 20)], (true, true)),
        ] {
            let began = Instant::now();
            let mut progress = Progress::new(began);
            let mut is_kept = true;
            for &(seconds, bytes) in steps {
                is_kept = progress.check(began + Duration::from_secs(seconds), bytes).is_ok();
            }
            assert_eq!((is_kept, progress.is_slow()), expected, "{steps:?}");
        }
    }

    #[test]
    fn progress_is_checked_as_soon_as_it_can_be_too_slow() {
        let began = Instant::now();
        let mut progress = Progress::new(began);
        for (seconds, received) in [(2, 20 << 10), (10, 100 << 10), (20, 200 << 10)] {
            let due = began + Duration::from_secs(seconds);
            assert_eq!(progress.due(), due);
            assert_eq!(progress.check(due, received).is_ok(), seconds < 20);
        }
    }
}
