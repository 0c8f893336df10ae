//! What a bad neighbour costs the senders: one destination floods wilco with output, another delivers
//! as it should, and signed events arrive at a steady rate.
//!
//! Each round is a fresh process with a fresh store, alternating between no neighbour and each kind.
//! The flooding program runs at the lowest priority, so that wilco's own work is measured.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::{
    args::Neighbours,
    bodies::{Queue, Requests},
    connection::Target,
    deliver::destination,
    flood::{Side, steady_span},
    machine::Machine,
    rounds::tell,
    servers::Server,
    sink::Sink,
};

/// Measures all that `args` ask for. `false` where an aim was missed.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured from there on.
pub(crate) async fn run(args: &Neighbours) -> io::Result<bool> {
    let wilco = args.steady.place.wilco()?;
    let folder =
        tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.steady.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    let seconds = usize::try_from(args.seconds).map_err(io::Error::other)?;
    let spans = args.rounds as usize * Neighbour::ALL.len();
    let count = (seconds * spans + 1).saturating_mul(args.steady.rate as usize);
    let queue = Arc::new(Queue::new(Arc::new(Requests::signed(count, None)?)));
    let interim = interim_flood()?;

    let mut sides: [Side; Neighbour::ALL.len()] = Default::default();
    for round in 1..=args.rounds {
        for (side, neighbour) in sides.iter_mut().zip(Neighbour::ALL) {
            tell(&format!("round {round}, {}", neighbour.name()));
            let folder = tempfile::Builder::new().prefix("round-").tempdir_in(&dir)?;
            let sink = Sink::start(None).await?;
            let more = destination(&sink, SINK_CONCURRENCY) + &neighbour.destination(interim);
            let server = Server::wilco(&wilco, folder.path(), &more).await?;
            let target = Target::new(server.address, false)?;
            let span = Duration::from_secs(args.seconds);
            side.add(steady_span(&target, args.steady.rate, &queue, span).await?);
            // Asked to stop, it would let the flood come to its end.
            server.kill().await?;
        }
    }
    report(args, &machine, &sides)
}

/// Who floods.
#[derive(Clone, Copy)]
enum Neighbour {
    None,
    /// An HTTP service that answers `100 Continue` without end.
    Interim,
    /// A program that writes to its stdout without end.
    Program,
    /// A worker that writes lines without end which answer nothing.
    Worker,
}

impl Neighbour {
    const ALL: [Self; 4] = [Self::None, Self::Interim, Self::Program, Self::Worker];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no flood",
            Self::Interim => "interim answers",
            Self::Program => "program's output",
            Self::Worker => "worker's lines",
        }
    }

    /// The destination that floods, in TOML, and its route.
    fn destination(self, interim: SocketAddr) -> String {
        let keys = match self {
            Self::None => return String::new(),
            Self::Interim => format!("type = \"http\"\nurl = \"http://{interim}/\"\n"),
            Self::Program => "type = \"command\"\n\
                 command = [\"nice\", \"-n\", \"19\", \"cat\", \"/dev/zero\"]\n"
                .into(),
            Self::Worker => "type = \"command\"\nprotocol = \"lines\"\n\
                 command = [\"nice\", \"-n\", \"19\", \"yes\"]\n"
                .into(),
        };
        format!(
            "\n[destination.flood]\n{keys}concurrency = {FLOOD_CONCURRENCY}\ntimeout = \"10 min\"\n\n\
             [[route]]\nto = [\"flood\"]\n"
        )
    }
}

/// Listens, and answers every request with interim answers, as fast as they are taken.
fn interim_flood() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::Builder::new().name("interim".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            // Without a thread for it the connection is closed.
            let _ = thread::Builder::new().name("interim".into()).spawn(|| interim(stream));
        }
    })?;
    Ok(address)
}

fn interim(mut stream: TcpStream) {
    let _ = rustix::process::nice(LOWEST);
    let answers = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000);
    let mut head = [0; 1_024];
    if stream.read(&mut head).is_ok() {
        while stream.write_all(answers.as_bytes()).is_ok() {}
    }
}

/// Prints the figures, and whether they are within their aims.
fn report(args: &Neighbours, machine: &Machine, sides: &[Side]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;
    writeln!(
        out,
        "{} signed requests/s, {} × {} s each way",
        args.steady.rate, args.rounds, args.seconds
    )?;
    let Some(alone) = sides.first() else { return Ok(false) };
    let mut is_met = true;
    for (side, neighbour) in sides.iter().zip(Neighbour::ALL) {
        let (p50, p99) = (side.millis(0.5), side.millis(0.99));
        let ratios = [p50 / alone.millis(0.5), p99 / alone.millis(0.99)];
        let failed = side.failed();
        let is_within = failed == 0 && ratios.iter().all(|ratio| *ratio <= args.steady.ratio);
        is_met &= is_within;
        writeln!(
            out,
            "{} {:>16}: {} acknowledged, {failed} failed, p50 {p50:.2} ms ({:.2}), p99 {p99:.2} ms ({:.2})",
            if is_within { "ok    " } else { "MISSED" },
            neighbour.name(),
            side.acknowledged(),
            ratios[0],
            ratios[1],
        )?;
    }
    writeln!(
        out,
        "in brackets: times the figure without a flood (aim: at most {})",
        args.steady.ratio
    )?;
    Ok(is_met)
}

const SINK_CONCURRENCY: u16 = 8;
const FLOOD_CONCURRENCY: u16 = 4;
/// The niceness of what floods.
const LOWEST: i32 = 19;
