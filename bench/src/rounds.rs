//! The run: bare, wilco, bare, wilco …, each a fresh process with a fresh store.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    args::Args,
    bodies::Requests,
    load::{Load, Outcome, Tally, WARM_UP},
    machine::Machine,
    process,
    report::{self, Figures, Pair, Plan, Report},
    servers::{Kind, Server},
};

/// Measures all that `args` ask for. `false` where an answer was wrong or an event is missing.
///
/// # Errors
///
/// Something is not there or cannot be started: nothing was measured from there on.
pub(crate) async fn run(args: &Args) -> io::Result<bool> {
    let wilco = args.place.wilco()?;
    let folder = tempfile::Builder::new().prefix("wilco-bench-").tempdir_in(args.place.dir())?;
    let dir = folder.path().canonicalize()?;
    let machine = Machine::examine(&dir)?;
    let plan = Plan {
        measured: args.measured(),
        rounds: args.rounds,
        subjects: args.subjects,
        threads: args.threads(),
    };
    let report = Report::new(args.json);
    report.head(&machine, &plan)?;

    let seconds = (plan.measured + WARM_UP).as_millis().div_ceil(1_000);
    let count = args.rate().saturating_mul(usize::try_from(seconds).map_err(io::Error::other)?);
    let requests = Arc::new(Requests::signed(count, plan.subjects)?);
    tell(&format!("{} requests are signed", requests.count()));

    let mut bench = Bench { wilco, dir, report, faults: 0 };
    for &connections in &args.connections {
        let load = Load {
            requests: Arc::clone(&requests),
            connections,
            threads: plan.threads,
            measured: plan.measured,
            window: None,
        };
        let mut pairs = Vec::new();
        for round in 1..=plan.rounds {
            pairs.push(Pair {
                bare: bench.round(&load, round, Kind::Bare).await?,
                wilco: bench.round(&load, round, Kind::Wilco).await?,
            });
        }
        bench.report.medians(connections, &pairs)?;
    }
    Ok(bench.faults == 0)
}

/// What all rounds share.
struct Bench {
    wilco: PathBuf,
    dir: PathBuf,
    report: Report,
    faults: usize,
}

impl Bench {
    async fn round(&mut self, load: &Load, round: u32, kind: Kind) -> io::Result<Figures> {
        let folder = tempfile::Builder::new().prefix("round-").tempdir_in(&self.dir)?;
        let (outcome, peak_kib, faults) = serve(load, kind, &self.wilco, folder.path()).await?;
        let figures = report::figures(&outcome, peak_kib);
        let title = format!("{} connections, round {round}, {}", load.connections, kind.name());
        tell(&format!("{title}: {:.0} requests/s", figures[0]));
        if outcome.tally.ran_out {
            let seconds = outcome.elapsed.as_secs_f64();
            tell(&format!("{title}: out of requests after {seconds:.1} s; raise --rate"));
        }
        for fault in &faults {
            tell(&format!("{title}: FAILED: {fault}"));
        }
        self.faults += faults.len();
        self.report.round(load.connections, round, kind, &figures)?;
        Ok(figures)
    }
}

/// One server from its start to its end: the outcome, the peak of its memory, what was wrong.
async fn serve(
    load: &Load,
    kind: Kind,
    wilco: &Path,
    dir: &Path,
) -> io::Result<(Outcome, u64, Vec<String>)> {
    let server = Server::start(kind, wilco, dir).await?;
    let outcome = load.run(server.address, server.id).await?;
    let peak_kib = process::peak_kib(server.id)?;
    let mut faults = faults(&outcome.tally);
    faults.extend(miscount(&server, outcome.tally.acknowledged).await?);
    server.stop().await?;
    Ok((outcome, peak_kib, faults))
}

/// Everything but a 200.
pub(crate) fn faults(tally: &Tally) -> Vec<String> {
    let refused = tally.refused.iter().map(|(status, times)| format!("{times} answers {status}"));
    let broken = tally.broken.iter().map(|(why, times)| format!("{times} connections: {why}"));
    let nothing = tally.latencies.is_empty().then(|| "nothing was answered".to_owned());
    refused.chain(broken).chain(nothing).collect()
}

/// What is acknowledged is recorded, and nothing else is.
pub(crate) async fn miscount(server: &Server, acknowledged: u64) -> io::Result<Option<String>> {
    let mut recorded = server.recorded().await?;
    for _ in 0..COUNT_TRIES {
        if recorded.is_none_or(|recorded| recorded == acknowledged) {
            return Ok(None);
        }
        // Counters may be a moment late; events may not.
        sleep(Duration::from_millis(100)).await;
        recorded = server.recorded().await?;
    }
    let recorded = recorded.unwrap_or_default();
    Ok(Some(format!("{acknowledged} events were acknowledged and {recorded} recorded")))
}

/// Progress. It goes to stderr, and nowhere where that is closed.
pub(crate) fn tell(what: &str) {
    let _ = writeln!(io::stderr(), "{what}");
}

const COUNT_TRIES: usize = 10;
