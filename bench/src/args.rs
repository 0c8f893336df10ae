//! The command line.

use std::{
    env, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::{Parser, Subcommand, value_parser};

/// Measures wilco's durable endpoint against a bare HTTP server, in one run, on the same cores.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How long one round measures
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many keep-alive connections; several numbers are measured one after another
    #[arg(long, default_value = "1,64,512", value_delimiter = ',', value_parser = connections)]
    pub(crate) connections: Vec<usize>,
    /// How many rounds each server gets, alternating
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Spread the bodies over N bookings [default: each body is about a different booking]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) subjects: Option<u32>,
    /// Requests a second that bodies are made for [default: 60000 for each core, up to 8 cores]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Threads that make the load [default: half the cores]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// One JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// What else this program can be.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What is measured, and where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// The binary to measure [default: `wilco` next to this program]
    #[arg(long, value_name = "PATH")]
    wilco: Option<PathBuf>,
    /// Where the store is written: a folder on a real disk [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What else is measured, and what this program starts itself as.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures the whole way: recorded, routed and delivered to an HTTP server that answers at once
    Deliver(Deliver),
    /// Measures what a backlog of waiting deliveries costs: the start, memory, recording
    Backlog(Backlog),
    /// Measures how much pruning old events delays the acknowledgement of new ones
    Prune(Prune),
    /// Measures what a flood of unsigned requests costs the signed ones: failures, latency, memory
    Flood(Flood),
    /// Measures what thousands of slow clients cost the signed requests, and when they are gone
    Slow(Slow),
    /// Measures what a destination that floods wilco costs those who wait for their 2xx
    Neighbours(Neighbours),
    /// Measures what becomes of events when many times as many arrive as can be recorded
    Overload(Overload),
    /// Measures what open pages of the dashboard cost while events arrive
    Watch(Watch),
    /// Fills a store with events and ended deliveries, to look at
    Fill(Fill),
    /// The server that wilco is compared with
    #[command(hide = true)]
    Bare {
        /// Where it listens
        address: SocketAddr,
    },
}

/// How `deliver` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Deliver {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Another wilco, measured in alternation with the first
    #[arg(long, value_name = "PATH")]
    pub(crate) against: Option<PathBuf>,
    /// How long one round sends, after half a second of warm-up
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// How many rounds there are of each kind, alternating
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// How many keep-alive connections send
    #[arg(long, default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// How many attempts the destination takes at once
    #[arg(long, default_value_t = 64, value_parser = value_parser!(u16).range(1..=1_024))]
    pub(crate) concurrency: u16,
    /// How many events may be sent and not delivered yet; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 4_096)]
    pub(crate) window: usize,
    /// Requests a second that bodies are made for
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// One JSON object a line instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// How `backlog` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Backlog {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many deliveries wait
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) deliveries: u32,
    /// How many rounds of recording each store gets, alternating
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// How long one round records, after half a second of warm-up
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Leave the stores where they are, and take them again if they are there
    #[arg(long)]
    pub(crate) keep: bool,
    /// One JSON object a line instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

/// How `prune` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Prune {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many old events there are to prune
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) events: u32,
    /// How many events a second come on a schedule
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// How many keep-alive connections send as fast as they are answered
    #[arg(long, default_value_t = 64, value_parser = connections)]
    pub(crate) connections: usize,
    /// How many rounds there are with pruning and without, alternating
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// How long one round measures each load
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
}

/// What `fill` fills.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fill {
    /// Where the store is written, as wilco.db; taken as it is if it is complete
    pub(crate) folder: PathBuf,
    /// How many events
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) events: u32,
}

/// How `flood` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flood {
    #[command(flatten)]
    pub(crate) steady: Steady,
    /// How long it measures with the flood, and as long without
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u64).range(3..=3_600))]
    pub(crate) seconds: u64,
    /// How many connections flood
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = value_parser!(u16).range(1..=1_000))]
    pub(crate) senders: u16,
    /// How large the bodies of the flood are
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub(crate) body_bytes: usize,
}

