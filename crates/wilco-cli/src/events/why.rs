//! `wilco events why`: which route takes an event, and which clause decides.

use clap::Args;
use wilco_server::admin::{EventDetail, RouteDecision, RouteDecisions};

use super::{EventRef, deliveries};
use crate::{
    Column, Failure, ReadApi as _, Record, Screen, StoreArgs, Table, json_line, print, visible,
};

/// Say for each route whether it takes an event, and which clause decides
///
/// If wilco runs, these are the routes that it has loaded, otherwise those of the configuration
/// file.
#[derive(Args)]
pub(super) struct Why {
    #[command(flatten)]
    store: StoreArgs,
    /// Event id, its first characters, or latest
    #[arg(value_name = "ID")]
    id: EventRef,
    /// Print one JSON object per line for each route
    #[arg(long)]
    json: bool,
}

impl Why {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let found = Record::read(&self.store, async |record| self.find(record).await).await;
        let (decisions, event) = found?;
        if self.json {
            return print(&decisions.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        let event = event.summary;
        let table = if decisions.is_empty() {
            "no routes are configured\n".into()
        } else {
            table(&decisions)
        };
        print(&format!(
            "{} {}\n\n{table}\ndeliveries: {}\n",
            event.id,
            visible(&event.event),
            Screen::stdout().painted(&deliveries(&event))
        ))
    }

    async fn find(&self, record: &Record) -> Result<(Vec<RouteDecision>, EventDetail), Failure> {
        let id = self.id.resolve(record).await?;
        let decisions: RouteDecisions = record.get(&format!("/api/v1/events/{id}/why")).await?;
        Ok((decisions.routes, record.event(id).await?))
    }
}

fn table(decisions: &[RouteDecision]) -> String {
    let columns = [
        Column::number("route"),
        Column::wrapped("to", 16),
        Column::state("taken", 6),
        Column::wrapped("because", 20),
    ];
    let cells = decisions.iter().map(|decision| {
        let taken = match (decision.takes, decision.failed) {
            (true, _) => "yes",
            (false, true) => "failed",
            (false, false) => "no",
        };
        let (route, to) = (decision.route.to_string(), decision.to.join(", "));
        vec![route, to, taken.into(), decision.why.clone()]
    });
    Table::new(columns, Screen::stdout()).draw(&cells.collect::<Vec<_>>())
}
