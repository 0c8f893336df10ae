//! How much does durability cost, how fast is the whole way, and what do a backlog, pruning and a flood cost?
//! Each answer is a ratio, taken in one run, on the same cores.

mod args;
mod backlog;
mod bare;
mod bodies;
mod clock;
mod connection;
mod deliver;
mod fill;
mod flood;
mod http;
mod load;
mod machine;
mod neighbours;
mod overload;
mod process;
mod prune;
mod report;
mod rounds;
mod servers;
mod sheet;
mod sink;
mod slow;
mod stock;
mod watch;
mod ways;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{SignalKind, signal},
};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Command::Bare { address }) => bare::run(*address).map(|()| true),
        Some(Command::Deliver(args)) => measure(one_thread(), deliver::run(args)),
        Some(Command::Backlog(args)) => measure(all_threads(), backlog::run(args)),
        Some(Command::Fill(args)) => measure(all_threads(), fill::run(args)),
        Some(Command::Prune(args)) => measure(all_threads(), prune::run(args)),
        Some(Command::Flood(args)) => measure(one_thread(), flood::run(args)),
        Some(Command::Slow(args)) => measure(all_threads(), slow::run(args)),
        Some(Command::Neighbours(args)) => measure(all_threads(), neighbours::run(args)),
        Some(Command::Overload(args)) => measure(one_thread(), overload::run(args)),
        Some(Command::Watch(args)) => measure(all_threads(), watch::run(args)),
        None => measure(one_thread(), rounds::run(&args)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to tell it to where stderr is closed.
            let _ = writeln!(io::stderr(), "wilco-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One thread: it only sleeps and reads `/proc` while the load runs on threads of its own.
fn one_thread() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// As many threads as there are cores: a million events are signed and recorded.
fn all_threads() -> io::Result<Runtime> {
    runtime::Builder::new_multi_thread().enable_all().build()
}

/// Runs to the end; a signal ends it early, and the servers with it.
fn measure(
    runtime: io::Result<Runtime>,
    run: impl Future<Output = io::Result<bool>>,
) -> io::Result<bool> {
    let runtime = runtime?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            outcome = run => outcome,
            _ = terminate.recv() => Err(io::Error::other("stopped by SIGTERM")),
            _ = interrupt.recv() => Err(io::Error::other("stopped by SIGINT")),
        }
    });
    // Not `drop`, which would wait for load that has no server any more.
    runtime.shutdown_background();
    outcome
}
