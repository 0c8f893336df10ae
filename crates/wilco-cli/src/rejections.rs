//! `wilco rejections`: requests that were refused, and those of them that were refused by mistake.

mod accept;
mod list;
mod rejection_ref;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, Record};
pub(crate) use rejection_ref::RejectionRef;

/// Look at rejected requests, and accept those that were refused by mistake
#[derive(Args)]
pub(crate) struct Rejections {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(list::List),
    Show(show::Show),
    Accept(accept::Accept),
}

impl Rejections {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::List(list) => list.run().await?,
            Verb::Show(show) => show.run().await?,
            Verb::Accept(accept) => return accept.run().await,
        }
        Ok(ExitCode::SUCCESS)
    }
}
