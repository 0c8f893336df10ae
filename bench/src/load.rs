//! The load: a closed loop on every connection, as cheap as possible because it shares the cores
//! with the server. A request is one write of bytes made beforehand; of the answer only the status and
//! the length are read.

use std::{collections::BTreeMap, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    runtime,
    sync::{Semaphore, mpsc, watch},
    task::{JoinSet, LocalSet},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    bodies::{Queue, Requests},
    process,
};

/// What is sent, where, and for how long.
pub(crate) struct Load {
    /// The requests; each is sent at most once.
    pub(crate) requests: Arc<Requests>,
    /// How many connections, kept alive for the whole round.
    pub(crate) connections: usize,
    /// How many threads they are spread over.
    pub(crate) threads: usize,
    /// How long the round measures, after [`WARM_UP`].
    pub(crate) measured: Duration,
    /// A place for each request that may be under way; who sees what became of one gives its place
    /// back. Without it, nothing but the answers is waited for.
    pub(crate) window: Option<Arc<Semaphore>>,
}

/// What came back, and what was seen at both ends of the measured span.
pub(crate) struct Watched<S> {
    /// How often each connection got which answer, the warm-up included.
    pub(crate) tally: Tally,
    /// How long the measurement was: shorter than wanted where the requests ran out.
    pub(crate) elapsed: Duration,
    /// What was seen at its beginning.
    pub(crate) before: S,
    /// What was seen at its end.
    pub(crate) after: S,
}

/// What came back.
pub(crate) struct Outcome {
    /// How often each connection got which answer, the warm-up included.
    pub(crate) tally: Tally,
    /// How long the measurement was: shorter than wanted where the requests ran out.
    pub(crate) elapsed: Duration,
    /// The server's CPU time in this span.
    pub(crate) server_cpu: Duration,
    /// This process's CPU time in this span.
    pub(crate) load_cpu: Duration,
}

/// The answers, counted.
#[derive(Default)]
pub(crate) struct Tally {
    /// All answers with status 200, before, in and after the measured span.
    pub(crate) acknowledged: u64,
    /// How long each answer of the measured span took, sorted once the round is over.
    pub(crate) latencies: Vec<Duration>,
    /// Every other status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Why connections broke, and how many did for this reason.
    pub(crate) broken: BTreeMap<String, u64>,
    /// There was no request left to send.
    pub(crate) ran_out: bool,
    last_answer: Option<Instant>,
}

impl Load {
    /// Sends to `address` for one round, and watches process `server` meanwhile.
    ///
    /// # Errors
    ///
    /// A connection is refused, or answers stay away long after the end.
    pub(crate) async fn run(&self, address: SocketAddr, server: u32) -> io::Result<Outcome> {
        let look = || Ok((process::cpu_time(server)?, process::cpu_time(std::process::id())?));
        let Watched { tally, elapsed, before, after } = self.watch(address, look).await?;
        Ok(Outcome {
            tally,
            elapsed,
            server_cpu: after.0.saturating_sub(before.0),
            load_cpu: after.1.saturating_sub(before.1),
        })
    }

    /// Sends to `address` for one round, and looks at the beginning and at the end of its span.
    ///
    /// # Errors
    ///
    /// Like [`run`](Self::run).
    pub(crate) async fn watch<S>(
        &self,
        address: SocketAddr,
        look: impl Fn() -> io::Result<S>,
    ) -> io::Result<Watched<S>> {
        let threads = self.threads.clamp(1, self.connections);
        let (begin, window) = watch::channel(None);
        let (connected, mut ready) = mpsc::channel(threads);
        let queue = Arc::new(Queue::new(Arc::clone(&self.requests)));
        let mut crew = JoinSet::new();
        for thread in 0..threads {
            let connections = share(self.connections, threads, thread);
            let (queue, window, connected) =
                (Arc::clone(&queue), window.clone(), connected.clone());
            let room = self.window.clone();
            crew.spawn_blocking(move || {
                drive(address, connections, queue, room, window, connected)
            });
        }
        drop(connected);
        for _ in 0..threads {
            if ready.recv().await.is_none() {
                break; // A thread failed: joining it tells why.
            }
        }

        let open = Instant::now() + WARM_UP;
        let window = Window { open, close: open + self.measured };
        begin.send_replace(Some(window));
        let mut tally = Tally::default();
        sleep_until(window.open).await;
        let before = look()?;
        let gathered = timeout_at(window.close, gather(&mut crew, &mut tally)).await;
        let after = look()?;
        match gathered {
            Ok(gathered) => gathered?,
            Err(_) => timeout(LAST_ANSWER_TIME_MAX, gather(&mut crew, &mut tally)).await??,
        }
        tally.latencies.sort_unstable();
        let end = if tally.ran_out { tally.last_answer.unwrap_or(open) } else { window.close };
        Ok(Watched { tally, elapsed: end.saturating_duration_since(open), before, after })
    }
}

impl Tally {
    /// When the last answer of the measured span came.
    pub(crate) fn last_answer(&self) -> Option<Instant> {
        self.last_answer
    }

