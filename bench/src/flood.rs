//! What a flood of unsigned requests costs the signed ones: some connections send large bodies with a
//! wrong signature as fast as they are refused, while signed events come at a steady rate.
//!
//! Signed requests are sent by a schedule and not when the last answer came, and their latencies count
//! from the schedule: a server that stalls cannot hide it by being sent less.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    runtime,
    task::{JoinSet, LocalSet},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    args::Flood,
    bodies::{Queue, Requests},
    connection::Target,
    load::{ANSWER_BYTES_MAX, exchange},
    machine::Machine,
    process,
    rounds::tell,
    servers::Server,
};

/// Measures all that `args` ask for. `false` where an aim was missed.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured.
pub(crate) async fn run(args: &Flood) -> io::Result<bool> {
    let wilco = args.steady.place.wilco()?;
    let folder =
        tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.steady.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    let span = Duration::from_secs(args.seconds) / ROUNDS;
    let count = span.as_millis() * u128::from(2 * ROUNDS * args.steady.rate) / 1_000;
    let count = usize::try_from(count).map_err(io::Error::other)? + args.steady.rate as usize;
    let queue = Arc::new(Queue::new(Arc::new(Requests::signed(count, None)?)));

    let server = Server::wilco(&wilco, &dir, "").await?;
    let mut sides = [Side::default(), Side::default()];
    for round in 1..=ROUNDS {
        for (side, senders) in sides.iter_mut().zip([0, args.senders]) {
            tell(&format!("round {round}, {senders} senders flood"));
            side.add(measure(args, &server, &queue, senders, span).await?);
        }
    }
    let peak_mib = process::peak_kib(server.id)? >> 10;
    let recorded = server.recorded().await?.unwrap_or_default();
    server.stop().await?;
    report(args, &machine, &sides, peak_mib, recorded)
}

/// What came of the requests with the flood, or without.
#[derive(Default)]
pub(crate) struct Side {
    /// From the schedule to the 200, of each signed request.
    pub(crate) latencies: Vec<Duration>,
    /// What became of the other signed requests.
    failed: BTreeMap<String, u64>,
    /// What became of the unsigned ones.
    flood: BTreeMap<String, u64>,
}

impl Side {
    /// How many signed requests were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.latencies.len()
    }

    /// How many were not.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Takes the figures of another span as well.
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        for (what, times) in other.failed {
            *self.failed.entry(what).or_default() += times;
        }
        for (what, times) in other.flood {
            *self.flood.entry(what).or_default() += times;
        }
    }

    /// The latency within which this share of the requests was answered, in milliseconds.
    pub(crate) fn millis(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a list of some thousand"
        )]
        let index = (sorted.len() as f64 * share) as usize;
        let at = sorted.get(index.min(sorted.len().saturating_sub(1)));
        at.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// One span of steady requests, during a flood by `senders`. Each side has a separate thread, so
/// that the load waits for a core and not for the flood's turn on its thread.
async fn measure(
    args: &Flood,
    server: &Server,
    queue: &Arc<Queue>,
    senders: u16,
    span: Duration,
) -> io::Result<Side> {
    let (address, rate) = (server.address, args.steady.rate);
    let begin = Instant::now() + BEFORE;
    let end = begin + span;
    let unsigned = Arc::new(unsigned(args.body_bytes));
    let mut threads = JoinSet::new();
    let queue = Arc::clone(queue);
    let target = Target::new(address, false)?;
    threads.spawn_blocking(move || on_this_thread(steady_load(target, rate, queue, begin, end)));
    threads.spawn_blocking(move || {
        on_this_thread(async move {
            let mut connections = JoinSet::new();
            for _ in 0..senders {
                connections.spawn_local(flood(address, Arc::clone(&unsigned), begin, end));
            }
            gather(connections).await
        })
    });
    let mut side = Side::default();
    while let Some(part) = threads.join_next().await {
        side.add(part??);
    }
    Ok(side)
}

/// One span of steady requests.
///
/// # Errors
///
/// A thread cannot be started.
pub(crate) async fn steady_span(
    target: &Target,
    rate: u32,
    queue: &Arc<Queue>,
    span: Duration,
) -> io::Result<Side> {
    let (target, queue, begin) = (target.clone(), Arc::clone(queue), Instant::now() + BEFORE);
    let load = move || on_this_thread(steady_load(target, rate, queue, begin, begin + span));
    tokio::task::spawn_blocking(load).await?
}

async fn steady_load(
    target: Target,
    rate: u32,
    queue: Arc<Queue>,
    begin: Instant,
    end: Instant,
) -> io::Result<Side> {
    let mut connections = JoinSet::new();
    for number in 0..STEADY_CONNECTIONS {
        let queue = Arc::clone(&queue);
        let first = begin + Duration::from_secs(1) * number / rate;
        let every = Duration::from_secs(1) * STEADY_CONNECTIONS / rate;
        connections.spawn_local(steady(target.clone(), queue, first, every, end));
    }
    gather(connections).await
}

fn on_this_thread(work: impl Future<Output = io::Result<Side>>) -> io::Result<Side> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, work)
}

