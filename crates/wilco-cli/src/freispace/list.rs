//! `wilco freispace list`: the endpoints that freispace sends to.

use clap::Args;

use super::ApiArgs;
use crate::{Column, Failure, ListingArgs, Screen, Table, json_line, print};

/// List the endpoints that freispace sends to
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut endpoints = self.api.connect()?.list().await?;
        let has_more = self.listing.shorten(&mut endpoints);
        if self.listing.json {
            let lines = endpoints.iter().map(json_line).collect::<Result<String, _>>()?;
            return print(&lines);
        }
        if endpoints.is_empty() && !has_more {
            return print("no endpoints; `wilco freispace register` creates one\n");
        }
        let screen = Screen::stdout();
        let columns = [
            Column::text("id", UUID_CHARS),
            Column::name("url"),
            Column::number("events"),
            Column::state("status", 8),
            match screen.is_narrow() {
                true => Column::optional("description"),
                false => Column::text("description", 8),
            },
        ];
        let rows = endpoints.into_iter().map(|endpoint| {
            let status = endpoint.status.unwrap_or_else(|| "-".into());
            let events = endpoint.events.len().to_string();
            vec![
                endpoint.id,
                endpoint.url,
                events,
                status,
                endpoint.description.unwrap_or_default(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        print(&Table::new(columns, screen).draw(&rows))?;
        if has_more {
            self.listing.note_more(rows.len());
        }
        Ok(())
    }
}

/// An id is shown whole, because `remove` needs it whole.
const UUID_CHARS: usize = 36;
