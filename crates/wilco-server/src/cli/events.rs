//! `wilco events`: what was recorded, and what became of it.

mod replay;

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use wilco::EventId;

use super::{
    Failure, Filter, Listing, PAGE, Page, Place, Record, json_line, print, readable, table,
};
use crate::admin::{EventRow, ShownRow, WhyRow};

/// Looks at recorded events
#[derive(Args)]
pub(super) struct Events {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    List(List),
    Show(Show),
    Tail(Tail),
    Why(Why),
    Replay(Box<replay::ReplayArgs>),
    Cancel(Cancel),
}

/// Lists events, newest first, with the state of their deliveries
#[derive(Args)]
struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    listing: Listing,
}

/// Shows one event: its headers, its body, and every attempt to deliver it
#[derive(Args)]
struct Show {
    #[command(flatten)]
    place: Place,
    /// The event's id: evt_…
    #[arg(value_name = "ID")]
    id: EventId,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Writes the body and nothing else, to the byte
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Follows events as they come in
#[derive(Args)]
struct Tail {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Begins with so many that are there already
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    lines: usize,
}

/// Says for each route whether it takes an event, and which clause decides
///
/// The routes are those of the file as it is now; with a server that runs, those that it has loaded.
#[derive(Args)]
struct Why {
    #[command(flatten)]
    place: Place,
    /// The event's id: evt_…
    #[arg(value_name = "ID")]
    id: EventId,
    /// One JSON object a line, for each route
    #[arg(long)]
    json: bool,
}

/// Ends what waits of an event without another attempt
///
/// An attempt that is under way goes on, and what was delivered stays delivered.
#[derive(Args)]
struct Cancel {
    #[command(flatten)]
    place: Place,
    /// The event's id: evt_…
    #[arg(value_name = "ID")]
    id: EventId,
    /// Only its way to this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Events {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self.what {
            What::List(list) => list.run().await,
            What::Show(show) => show.run().await,
            What::Tail(tail) => tail.run().await,
            What::Why(why) => why.run().await,
            What::Replay(replay) => replay.run().await,
            What::Cancel(cancel) => cancel.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open_read_only(&self.place).await?;
        let mut left = self.listing.most();
        let mut before = None;
        let mut is_first = true;
        while left > 0 {
            let page = Page { before, limit: left.min(PAGE), ..Page::default() };
            let rows = record.events(&self.filter, &page).await?;
            let Some(last) = rows.last() else { break };
            left = left.saturating_sub(rows.len());
            before = id_of(last);
            let is_last = rows.len() < page.limit;
            show_rows(&rows, self.listing.json, is_first)?;
            is_first = false;
            if is_last {
                break;
            }
        }
        if is_first && !self.listing.json {
            print("no events\n")?;
        }
        record.close().await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Tail {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open_read_only(&self.place).await?;
        if matches!(record, Record::Store(..)) {
            record.close().await?;
            let text = "no wilco is running here, so nothing comes in; see `wilco events list`";
            return Err(Failure::failed(text.into()));
        }
        let latest = Page { limit: self.lines.clamp(1, PAGE), ..Page::default() };
        let mut rows = record.events(&self.filter, &latest).await?;
        let mut after = rows.first().and_then(id_of).unwrap_or(EventId::from_bits(0));
        rows.reverse();
        if self.lines == 0 {
            rows.clear();
        }
        show_rows(&rows, self.json, true)?;
        loop {
            tokio::time::sleep(TAIL_PAUSE).await;
            let page = Page { after: Some(after), limit: PAGE, ..Page::default() };
            let rows = record.events(&self.filter, &page).await?;
            if let Some(last) = rows.last() {
                after = id_of(last).unwrap_or(after);
                show_rows(&rows, self.json, false)?;
            }
        }
    }
}

impl Show {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open_read_only(&self.place).await?;
        if self.raw {
            let body = record.body(self.id).await?;
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&body)?;
            stdout.flush()?;
        } else {
            let shown = record.event(self.id).await?;
            print(&if self.json { json_line(&shown)? } else { picture(&shown) })?;
        }
        record.close().await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Why {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open_read_only(&self.place).await?;
        let (why, shown) = (record.why(self.id).await, record.event(self.id).await);
        record.close().await?;
        let (why, shown) = (why?, shown?);
        if self.json {
            print(&why.iter().map(json_line).collect::<Result<String, _>>()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        print(&format!("{} {}\n\n", self.id, visible(&shown.event.event)))?;
        if why.is_empty() {
            print("there are no routes\n")?;
        } else {
            print(&why_table(&why))?;
        }
        print(&format!("\nwhat became of it: {}\n", deliveries(&shown.event)))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Cancel {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open(&self.place).await?;
        let cancelled = record.cancel(self.id, self.destination).await;
        record.close().await?;
        print(&match cancelled? {
            0 => "nothing of it was waiting\n".into(),
            1 => "1 delivery cancelled\n".into(),
            many => format!("{many} deliveries cancelled\n"),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn why_table(why: &[WhyRow]) -> String {
    let mut table = table(&["route", "to", "takes it", "because"]);
    for row in why {
        let takes = match (row.takes, row.clause.as_str()) {
            (true, _) => "yes",
            (false, "when") if row.why.starts_with("could not") => "failed",
            (false, _) => "no",
        };
        table.add_row([&row.route.to_string(), &row.to.join(", "), takes, &visible(&row.why)]);
    }
    format!("{}\n", table.trim_fmt())
}

fn id_of(row: &EventRow) -> Option<EventId> {
    row.id.parse().ok()
}

fn show_rows(rows: &[EventRow], json: bool, with_header: bool) -> Result<(), Failure> {
    if json {
        let lines = rows.iter().map(json_line).collect::<Result<String, _>>()?;
        return print(&lines);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = table(&["received", "event", "about", "id", "deliveries"]);
    for row in rows {
        let received = row.received_at.to_string();
        let received = received.split('.').next().unwrap_or_default().trim_end_matches('Z');
        table.add_row([
            &received.replace('T', " "),
            &visible(&row.event),
            &visible(row.subject.as_deref().unwrap_or("-")),
            &row.id,
            &deliveries(row),
        ]);
    }
    let text = table.trim_fmt();
    let text = match with_header {
        true => text,
        false => text.split_once('\n').map_or(String::new(), |(_, rows)| rows.into()),
    };
    print(&format!("{text}\n"))
}

fn deliveries(row: &EventRow) -> String {
    if row.damaged && row.deliveries.is_empty() {
        return "damaged".into();
    }
    if row.deliveries.is_empty() {
        return if row.routed { "skipped".into() } else { "recorded".into() };
    }
    let of = |delivery: &crate::admin::DeliveryRow| {
        let tries = match delivery.attempts {
            0 | 1 => String::new(),
            tries => format!(" ({tries})"),
        };
        format!("{} {}{tries}", delivery.destination, delivery.state)
    };
    row.deliveries.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn picture(shown: &ShownRow) -> String {
    let event = &shown.event;
    let mut text = format!(
        "{}\n  event      {}\n  source     {}\n  about      {}\n  received   {}\n  signed by  {}\n  \
         body       {} bytes, sha256 {}\n",
        event.id,
        visible(&event.event),
        event.source,
        visible(event.subject.as_deref().unwrap_or("-")),
        event.received_at,
        event.secret,
        event.bytes,
        event.sha256,
    );
    if shown.conflict {
        text.push_str(
            "  conflict   the provider sent this delivery id before, with another body\n",
        );
    }
    text.push_str("\nheaders\n");
    for (name, value) in &shown.headers {
        text.push_str(&format!("  {name}: {}\n", visible(value)));
    }
    text.push_str("\ndeliveries\n");
    if event.deliveries.is_empty() {
        text.push_str(&format!("  {}\n", deliveries(event)));
    }
    for delivery in &event.deliveries {
        text.push_str(&format!("  {}: {}", delivery.destination, delivery.state));
        if let Some(due) = delivery.due_at {
            text.push_str(&format!(", due {due}"));
        } else if delivery.state == "waiting" {
            text.push_str(", behind another with its key");
        }
        if delivery.replaced_by.as_ref() == Some(&event.id) {
            text.push_str(", replayed since");
        }
        for (what, value) in [
            ("superseded by", delivery.replaced_by.as_ref().filter(|id| **id != event.id)),
            ("key", delivery.order_key.as_ref()),
        ] {
            if let Some(value) = value {
                text.push_str(&format!(", {what} {}", visible(value)));
            }
        }
        if let Some(reason) = &delivery.reason {
            text.push_str(&format!(" ({})", visible(reason)));
        }
        text.push('\n');
        for (number, attempt) in (1..).zip(&delivery.history) {
            let took = readable(Duration::from_secs_f64(attempt.took_ms / 1_000.0));
            let at = attempt.started_at;
            text.push_str(&format!("    {number}. {at}  {took}  {}\n", visible(&attempt.result)));
            for line in attempt.output.lines() {
                text.push_str(&format!("       | {}\n", visible(line)));
            }
        }
    }
    text.push_str("\nbody\n");
    match &shown.body {
        Some(body) => {
            for line in body.lines() {
                text.push_str(&format!("  {}\n", visible(line)));
            }
        }
        None => text.push_str("  not text; see it with --raw\n"),
    }
    text
}

/// A stranger's text, with nothing in it that a terminal would obey.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

const TAIL_PAUSE: Duration = Duration::from_millis(300);
