//! `wilco events erase`: removes what the store has about somebody.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::{ArgGroup, Args};
use wilco::counted;
use wilco_server::admin::{EraseRequest, Erased, ErasedEvent, ErasureOutcome, ValueAt};

use super::EventRef;
use crate::{Failure, Record, StoreArgs, json_line, note, print};

/// Erase events, and what else the store has about them
///
/// Removes headers, body and subject of the events, what their deliveries and attempts said, alerts
/// about them, and rejected requests about the same. The events stay in listings, marked as erased,
/// and duplicates of them are still recognised. What destinations got, backups and logs are out of
/// reach.
#[derive(Args)]
#[command(group(ArgGroup::new("erased").args(["event", "subject", "value"]).required(true)))]
pub(super) struct Erase {
    #[command(flatten)]
    store: StoreArgs,
    /// Erase this event: its id, its first characters, or latest
    #[arg(long, value_name = "ID")]
    event: Option<EventRef>,
    /// Erase events about this subject, such as customer/17
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Erase events whose body has this value, such as data.email=jane@example.com
    #[arg(long = "where", value_name = "PATH=VALUE", value_parser = value_at)]
    value: Option<ValueAt>,
    /// Only events of this source
    #[arg(long, value_name = "NAME", conflicts_with = "event")]
    source: Option<String>,
    /// Cancel pending deliveries of these events; without it, such events are left as they are
    #[arg(long)]
    cancel: bool,
    /// Only show what would be erased
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before erasing
    #[arg(long)]
    yes: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Erase {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let erased = Record::write(&self.store, async |record| {
            let request = self.request(record).await?;
            if !self.dry_run && !self.yes {
                let expected =
                    all(record, EraseRequest { dry_run: true, ..request.clone() }).await?;
                if is_nothing(&expected) {
                    return Ok((expected, true));
                }
                note(report(&expected, true).trim_end());
                confirm()?;
            }
            Ok((all(record, request).await?, self.dry_run))
        });
        let (erased, is_dry_run) = erased.await?;
        if self.json {
            return print(&json_line(&erased)?);
        }
        print(&report(&erased, is_dry_run))
    }

    async fn request(&self, record: &Record) -> Result<EraseRequest, Failure> {
        record.check_source(self.source.as_deref())?;
        let id = match &self.event {
            Some(event) => Some(event.resolve_recorded(record).await?),
            None => None,
        };
        Ok(EraseRequest {
            id,
            subject: self.subject.clone(),
            value: self.value.clone(),
            source: self.source.clone(),
            cancel: self.cancel,
            dry_run: self.dry_run,
            cursor: None,
        })
    }
}

/// Erases part by part until nothing is left to look at.
async fn all(record: &Record, mut request: EraseRequest) -> Result<Erased, Failure> {
    let mut all: Option<Erased> = None;
    loop {
        let part: Erased = record.post("/api/v1/events/erase", &request).await?;
        request.cursor.clone_from(&part.next);
        all = Some(match all {
            None => part,
            Some(before) => together(before, part),
        });
        if request.cursor.is_none() {
            return all.ok_or_else(|| Failure::failed("wilco has not answered"));
        }
    }
}

fn together(mut all: Erased, part: Erased) -> Erased {
    for reached in part.reached {
        match all.reached.iter_mut().find(|known| known.destination == reached.destination) {
            Some(known) => known.deliveries += reached.deliveries,
            None => all.reached.push(reached),
        }
    }
    all.events.extend(part.events);
    all.rejections += part.rejections;
    all.copies = part.copies;
    // The last of them counts: it was overwritten after everything.
    all.file_overwritten = part.file_overwritten.or(all.file_overwritten);
    all.log_emptied = part.log_emptied.or(all.log_emptied);
    all.next = None;
    all
}

fn report(erased: &Erased, is_dry_run: bool) -> String {
    let Erased { events, rejections, reached, copies, .. } = erased;
    let with = |outcome| events.iter().filter(move |event| event.outcome == outcome);
    let would = if is_dry_run { "would be " } else { "" };
    let count = with(ErasureOutcome::Erased).count();
    let mut text = format!(
        "{} and {} {would}erased\n",
        counted(count, "event", "events"),
        counted(*rejections, "rejection", "rejections")
    );
    for event in with(ErasureOutcome::Erased).take(SHOWN_MAX) {
        text.push_str(&line(event));
    }
    if count > SHOWN_MAX {
        text.push_str(&format!("  and {} more\n", count - SHOWN_MAX));
    }
    for (outcome, why) in [
        (ErasureOutcome::Unfinished, "a delivery waits; --cancel cancels it"),
        (ErasureOutcome::Running, "an attempt runs; try again when it has ended"),
    ] {
        let left = with(outcome).count();
        if left > 0 {
            let left = counted(left, "event", "events");
            text.push_str(&format!("{left} left as before: {why}\n"));
            with(outcome).take(SHOWN_MAX).for_each(|event| text.push_str(&line(event)));
        }
    }
    if erased.file_overwritten == Some(false) {
        text.push_str(
            "copies of some bytes may still be in unused parts of the store's file; build wilco with \
             LIBSQLITE3_FLAGS=-DSQLITE_ENABLE_DBPAGE_VTAB, and erase again\n",
        );
    }
    if erased.log_emptied == Some(false) {
        text.push_str(
            "some bytes are still in the write-ahead log, because another program reads the store; \
             wilco empties it later\n",
        );
    }
    if count > 0 || *rejections > 0 {
        text.push_str("out of reach:\n");
        for to in reached {
            let kind = to.kind.as_ref().map_or_else(String::new, |kind| format!(" ({kind})"));
            let deliveries = usize::try_from(to.deliveries).unwrap_or(usize::MAX);
            let deliveries = counted(deliveries, "delivery", "deliveries");
            text.push_str(&format!("  what {}{kind} got, {deliveries}\n", to.destination));
        }
        for copy in copies {
            text.push_str(&format!("  {copy}, a copy of a damaged log: delete it\n"));
        }
        text.push_str("  backups, logs and traces outside the store\n");
    }
    text
}

fn line(event: &ErasedEvent) -> String {
    format!("  {} {}\n", event.id, crate::visible(&event.event))
}

fn is_nothing(erased: &Erased) -> bool {
    let mut events = erased.events.iter();
    erased.rejections == 0 && !events.any(|event| event.outcome == ErasureOutcome::Erased)
}

fn confirm() -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nothing was erased; repeat with --yes to erase this"));
    }
    note("erase? This cannot be undone. [y/N]");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was erased")),
    }
}

fn value_at(text: &str) -> Result<ValueAt, String> {
    let (path, value) = text
        .split_once('=')
        .filter(|(path, _)| !path.is_empty())
        .ok_or("expected a path and a value, such as data.email=jane@example.com")?;
    path.parse::<wilco::ValuePath>()?;
    Ok(ValueAt { path: path.into(), value: value.into() })
}

/// Events that are named.
const SHOWN_MAX: usize = 20;
