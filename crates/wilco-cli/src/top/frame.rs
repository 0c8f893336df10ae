//! One frame: an overview as widgets. What does not fit is left out, the least important first.

use std::time::Duration;

use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, Row, Sparkline, Table},
};
use wilco_server::admin::{Activity, DestinationStatus, Overview, SourceStatus};

use crate::{Times, visible};

/// How to show an overview.
#[derive(Default)]
pub(super) struct View {
    pub(super) is_coloured: bool,
    pub(super) is_paused: bool,
    /// The first destination that is shown.
    pub(super) first: usize,
    /// Why there is no newer overview.
    pub(super) away: Option<String>,
}

/// What a colour says; each is said in words too.
#[derive(Clone, Copy)]
enum Mood {
    Good,
    Bad,
    Warning,
    Title,
    Plain,
}

impl View {
    fn span(&self, mood: Mood, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(mood))
    }

    fn style(&self, mood: Mood) -> Style {
        let coloured =
            |colour| if self.is_coloured { Style::new().fg(colour) } else { Style::new() };
        match mood {
            Mood::Good => coloured(Color::Green),
            Mood::Bad => coloured(Color::Red).add_modifier(Modifier::BOLD),
            Mood::Warning => coloured(Color::Yellow),
            Mood::Title => Style::new().add_modifier(Modifier::BOLD),
            Mood::Plain => Style::new(),
        }
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, overview: &Overview, view: &mut View) {
    let rows = frame.area().height;
    let about_sources = u16::try_from(overview.sources.len()).unwrap_or(u16::MAX).saturating_add(2);
    let about_destinations =
        u16::try_from(overview.destinations.len()).unwrap_or(u16::MAX).saturating_add(2);
    let graph = if rows >= ROWS_WITH_GRAPH { GRAPH_ROWS } else { 0 };
    let rest = rows.saturating_sub(HEAD_ROWS + graph);
    // The destinations say what is wrong more often.
    let sources = about_sources.min(rest.saturating_sub(about_destinations).max(rest / 3));
    let sources = if sources < TABLE_ROWS_MIN { 0 } else { sources };
    let [head, activity, store, graph, destinations, sources] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(graph),
        Constraint::Min(0),
        Constraint::Length(sources),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(overview, view)), head);
    frame.render_widget(Paragraph::new(activity_line(overview)), activity);
    frame.render_widget(Paragraph::new(store_line(overview, view)), store);
    draw_graph(frame, overview, view, graph);
    draw_destinations(frame, overview, view, destinations);
    draw_sources(frame, overview, view, sources);
}

fn heading(overview: &Overview, view: &View) -> Line<'static> {
    let mut spans = vec![view.span(Mood::Title, format!("wilco {}  ", overview.version))];
    spans.push(match (&view.away, &overview.unready) {
        (Some(why), _) => view.span(Mood::Bad, visible(why)),
        (None, Some(why)) => view.span(Mood::Bad, format!("not ready: {}", visible(why))),
        (None, None) => view.span(Mood::Good, "ready"),
    });
    if let Some(started_at) = overview.started_at {
        spans.push(view.span(Mood::Plain, format!("  up {}", ago(started_at, overview.now))));
    }
    spans.push(view.span(Mood::Plain, format!("  {}", Times::new(false).time(overview.now))));
    if view.is_paused {
        spans.push(view.span(Mood::Warning, "  paused, p goes on"));
    }
    Line::from(spans)
}

fn activity_line(overview: &Overview) -> String {
    let Some(minute) = &overview.last_minute else { return "not running".into() };
    let requests = minute.requests.values().sum::<u64>();
    let refused = requests.saturating_sub(accepted(minute));
    let mut line = format!(
        "last minute: {} events, {} requests, {} refused",
        rate(minute.events, minute),
        rate(requests, minute),
        rate(refused, minute)
    );
    if let Some(ack) = &minute.ack {
        line += &format!("  ack p50 {} p99 {}", millis(ack.p50_ms), millis(ack.p99_ms));
    }
    let failed = ["failed", "dead"].iter().filter_map(|outcome| minute.attempts.get(*outcome));
    let attempts = minute.attempts.values().sum::<u64>();
    line + &format!("  {attempts} attempts, {} failed", failed.sum::<u64>())
}

