//! `wilco events show`: one event, with every attempt to deliver it.

mod picture;

use bytes::Bytes;
use clap::Args;
use http::Method;

use super::{EventRef, about, deliveries};
use crate::{Failure, Record, Screen, ShowArgs, StoreArgs, json_line, print_bytes};

/// Show one event: its headers, its body, and every attempt to deliver it
#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    store: StoreArgs,
    /// Event id, its first characters, or latest
    #[arg(value_name = "ID")]
    id: EventRef,
    #[command(flatten)]
    form: ShowArgs,
}

impl Show {
    pub(super) async fn run(self) -> Result<(), Failure> {
        print_bytes(&Record::read(&self.store, async |record| self.show(record).await).await?)
    }

    async fn show(&self, record: &Record) -> Result<Vec<u8>, Failure> {
        let id = self.id.resolve(record).await?;
        if self.form.raw {
            let path = format!("/api/v1/events/{id}/body");
            return Ok(record.ask(Method::GET, &path, Bytes::new()).await?.into());
        }
        let event = record.event(id).await?;
        if self.form.json {
            return Ok(json_line(&event)?.into_bytes());
        }
        // Without the destinations only the reasons for waiting are missing.
        let destinations = record.destinations().await.unwrap_or_default();
        let times = self.store.times();
        Ok(picture::picture(&event, &destinations, &times, Screen::stdout()).into_bytes())
    }
}
