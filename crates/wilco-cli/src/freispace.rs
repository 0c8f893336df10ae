//! `wilco freispace`: registers, lists, removes and rotates webhook endpoints by freispace's API.

mod api;
mod list;
mod register;
mod remove;
mod rotate;
mod secret_file;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;

pub(crate) use api::{Api, ApiArgs, Endpoint, NewEndpoint};
pub(crate) use secret_file::{SecretFile, TextFile, sync_folder};

/// Register, list, remove and rotate webhook endpoints at freispace, by its API
///
/// The API token comes from freispace: team settings, Integrations. It needs the permission to read
/// and write webhooks.
#[derive(Args)]
pub(crate) struct Freispace {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Register(register::Register),
    List(list::List),
    Remove(remove::Remove),
    Rotate(rotate::Rotate),
}

impl Freispace {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::Register(register) => register.run().await?,
            Verb::List(list) => list.run().await?,
            Verb::Remove(remove) => remove.run().await?,
            Verb::Rotate(rotate) => rotate.run().await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