/// How `slow` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Slow {
    #[command(flatten)]
    pub(crate) steady: Steady,
    /// How many slow clients connect
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=20_000))]
    pub(crate) clients: u32,
    /// How many loopback addresses they come from: wilco accepts 2,048 from each, and 8,192 in all
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) addresses: u32,
    /// Measure with TLS; then all slow clients send a handshake
    #[arg(long)]
    pub(crate) tls: bool,
}

/// How `neighbours` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Neighbours {
    #[command(flatten)]
    pub(crate) steady: Steady,
    /// How long one round measures
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// How many rounds there are of each kind, alternating
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
}

/// How `overload` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Overload {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How long it measures the peak, the overload, and the time before and after
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// How many times the peak is sent
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(2..=100))]
    pub(crate) times: u32,
    /// How many connections the peak is measured with
    #[arg(long, value_name = "N", default_value_t = 1_500, value_parser = connections)]
    pub(crate) connections: usize,
    /// How many connections the overload may open
    #[arg(long, value_name = "N", default_value_t = 6_000, value_parser = connections)]
    pub(crate) connections_max: usize,
    /// Measure with TLS
    #[arg(long)]
    pub(crate) tls: bool,
    /// Send each request on a new connection, as many providers do
    #[arg(long)]
    pub(crate) new_connections: bool,
}

/// How `watch` measures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many events come in a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// How long one span measures
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// How many rounds there are
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// How many pages are open in the spans of a round; the first number is what the others are compared with
    #[arg(long, default_value = "0,1,5", value_delimiter = ',')]
    pub(crate) viewers: Vec<usize>,
    /// Which page
    #[arg(long, default_value = "/events")]
    pub(crate) page: String,
    /// How many events are in the store before
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) events: u32,
}

/// The signed requests that a flood must not disturb.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Steady {
    #[command(flatten)]
    pub(crate) place: Place,
    /// How many signed requests come in a second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// How many times the latency without a flood the one beside it may be
    #[arg(long, value_name = "N", default_value_t = 1.5)]
    pub(crate) ratio: f64,
}

impl Place {
    /// The binary to measure.
    ///
    /// # Errors
    ///
    /// There is no such file.
    pub(crate) fn wilco(&self) -> io::Result<PathBuf> {
        let path = match &self.wilco {
            Some(path) => path.clone(),
            None => env::current_exe()?.with_file_name("wilco"),
        };
        binary(&path)
    }

    /// The folder for the stores.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(env::temp_dir)
    }
}

impl Args {
    /// How long one round measures, the warm-up left out.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How many requests a second bodies are made for.
    pub(crate) fn rate(&self) -> usize {
        let rate = self.rate.map(|rate| usize::try_from(rate).unwrap_or(usize::MAX));
        rate.unwrap_or_else(|| RATE_PER_CORE * cores().min(CORES_MAX))
    }

    /// How many threads make the load.
    pub(crate) fn threads(&self) -> usize {
        self.threads.map_or_else(threads, usize::from)
    }
}

/// How many threads make the load if nothing else is said: half the cores.
pub(crate) fn threads() -> usize {
    (cores() / 2).clamp(1, CORES_MAX)
}

/// The whole path of a program.
///
/// # Errors
///
/// There is no such file.
pub(crate) fn binary(path: &Path) -> io::Result<PathBuf> {
    if path.is_file() {
        return path.canonicalize();
    }
    Err(io::Error::other(format!(
        "{} not found; build it with `cargo build --release`, or name it with --wilco PATH",
        path.display()
    )))
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn connections(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(number @ 1..=CONNECTIONS_MAX) => Ok(number),
        _ => Err(format!("a number from 1 to {CONNECTIONS_MAX}")),
    }
}

/// More than the bare server answers to one core: it shares the cores with the load.
const RATE_PER_CORE: usize = 60_000;
const CORES_MAX: usize = 8;
/// Loopback has some 28,000 ports to connect from.
const CONNECTIONS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn several_numbers_of_connections_are_taken_in_their_order() {
        let args = Args::try_parse_from(["wilco-bench", "--connections", "8,1"]).unwrap();
        assert_eq!(args.connections, [8, 1]);
        assert!(Args::try_parse_from(["wilco-bench", "--connections", "0"]).is_err());
    }
}
