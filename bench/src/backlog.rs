//! What a backlog costs. Two stores with the same events, one of them with a pending delivery for
//! each, are measured in alternation.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    args::{self, Backlog},
    bodies::Requests,
    clock,
    deliver::destination,
    load::{Load, Outcome},
    machine::Machine,
    process,
    rounds::{faults, miscount, tell},
    servers::Server,
    sheet::{Sheet, Side},
    sink::Sink,
    stock::{self, Stock},
};

/// Measures all that `args` ask for. `false` where an answer was wrong, or an event or a delivery is
/// missing.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured from there on.
pub(crate) async fn run(args: &Backlog) -> io::Result<bool> {
    let wilco = args.place.wilco()?;
    let folder = tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.place.dir())?;
    let machine = Machine::examine(&folder.path().canonicalize()?)?;
    let dir = if args.keep { args.place.dir().join(KEPT) } else { folder.path().to_owned() };
    let count = u64::from(args.deliveries);
    let with = Stock::build(stock::folder(&dir, count, true), count, true).await?;
    let without = Stock::build(stock::folder(&dir, count, false), count, false).await?;

    let sink = Sink::start(None).await?;
    let mut bench = Bench {
        wilco,
        more: destination(&sink, CONCURRENCY),
        sink,
        stocks: [(Side::Backlog, with), (Side::None, without)],
        sheet: Sheet::default(),
        faults: 0,
    };
    bench.sizes()?;
    for _ in 0..STARTS {
        bench.starts(count).await?;
    }
    for _ in 0..args.rounds {
        bench.record(Duration::from_secs(args.seconds)).await?;
    }
    bench.drain(Duration::from_secs(args.seconds)).await?;
    // Last, because a store may be checked in the background after a kill.
    for _ in 0..STARTS {
        bench.kill().await?;
    }
    bench.sheet.print(args, &machine)?;
    Ok(bench.faults == 0)
}

/// What all measurements share.
struct Bench {
    wilco: PathBuf,
    /// The destination, in TOML.
    more: String,
    sink: Sink,
    stocks: [(Side, Stock); 2],
    sheet: Sheet,
    faults: usize,
}

impl Bench {
    fn sizes(&mut self) -> io::Result<()> {
        for (side, stock) in &self.stocks {
            self.sheet.note("size", *side, mib(stock.bytes()? / 1_024));
        }
        Ok(())
    }

    /// Starts after a clean stop, with the file in memory and without, and asks what people ask.
    async fn starts(&mut self, count: u64) -> io::Result<()> {
        for (side, stock) in &self.stocks {
            stock.forget()?;
            let server = Server::wilco(&self.wilco, &stock.dir, &self.more).await?;
            self.sheet.note("start_cold", *side, millis(server.start));
            server.stop().await?;
            let server = Server::wilco(&self.wilco, &stock.dir, &self.more).await?;
            self.sheet.note("start", *side, millis(server.start));
            self.sheet.note("held", *side, mib(process::held_kib(server.id)?));
            for (key, path) in [("metrics", "/metrics"), ("events", "/api/v1/events?limit=50")] {
                let (_, took) = server.page(path).await?;
                self.sheet.note(key, *side, millis(took));
            }
            let waiting = server.unfinished().await?;
            server.stop().await?;
            if *side == Side::Backlog && waiting < count {
                self.faults += 1;
                tell(&format!("FAILED: {waiting} deliveries wait and not {count}"));
            }
        }
        tell("started, stopped, and started again");
        Ok(())
    }

    /// Records for a while.
    async fn record(&mut self, measured: Duration) -> io::Result<()> {
        let load = load(measured)?;
        for (side, stock) in &self.stocks {
            let server = Server::wilco(&self.wilco, &stock.dir, &self.more).await?;
            let outcome = load.run(server.address, server.id).await?;
            let peak_kib = process::peak_kib(server.id)?;
            let mut wrong = faults(&outcome.tally);
            wrong.extend(miscount(&server, outcome.tally.acknowledged).await?);
            server.stop().await?;
            self.faults += wrong.len();
            for fault in &wrong {
                tell(&format!("{}: FAILED: {fault}", side.name()));
            }
            let answers = outcome.tally.latencies.len() as f64;
            self.sheet.note("recorded", *side, per_second(answers, outcome.elapsed));
            self.sheet.note("cpu", *side, cpu_us(&outcome));
            self.sheet.note("peak", *side, mib(peak_kib));
            let rate = per_second(answers, outcome.elapsed);
            tell(&format!("{}: {rate:.0} requests/s recorded", side.name()));
        }
        Ok(())
    }