fn store_line(overview: &Overview, view: &View) -> Line<'static> {
    let store = &overview.store;
    let mut spans = Vec::new();
    if let (Some(bytes), Some(wal)) = (store.store_bytes, store.wal_bytes) {
        spans.push(view.span(Mood::Plain, format!("store {}, log {}", size(bytes), size(wal))));
    }
    if let (Some(free), Some(reserve)) = (store.free_bytes, store.reserve_bytes) {
        let mood = if free < reserve.saturating_mul(2) { Mood::Bad } else { Mood::Plain };
        spans.push(view.span(mood, format!("  {} free", size(free))));
    }
    if let Some(expires_at) = overview.certificate_expires_at {
        let left = expires_at.duration_since(overview.now);
        let (mood, text) = match left.is_negative() {
            true => (Mood::Bad, "  certificate expired".to_owned()),
            false if left.as_secs() < ENDS_SOON_SECS => {
                (Mood::Bad, format!("  certificate for {}", span(left.unsigned_abs())))
            }
            // A self-signed one ends in the year 4096.
            false if left.as_secs() > ENDS_LATE_SECS => (Mood::Plain, String::new()),
            false => (Mood::Plain, format!("  certificate for {}", span(left.unsigned_abs()))),
        };
        spans.push(view.span(mood, text));
    }
    if store.damaged_events > 0 {
        spans.push(view.span(Mood::Bad, format!("  {} damaged events", store.damaged_events)));
    }
    if store.lost_commits.unwrap_or(0) > 0 {
        spans.push(view.span(Mood::Bad, "  commits were lost"));
    }
    Line::from(spans)
}

/// The events of each minute of the last hour, the newest at the right.
fn draw_graph(frame: &mut Frame<'_>, overview: &Overview, view: &View, area: Rect) {
    let events: Vec<_> = overview.minutes.iter().map(|minute| minute.events).collect();
    let columns = usize::from(area.width);
    let newest = &events[events.len().saturating_sub(columns)..];
    let most = newest.iter().max().copied().unwrap_or(0);
    let title = format!("events a minute, last hour: at most {most} ");
    let graph =
        Sparkline::default().block(titled(title, view)).style(view.style(Mood::Good)).data(newest);
    frame.render_widget(graph, area);
}

fn draw_destinations(frame: &mut Frame<'_>, overview: &Overview, view: &mut View, area: Rect) {
    let shown = usize::from(area.height.saturating_sub(TABLE_HEAD_ROWS)).max(1);
    view.first = view.first.min(overview.destinations.len().saturating_sub(shown));
    let all = overview.destinations.len();
    let title = match all > shown {
        true => {
            format!("destinations {}-{} of {all} ", view.first + 1, all.min(view.first + shown))
        }
        false => "destinations ".into(),
    };
    let is_narrow = area.width < COLUMNS_WITH_STATES;
    let rows = overview.destinations.iter().skip(view.first);
    let rows = rows.map(|to| destination(to, view, is_narrow));
    let (header, widths): (&[&str], &[Constraint]) = match is_narrow {
        true => (&["destination", "state", "backlog", "dead"], &NARROW),
        false => (&["destination", "state", "pending", "running", "retrying", "dead"], &WIDE),
    };
    let table = Table::new(rows, widths)
        .header(Row::new(header.iter().copied()).style(view.style(Mood::Title)))
        .block(titled(title, view));
    frame.render_widget(table, area);
}

