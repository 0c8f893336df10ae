//! `wilco backfill`: takes in what never arrived, and shows the gaps.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use wilco::counted;
use wilco_server::admin::{BackfillRound, BackfillStatus, Gap};

use super::{
    Column, Failure, ListingArgs, Pages, Record, Screen, StoreArgs, Table, json_line, note, print,
};

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
    /// Of the gaps, the newest; --json prints one object per source
    #[command(flatten)]
    listing: ListingArgs,
}

/// A source with its gaps, as `--json` prints it.
#[derive(Serialize)]
struct Source {
    #[serde(flatten)]
    status: BackfillStatus,
    gaps: Vec<Gap>,
}

impl Backfill {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
        let run = async |record: &Record| {
            let BackfillRound { done } = record.post("/api/v1/backfill/run", &()).await?;
            Ok((done, self.list(record).await?))
        };
        let (done, (sources, has_more)) = match self.status {
            true => {
                (true, Record::read(&self.store, async |record| self.list(record).await).await?)
            }
            false => Record::write(&self.store, run).await?,
        };
        if self.listing.json {
            print(&sources.iter().map(json_line).collect::<Result<String, _>>()?)?;
        } else {
            print(&self.table(&sources))?;
        }
        if has_more {
            self.listing.note_more(sources.iter().map(|source| source.gaps.len()).sum());
        }
        for Source { status: BackfillStatus { source, error, .. }, .. } in &sources {
            if let Some(error) = error {
                note(&format!("wilco: the last round of {source} failed: {error}"));
            }
        }
        if !done {
            note("wilco: the round takes longer; `wilco backfill --status` shows how it ends");
        }
        let has_failed = !self.status && sources.iter().any(|source| source.status.error.is_some());
        Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// The sources with the newest gaps, and whether there are more of these.
    async fn list(&self, record: &Record) -> Result<(Vec<Source>, bool), Failure> {
        let sources = Pages::of(record, "/api/v1/backfill", &(), usize::MAX)?;
        let (sources, _): (Vec<BackfillStatus>, _) = sources.collect().await?;
        let gaps = Pages::of(record, "/api/v1/backfill/gaps", &(), self.listing.items_max())?;
        let (gaps, has_more): (Vec<Gap>, _) = gaps.collect().await?;
        let sources = sources.into_iter().map(|status| {
            let gaps = gaps.iter().filter(|gap| gap.source == status.source).cloned().collect();
            Source { status, gaps }
        });
        Ok((sources.collect(), has_more))
    }

    fn table(&self, sources: &[Source]) -> String {
        if sources.is_empty() {
            return "no source has a backfill; sources of GitHub, GitLab and Stripe can have one\n"
                .into();
        }
        let times = self.store.times();
        let mut rows = Vec::new();
        for Source { status, gaps } in sources {
            let covered = format!("covered through {}", times.full(status.covered_through));
            let taken_in = status.taken_in.to_string();
            rows.push(vec![status.source.clone(), "all".into(), taken_in, covered]);
            if status.given_up > 0 {
                let count = counted(status.given_up, "delivery", "deliveries");
                let what = format!("{count}, asked for too often; see the log");
                rows.push(vec![status.source.clone(), "given up".into(), String::new(), what]);
            }
            for Gap { from, to, closed_at, taken_in, .. } in gaps {
                let span = format!("{} to {}", times.full(*from), times.full(*to));
                let what = if closed_at.is_some() { "gap" } else { "gap, open" };
                rows.push(vec![status.source.clone(), what.into(), taken_in.to_string(), span]);
            }
        }
        let columns = [
            Column::name("source"),
            Column::text("what", 9),
            Column::number("taken in"),
            Column::wrapped("when", 29),
        ];
        Table::new(columns, Screen::stdout()).draw(&rows)
    }
}
