//! `wilco events list`: events as a table, newest first.

use clap::Args;
use wilco_server::admin::{ListEvents, PAGE_ITEMS_MAX};

use super::Rows;
use crate::{Failure, Filter, ListingArgs, Record, StoreArgs, print};

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
        let (mut listed, mut query) = (0, self.filter.query());
        while listed < self.listing.items_max() {
            let limit = (self.listing.items_max() - listed).min(PAGE_ITEMS_MAX);
            let page = record.events(&ListEvents { limit: Some(limit), ..query.clone() }).await?;
            rows.print(&page.items)?;
            listed += page.items.len();
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        if listed == 0 && self.listing.items_max() > 0 {
            // A misspelt name is a better explanation than an empty listing.
            self.filter.check_names(record).await?;
            return if self.listing.json { Ok(()) } else { print(self.nothing()) };
        }
        if query.cursor.is_some() {
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
