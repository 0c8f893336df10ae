//! `wilco audit`: what was done by the API, the dashboard and the command line.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use wilco::{EventId, RejectionId};
use wilco_server::admin::AuditEntry;

use super::{
    Column, Failure, ListingArgs, Pages, Record, Screen, StoreArgs, Table, json_line, print,
    shown_ids,
};

/// Look at what was done: replays, pauses and every other action
#[derive(Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    List(List),
}

/// List what was done, newest first
#[derive(Args)]
struct List {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

impl Audit {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let Verb::List(list) = self.verb;
        list.run().await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        Record::read(&self.store, async |record| self.list(record).await).await
    }

    async fn list(&self, record: &Record) -> Result<(), Failure> {
        let pages = Pages::of(record, "/api/v1/audit", &(), self.listing.items_max())?;
        let (entries, has_more): (Vec<AuditEntry>, _) = pages.collect().await?;
        if self.listing.json {
            return print(&entries.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        let Some(newest) = entries.first() else { return print("no actions yet\n") };
        let (screen, times) = (Screen::stdout(), self.store.times());
        let offset = times.offset(newest.at);
        let columns = [
            Column::fixed(&times.title("at", screen, &offset)),
            Column::text("by", 9),
            Column::text("action", 17),
            Column::name("target"),
            Column::text("changed", 7),
            Column::wrapped("result", 8),
        ];
        let is_id = |target: &&str| {
            target.parse::<EventId>().is_ok() || target.parse::<RejectionId>().is_ok()
        };
        let targets = entries.iter().filter_map(|entry| entry.target.as_deref());
        let mut ids = shown_ids(targets.filter(is_id), screen).into_iter();
        let cells = entries.iter().map(|entry| {
            let AuditEntry { at, who, action, target, affected, result, .. } = entry;
            let dash = || "-".to_owned();
            let target = match target.as_deref().filter(is_id) {
                Some(_) => ids.next(),
                None => target.clone(),
            };
            vec![
                times.cell(*at, screen, &offset),
                who.clone(),
                action.replace('_', " "),
                target.unwrap_or_else(dash),
                affected.map_or_else(dash, |count| count.to_string()),
                result.clone(),
            ]
        });
        print(&Table::new(columns, screen).draw(&cells.collect::<Vec<_>>()))?;
        if has_more {
            self.listing.note_more(entries.len());
        }
        Ok(())
    }
}
