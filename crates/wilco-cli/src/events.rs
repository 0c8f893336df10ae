//! `wilco events`: what was recorded, and what became of it.

mod cancel;
mod diff;
mod erase;
mod event_ref;
mod list;
mod replay;
mod show;
mod summary;
mod tail;
mod why;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;

pub(crate) use event_ref::{EventRef, MILLISECOND};
pub(crate) use summary::{Rows, about, deliveries};

/// Look at recorded events, replay them, cancel their deliveries, or erase them
#[derive(Args)]
pub(crate) struct Events {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(list::List),
    Show(show::Show),
    Tail(tail::Tail),
    Why(why::Why),
    Diff(Box<diff::Diff>),
    Replay(Box<replay::Replay>),
    Cancel(cancel::Cancel),
    Erase(erase::Erase),
}

impl Events {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::List(list) => list.run().await?,
            Verb::Show(show) => show.run().await?,
            Verb::Tail(tail) => tail.run().await?,
            Verb::Why(why) => why.run().await?,
            Verb::Diff(diff) => return diff.run().await,
            Verb::Replay(replay) => replay.run().await?,
            Verb::Cancel(cancel) => cancel.run().await?,
            Verb::Erase(erase) => erase.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
