//! Reads a body within its limits on size and time, and charges it to the budget as it arrives.

mod budget;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::Refusal;

pub(crate) use budget::{BodyBudget, Charge};

/// Refuses a body that announces more than `limit`, before any of it is read.
pub(super) fn check_announced<B: Body>(request: &Request<B>, limit: usize) -> Result<(), Refusal> {
    match usize::try_from(request.body().size_hint().lower()) {
        Ok(least) if least <= limit => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::TooLarge { limit }),
    }
}

/// Reads the body, hands each complete chunk of it to `take`, and gives its length.
pub(super) async fn read<B>(
    mut body: B,
    limit: usize,
    charge: &mut Charge,
    mut take: impl FnMut(Bytes),
) -> Result<usize, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error,
{
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let most = announced.unwrap_or(limit);
    let mut progress = Progress::new(Instant::now());
    let mut received = 0;
    // Frames are copied, because each would keep all of hyper's buffer in memory as long as the
    // event.
    let mut chunk = Vec::new();
    loop {
        let frame = timeout_at(progress.due(), body.frame()).await;
        progress.check(Instant::now(), received)?;
        if progress.is_slow() && !charge.raise_to(received - chunk.len() + chunk.capacity(), true) {
            return Err(Refusal::Busy);
        }
        let Ok(frame) = frame else { continue };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Refusal::Broken(error.to_string()))?;
        let Ok(mut data) = frame.into_data() else { continue }; // trailers are not signed
        if received + data.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        while !data.is_empty() {
            if chunk.len() == CHUNK_BYTES_MAX {
                take(std::mem::take(&mut chunk).into());
            }
            let part = data.split_to(data.len().min(CHUNK_BYTES_MAX - chunk.len()));
            let before = received - chunk.len();
            let bytes = chunk.len() + part.len();
            if bytes > chunk.capacity() {
                let most = most.saturating_sub(before).clamp(bytes, CHUNK_BYTES_MAX);
                let doubled = before + chunk.capacity() * 2;
                let capacity = bytes.max(doubled).max(FIRST_BYTES).min(most);
                if !charge.raise_to(before + capacity, progress.is_slow()) {
                    return Err(Refusal::Busy);
                }
                chunk.reserve_exact(capacity - chunk.len());
            }
            chunk.extend_from_slice(&part);
            received += part.len();
        }
    }
    chunk.shrink_to_fit();
    take(chunk.into());
    Ok(received)
}

/// Whether a body arrives quickly enough.
struct Progress {
    ends: Instant,
    slow_from: Instant,
    window_ends: Instant,
    window_began_with: usize,
    is_slow: bool,
}

impl Progress {
    fn new(began: Instant) -> Self {
        Self {
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
            return Err(Refusal::TooSlow { what, seconds: BODY_TIMEOUT.as_secs() });
        }
        Ok(())
    }

    fn is_slow(&self) -> bool {
        self.is_slow
    }
}

/// How long a body may take from its head to its last byte.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take and still count as quick.
const QUICK_BODY_TIME_MAX: Duration = Duration::from_secs(2);
/// In this time, [`BODY_WINDOW_BYTES_MIN`] of a body have to arrive, or its end.
const BODY_WINDOW: Duration = Duration::from_secs(10);
/// How much of a body has to arrive in each [`BODY_WINDOW`].
const BODY_WINDOW_BYTES_MIN: usize = 10 << 10;
/// What the first bytes of a chunk reserve, unless the body is smaller.
const FIRST_BYTES: usize = 4 << 10;
/// The largest chunk of a body: a larger body is neither moved while it grows nor joined.
const CHUNK_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::inbound::Network;

    #[tokio::test]
    async fn a_body_of_any_size_is_kept_completely_in_bounded_chunks() {
        for bytes in [0, 1, 1_000, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, 3 * CHUNK_BYTES_MAX + 7] {
            for frame_bytes in [999, 70_000, 4 * CHUNK_BYTES_MAX] {
                let sent: Bytes = (0..=250).cycle().take(bytes).collect();
                let frames = sent.chunks(frame_bytes).map(|part| sent.slice_ref(part));
                let frames = frames.map(|part| Ok::<_, Infallible>(Frame::data(part)));
                let body = StreamBody::new(stream::iter(frames));
                let budget = Arc::<BodyBudget>::default();
                let mut charge = budget.charge(Network::Local);
                let mut chunks = Vec::new();
                let read = read(body, bytes, &mut charge, |chunk| chunks.push(chunk)).await;
                assert_eq!(read.unwrap(), bytes, "in frames of {frame_bytes}");
                assert!(chunks.concat() == sent, "{bytes} in frames of {frame_bytes}");
                assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
                assert_eq!(chunks.len(), bytes.div_ceil(CHUNK_BYTES_MAX).max(1));
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
            (&[(10, 10 * kib), (20, 1 << 20)], (false, true)),
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
        for seconds in [2, 10, 20] {
            let due = began + Duration::from_secs(seconds);
            assert_eq!(progress.due(), due);
            assert_eq!(progress.check(due, 1 << (10 + seconds)).is_ok(), seconds < 20);
        }
    }
}
