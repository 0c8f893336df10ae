//! `wilco rejections accept`: verifies rejected requests again, and records those that are right now.

use std::{collections::BTreeMap, process::ExitCode};

use clap::{ArgGroup, Args};
use http::StatusCode;
use jiff::Timestamp;
use wilco::{RejectionId, counted};
use wilco_server::admin::{
    AcceptRequest, AcceptedRejection, ListRejections, PAGE_ITEMS_MAX, Problem,
};

use super::{Record, RejectionRef};
use crate::{Failure, StoreArgs, instant, json_line, note, print, progress};

/// Accept requests that were refused by mistake
///
/// Each is verified again with the current secrets, as if it had just been received when it was. If it
/// is right now, it becomes an event and is delivered; else it stays as it is. They are accepted
/// in the order of their receipt. Name the rejections by their ids, or take --all.
#[derive(Args)]
#[command(group(ArgGroup::new("accepted").args(["ids", "all"]).required(true)))]
pub(super) struct Accept {
    #[command(flatten)]
    store: StoreArgs,
    /// Rejection ids, their first characters, or latest
    #[arg(value_name = "ID", conflicts_with_all = ["source", "since"])]
    ids: Vec<RejectionRef>,
    /// Accept every rejection that is kept completely
    #[arg(long)]
    all: bool,
    /// With --all: only those of this source
    #[arg(long, value_name = "NAME", requires = "all")]
    source: Option<String>,
    /// With --all: only those received from this time on
    #[arg(long, value_name = "TIME", requires = "all", value_parser = instant)]
    since: Option<Timestamp>,
    /// Only show what would be accepted
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object per line for each accepted request
    #[arg(long)]
    json: bool,
}

/// What became of the rejections.
#[derive(Default)]
struct Counts {
    accepted: usize,
    duplicates: usize,
    /// By the reason.
    refused: BTreeMap<String, usize>,
}

impl Accept {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let counts = Record::write(&self.store, async |record| {
            let ids = self.choose(record).await?;
            if ids.is_empty() {
                record.check_source(self.source.as_deref())?;
            }
            self.accept(record, &ids).await
        });
        let counts = counts.await?;
        for (why, times) in &counts.refused {
            note(&format!("{}: {why}", requests(*times, "is", "are") + " still refused"));
        }
        if !self.json {
            print(&self.report(&counts))?;
        }
        // Among all there may be requests that no secret makes right.
        let is_failure = match self.all {
            true => counts.accepted == 0 && !counts.refused.is_empty(),
            false => !counts.refused.is_empty(),
        };
        Ok(if is_failure { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// The rejections to accept, in the order of their receipt.
    async fn choose(&self, record: &Record) -> Result<Vec<RejectionId>, Failure> {
        let mut ids = Vec::with_capacity(self.ids.len());
        for which in &self.ids {
            ids.push(which.resolve(record).await?);
        }
        if self.all {
            ids = self.complete(record).await?;
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Every rejection that may be right now.
    async fn complete(&self, record: &Record) -> Result<Vec<RejectionId>, Failure> {
        let mut query = ListRejections {
            source: self.source.clone(),
            since: self.since,
            oldest_first: true,
            limit: Some(PAGE_ITEMS_MAX),
            ..ListRejections::default()
        };
        let mut ids = Vec::new();
        loop {
            let page = record.rejections(&query).await?;
            let complete = page.items.iter().filter(|rejection| rejection.complete);
            ids.extend(complete.map(|rejection| rejection.id));
            query.cursor = page.next;
            if query.cursor.is_none() {
                return Ok(ids);
            }
        }
    }

    async fn accept(&self, record: &Record, ids: &[RejectionId]) -> Result<Counts, Failure> {
        let bar = progress(ids.len() as u64);
        let mut counts = Counts::default();
        let request = AcceptRequest { dry_run: self.dry_run };
        for id in ids {
            let path = format!("/api/v1/rejections/{id}/accept");
            let (status, body) = record.try_post(&path, &request).await?;
            bar.inc(1);
            if let Ok(Problem { detail, .. }) = serde_json::from_slice(&body) {
                match status {
                    StatusCode::CONFLICT => {
                        let why = detail.split_once(": ").map_or(&*detail, |(_, why)| why);
                        *counts.refused.entry(why.into()).or_default() += 1;
                        continue;
                    }
                    // Another has accepted it meanwhile, or it was the oldest.
                    StatusCode::NOT_FOUND if self.all => continue,
                    _ => return Err(Failure::failed(detail)),
                }
            }
            let accepted: AcceptedRejection = serde_json::from_slice(&body)?;
            counts.accepted += 1;
            counts.duplicates += usize::from(accepted.duplicate);
            if self.json {
                print(&json_line(&accepted)?)?;
            }
        }
        bar.finish_and_clear();
        Ok(counts)
    }

    fn report(&self, counts: &Counts) -> String {
        if counts.accepted == 0 && counts.refused.is_empty() {
            return "no rejection is kept completely, so there is none to accept\n".into();
        }
        if self.dry_run {
            return requests(counts.accepted, "would be accepted", "would be accepted") + "\n";
        }
        let accepted = requests(counts.accepted, "accepted", "accepted");
        match counts.duplicates {
            0 => format!("{accepted}\n"),
            some => format!("{accepted}; {some} of them had been recorded already\n"),
        }
    }
}

fn requests(count: usize, one: &str, many: &str) -> String {
    let what = if count == 1 { one } else { many };
    format!("{} {what}", counted(count, "request", "requests"))
}