    /// Kills it while it records, and starts it again on what is left.
    async fn kill(&mut self) -> io::Result<()> {
        let load = load(KILL_AFTER)?;
        for (side, stock) in &self.stocks {
            for key in ["start_killed_cold", "start_killed"] {
                let server = Server::wilco(&self.wilco, &stock.dir, &self.more).await?;
                // Its end is the end of the load, whose answers do not matter here.
                let _ = load.run(server.address, server.id).await?;
                server.kill().await?;
                if key == "start_killed_cold" {
                    stock.forget()?;
                }
                let server = Server::wilco(&self.wilco, &stock.dir, &self.more).await?;
                self.sheet.note(key, *side, millis(server.start));
                let begun = Instant::now();
                while stock.is_unchecked() && begun.elapsed() < CHECK_TIME_MAX {
                    sleep(LOOK).await;
                }
                self.sheet.note("check", *side, millis(begun.elapsed()));
                let peak_kib = process::peak_kib(server.id)?;
                self.sheet.note("peak_killed", *side, mib(peak_kib));
                server.stop().await?;
            }
            tell(&format!("{}: killed and started again", side.name()));
        }
        Ok(())
    }

    /// Lets the destination go on while more is recorded.
    async fn drain(&mut self, measured: Duration) -> io::Result<()> {
        let load = load(measured)?;
        for (side, stock) in &self.stocks {
            stock.pause(false).await?;
            let server = Server::wilco(&self.wilco, &stock.dir, &self.more).await?;
            let look = || Ok(self.sink.requests());
            let watched = load.watch(server.address, look).await?;
            self.sheet.note("peak_draining", *side, mib(process::peak_kib(server.id)?));
            server.stop().await?;
            stock.pause(true).await?;
            let answers = watched.tally.latencies.len() as f64;
            let delivered = (watched.after - watched.before) as f64;
            self.sheet.note("recorded_draining", *side, per_second(answers, watched.elapsed));
            self.sheet.note("drained", *side, per_second(delivered, watched.elapsed));
            self.faults += faults(&watched.tally).len();
        }
        let received = self.sink.received();
        if received.doubled + received.odd > 0 {
            self.faults += 1;
            tell(&format!(
                "FAILED: {} deliveries came twice, {} were not as they should be",
                received.doubled, received.odd
            ));
        }
        Ok(())
    }
}

/// Bodies that no store has seen: they are numbered by the time.
fn load(measured: Duration) -> io::Result<Load> {
    let first = u64::try_from(clock::now().as_microsecond()).map_err(io::Error::other)?;
    let seconds = measured.as_secs() + 1;
    let count = usize::try_from(seconds).map_err(io::Error::other)? * RATE;
    Ok(Load {
        requests: Arc::new(Requests::signed_from(first, count, None)?),
        connections: CONNECTIONS,
        threads: args::threads(),
        measured,
        window: None,
    })
}

fn per_second(count: f64, elapsed: Duration) -> f64 {
    count / elapsed.as_secs_f64().max(1e-9)
}

fn cpu_us(outcome: &Outcome) -> f64 {
    outcome.server_cpu.as_secs_f64() * 1e6 / (outcome.tally.latencies.len() as f64).max(1.0)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

/// Where stores stand that are kept, below `--dir`.
const KEPT: &str = "wilco-bench-backlog";
const CONNECTIONS: usize = 64;
const CONCURRENCY: u16 = 64;
const STARTS: usize = 3;
/// A store is checked at some 100 MB a second where the disk is slow.
const CHECK_TIME_MAX: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);
const KILL_AFTER: Duration = Duration::from_secs(1);
/// Requests a second that bodies are prepared for: more than one core can record during the load.
const RATE: usize = 40_000;