async fn gather(mut connections: JoinSet<Side>) -> io::Result<Side> {
    let mut side = Side::default();
    while let Some(part) = connections.join_next().await {
        side.add(part?);
    }
    Ok(side)
}

/// One connection of the steady load. It sends when its time has come, or as soon as it can.
async fn steady(
    target: Target,
    queue: Arc<Queue>,
    first: Instant,
    every: Duration,
    end: Instant,
) -> Side {
    let mut side = Side::default();
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let mut stream = None;
    let mut due = first;
    while due < end {
        sleep_until(due).await;
        let Some(request) = queue.take() else { break };
        let attempt = async {
            let stream = match &mut stream {
                Some(stream) => stream,
                None => stream.insert(target.connect(0).await?),
            };
            exchange(stream, request, &mut buffer).await
        };
        match timeout(ANSWER_TIME_MAX, attempt).await {
            Ok(Ok(200)) => side.latencies.push(due.elapsed()),
            outcome => {
                let outcome = outcome.unwrap_or_else(|late| Err(late.into()));
                *side.failed.entry(described(outcome)).or_default() += 1;
                stream = None;
            }
        }
        due += every;
    }
    side
}

/// One connection of the flood: a large body, its refusal, the next one.
async fn flood(address: SocketAddr, request: Arc<Vec<u8>>, begin: Instant, end: Instant) -> Side {
    let mut side = Side::default();
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let mut stream = None;
    sleep_until(begin).await;
    while Instant::now() < end {
        let attempt = async {
            let stream = connected(&mut stream, address).await?;
            exchange(stream, &request, &mut buffer).await
        };
        let Ok(outcome) = timeout_at(end, attempt).await else { break };
        if outcome.is_err() {
            stream = None;
        }
        *side.flood.entry(described(outcome)).or_default() += 1;
    }
    if let Some(mut stream) = stream {
        // The server may have closed it already.
        let _ = stream.shutdown().await;
    }
    side
}

async fn connected(
    stream: &mut Option<TcpStream>,
    address: SocketAddr,
) -> io::Result<&mut TcpStream> {
    match stream {
        Some(stream) => Ok(stream),
        None => {
            let fresh = TcpStream::connect(address).await?;
            fresh.set_nodelay(true)?;
            Ok(stream.insert(fresh))
        }
    }
}

fn described(outcome: io::Result<u16>) -> String {
    match outcome {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// A request with a body of `body_bytes` bytes and a wrong signature.
fn unsigned(body_bytes: usize) -> Vec<u8> {
    let body = "x".repeat(body_bytes);
    let signature = "0".repeat(64);
    format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\nuser-agent: wilco-bench\r\n\
         content-type: application/json\r\nx-freispace-signature: {signature}\r\n\
         content-length: {body_bytes}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Prints the figures, and whether they are within their aims.
fn report(
    args: &Flood,
    machine: &Machine,
    sides: &[Side; 2],
    peak_mib: u64,
    recorded: u64,
) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;
    writeln!(
        out,
        "{} signed requests/s for {} s each way; flood: {} senders, bodies of {} bytes",
        args.steady.rate, args.seconds, args.senders, args.body_bytes
    )?;
    for (name, side) in ["without", "with"].iter().zip(sides) {
        let (acknowledged, failed) = (side.latencies.len(), side.failed.values().sum::<u64>());
        let (p50, p99) = (side.millis(0.5), side.millis(0.99));
        writeln!(
            out,
            "{name:>8} flood: {acknowledged} acknowledged, {failed} failed, \
             p50 {p50:.2} ms, p99 {p99:.2} ms",
        )?;
        for (what, times) in &side.failed {
            writeln!(out, "               {times} × {what}")?;
        }
    }
    let [without, with] = sides;
    for (what, times) in &with.flood {
        writeln!(out, "       unsigned: {times} × {what}")?;
    }
    let ratio = with.millis(0.99) / without.millis(0.99);
    let failed = with.failed.values().chain(without.failed.values()).sum::<u64>();
    let acknowledged = with.latencies.len() + without.latencies.len();
    let aims = [
        (failed == 0, format!("{failed} signed requests failed (aim: 0)")),
        (
            usize::try_from(recorded).is_ok_and(|recorded| recorded >= acknowledged),
            format!("{recorded} events recorded, {acknowledged} acknowledged"),
        ),
        (
            ratio <= args.steady.ratio,
            format!("p99 is {ratio:.2} times that without the flood (aim: {})", args.steady.ratio),
        ),
        (
            peak_mib < PEAK_MIB_MAX,
            format!("the server took {peak_mib} MiB at most (aim: under {PEAK_MIB_MAX})"),
        ),
    ];
    for (is_met, what) in &aims {
        writeln!(out, "{} {what}", if *is_met { "ok    " } else { "MISSED" })?;
    }
    Ok(aims.iter().all(|(is_met, _)| *is_met))
}

/// How often the two are measured in alternation, because machines are noisy.
const ROUNDS: u32 = 3;
/// Connections that the steady load is spread over.
const STEADY_CONNECTIONS: u32 = 32;
/// The time to connect before a span begins.
const BEFORE: Duration = Duration::from_millis(200);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
const PEAK_MIB_MAX: u64 = 256;
