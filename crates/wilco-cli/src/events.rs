//! `wilco events`: what was recorded, and what became of it.

mod picture;
mod replay;
mod which;

use std::{collections::BTreeMap, io::Write as _, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use wilco::EventId;
use wilco_server::admin::{DeliveryRow, EventRow, ShownRow, WhyRow};

use super::{
    Failure, Filter, Listing, PAGE, Page, Place, Record, Screen, Table, Times, json_line, note,
    print, visible,
};

pub(crate) use which::Which;

/// Looks at recorded events
#[derive(Args)]
pub(crate) struct Events {
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
    /// The event's id, its first characters, or latest
    #[arg(value_name = "ID")]
    id: Which,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Writes exactly the bytes of the body and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

/// Follows events as they come in, and what becomes of them
///
/// It waits for a server that restarts.
#[derive(Args)]
struct Tail {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Begins with this many that are recorded already
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
    /// The event's id, its first characters, or latest
    #[arg(value_name = "ID")]
    id: Which,
    /// One JSON object a line, for each route
    #[arg(long)]
    json: bool,
}

/// Cancels the pending deliveries of an event
///
/// A running attempt is finished, and what was delivered stays delivered.
#[derive(Args)]
struct Cancel {
    #[command(flatten)]
    place: Place,
    /// The event's id, its first characters, or latest
    #[arg(value_name = "ID")]
    id: Which,
    /// Only its delivery to this destination
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
}

impl Events {
    pub(crate) async fn run(self) -> Result<ExitCode, Failure> {
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
        let listed = self.list(&record).await;
        record.close().await?;
        listed?;
        Ok(ExitCode::SUCCESS)
    }

    async fn list(&self, record: &Record) -> Result<(), Failure> {
        let mut left = self.listing.most();
        let mut before = None;
        let mut rows = Rows::new(&self.place, self.filter.dead, self.listing.json);
        let mut is_more = true;
        while left > 0 && is_more {
            let page = Page { before, limit: left.min(PAGE), ..Page::default() };
            let part = record.events(&self.filter, &page).await?;
            is_more = part.len() == page.limit;
            left = left.saturating_sub(part.len());
            before = part.last().and_then(id_of).or(before);
            rows.show(&part)?;
        }
        let rest = Page { before, limit: 1, ..Page::default() };
        if before.is_none() && self.listing.most() > 0 {
            record.check_names(&self.filter).await?;
            if !self.listing.json {
                print("no events\n")?;
            }
        } else if is_more
            && !self.listing.json
            && !record.events(&self.filter, &rest).await?.is_empty()
        {
            let shown = self.listing.most();
            let more = shown.saturating_mul(2).max(1);
            note(&format!(
                "these are the newest {shown}, and there are more: --all lists them all, --limit \
                 {more} the newest {more}"
            ));
        }
        Ok(())
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
        let mut rows = Rows::new(&self.place, self.filter.dead, self.json);
        let mut followed = Followed::default();
        let latest = Page { limit: self.lines.clamp(1, PAGE), ..Page::default() };
        let mut first = record.events(&self.filter, &latest).await?;
        first.reverse();
        followed.news(&first);
        if self.lines > 0 {
            rows.show(&first)?;
        }
        loop {
            tokio::time::sleep(TAIL_PAUSE).await;
            let page = Page { after: Some(followed.after()), limit: PAGE, ..Page::default() };
            match record.events(&self.filter, &page).await {
                Ok(listed) => {
                    let mut news = followed.news(&listed);
                    // For scripts an event is one line.
                    news.retain(|(_, is_first)| *is_first || !self.json);
                    rows.show(&news.into_iter().map(|(row, _)| row).collect::<Vec<_>>())?;
                }
                Err(failure) if record.answers().await => return Err(failure),
                Err(_) => {
                    note("wilco does not answer; waiting for it to come back");
                    while !record.answers().await {
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                    }
                    note("wilco answers again");
                }
            }
        }
    }
}

/// What `tail` has shown of the newest events, so that it shows what became of them since.
#[derive(Default)]
struct Followed {
    shown: BTreeMap<EventId, String>,
}

impl Followed {
    /// After which event to ask for more.
    fn after(&self) -> EventId {
        let oldest = self.shown.first_key_value().map_or(0, |(id, _)| id.to_bits());
        EventId::from_bits(oldest.saturating_sub(which::MILLISECOND))
    }

    /// The rows that are new or changed, oldest first, and whether they are new.
    fn news(&mut self, rows: &[EventRow]) -> Vec<(EventRow, bool)> {
        let oldest = self.shown.first_key_value().map(|(id, _)| *id);
        let mut news = Vec::new();
        for row in rows {
            let Some(id) = id_of(row).filter(|id| Some(*id) >= oldest) else { continue };
            let before = self.shown.insert(id, deliveries(row));
            if before.as_ref() != self.shown.get(&id) {
                news.push((row.clone(), before.is_none()));
            }
            if self.shown.len() > FOLLOWED_MAX {
                self.shown.pop_first();
            }
        }
        news
    }
}

impl Show {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open_read_only(&self.place).await?;
        let shown = self.show(&record).await;
        record.close().await?;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&shown?)?;
        stdout.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, record: &Record) -> Result<Vec<u8>, Failure> {
        let id = self.id.resolve(record).await?;
        if self.raw {
            return Ok(record.body(id).await?.into());
        }
        let shown = record.event(id).await?;
        if self.json {
            return Ok(json_line(&shown)?.into_bytes());
        }
        // Without them the picture only lacks why something waits.
        let destinations = record.destinations().await.unwrap_or_default();
        let text = picture::picture(&shown, &destinations, &self.place.times());
        let is_coloured = Screen::stdout().is_coloured;
        Ok(if is_coloured { picture::painted(&text) } else { text }.into_bytes())
    }
}