    fn note(&mut self, status: u16, begun: Instant, answered: Instant, window: Window) {
        if status == 200 {
            self.acknowledged += 1;
        } else {
            *self.refused.entry(status).or_default() += 1;
        }
        if (window.open..window.close).contains(&answered) {
            self.latencies.push(answered - begun);
            self.last_answer = Some(answered);
        }
    }

    fn merge(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.latencies.extend(other.latencies);
        for (status, times) in other.refused {
            *self.refused.entry(status).or_default() += times;
        }
        for (reason, times) in other.broken {
            *self.broken.entry(reason).or_default() += times;
        }
        self.ran_out |= other.ran_out;
        self.last_answer = self.last_answer.max(other.last_answer);
    }
}

/// The measured span. Requests are also sent before it, to warm up, and never after it.
#[derive(Clone, Copy)]
struct Window {
    open: Instant,
    close: Instant,
}

/// How many of `connections` are thread number `thread`'s.
fn share(connections: usize, threads: usize, thread: usize) -> usize {
    connections / threads + usize::from(thread < connections % threads)
}

async fn gather(crew: &mut JoinSet<io::Result<Tally>>, tally: &mut Tally) -> io::Result<()> {
    while let Some(joined) = crew.join_next().await {
        tally.merge(joined??);
    }
    Ok(())
}

/// One thread's connections. Its runtime is its own: nothing moves between threads.
fn drive(
    address: SocketAddr,
    connections: usize,
    queue: Arc<Queue>,
    room: Option<Arc<Semaphore>>,
    mut window: watch::Receiver<Option<Window>>,
    connected: mpsc::Sender<()>,
) -> io::Result<Tally> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let mut streams = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        // The receiver is gone: the run was aborted.
        let _ = connected.send(()).await;
        drop(connected);
        let begun = window.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        let Some(window) = *begun else { return Ok(Tally::default()) };
        drop(begun);

        let queue = Rc::new(queue);
        let mut conversations = JoinSet::new();
        for stream in streams {
            let (queue, room) = (Rc::clone(&queue), room.clone());
            conversations.spawn_local(async move {
                converse(stream, &queue, room.as_deref(), window).await
            });
        }
        let mut tally = Tally::default();
        while let Some(joined) = conversations.join_next().await {
            tally.merge(joined?);
        }
        Ok(tally)
    })
}

/// One connection: a request, its answer, the next request.
async fn converse(
    mut stream: TcpStream,
    queue: &Queue,
    room: Option<&Semaphore>,
    window: Window,
) -> Tally {
    let mut tally = Tally::default();
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let mut begun = Instant::now();
    while begun < window.close {
        if let Some(room) = room {
            match timeout_at(window.close, room.acquire()).await {
                Ok(Ok(place)) => place.forget(),
                Ok(Err(_)) | Err(_) => break,
            }
            begun = Instant::now();
        }
        let Some(request) = queue.take() else {
            tally.ran_out = true;
            break;
        };
        match exchange(&mut stream, request, &mut buffer).await {
            Ok(status) => {
                let answered = Instant::now();
                tally.note(status, begun, answered, window);
                begun = answered;
            }
            Err(error) => {
                tally.broken.insert(error.to_string(), 1);
                break;
            }
        }
    }
    tally
}

/// Sends a request and reads its answer: the status.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &[u8],
    buffer: &mut [u8],
) -> io::Result<u16> {
    stream.write_all(request).await?;
    let mut filled = 0;
    loop {
        let Some(free @ [_, ..]) = buffer.get_mut(filled..) else {
            return Err(io::Error::other("an answer longer than expected"));
        };
        match stream.read(free).await? {
            0 => return Err(io::Error::other("the connection was closed without an answer")),
            read => filled += read,
        }
        if let Some(status) = complete(&buffer[..filled])? {
            return Ok(status);
        }
    }
}

/// The status of the answer in `bytes`; `None` while it is not whole.
fn complete(bytes: &[u8]) -> io::Result<Option<u16>> {
    let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = str::from_utf8(&bytes[..head_end]).map_err(io::Error::other)?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .ok_or_else(|| io::Error::other("an answer that is not HTTP/1.1"))?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| io::Error::other("an answer without a content-length"))?;
    match (bytes.len() - head_end - 4).cmp(&length) {
        std::cmp::Ordering::Less => Ok(None),
        std::cmp::Ordering::Equal => Ok(Some(status)),
        std::cmp::Ordering::Greater => Err(io::Error::other("an answer with extra bytes after it")),
    }
}

/// How long a round sends before it measures.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);
const LAST_ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// The largest answer that is read.
pub(crate) const ANSWER_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let whole = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        for length in 0..whole.len() {
            assert_eq!(complete(&whole[..length]).unwrap(), None, "{length}");
        }
        assert_eq!(complete(whole).unwrap(), Some(503));
        assert!(complete(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n{}").is_err());
        assert!(complete(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(complete(b"nonsense\r\ncontent-length: 0\r\n\r\n").is_err());
    }

    #[test]
    fn every_connection_belongs_to_one_thread() {
        for (connections, threads) in [(1, 1), (512, 3), (5, 5)] {
            let sum: usize = (0..threads).map(|thread| share(connections, threads, thread)).sum();
            assert_eq!(sum, connections);
        }
    }
}
