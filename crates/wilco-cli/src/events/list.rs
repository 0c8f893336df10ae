//! `wilco events list`: events as a table, newest first.

use clap::Args;

use super::Rows;
use crate::{Failure, Filter, ListingArgs, Pages, Record, StoreArgs, print};

/// List events, newest first, with the state of their deliveries
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    listing: ListingArgs,
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        Record::read(&self.store, async |record| self.list(record).await).await
    }

    async fn list(&self, record: &Record) -> Result<(), Failure> {
        let mut rows = Rows::new(&self.store, self.filter.is_dead(), self.listing.json);
        let (query, items_max) = (self.filter.query(), self.listing.items_max());
        let mut pages = Pages::of(record, "/api/v1/events", &query, items_max)?;
        let mut listed = 0;
        while let Some(events) = pages.next().await? {
            rows.print(&events)?;
            listed += events.len();
        }
        if listed == 0 && items_max > 0 {
            // A misspelt name is a better explanation than an empty listing.
            self.filter.check_names(record).await?;
            return if self.listing.json { Ok(()) } else { print(self.nothing()) };
        }
        if pages.has_more() {
            self.listing.note_more(listed);
        }
        Ok(())
    }

    fn nothing(&self) -> &'static str {
        match self.filter.is_set() {
            true => "no events that match\n",
            false => "no events; `wilco send booking.created` sends a sample\n",
        }
    }
}
