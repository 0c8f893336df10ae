//! `wilco freispace remove`: removes an endpoint.

use std::io::{self, IsTerminal as _};

use clap::Args;

use super::{ApiArgs, Endpoint};
use crate::{Failure, print, visible};

/// Remove an endpoint, so that freispace sends nothing more to it
///
/// On a terminal, asks before.
#[derive(Args)]
pub(super) struct Remove {
    #[command(flatten)]
    api: ApiArgs,
    /// Endpoint id, as `wilco freispace list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Remove {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if !self.yes && !io::stdin().is_terminal() {
            let text = "nobody can be asked; run this on a terminal, or add --yes";
            return Err(Failure::usage(text));
        }
        let api = self.api.connect()?;
        if !self.yes && !is_confirmed(&api.show(&self.id).await?)? {
            return print("nothing removed\n");
        }
        let id = &self.id;
        match api.remove(id).await? {
            true => print(&format!("endpoint {id} removed\n")),
            false => Err(Failure::failed(format!(
                "endpoint {id} not found; `wilco freispace list` shows those that there are"
            ))),
        }
    }
}

fn is_confirmed(endpoint: &Endpoint) -> Result<bool, Failure> {
    let (id, url) = (visible(&endpoint.id), visible(&endpoint.url));
    print(&format!("Remove endpoint {id}, {url}? [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
