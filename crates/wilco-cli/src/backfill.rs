//! `wilco backfill`: takes in what never arrived, and shows the gaps.

use std::process::ExitCode;

use clap::Args;
use wilco_server::admin::{BackfillStatus, Backfills, Gap};

use super::{Column, Failure, Record, Screen, StoreArgs, Table, json_line, note, print};

/// Take in events that never arrived, and show when wilco did not run
///
/// Asks GitHub, GitLab and Stripe, for each source with `backfill` in the configuration, as the running wilco
/// also does by itself.
#[derive(Args)]
pub(crate) struct Backfill {
    #[command(flatten)]
    store: StoreArgs,
    /// Ask no provider; only show the gaps and what was taken in
    #[arg(long)]
    status: bool,
    /// One JSON object per source
    #[arg(long)]
    json: bool,
}

impl Backfill {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let show = async |record: &Record| record.get("/api/v1/backfill").await;
        let run = async |record: &Record| record.post("/api/v1/backfill/run", &()).await;
        let Backfills { done, sources } = match self.status {
            true => Record::read(&self.store, show).await?,
            false => Record::write(&self.store, run).await?,
        };
        if self.json {
            print(&sources.iter().map(json_line).collect::<Result<String, _>>()?)?;
        } else {
            print(&self.table(&sources))?;
        }
        for BackfillStatus { source, error, .. } in &sources {
            if let Some(error) = error {
                note(&format!("wilco: the last round of {source} failed: {error}"));
            }
        }
        if !done {
            note("wilco: the round takes longer; `wilco backfill --status` shows how it ends");
        }
        let has_failed = !self.status && sources.iter().any(|source| source.error.is_some());
        Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn table(&self, sources: &[BackfillStatus]) -> String {
        if sources.is_empty() {
            return "no source has a backfill; sources of GitHub, GitLab and Stripe can have one\n"
                .into();
        }
        let times = self.store.times();
        let mut rows = Vec::new();
        for status in sources {
            let covered = format!("covered through {}", times.full(status.covered_through));
            let taken_in = status.taken_in.to_string();
            rows.push(vec![status.source.clone(), "all".into(), taken_in, covered]);
            if status.given_up > 0 {
                let count = status.given_up;
                let what = format!("{count} deliveries, asked for too often; see the log");
                rows.push(vec![status.source.clone(), "given up".into(), String::new(), what]);
            }
            for Gap { from, to, closed_at, taken_in } in &status.gaps {
                let span = format!("{} to {}", times.full(*from), times.full(*to));
                let what = if closed_at.is_some() { "gap" } else { "gap, open" };
                rows.push(vec![status.source.clone(), what.into(), taken_in.to_string(), span]);
            }
        }
        let columns = [
            Column::text("source", 6),
            Column::text("what", 9),
            Column::number("taken in"),
            Column::wrapped("when", 29),
        ];
        Table::new(columns, Screen::stdout()).draw(&rows)
    }
}