impl Why {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open_read_only(&self.place).await?;
        let found = self.find(&record).await;
        record.close().await?;
        let (why, shown) = found?;
        if self.json {
            print(&why.iter().map(json_line).collect::<Result<String, _>>()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        print(&format!("{} {}\n\n", shown.event.id, visible(&shown.event.event)))?;
        if why.is_empty() {
            print("there are no routes\n")?;
        } else {
            print(&why_table(&why))?;
        }
        print(&format!("\ndeliveries: {}\n", deliveries(&shown.event)))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn find(&self, record: &Record) -> Result<(Vec<WhyRow>, ShownRow), Failure> {
        let id = self.id.resolve(record).await?;
        Ok((record.why(id).await?, record.event(id).await?))
    }
}

impl Cancel {
    async fn run(self) -> Result<ExitCode, Failure> {
        let record = Record::open(&self.place).await?;
        let cancelled = self.cancel(&record).await;
        record.close().await?;
        print(&match cancelled? {
            0 => "no delivery was pending\n".into(),
            1 => "1 delivery cancelled\n".into(),
            many => format!("{many} deliveries cancelled\n"),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    async fn cancel(&self, record: &Record) -> Result<usize, Failure> {
        let id = self.id.resolve(record).await?;
        if let Some(name) = &self.destination {
            let deliveries = record.event(id).await?.event.deliveries;
            let names: Vec<_> = deliveries.iter().map(|d| d.destination.as_str()).collect();
            if !names.contains(&name.as_str()) {
                let hint = super::did_you_mean(name, names);
                return Err(Failure::failed(format!("{id} has no delivery to {name}{hint}")));
            }
        }
        record.cancel(id, self.destination.clone()).await
    }
}

fn why_table(why: &[WhyRow]) -> String {
    let columns = [("route", 5), ("to", 8), ("taken", 6), ("because", 20)];
    let rows = why.iter().map(|row| {
        let taken = match (row.takes, row.clause.as_str()) {
            (true, _) => "yes",
            (false, "when") if row.why.starts_with("could not") => "failed",
            (false, _) => "no",
        };
        vec![row.route.to_string(), row.to.join(", "), taken.into(), row.why.clone()]
    });
    Table::new(&columns, Screen::stdout()).draw(&rows.collect::<Vec<_>>())
}

fn id_of(row: &EventRow) -> Option<EventId> {
    row.id.parse().ok()
}

/// The rows of a listing, as they come.
struct Rows {
    table: Option<Table>,
    times: Times,
    screen: Screen,
    has_error: bool,
    is_json: bool,
    offset: String,
}

impl Rows {
    fn new(place: &Place, has_error: bool, is_json: bool) -> Self {
        let (times, screen, offset) = (place.times(), Screen::stdout(), String::new());
        Self { table: None, times, screen, has_error, is_json, offset }
    }

    fn show(&mut self, rows: &[EventRow]) -> Result<(), Failure> {
        if self.is_json {
            return print(&rows.iter().map(json_line).collect::<Result<String, _>>()?);
        }
        let Some(first) = rows.first() else { return Ok(()) };
        if self.table.is_none() {
            self.offset = self.times.offset(first.received_at);
            self.table = Some(self.begin());
        }
        let ids: Vec<_> = rows.iter().map(|row| ulid(&row.id)).collect();
        let chars = which::telling_chars(&ids);
        let cells: Vec<_> = rows.iter().map(|row| self.cells(row, chars)).collect();
        let text = self.table.as_mut().map(|table| table.draw(&cells)).unwrap_or_default();
        print(&text)
    }

    fn begin(&self) -> Table {
        let received = match self.screen.is_terminal() {
            true => format!("received ({})", self.offset),
            false => "received".into(),
        };
        let mut columns = vec![
            (received.as_str(), 19),
            ("event", 8),
            ("about", 8),
            ("id", 26),
            ("deliveries", 12),
        ];
        if self.has_error {
            columns.push(("error", 12));
        }
        Table::new(&columns, self.screen)
    }

    fn cells(&self, row: &EventRow, id_chars: usize) -> Vec<String> {
        let (received, id) = match self.screen.is_terminal() {
            true => {
                let ulid = ulid(&row.id);
                let short = ulid.get(..id_chars).unwrap_or(ulid);
                (self.times.short(row.received_at, &self.offset), short.to_owned())
            }
            false => (self.times.full(row.received_at), row.id.clone()),
        };
        let about = match (&row.title, self.screen.is_terminal()) {
            (Some(title), true) => title.clone(),
            _ => picture::about(row),
        };
        let deliveries = match self.screen.is_terminal() {
            true => by_state(row),
            false => deliveries(row),
        };
        let mut cells = vec![received, row.event.clone(), about, id, deliveries];
        if self.has_error {
            let latest = latest(row);
            let dead = latest.iter().find(|delivery| delivery.state == "dead");
            let error = dead.and_then(|delivery| delivery.last_error.clone());
            cells.push(error.unwrap_or_default());
        }
        cells
    }
}

fn ulid(id: &str) -> &str {
    id.strip_prefix("evt_").unwrap_or(id)
}

/// The last delivery to each destination: what was replayed is no news.
fn latest(row: &EventRow) -> Vec<&DeliveryRow> {
    let mut latest: Vec<&DeliveryRow> = Vec::new();
    for delivery in &row.deliveries {
        match latest.iter_mut().find(|known| known.destination == delivery.destination) {
            Some(known) => *known = delivery,
            None => latest.push(delivery),
        }
    }
    latest
}

/// As [`deliveries`], with the state first and the worst before the others: what a narrow terminal
/// cuts off is the names.
fn by_state(row: &EventRow) -> String {
    if row.deliveries.is_empty() {
        return deliveries(row);
    }
    let of_state = |state: &str| {
        let latest = latest(row).into_iter().filter(|delivery| delivery.state == state);
        let names: Vec<_> = latest.map(|delivery| delivery.destination.as_str()).collect();
        (!names.is_empty()).then(|| format!("{state} {}", names.join(", ")))
    };
    STATES.iter().filter_map(|state| of_state(state)).collect::<Vec<_>>().join("; ")
}

fn deliveries(row: &EventRow) -> String {
    if row.damaged && row.deliveries.is_empty() {
        return "damaged".into();
    }
    if row.deliveries.is_empty() {
        return if row.routed { "skipped".into() } else { "recorded".into() };
    }
    let of = |delivery: &DeliveryRow| {
        let tries = match delivery.attempts {
            0 | 1 => String::new(),
            tries => format!(" ({tries})"),
        };
        format!("{} {}{tries}", delivery.destination, delivery.state)
    };
    latest(row).into_iter().map(of).collect::<Vec<_>>().join(", ")
}

/// The states of deliveries, those first that somebody should look at.
const STATES: [&str; 8] =
    ["dead", "retrying", "running", "pending", "skipped", "superseded", "cancelled", "delivered"];
const TAIL_PAUSE: Duration = Duration::from_millis(300);
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Events of which `tail` shows what became of them.
const FOLLOWED_MAX: usize = 100;
