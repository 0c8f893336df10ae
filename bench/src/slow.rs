//! What thousands of slow clients cost a steady load of signed requests: they send a head or a body
//! byte by byte, never read their answer, connect and send nothing, or send a TLS handshake byte by byte.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, interval, sleep, timeout_at},
};

use crate::{
    args::Slow,
    bodies::{Queue, Requests},
    connection::Target,
    flood::{Side, steady_span},
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
pub(crate) async fn run(args: &Slow) -> io::Result<bool> {
    let wilco = args.steady.place.wilco()?;
    let folder =
        tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.steady.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    let count = usize::try_from(2 * (SPAN + BEFORE).as_secs()).map_err(io::Error::other)?;
    let count = count * args.steady.rate as usize;
    let queue = Arc::new(Queue::new(Arc::new(Requests::signed(count, None)?)));
    raise_file_limit();
    let server = match args.tls {
        true => Server::wilco_tls(&wilco, &dir).await?,
        false => Server::wilco(&wilco, &dir, "").await?,
    };
    let target = Target::new(server.address, args.tls)?;

    tell("without slow clients");
    let without = steady_span(&target, args.steady.rate, &queue, SPAN).await?;
    tell(&format!("with {} slow clients", args.clients));
    let mut clients = JoinSet::new();
    for number in 0..args.clients {
        let from = Ipv4Addr::new(127, 0, 2, u8::try_from(number % args.addresses).unwrap_or(0) + 1);
        clients.spawn(slow(Kind::of(number, args.tls), from.into(), server.address));
    }
    sleep(BEFORE).await;
    let with = steady_span(&target, args.steady.rate, &queue, SPAN).await?;
    let ends = gather(clients).await?;
    let peak_mib = process::peak_kib(server.id)? >> 10;
    server.stop().await?;
    report(args, &machine, [&without, &with], &ends, peak_mib)
}

/// Raises the soft limit on open files to the hard one: each client is one.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Clients that cannot connect are counted.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What a slow client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Head,
    Body,
    Read,
    Silent,
    Handshake,
}

impl Kind {
    fn of(number: u32, has_tls: bool) -> Self {
        if has_tls {
            return Self::Handshake;
        }
        [Self::Head, Self::Body, Self::Read, Self::Silent][number as usize % 4]
    }

    /// What it sends at once.
    fn first(self) -> &'static [u8] {
        match self {
            Self::Head => b"POST /webhook HTTP/1.1\r\nhost: a\r\nx: ",
            Self::Body => b"POST /webhook HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n",
            Self::Read => b"GET /webhook HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            Self::Silent => b"",
            // A record of 512 bytes with the beginning of a ClientHello.
            Self::Handshake => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        }
    }
}

/// How long the server kept the connection of a client; `None` if it was not accepted.
async fn slow(kind: Kind, from: IpAddr, address: SocketAddr) -> (Kind, Option<Duration>) {
    (kind, held(kind, from, address).await.ok())
}

async fn held(kind: Kind, from: IpAddr, address: SocketAddr) -> io::Result<Duration> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let mut stream = socket.connect(address).await?;
    let began = Instant::now();
    stream.write_all(kind.first()).await?;
    let mut every = interval(Duration::from_secs(1));
    while began.elapsed() < HELD_MAX && !is_closed(kind, &mut stream).await {
        every.tick().await;
    }
    match began.elapsed() {
        // There were too many connections.
        held if held < REFUSED_BEFORE => Err(io::ErrorKind::ConnectionRefused.into()),
        held => Ok(held),
    }
}

/// Whether the server has closed the connection. Whoever sends goes on until that fails.
async fn is_closed(kind: Kind, stream: &mut TcpStream) -> bool {
    if kind != Kind::Silent {
        return stream.write_all(b"x").await.is_err();
    }
    let soon = Instant::now() + Duration::from_millis(1);
    matches!(timeout_at(soon, stream.read(&mut [0; 16])).await, Ok(Ok(0) | Err(_)))
}

type Ends = BTreeMap<Kind, (u32, u32, Duration)>;

/// How many of each kind were held, how many were not accepted, and the longest time.
async fn gather(mut clients: JoinSet<(Kind, Option<Duration>)>) -> io::Result<Ends> {
    let mut ends = Ends::new();
    while let Some(client) = clients.join_next().await {
        let (kind, held) = client?;
        let (count, refused, longest) = ends.entry(kind).or_default();
        match held {
            Some(held) => {
                *count += 1;
                *longest = (*longest).max(held);
            }
            None => *refused += 1,
        }
    }
    Ok(ends)
}

/// Prints the figures, and whether they are within their aims.
fn report(
    args: &Slow,
    machine: &Machine,
    [without, with]: [&Side; 2],
    ends: &Ends,
    peak_mib: u64,
) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let Machine { cores, kernel, file_system, .. } = machine;
    writeln!(out, "{cores} cores, Linux {kernel}, {file_system}")?;
    writeln!(out, "{} signed requests/s for {} s each way", args.steady.rate, SPAN.as_secs())?;
    for (name, side) in [("without", without), ("with", with)] {
        let (acknowledged, failed) = (side.acknowledged(), side.failed());
        let (p50, p99) = (side.millis(0.5), side.millis(0.99));
        writeln!(
            out,
            "{name:>8} slow clients: {acknowledged} acknowledged, {failed} failed, p50 {p50:.2} ms, \
             p99 {p99:.2} ms"
        )?;
    }
    for (kind, (count, refused, longest)) in ends {
        let longest = longest.as_secs_f64();
        writeln!(out, "{kind:?}: {count} held for up to {longest:.1} s, {refused} not accepted")?;
    }
    let failed = without.failed() + with.failed();
    let ratio = with.millis(0.99) / without.millis(0.99);
    let longest = ends.values().map(|(_, _, longest)| *longest).max().unwrap_or_default();
    let aims = [
        (failed == 0, format!("{failed} signed requests failed (aim: 0)")),
        (
            ratio <= args.steady.ratio,
            format!("p99 is {ratio:.2} times that without (aim: {})", args.steady.ratio),
        ),
        (longest <= GONE_AFTER, format!("the last was gone after {:.1} s", longest.as_secs_f64())),
        (true, format!("the server took {peak_mib} MiB at most")),
    ];
    for (is_met, what) in &aims {
        writeln!(out, "{} {what}", if *is_met { "ok    " } else { "MISSED" })?;
    }
    Ok(aims.iter().all(|(is_met, _)| *is_met))
}

/// How long each half of the measurement takes.
const SPAN: Duration = Duration::from_secs(40);
/// The time to connect before the second half begins.
const BEFORE: Duration = Duration::from_secs(3);
/// When the last slow client has to be gone.
const GONE_AFTER: Duration = Duration::from_secs(35);
/// A connection that is closed earlier was not accepted.
const REFUSED_BEFORE: Duration = Duration::from_secs(3);
/// When a client that is still held is counted.
const HELD_MAX: Duration = Duration::from_secs(90);
