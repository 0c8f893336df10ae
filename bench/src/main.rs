//! How much does durability cost? `wilco` beside a bare HTTP server, in one run, on the same cores.

mod args;
mod bare;
mod bodies;
mod http;
mod load;
mod machine;
mod process;
mod report;
mod rounds;
mod servers;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.command {
        Some(Command::Bare { address }) => bare::run(address).map(|()| true),
        None => measure(&args),
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

/// Runs all rounds; a signal ends them early, and the servers with them.
fn measure(args: &Args) -> io::Result<bool> {
    // One thread: it only sleeps and reads `/proc` while the load runs on threads of its own.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            outcome = rounds::run(args) => outcome,
            _ = terminate.recv() => Err(io::Error::other("stopped by SIGTERM")),
            _ = interrupt.recv() => Err(io::Error::other("stopped by SIGINT")),
        }
    });
    // Not `drop`, which would wait for load that has no server any more.
    runtime.shutdown_background();
    outcome
}
