//! `wilco rejections list`: rejected requests as a table, newest first.

use clap::Args;
use jiff::Timestamp;
use wilco_server::admin::{ListRejections, RejectionSummary};

use super::Record;
use crate::{
    Column, Failure, ListingArgs, Pages, Screen, StoreArgs, Table, Times, instant, json_line, note,
    print, shown_ids,
};

/// List rejected requests, newest first
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    store: StoreArgs,
    /// Only requests to this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only requests from this time on: 2026-11-24, 14:00, yesterday, 2h (ago), 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<Timestamp>,
    #[command(flatten)]
    listing: ListingArgs,
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        Record::read(&self.store, async |record| self.list(record).await).await
    }

    async fn list(&self, record: &Record) -> Result<(), Failure> {
        let mut rows = Rows { table: None, times: self.store.times(), offset: String::new() };
        let (source, since) = (self.source.clone(), self.since);
        let query = ListRejections { source, since, ..ListRejections::default() };
        let items_max = self.listing.items_max();
        let mut pages = Pages::of(record, "/api/v1/rejections", &query, items_max)?;
        let mut listed = 0;
        while let Some(items) = pages.next().await? {
            match self.listing.json {
                true => print(&items.iter().map(json_line).collect::<Result<String, _>>()?)?,
                false => print(&rows.draw(&items))?,
            }
            listed += items.len();
        }
        if listed == 0 && items_max > 0 {
            record.check_source(self.source.as_deref())?;
            return if self.listing.json {
                Ok(())
            } else {
                print(match self.source.is_none() && self.since.is_none() {
                    true => "no rejections: no request was refused\n",
                    false => "no rejections that match\n",
                })
            };
        }
        if pages.has_more() {
            self.listing.note_more(listed);
        }
        if listed > 0 && !self.listing.json && Screen::stdout().is_terminal() {
            note("`wilco explain ID` says why a signature does not match");
        }
        Ok(())
    }
}

/// Rejections as rows of a table, which begins with the first of them.
struct Rows {
    table: Option<Table>,
    times: Times,
    offset: String,
}

impl Rows {
    fn draw(&mut self, rejections: &[RejectionSummary]) -> String {
        let Some(first) = rejections.first() else { return String::new() };
        let screen = Screen::stdout();
        if self.table.is_none() {
            self.offset = self.times.offset(first.received_at);
            let columns = [
                Column::fixed(&self.times.received(screen, &self.offset)),
                Column::name("source"),
                Column::text("reason", 17),
                Column::name("client"),
                Column::name("id"),
            ];
            self.table = Some(Table::new(columns, screen));
        }
        let ids = shown_ids(rejections.iter().map(|rejection| rejection.id), screen);
        let cells = rejections.iter().zip(ids).map(|(rejection, id)| {
            let received = self.times.cell(rejection.received_at, screen, &self.offset);
            let client = rejection.client.map_or_else(|| "-".into(), |client| client.to_string());
            let reason = rejection.reason.as_str().replace('_', " ");
            vec![received, rejection.source.clone(), reason, client, id]
        });
        let cells: Vec<_> = cells.collect();
        self.table.as_mut().map(|table| table.draw(&cells)).unwrap_or_default()
    }
}
