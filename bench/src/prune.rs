//! How much pruning delays acknowledgements: a store is full of old events, of which everything is to be pruned, or
//! nothing, while new ones are recorded.

use std::{
    fs,
    io::{self, Write as _},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    args::{self, Prune},
    bodies::{Queue, Requests},
    clock,
    connection::Target,
    flood::{Side, steady_span},
    load::Load,
    machine::Machine,
    rounds::{faults, tell},
    servers::Server,
    stock::Stock,
};

/// Measures all that `args` ask for. `false` if an event was not acknowledged.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured from there on.
pub(crate) async fn run(args: &Prune) -> io::Result<bool> {
    let wilco = args.place.wilco()?;
    let folder = tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    let stock = Stock::fill(dir.join("stock"), u64::from(args.events)).await?;
    let mut loads = [Pair::default(), Pair::default()];
    for round in 1..=args.rounds {
        for (pair, is_closed) in loads.iter_mut().zip([false, true]) {
            for (measured, keep) in pair.0.iter_mut().zip(KEEP) {
                let load = if is_closed { "as fast as answered" } else { "on a schedule" };
                tell(&format!("round {round}, {load}, keep_payloads = {keep:?}"));
                // A new copy for each, so that there is as much to prune.
                let folder = tempfile::Builder::new().prefix("round-").tempdir_in(&dir)?;
                let copy = folder.path().join("wilco.db");
                fs::copy(stock.dir.join("wilco.db"), &copy)?;
                // Otherwise the first checkpoint has to do it.
                fs::File::open(copy)?.sync_all()?;
                let more = format!("keep_payloads = \"{keep}\"\nkeep_records = \"forever\"\n");
                let server = Server::wilco(&wilco, folder.path(), &more).await?;
                if keep == PRUNING {
                    wait_for_pruning(&server).await?;
                }
                measured.add(args, &server, is_closed).await?;
                server.kill().await?;
            }
        }
    }
    report(args, &machine, &loads)
}

/// What was measured under one load, without pruning and with it.
#[derive(Default)]
struct Pair([Measured; 2]);

#[derive(Default)]
struct Measured {
    side: Side,
    elapsed: Duration,
    pruned: u64,
    faults: usize,
}

impl Measured {
    async fn add(&mut self, args: &Prune, server: &Server, is_closed: bool) -> io::Result<()> {
        let span = Duration::from_secs(args.seconds);
        let rate = if is_closed { RATE_MAX } else { args.rate as usize };
        let count = rate * usize::try_from(args.seconds + 1).map_err(io::Error::other)?;
        // The stock has no event of such a number.
        let first = u64::try_from(clock::now().as_microsecond()).map_err(io::Error::other)?;
        let requests = Arc::new(Requests::signed_from(first, count, None)?);
        let before = server.pruned().await?;
        if is_closed {
            let (connections, threads) = (args.connections, args::threads());
            let load = Load { requests, connections, threads, measured: span, window: None };
            let outcome = load.run(server.address, server.id).await?;
            for fault in faults(&outcome.tally) {
                tell(&format!("FAILED: {fault}"));
                self.faults += 1;
            }
            self.side.latencies.extend(outcome.tally.latencies);
            self.elapsed += outcome.elapsed;
        } else {
            let target = Target::new(server.address, false)?;
            let queue = Arc::new(Queue::new(requests));
            let side = steady_span(&target, args.rate, &queue, span).await?;
            self.faults += usize::try_from(side.failed()).unwrap_or(usize::MAX);
            self.side.add(side);
            self.elapsed += span;
        }
        let pruned = server.pruned().await?;
        if pruned >= u64::from(args.events) * 99 / 100 {
            tell("everything was pruned before the end of the round; raise --events");
        }
        self.pruned += pruned - before;
        Ok(())
    }

    /// Acknowledgements a second, and quantiles of the latency in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "numbers of events")]
    fn figures(&self) -> [f64; 5] {
        let rate = self.side.latencies.len() as f64 / self.elapsed.as_secs_f64();
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| self.side.millis(share));
        [rate, p50, p99, p999, max]
    }
}

async fn wait_for_pruning(server: &Server) -> io::Result<()> {
    let begun = Instant::now();
    while server.pruned().await? == 0 {
        if begun.elapsed() > PRUNING_BEGINS {
            return Err(io::Error::other("nothing is pruned"));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

fn report(args: &Prune, machine: &Machine, loads: &[Pair; 2]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    writeln!(out, "{machine}")?;
    writeln!(out, "{} old events, {} × {} s each", args.events, args.rounds, args.seconds)?;
    let mut faults = 0;
    let names = [format!("{}/s", args.rate), format!("{} connections", args.connections)];
    for (name, Pair([without, with])) in names.iter().zip(loads) {
        faults += without.faults + with.faults;
        let pruned = with.pruned / with.elapsed.as_secs().max(1);
        writeln!(out, "\n{name}, {pruned} payloads pruned a second")?;
        writeln!(
            out,
            "{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}",
            "", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms"
        )?;
        let (before, after) = (without.figures(), with.figures());
        let ratios: [f64; 5] = std::array::from_fn(|column| after[column] / before[column]);
        for (row, [rate, p50, p99, p999, max]) in
            [("not pruning", before), ("pruning", after), ("ratio", ratios)]
        {
            writeln!(out, "{row:>12}{rate:>12.2}{p50:>10.2}{p99:>10.2}{p999:>10.2}{max:>10.2}")?;
        }
    }
    Ok(faults == 0)
}

/// `keep_payloads` of a round in which nothing is pruned, and of one in which everything is.
const KEEP: [&str; 2] = ["forever", PRUNING];
/// The first round of pruning begins after the same time.
const PRUNING: &str = "2 s";
/// Bodies a second for a load that sends as fast as it is answered.
const RATE_MAX: usize = 50_000;
const PRUNING_BEGINS: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);
