//! `wilco events cancel`: gives up the pending deliveries of an event.

use clap::Args;
use wilco::counted;
use wilco_server::admin::{CancelRequest, Cancelled};

use super::EventRef;
use crate::{Failure, Record, StoreArgs, known_instead, print};

/// Cancel the pending deliveries of an event
///
/// A running attempt still finishes, and what was delivered stays delivered.
#[derive(Args)]
pub(super) struct Cancel {
    #[command(flatten)]
    store: StoreArgs,
    /// Event id, its first characters, or latest
    #[arg(value_name = "ID")]
    id: EventRef,
    /// Only the delivery to this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Cancel {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let cancelled = Record::write(&self.store, async |record| self.cancel(record).await).await;
        print(&match cancelled? {
            0 => "no delivery was pending\n".into(),
            count => format!("{} cancelled\n", counted(count, "delivery", "deliveries")),
        })
    }

    async fn cancel(&self, record: &Record) -> Result<usize, Failure> {
        let id = self.id.resolve(record).await?;
        if let Some(name) = &self.destination {
            let deliveries = record.event(id).await?.summary.deliveries;
            let names: Vec<_> = deliveries.iter().map(|d| d.destination.as_str()).collect();
            if !names.contains(&name.as_str()) {
                let hint = known_instead(name, names);
                return Err(Failure::failed(format!("{id} has no delivery to {name}{hint}")));
            }
        }
        let request = CancelRequest { destination: self.destination.clone() };
        let done: Cancelled = record.post(&format!("/api/v1/events/{id}/cancel"), &request).await?;
        Ok(done.cancelled)
    }
}