fn destination(to: &DestinationStatus, view: &View, is_narrow: bool) -> Row<'static> {
    let (mood, state) = match to.waits(|at| Times::new(false).time(at)) {
        _ if to.paused => (Mood::Warning, "paused".to_owned()),
        Some(waits) => (Mood::Warning, waits),
        None if to.failures > 0 => (Mood::Warning, format!("{} failures in a row", to.failures)),
        None => (Mood::Good, "ok".into()),
    };
    let dead = if to.dead > 0 { Mood::Bad } else { Mood::Plain };
    let backlog = match is_narrow {
        true => vec![to.pending + to.running + to.retrying],
        false => vec![to.pending, to.running, to.retrying],
    };
    let mut cells = vec![view.span(Mood::Plain, visible(&to.destination)), view.span(mood, state)];
    cells.extend(backlog.iter().map(|count| view.span(Mood::Plain, count.to_string())));
    cells.push(view.span(dead, to.dead.to_string()));
    Row::new(cells)
}

fn draw_sources(frame: &mut Frame<'_>, overview: &Overview, view: &View, area: Rect) {
    let rows = overview.sources.iter().map(|from| source(from, overview.now, view));
    let widths = [Constraint::Fill(2), Constraint::Fill(2), Constraint::Fill(3)];
    let header = ["source", "provider", "last event"];
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(view.style(Mood::Title)))
        .block(titled("sources ".into(), view));
    frame.render_widget(table, area);
}

fn source(from: &SourceStatus, now: Timestamp, view: &View) -> Row<'static> {
    let last = match from.last_event_at {
        Some(at) => format!("{} ago", ago(at, now)),
        None => "none yet".into(),
    };
    let (mood, last) = match from.silent {
        true => (Mood::Bad, format!("{last}, silent for too long")),
        false => (Mood::Plain, last),
    };
    Row::new([
        view.span(Mood::Plain, visible(&from.source)),
        view.span(Mood::Plain, visible(&from.provider)),
        view.span(mood, last),
    ])
}

fn titled(title: String, view: &View) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(view.span(Mood::Title, title))
}

/// The requests that were answered with a 2xx.
fn accepted(activity: &Activity) -> u64 {
    let outcomes = ACCEPTED.iter().filter_map(|outcome| activity.requests.get(*outcome));
    outcomes.sum()
}

#[expect(clippy::cast_precision_loss, reason = "a count of events")]
fn rate(count: u64, activity: &Activity) -> String {
    let rate = count as f64 / activity.seconds.max(1.0);
    if rate < 9.95 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") }
}

fn millis(millis: f64) -> String {
    crate::readable(Duration::from_secs_f64(millis.max(0.0) / 1_000.0))
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(at).try_into().unwrap_or_default())
}

/// A span of time in its largest unit.
fn span(time: Duration) -> String {
    match time.as_secs() {
        secs if secs < 120 => format!("{secs} s"),
        secs if secs < 7_200 => format!("{} min", secs / 60),
        secs if secs < 172_800 => format!("{} h", secs / 3_600),
        secs => format!("{} days", secs / 86_400),
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: u64) -> String {
    let mut number = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].iter().peekable();
    let mut unit = units.next().unwrap_or(&"B");
    while number >= 1_000.0
        && let Some(next) = units.next()
    {
        (number, unit) = (number / 1_024.0, next);
    }
    if number < 9.95 && *unit != "B" {
        format!("{number:.1} {unit}")
    } else {
        format!("{number:.0} {unit}")
    }
}

/// The outcomes of requests that were answered with a 2xx.
const ACCEPTED: [&str; 4] = ["recorded", "duplicate", "handshake", "probe"];
const COLUMNS_WITH_STATES: u16 = 60;
/// The widths of the columns about destinations.
const WIDE: [Constraint; 6] = [
    Constraint::Fill(2),
    Constraint::Fill(3),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(6),
];
const NARROW: [Constraint; 4] =
    [Constraint::Fill(1), Constraint::Fill(1), Constraint::Length(7), Constraint::Length(4)];
const HEAD_ROWS: u16 = 3;
/// A title and a graph.
const GRAPH_ROWS: u16 = 4;
const ROWS_WITH_GRAPH: u16 = 16;
/// A title and the names of the columns.
const TABLE_HEAD_ROWS: u16 = 2;
const TABLE_ROWS_MIN: u16 = 3;
const ENDS_SOON_SECS: i64 = 14 * 86_400;
const ENDS_LATE_SECS: i64 = 3_650 * 86_400;
