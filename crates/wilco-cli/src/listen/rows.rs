//! What `wilco listen` prints of each event.

use jiff::Timestamp;
use serde::Serialize;
use wilco_server::admin::EventSummary;

use super::Outcome;
use crate::{
    Column, Failure, Screen, Table, Times, json_line, print, readable, shown_ids, visible, wrapped,
};

/// Prints a row for each event, in a table that begins with the first.
pub(super) struct Rows {
    table: Option<Table>,
    is_json: bool,
}

/// An event as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    source: &'a str,
    event: &'a str,
    subject: Option<&'a str>,
    received_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Rows {
    pub(super) fn new(is_json: bool) -> Self {
        Self { table: None, is_json }
    }

    pub(super) fn print(&mut self, event: &EventSummary, outcome: &Outcome) -> Result<(), Failure> {
        if self.is_json {
            return print(&json_line(&Line::of(event, outcome))?);
        }
        let (screen, times) = (Screen::stdout(), Times::new(false));
        let (answer, why) = match outcome {
            Outcome::Answered { status, took } => {
                let mark = if status.is_success() { "✓" } else { "✗" };
                (format!("{mark} {} in {}", status.as_u16(), readable(*took)), "")
            }
            Outcome::NoAnswer(why) => ("✗ no answer".into(), &**why),
            Outcome::NotForwarded(why) => ("✗ not forwarded".into(), &**why),
        };
        let offset = times.offset(event.received_at);
        let title = times.received(screen, &offset);
        let about = event.title.clone().or_else(|| event.subject.clone());
        let id = shown_ids([event.id].iter(), screen).remove(0);
        let at = times.cell(event.received_at, screen, &offset);
        let at_columns = at.len();
        let row = vec![
            at,
            event.event.clone(),
            about.unwrap_or_else(|| "-".into()),
            id,
            match screen.is_terminal() || why.is_empty() {
                true => answer,
                false => format!("{answer}: {why}"),
            },
        ];
        let mut text = self.table.get_or_insert_with(|| begin(&title, screen)).draw(&[row]);
        if screen.is_terminal() && !why.is_empty() {
            // In the table, it would make all the others narrow.
            let indent = " ".repeat(at_columns.max(title.len()) + 2);
            text += &wrapped(&indent, &indent, &visible(why));
        }
        print(&text)
    }
}

impl<'a> Line<'a> {
    fn of(event: &'a EventSummary, outcome: &Outcome) -> Self {
        let (status, took_ms, error) = match outcome {
            Outcome::Answered { status, took } => {
                (Some(status.as_u16()), Some(took.as_secs_f64() * 1_000.0), None)
            }
            Outcome::NoAnswer(why) => (None, None, Some(format!("no answer: {why}"))),
            Outcome::NotForwarded(why) => (None, None, Some(format!("not forwarded: {why}"))),
        };
        Self {
            id: event.id.to_string(),
            source: &event.source,
            event: &event.event,
            subject: event.subject.as_deref(),
            received_at: event.received_at,
            status,
            took_ms,
            error,
        }
    }
}

fn begin(received: &str, screen: Screen) -> Table {
    let columns = [
        Column::fixed(received),
        Column::text("event", 15).with_space_for(16),
        Column::text("about", 10).with_space_for(24),
        Column::name("id"),
        Column::state("answer", 17),
    ];
    Table::new(columns, screen)
}
